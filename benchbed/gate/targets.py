"""Where a planted fault ought to be seen: the cells whose draws the plan says are enough."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scipy import stats

from benchbed.analysis.bias import predicted_power, screen
from benchbed.analysis.gate.baseline import Reading, read_cell
from benchbed.analysis.gate.gate import FAMILIES, VARIANCE_MARGIN
from benchbed.analysis.gate.mean_change import change_p_value, visible_change
from benchbed.analysis.verdict import SCREEN_LEVEL
from benchbed.errors import BadArgument
from benchbed.gate.faults import BIAS, FAULTS, VARIANCE
from benchbed.gate.trial import measured
from benchbed.records import Blocks, Record
from benchbed.sweep.cells import Cell, estimator_of, objective_of

POWER = 0.99  # of a planned cell
PLAIN = 1e-9  # p-value on the pilot of a fault that has no size of its own
PILOT, SECOND = 10**9, 10**9 + 1  # seeds that no trial has


def planned_targets(cells: Mapping[str, Cell], alpha: float) -> dict[str, list[str]]:
    """Return for every fault the cells in which the gate should see it with power 0.99.

    A fault of a stated size (5 % of bias, 1.25 times the variance) is planned from a clean pilot;
    a dropped term or a detached tensor has the size it has, and is planned where a pilot of it
    shows beyond doubt.

    Raises:
        BadArgument: there is no such cell for some fault.
    """
    pilots = {name: measured(cell, PILOT, 0) for name, cell in cells.items()}
    readings = {name: read_cell([record]) for name, record in pilots.items()}
    targets: dict[str, list[str]] = {}
    for fault, kind in FAULTS.items():
        targets[fault] = []
        for name, cell in cells.items():
            objective, estimator = objective_of(cell), estimator_of(cell)
            if estimator.tune is not None or not kind.fits(objective, estimator):
                continue
            if fault == "variance x 1.25":
                seen = _sees_variance(readings[name], alpha, len(cells))
            elif fault == "bias of 5 %":
                seen = _sees_bias(pilots[name], readings[name], alpha, len(cells))
            else:
                broken = measured(cell, SECOND, 0, kind.plant)
                seen = _shows(broken, readings[name])
            if seen:
                targets[fault].append(name)
        if not targets[fault]:
            raise BadArgument(
                f"no cell of this sweep is large enough to see a {fault}; give it more draws, or "
                "leave faults out with --fault-runs 0"
            )
    return targets


def _sees_bias(pilot: Record, reading: Reading, alpha: float, cells: int) -> bool:
    blocks = _blocks(pilot)
    if reading.unbiased is True:
        return not reading.heavy and predicted_power(blocks, BIAS, SCREEN_LEVEL / cells) >= POWER
    assert reading.mean is not None
    level = min(alpha / FAMILIES, SCREEN_LEVEL) / cells
    return visible_change(reading.mean, reading.mean, level) <= BIAS * reading.gradient_norm


def _sees_variance(reading: Reading, alpha: float, cells: int) -> bool:
    """Say whether both stages see the variance grow: the screen, and the confirming run."""
    if reading.variance is None or reading.heavy:
        return False
    room = math.log(VARIANCE / VARIANCE_MARGIN)
    error, sure = reading.variance.error, float(stats.norm.ppf(POWER))
    stages = ((SCREEN_LEVEL / cells, math.sqrt(2)), (alpha / FAMILIES / cells, math.sqrt(17 / 16)))
    return all(
        room >= (float(stats.t.isf(level, reading.variance.freedom)) + sure) * error * factor
        for level, factor in stages
    )


def _shows(broken: Record, reading: Reading) -> bool:
    if reading.unbiased is True:
        return screen(_blocks(broken))[0] < PLAIN
    found = read_cell([broken]).mean
    assert found is not None
    assert reading.mean is not None
    return change_p_value(found, reading.mean) < PLAIN


def _blocks(record: Record) -> Blocks:
    assert record.blocks is not None
    return record.blocks
