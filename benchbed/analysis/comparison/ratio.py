"""Ratios of what two estimators give and take: variance, MSE, work, each with its error.

Sides that share their noise are paired block by block, others compared by Welch's t. Where either
is tuned, each seed tuned it anew: the pairs are seeds then, as blocks cannot show that luck.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from benchbed.analysis.comparison.sides import Side
from benchbed.analysis.summary import totals
from benchbed.analysis.variance_ratio import (
    LogEstimate,
    Statistic,
    log_of,
    mse_of,
    paired_ratio,
    ratio,
    variance_of,
)
from benchbed.records import Array, Blocks

Metric = Literal["variance", "mse", "variance_x_evaluations", "variance_x_cpu", "cpu"]
METRICS: tuple[Metric, ...] = ("variance", "mse", "variance_x_evaluations", "variance_x_cpu", "cpu")
SAME: LogEstimate = LogEstimate(0.0, 0.0, math.inf)

LEAST_SEEDS = 3  # of tuned estimators: two tunings give an interval, but hardly an end to it


class Found(NamedTuple):
    """The logarithm of a ratio candidate / baseline, or why there is none.

    Attributes:
        log: None where there is none.
        how: ``identical``, ``paired``, ``apart`` or ``over seeds``.
        why: there is none; else empty.
        outcome: that a missing ratio stands for.
        timing: the part of the error that comes from timing, which more draws do not lower.
    """

    log: LogEstimate | None
    how: str = ""
    why: str = ""
    outcome: Literal["tails", "zero", "undecided", "undefined", "failed"] = "undefined"
    timing: float = 0.0


def found_ratio(new: Side, old: Side, metric: Metric, named: str) -> Found:
    """Return the ratio of ``metric``, the candidate's over the baseline's.

    Args:
        new: the candidate's side; it has draws.
        old: the baseline's, on the same objective.
        metric: ``variance`` and ``mse`` of one estimate; ``variance_x_evaluations`` (of J, known
            exactly) and ``variance_x_cpu``, both work-normalized; ``cpu``, time of one estimate.
        named: the baseline's name, for a person.
    """
    for side, name in ((new, "the candidate"), (old, named)):
        if side.failure:
            return Found(None, why=f"{name} {side.failure}", outcome="failed")
    if metric == "cpu":
        return _cpu(new, old)
    missing = _undefined(new, old, metric)
    if missing:
        return Found(None, why=missing)
    gone = [
        name
        for side, name in ((new, "the candidate"), (old, named))
        if (side.no_error if metric == "mse" else side.summary.zero)
    ]
    if gone:
        what = "error" if metric == "mse" else "variance"
        return Found(None, why=f"no {what}: {' and '.join(gone)}", outcome="zero")
    base = _ratio(new, old, mse_of if metric == "mse" else variance_of, named)
    if base.log is None:
        return base
    if metric == "variance_x_evaluations":
        factor = math.log(new.evaluations / old.evaluations)
        return base._replace(log=base.log._replace(value=base.log.value + factor))
    if metric == "variance_x_cpu":
        time = _cpu(new, old)
        if time.log is None:
            return time
        both = ratio(base.log, time.log._replace(value=-time.log.value))
        return base._replace(log=both, timing=time.timing)
    return base


def _undefined(new: Side, old: Side, metric: Metric) -> str:
    """Return why a ratio cannot be defined at all, or nothing."""
    if metric == "mse" and new.target != old.target:
        return f"errors are from two targets, {new.target} and {old.target}"
    if metric == "variance_x_evaluations" and min(new.evaluations, old.evaluations) <= 0:
        return "one of the two never calls J"
    if metric == "variance_x_cpu":
        return _cpu(new, old).why
    return ""


def _ratio(new: Side, old: Side, statistic: Statistic, named: str) -> Found:
    if new.identical(old):
        return Found(SAME, "identical")
    heavy = [name for side, name in ((new, "the candidate"), (old, named)) if side.tails]
    if heavy:
        return Found(None, why=" and ".join(heavy), outcome="tails")
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _from_draws(new, old, statistic)
    if found.log is not None and not (math.isfinite(found.log.value + found.log.error)):
        return Found(None, why="one block holds all the variance there is", outcome="tails")
    return found


def _from_draws(new: Side, old: Side, statistic: Statistic) -> Found:
    if new.tuned or old.tuned:
        seeds = min(len(new.parts), len(old.parts))
        if seeds < LEAST_SEEDS or len(new.parts) != len(old.parts):
            why = f"tuned anew for every seed: needs {LEAST_SEEDS} seeds or more, has {seeds}"
            return Found(None, why=why, outcome="undecided")
        logs = [_logs(side.parts, statistic) for side in (new, old)]
        return Found(_mean(logs[0] - logs[1]), "over seeds")
    if new.shares_noise(old):
        return Found(paired_ratio(new.blocks, old.blocks, statistic), "paired")
    parts = [log_of(side.blocks, statistic) for side in (new, old)]
    return Found(ratio(parts[0], parts[1]), "apart")


def _logs(parts: tuple[Blocks, ...], statistic: Statistic) -> Array:
    """Return the logarithm of the statistic of every seed, [seeds]."""
    return np.array([float(np.log(statistic(totals(blocks)[0]))) for blocks in parts])


def _cpu(new: Side, old: Side) -> Found:
    """Return the ratio of CPU time per estimate, each to the reference kernel."""
    times = [[x for record in side.records for x in record.cpu_ratios] for side in (new, old)]
    if min(map(len, times)) < 2:
        return Found(None, why="not timed")
    kernels = {side.first.facts.get("reference") for side in (new, old)}
    if len(kernels) > 1:
        return Found(None, why="timed against two reference kernels")
    logs = [_mean(np.log(np.array(values))) for values in times]
    found = ratio(logs[0], logs[1])
    return Found(found, "apart", timing=found.error)


def _mean(values: Array) -> LogEstimate:
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return LogEstimate(float(values.mean()), error, len(values) - 1)
