"""Where a planted fault ought to be seen: the cells whose draws the plan says are enough."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from benchbed.analysis.bias import visible_shrink
from benchbed.analysis.gate.baseline import Reading, read_cell
from benchbed.analysis.gate.gate import FAMILIES, VARIANCE_MARGIN
from benchbed.analysis.gate.mean_change import visible_change
from benchbed.analysis.verdict import SCREEN_LEVEL
from benchbed.errors import BadArgument
from benchbed.gate.faults import BIAS, FAULTS, VARIANCE
from benchbed.gate.trial import measured
from benchbed.records import Blocks, Record
from benchbed.sweep.cells import Cell, estimator_of, objective_of

POWER = 0.99  # of a planned cell
LARGE = 3  # times what is visible: a fault need not lie along the gradient
PILOT = 10**9  # a seed that no trial has


def planned_targets(cells: Mapping[str, Cell], alpha: float) -> dict[str, list[str]]:
    """Return for every fault the cells in which the gate should see it with power 0.99.

    A fault of a stated size (5 % of bias, 1.25 times the variance) is planned from a clean pilot.
    Others have the size they have, which the same noise without and with them shows, whatever a
    test makes of it: they are planned where it is 5 % of the gradient or more, and three times what
    the cell would show.

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
            else:
                visible = _visible(pilots[name], readings[name], alpha, len(cells))
                seen = visible <= BIAS
                if fault != "bias of 5 %":
                    size = _effect(measured(cell, PILOT, 0, kind.plant), pilots[name])
                    seen = size >= max(BIAS, LARGE * visible)
            if seen:
                targets[fault].append(name)
        if not targets[fault]:
            raise BadArgument(
                f"no cell of this sweep is large enough to see a {fault}; give it more draws, or "
                "leave faults out with --fault-runs 0"
            )
    return targets


def _visible(pilot: Record, reading: Reading, alpha: float, cells: int) -> float:
    """Return the smallest bias along the gradient that the gate sees, as a share of it."""
    if reading.heavy or reading.mean is None or reading.gradient_norm == 0:
        return math.inf
    if reading.unbiased is True:
        return visible_shrink(_blocks(pilot), SCREEN_LEVEL / cells)
    level = min(alpha / FAMILIES, SCREEN_LEVEL) / cells
    return visible_change(reading.mean, reading.mean, level) / reading.gradient_norm


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


def _effect(broken: Record, pilot: Record) -> float:
    """Return by how much a fault moves the mean on the same noise, as a share of |exact|."""
    means = [_blocks(record).first.sum(0) / record.address["draws"] for record in (broken, pilot)]
    size = float(np.linalg.norm(_blocks(pilot).exact))
    return float(np.linalg.norm(means[0] - means[1])) / (size or 1.0)


def _blocks(record: Record) -> Blocks:
    assert record.blocks is not None
    return record.blocks
