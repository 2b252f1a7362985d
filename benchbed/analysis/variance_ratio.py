"""Is one estimator's variance larger than another's? Ratios of positive statistics, on the log.

The statistic (variance or MSE) of all blocks and of all but one gives jackknife pseudo-values of
its logarithm, one a block: nearly independent numbers whose mean is the logarithm. Two cells with
their own noise are compared by Welch's t of them, two that share their noise block by block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchbed.analysis.intervals import Interval, around
from benchbed.analysis.summary import Totals, totals
from benchbed.records import Array, Blocks

Statistic = Callable[[Totals], Array]


class LogEstimate(NamedTuple):
    """The natural logarithm of a positive number, and how well it is known.

    Attributes:
        value: the logarithm.
        error: its standard error.
        freedom: degrees of freedom that the error was estimated with.
    """

    value: float
    error: float
    freedom: float

    def interval(self, level: float) -> Interval:
        """Return the number itself with its two-sided t interval."""
        return around(self.value, self.error, self.freedom, level).map(math.exp)


def variance_of(sums: Totals) -> Array:
    """Return the variance of one estimate, its trace: a ``Statistic``."""
    return sums.variance


def mse_of(sums: Totals) -> Array:
    """Return the mean squared error of one estimate: a ``Statistic``."""
    mse: Array = sums.distance / sums.count
    return mse


def pseudo_values(blocks: Blocks, statistic: Statistic = variance_of) -> Array:
    """Return the jackknife pseudo-values of the logarithm of a positive statistic, [B]."""
    whole, without = totals(blocks)
    count = len(blocks.count)
    values: Array = count * np.log(statistic(whole)) - (count - 1) * np.log(statistic(without))
    return values


def log_of(blocks: Blocks, statistic: Statistic = variance_of) -> LogEstimate:
    """Return the logarithm of a positive statistic of one cell."""
    return _of_values(pseudo_values(blocks, statistic))


def over_tunings(cells: Sequence[Blocks], statistic: Statistic = variance_of) -> LogEstimate:
    """Return the mean logarithm over cells that were each tuned anew: their spread is the error.

    Needs two cells or more; one tuning says nothing of the next.
    """
    return _of_values(np.array([np.log(statistic(totals(blocks)[0])) for blocks in cells]))


def ratio(new: LogEstimate, old: LogEstimate) -> LogEstimate:
    """Return log(new / old) of two independent estimates, with Satterthwaite's freedom."""
    parts = [(x.error**2, x.freedom) for x in (new, old)]
    total = sum(square for square, _ in parts)
    spread = sum(square**2 / freedom for square, freedom in parts if square > 0)
    freedom = total**2 / spread if spread > 0 else math.inf
    return LogEstimate(new.value - old.value, math.sqrt(total), freedom)


def paired_ratio(new: Blocks, old: Blocks, statistic: Statistic = variance_of) -> LogEstimate:
    """Return log(new / old) of two cells whose block b was drawn from the same noise."""
    return _of_values(pseudo_values(new, statistic) - pseudo_values(old, statistic))


def exceeds(found: LogEstimate, margin: float) -> float:
    """Return the one-sided p-value of "the ratio is at most ``margin``"."""
    return _upper_tail(found.value - math.log(margin), found)


def falls_short(found: LogEstimate, margin: float) -> float:
    """Return the one-sided p-value of "the ratio is at least ``margin``"."""
    return _upper_tail(math.log(margin) - found.value, found)


def _upper_tail(excess: float, found: LogEstimate) -> float:
    if found.error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(stats.t.sf(excess / found.error, found.freedom))


def _of_values(values: Array) -> LogEstimate:
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return LogEstimate(float(values.mean()), error, len(values) - 1)
