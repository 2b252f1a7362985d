"""A number and its interval, and the block jackknife that makes most of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchbed.records import Array

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and a two-sided interval around it, at level 0.95 unless said."""

    value: float
    low: float
    high: float

    def map(self, function: Callable[[float], float]) -> Interval:
        """Apply an increasing function to all three."""
        return Interval(*(function(x) for x in self))

    def scaled(self, factor: float) -> Interval:
        """Multiply by a positive constant that is known exactly."""
        return self.map(lambda x: x * factor)


NOTHING = Interval(math.nan, math.nan, math.nan)


def jackknife(value: float, left_out: Array, level: float = LEVEL) -> Interval:
    """Return the interval of a statistic from its values with one block left out.

    Args:
        value: the statistic on all B blocks.
        left_out: [B] the statistic without block b. Blocks are independent; what is inside one
            (coordinates, draws) may be correlated in any way.
        level: of the interval; Student's t with B - 1 degrees of freedom.
    """
    blocks = len(left_out)
    error = math.sqrt((blocks - 1) / blocks * float(np.square(left_out - left_out.mean()).sum()))
    return around(value, error, blocks - 1, level)


def log_jackknife(value: float, left_out: Array, level: float = LEVEL) -> Interval:
    """Return the jackknife interval of a positive statistic, made on its logarithm."""
    if value <= 0 or not (left_out > 0).all():
        return Interval(value, math.nan, math.nan)
    return jackknife(math.log(value), np.log(left_out), level).map(math.exp)


def of_mean(values: Array, level: float = LEVEL) -> Interval:
    """Return the t interval of the mean of independent values, such as one per block or seed."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return around(float(np.mean(values)), error, len(values) - 1, level)


def of_log_mean(values: Array, level: float = LEVEL) -> Interval:
    """Return the geometric mean of positive independent values with its t interval."""
    if len(values) == 0 or not (values > 0).all():
        return NOTHING
    return of_mean(np.log(values), level).map(math.exp)


def product(first: Interval, second: Interval) -> Interval:
    """Return the product of two independent positive estimates: log errors in quadrature."""
    if min(first.value, second.value) <= 0:
        return Interval(first.value * second.value, math.nan, math.nan)
    value = first.value * second.value
    spread = math.hypot(*(math.log(x.high / x.low) / 2 for x in (first, second)))
    return Interval(value, value * math.exp(-spread), value * math.exp(spread))


def around(value: float, error: float, freedom: float, level: float = LEVEL) -> Interval:
    """Return value -/+ t * error."""
    if freedom < 1 or math.isnan(error):
        return Interval(value, math.nan, math.nan)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(value, value - half, value + half)
