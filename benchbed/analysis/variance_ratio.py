"""Is one estimator's variance larger than another's? Ratios of positive statistics, on the log.

The statistic (variance or MSE) of all blocks and of all but one gives jackknife pseudo-values of
its logarithm, one a block: nearly independent numbers whose mean is the logarithm. Two cells with
their own noise are compared by Welch's t of them, two that share their noise block by block.

A variance estimated from heavy-tailed draws is itself skewed: short of the truth more often than
far above it, and its standard error is small at the same time. Welch's t alone then calls a light
law worse than an equal heavy one too often. So each p-value is the larger of Welch's and of the
same after Hall's transformation (1992, J. R. Stat. Soc. B 54:221), which takes the first-order
effect of the skewness out (rates: results/proof/calibration.md).
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
        skewness: of the logarithm's own sampling law: third central moment / error^3.
    """

    value: float
    error: float
    freedom: float
    skewness: float = 0.0

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
    found = _of_values(np.array([np.log(statistic(totals(blocks)[0])) for blocks in cells]))
    return found._replace(skewness=0.0)  # a few seeds show their spread, and no shape


def ratio(new: LogEstimate, old: LogEstimate) -> LogEstimate:
    """Return log(new / old) of two independent estimates, with Satterthwaite's freedom."""
    parts = [(x.error**2, x.freedom) for x in (new, old)]
    total = sum(square for square, _ in parts)
    spread = sum(square**2 / freedom for square, freedom in parts if square > 0)
    freedom = total**2 / spread if spread > 0 else math.inf
    third = new.skewness * new.error**3 - old.skewness * old.error**3
    skewness = third / total**1.5 if total > 0 else 0.0
    return LogEstimate(new.value - old.value, math.sqrt(total), freedom, skewness)


def paired_ratio(new: Blocks, old: Blocks, statistic: Statistic = variance_of) -> LogEstimate:
    """Return log(new / old) of two cells whose block b was drawn from the same noise."""
    return _of_values(pseudo_values(new, statistic) - pseudo_values(old, statistic))


def exceeds(found: LogEstimate, margin: float) -> float:
    """Return the one-sided p-value of "the ratio is at most ``margin``"."""
    return _upper_tail(found.value - math.log(margin), found.skewness, found)


def falls_short(found: LogEstimate, margin: float) -> float:
    """Return the one-sided p-value of "the ratio is at least ``margin``"."""
    return _upper_tail(math.log(margin) - found.value, -found.skewness, found)


def _upper_tail(excess: float, skewness: float, found: LogEstimate) -> float:
    if found.error == 0:
        return 0.0 if excess > 0 else 1.0
    t = excess / found.error
    corrected = t + skewness * (1 + 2 * t**2) / 6 + skewness**2 * t**3 / 27  # Hall's cubic
    return float(stats.t.sf(min(t, corrected), found.freedom))


def _of_values(values: Array) -> LogEstimate:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count)
    third = float(((values - values.mean()) ** 3).mean()) / count**2
    skewness = third / error**3 if error > 0 else 0.0
    return LogEstimate(float(values.mean()), error, count - 1, skewness)
