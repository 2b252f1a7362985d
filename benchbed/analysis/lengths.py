"""Intervals of lengths and angles of a mean gradient: its bias, signal-to-noise ratio and cosine.

A length is never below 0 and a cosine never above 1, and an estimate that is right sits exactly
there: an interval of value -/+ error cannot hold. Each interval here is the set of all values that
a t test accepts, its error taken AT the value tested. Where the boundary is accepted the interval
ends on it, and only the other end says something: an upper limit of a bias or a ratio, a lower
limit of a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from benchbed.analysis.intervals import LEVEL, NOTHING, Interval
from benchbed.records import Array, Blocks


class _Vector(NamedTuple):
    """A mean vector and its sampling law, as B independent blocks show it."""

    mean: Array  # [p]
    spread: Array  # [B, p]: covariance of the mean = spread^T spread / (B (B - 1))

    @property
    def size(self) -> float:
        return float(np.linalg.norm(self.mean))

    @property
    def along(self) -> Array:
        """Return the spread along the mean's own direction, [B]."""
        size = self.size
        return self.spread @ self.mean / size if size > 0 else np.zeros(len(self.spread))

    def covariance(self, first: Array, second: Array) -> float:
        """Return the covariance of two means whose blocks' deviations [B] are given."""
        count = len(self.spread)
        return float(first @ second) / (count * (count - 1))

    @property
    def noise(self) -> float:
        """Return tr C, the expected squared length of the mean's error."""
        count = len(self.spread)
        return float(np.square(self.spread).sum()) / (count * (count - 1))

    @property
    def rest(self) -> float:
        """Return 2 tr C^2, the variance of the squared length of the mean's error."""
        count = len(self.spread)
        gram = self.spread @ self.spread.T / (count * (count - 1))
        return 2 * float(np.square(gram).sum())


def bias_squared(blocks: Blocks, level: float = LEVEL) -> Interval:
    """Return |E g - exact|^2, debiased by its own sampling variance, with its interval.

    The debiased square D of a mean error with covariance C has variance 4 x l + 2 tr C^2, where x
    is the true square and l the variance along it. The interval holds every x with
    (x - D)^2 <= t^2 (4 x l + 2 tr C^2): using the observed D for x in the variance would make it
    too short whenever D came out small.
    """
    error = _error(blocks)
    draws = float(blocks.count.sum())
    value = error.size**2 - _variance(blocks) / draws
    t2 = _critical(blocks, level)
    middle = max(value, 0.0) + 2 * t2 * error.covariance(error.along, error.along)
    product = max(value, 0.0) ** 2 - t2 * error.rest
    half = math.sqrt(max(middle**2 - product, 0.0))
    return Interval(max(value, 0.0), middle - half if product > 0 else 0.0, middle + half)


def signal_to_noise(blocks: Blocks, level: float = LEVEL) -> Interval:
    """Return |E g| / sqrt(variance) of one estimate, debiased by the mean's own sampling variance.

    Holds every y for which |mean|^2 - y^2 variance, debiased, is as near 0 as its error at y says;
    the two share their draws, and the error counts their covariance.
    """
    error, variance = _error(blocks), _variance(blocks)
    if variance <= 0:
        return NOTHING
    mean = _Vector(error.mean + blocks.exact, error.spread)
    pseudo = _variance_pseudo_values(blocks)
    common = mean.covariance(mean.along, pseudo)
    own = mean.covariance(pseudo, pseudo)
    ahead, rest = mean.covariance(mean.along, mean.along), mean.rest
    square = max(mean.size**2 - variance / float(blocks.count.sum()), 0.0)
    t2, deviation = _critical(blocks, level), math.sqrt(variance)

    def excess(y: float) -> float:
        spread = 4 * y**2 * variance * ahead + rest + y**4 * own - 4 * y**3 * deviation * common
        return (square - y**2 * variance) ** 2 - t2 * spread

    value = math.sqrt(square) / deviation
    if variance**2 <= t2 * own:  # the variance cannot be told from 0: no ratio is too large
        return Interval(value, _end(excess, value, 0.0), math.inf)
    far = max(value, 1 / math.sqrt(float(blocks.count.sum())))
    while excess(far) <= 0:
        far *= 2
    return Interval(value, _end(excess, value, 0.0), _end(excess, value, far))


def cosine(blocks: Blocks, level: float = LEVEL) -> Interval:
    """Return the cosine between E g and the exact gradient; nothing where that is 0.

    With a the part of E g along the exact gradient, b what is across, and x = cos^2: holds every x
    for which b^2 x - a^2 (1 - x), debiased, is as near 0 as its error at x says. Where x = 0 is
    accepted the sign of a is open too.
    """
    norm = float(np.linalg.norm(blocks.exact))
    if norm == 0:
        return NOTHING
    error, unit = _error(blocks), blocks.exact / norm
    mean, swing = error.mean + blocks.exact, error.spread @ unit
    part = float(mean @ unit)
    across = _Vector(mean - part * unit, error.spread - swing[:, None] * unit)
    sign = math.copysign(1.0, part)
    own = across.covariance(swing, swing)
    ahead, rest = across.covariance(across.along, across.along), across.rest
    common = sign * across.covariance(across.along, swing)
    count = len(swing)
    mixed = 2 * float(np.square(across.spread.T @ swing).sum()) / (count * (count - 1)) ** 2
    a2, b2 = max(part**2 - own, 0.0), max(across.size**2 - across.noise, 0.0)
    total, t2 = a2 + b2, _critical(blocks, level)
    if total == 0:  # no mean could be told from 0: it points nowhere
        plain = part / (math.hypot(part, across.size) or 1.0)
        return Interval(plain, -1.0, 1.0)

    def excess(w: float) -> float:  # w = 1 - x, which may be tiny
        x = 1 - w
        spread = x**2 * (4 * total * w * ahead + rest) + w**2 * (4 * total * x * own + 2 * own**2)
        spread -= 2 * x * w * (4 * total * math.sqrt(x * w) * common + mixed)
        return (b2 * x - a2 * w) ** 2 - t2 * spread

    here = b2 / total
    near, far = _end(excess, here, 0.0), _end(excess, here, 1.0)
    value, high, low = (math.sqrt(1 - w) for w in (here, near, far))
    if far >= 1:
        return Interval(sign * value, -high, high)
    return Interval(sign * value, *sorted((sign * low, sign * high)))


def _end(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Return where, from ``inside`` to ``outside``, values stop being accepted (excess > 0)."""
    if excess(outside) <= 0:
        return outside
    if inside == outside or excess(inside) >= 0:  # no error at all
        return inside
    return float(optimize.brentq(excess, inside, outside, xtol=1e-300, rtol=1e-12, maxiter=1_000))


def _critical(blocks: Blocks, level: float) -> float:
    """Return the square of Student's t for the blocks' number."""
    return float(stats.t.ppf((1 + level) / 2, len(blocks.count) - 1)) ** 2


def _error(blocks: Blocks) -> _Vector:
    draws = float(blocks.count.sum())
    mean = blocks.first.sum(0) / draws
    return _Vector(mean, (blocks.first - mean * blocks.count[:, None]) * len(blocks.count) / draws)


def _variance(blocks: Blocks) -> float:
    """Return the trace of the covariance of one estimate, unbiased."""
    draws = float(blocks.count.sum())
    spread = float(blocks.distance[0].sum()) - float(np.square(blocks.first.sum(0)).sum()) / draws
    return max(spread, 0.0) / (draws - 1)


def _variance_pseudo_values(blocks: Blocks) -> Array:
    """Return the jackknife pseudo-values of the variance about their mean, [B]."""
    count, blocks_number = blocks.count.sum() - blocks.count, len(blocks.count)
    first = blocks.first.sum(0) - blocks.first
    spread = blocks.distance[0].sum() - blocks.distance[0] - np.square(first).sum(1) / count
    left_out = spread / (count - 1)
    pseudo: Array = (blocks_number - 1) * (left_out.mean() - left_out)
    return pseudo
