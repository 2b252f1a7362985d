"""Block sums -> bias, variance, MSE, signal-to-noise, cosine and tails, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchbed.analysis.intervals import (
    LEVEL,
    NOTHING,
    Interval,
    jackknife,
    log_jackknife,
    of_log_mean,
    of_mean,
)
from benchbed.records import Array, Blocks

# A relative standard deviation under this is rounding: draws are float32.
ROUNDING = 1e-5
SQUARES_ROUNDING = 4e-7
# Past this share of the sum of squares in ONE draw the variance may not exist.
TAIL_GATE = 0.1


@dataclass(frozen=True)
class Summary:
    """What the draws of one cell say. Intervals are at level 0.95.

    Attributes:
        draws: estimates behind the numbers.
        gradient_norm: of the exact gradient.
        bias: |E g - exact| / |exact|, debiased by its own sampling variance, 0 where that is more.
        variance: trace of the covariance of ONE estimate; value 0 where ``zero``.
        mse: E |g - exact|^2 of one estimate.
        snr: |E g| / sqrt(variance).
        snr_floor: what ``snr`` would read, root mean square, if E g were 0: 1 / sqrt(draws).
        cosine: between the mean of all draws and the exact gradient.
        skewness: of the coordinate where it is largest in size.
        kurtosis: of the coordinate where it is largest; 3 for a normal law.
        tail_share: of the sum of squares, in the largest single draw.
        heavy: ``tail_share`` is past the gate: the variance may not exist.
        zero: there is no variance beyond rounding.
        cpu: seconds an estimate, one thread.
        wall: seconds an estimate.
        nonfinite: draws left out because they held a NaN or an infinity.
    """

    draws: int
    gradient_norm: float
    bias: Interval
    variance: Interval
    mse: Interval
    snr: Interval
    snr_floor: float
    cosine: Interval
    skewness: float
    kurtosis: float
    tail_share: float
    heavy: bool
    zero: bool
    cpu: Interval
    wall: Interval
    nonfinite: int


@dataclass(frozen=True)
class Totals:
    """Sums over some of the blocks; every statistic is a function of them."""

    count: Array  # [...]
    first: Array  # [..., p]
    distance: Array  # [...]
    exact: Array  # [p]

    @property
    def error(self) -> Array:
        """Mean of g - exact, [..., p]."""
        error: Array = self.first / self.count[..., None]
        return error

    @property
    def variance(self) -> Array:
        """Trace of the covariance of one estimate, unbiased."""
        spread = self.distance - np.square(self.first).sum(-1) / self.count
        trace: Array = np.maximum(spread, 0) / (self.count - 1)
        return trace


def summarize(blocks: Blocks) -> Summary:
    """Return the summary of one cell's blocks (or of several cells' with ``pool``)."""
    whole, without = totals(blocks)
    norm = float(np.linalg.norm(blocks.exact))
    scale = norm or math.sqrt(float(whole.distance / whole.count)) or 1.0
    variance = float(whole.variance)
    # Squares of float32 errors are rounded: identical rows keep 1e-7 of their squared distance.
    rounded = SQUARES_ROUNDING * float(np.square(whole.first / whole.count).sum())
    zero = math.sqrt(variance) <= ROUNDING * scale or variance <= rounded
    draws = int(whole.count)
    skewness, kurtosis = _shape(blocks)
    total = float(blocks.distance[0].sum())
    share = float(blocks.distance[2].max()) / total if total > 0 and not zero else 0.0

    def interval(statistic: Callable[[Totals], Array], *, log: bool = False) -> Interval:
        make = log_jackknife if log else jackknife
        return make(float(statistic(whole)), statistic(without))

    def relative(squared: float) -> float:
        return math.sqrt(max(squared, 0.0)) / norm if norm else math.nan

    def snr(t: Totals) -> Array:
        ratio: Array = np.linalg.norm(t.exact + t.error, axis=-1) / np.sqrt(t.variance)
        return ratio

    def cosine(t: Totals) -> Array:
        mean = t.exact + t.error
        lengths = np.linalg.norm(mean, axis=-1) * norm
        along: Array = np.divide(
            mean @ t.exact, lengths, out=np.zeros_like(lengths), where=lengths > 0
        )
        return along

    seconds = blocks.seconds / blocks.count
    return Summary(
        draws=draws,
        gradient_norm=norm,
        bias=bias_squared(blocks).map(relative),
        variance=Interval(0.0, 0.0, 0.0) if zero else interval(lambda t: t.variance, log=True),
        mse=interval(lambda t: t.distance / t.count, log=True),
        snr=NOTHING if zero else interval(snr),
        snr_floor=1 / math.sqrt(draws),
        cosine=interval(cosine).map(lambda x: min(1.0, max(-1.0, x))) if norm else NOTHING,
        skewness=math.nan if zero else skewness,
        kurtosis=math.nan if zero else kurtosis,
        tail_share=share,
        heavy=share > TAIL_GATE,
        zero=zero,
        cpu=of_mean(seconds[0]),
        wall=of_mean(seconds[1]),
        nonfinite=int(blocks.nonfinite.sum()),
    )


def bias_squared(blocks: Blocks, level: float = LEVEL) -> Interval:
    """Return |E g - exact|^2, debiased by its own sampling variance, with its interval.

    The debiased square D of a mean error with covariance C has variance 4 x l + 2 tr C^2, where x
    is the true square and l the variance along it. The interval holds every x with
    (x - D)^2 <= t^2 (4 x l + 2 tr C^2): using the observed D for x in the variance would make it
    too short whenever D came out small.
    """
    whole, _ = totals(blocks)
    count = len(blocks.count)
    mean = whole.error  # [p]
    value = float(mean @ mean - whole.variance / whole.count)
    spread = (blocks.first - mean * blocks.count[:, None]) * count / whole.count  # [B, p]
    gram = spread @ spread.T / (count * (count - 1))  # its squares add up to tr C^2
    size = float(mean @ mean)
    along = spread @ mean / math.sqrt(size) if size > 0 else np.zeros(count)
    variance = float(np.square(along).sum()) / (count * (count - 1))
    rest = 2 * float(np.square(gram).sum())
    t2 = float(stats.t.ppf((1 + level) / 2, count - 1)) ** 2
    middle = max(value, 0.0) + 2 * t2 * variance
    product = max(value, 0.0) ** 2 - t2 * rest
    half = math.sqrt(max(middle**2 - product, 0.0))
    return Interval(max(value, 0.0), middle - half if product > 0 else 0.0, middle + half)


def totals(blocks: Blocks) -> tuple[Totals, Totals]:
    """Return the sums over all blocks, and over all but each one [B, ...]."""
    count, first, distance = blocks.count, blocks.first, blocks.distance[0]
    whole = Totals(count.sum(), first.sum(0), distance.sum(), blocks.exact)
    without = Totals(
        whole.count - count, whole.first - first, whole.distance - distance, blocks.exact
    )
    return whole, without


def _shape(blocks: Blocks) -> tuple[float, float]:
    """Return the skewness and kurtosis of the coordinates where they are most extreme."""
    count = blocks.count.sum()
    m1 = blocks.first.sum(0) / count
    m2, m3, m4 = blocks.powers.sum(1) / count  # about the exact gradient
    variance = m2 - m1**2
    alive = variance > np.square(ROUNDING * (np.abs(blocks.exact) + np.abs(m1)))
    if not alive.any():
        return math.nan, math.nan
    third = (m3 - 3 * m1 * m2 + 2 * m1**3)[alive]
    fourth = (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4)[alive]
    skewness = third / variance[alive] ** 1.5
    return (
        float(skewness[np.abs(skewness).argmax()]),
        float((fourth / np.square(variance[alive])).max()),
    )


def pool(parts: Sequence[Blocks]) -> Blocks:
    """Join the blocks of several seeds: they are independent draws of the same estimator."""
    first = parts[0]
    powers = np.concatenate([part.powers for part in parts], 1)
    return Blocks(
        count=np.concatenate([part.count for part in parts]),
        exact=first.exact,
        first=np.concatenate([part.first for part in parts]),
        powers=powers,
        largest=np.concatenate([part.largest for part in parts]),
        distance=np.concatenate([part.distance for part in parts], 1),
        seconds=np.concatenate([part.seconds for part in parts], 1),
        nonfinite=np.concatenate([part.nonfinite for part in parts]),
    )


def over_seeds(values: Sequence[Interval], *, log: bool) -> Interval:
    """Return the mean over seeds with the interval of their spread.

    For a tuned estimator each seed tunes anew, so the spread between seeds holds the luck of
    tuning, which blocks within a seed cannot show. One seed keeps its own interval.
    """
    if len(values) == 1:
        return values[0]
    numbers = np.array([x.value for x in values])
    return of_log_mean(numbers) if log and (numbers > 0).all() else of_mean(numbers)
