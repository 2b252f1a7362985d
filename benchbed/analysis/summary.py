"""Block sums -> bias, variance, MSE, signal-to-noise, cosine and tails, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchbed.analysis.intervals import (
    NOTHING,
    Interval,
    log_jackknife,
    of_log_mean,
    of_mean,
)
from benchbed.analysis.lengths import bias_squared, cosine, signal_to_noise
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
        snr: |E g| / sqrt(variance), debiased by the mean's own sampling variance; an upper limit
            where its interval starts at 0.
        snr_floor: what the mean of all draws would read, root mean square, if E g were 0:
            1 / sqrt(draws). Little below it can be told from 0.
        cosine: between E g and the exact gradient; a lower limit where its interval ends at 1.
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

    def interval(statistic: Callable[[Totals], Array]) -> Interval:
        return log_jackknife(float(statistic(whole)), statistic(without))

    def relative(squared: float) -> float:
        return math.sqrt(max(squared, 0.0)) / norm if norm else math.nan

    seconds = blocks.seconds / blocks.count
    return Summary(
        draws=draws,
        gradient_norm=norm,
        bias=bias_squared(blocks).map(relative),
        variance=Interval(0.0, 0.0, 0.0) if zero else interval(lambda t: t.variance),
        mse=interval(lambda t: t.distance / t.count),
        snr=NOTHING if zero else signal_to_noise(blocks),
        snr_floor=1 / math.sqrt(draws),
        cosine=cosine(blocks),
        skewness=math.nan if zero else skewness,
        kurtosis=math.nan if zero else kurtosis,
        tail_share=share,
        heavy=share > TAIL_GATE,
        zero=zero,
        cpu=of_mean(seconds[0]),
        wall=of_mean(seconds[1]),
        nonfinite=int(blocks.nonfinite.sum()),
    )


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
