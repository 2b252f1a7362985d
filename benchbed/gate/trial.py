"""One trial of the gate on itself: nothing changed, and then one cell with a fault in it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchbed.analysis.gate.baseline import Baseline, cpu_of, name_of, read_cell, settings_of
from benchbed.analysis.gate.baseline_text import from_text, to_text
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.gate.gate import gate
from benchbed.analysis.variance_ratio import LogEstimate
from benchbed.gate.faults import FAULTS
from benchbed.gate.remeasure import Plant, again, as_is, retime
from benchbed.measurement.cell import measure_cell
from benchbed.records import Record
from benchbed.sweep.cells import Cell, estimator_of, noise_address, objective_of

LEAST_BASELINE_TIMING = 5
Failure = tuple[str, str, str]  # cell, test, message


@dataclass(frozen=True)
class Trial:
    """What one trial gave.

    Attributes:
        number: of the trial; its baseline has seed 2 * number, its run the next.
        false: failures although nothing was changed.
        undecided: findings that more draws would decide.
        planted: fault -> the cell it was put into, and the failures of that cell.
    """

    number: int
    false: tuple[Failure, ...]
    undecided: int
    planted: Mapping[str, tuple[str, tuple[Failure, ...]]]


def run_trials(
    numbers: Sequence[int],
    cells: Mapping[str, Cell],
    targets: Mapping[str, Sequence[str]],
    *,
    before: int,
    alpha: float,
    timing: int,
) -> list[Trial]:
    """Run some trials, their CPU times held against those of one baseline, as in life.

    Args:
        numbers: of the trials.
        cells: of the sweep, by name.
        targets: fault -> the cells it is planted in, which trials take in turns.
        before: faults are planted in trials of smaller numbers alone.
        alpha: of the gate.
        timing: alternations with the reference kernel, in the baseline five at least; 0 leaves CPU
            time out.
    """
    often = max(timing, LEAST_BASELINE_TIMING)
    times = {
        name: cpu_of(retime([_bare(cell)], timing=often))
        for name, cell in (cells.items() if timing else ())
    }
    return [
        run_trial(number, cells, targets if number < before else {}, times, alpha, timing)
        for number in numbers
    ]


def run_trial(
    number: int,
    cells: Mapping[str, Cell],
    targets: Mapping[str, Sequence[str]],
    times: Mapping[str, LogEstimate | None],
    alpha: float,
    timing: int,
) -> Trial:
    """Measure a baseline and a run of the same code on other seeds, and check one by the other.

    Args:
        number: of the trial.
        cells: of the sweep, by name.
        targets: fault -> the cells it is planted in, which trials take in turns; empty for none.
        times: CPU times in the baseline.
        alpha: of the gate.
        timing: alternations with the reference kernel; 0 leaves CPU time out.
    """
    before = {name: [measured(cell, 2 * number, 0)] for name, cell in cells.items()}
    now = {name: [measured(cell, 2 * number + 1, timing)] for name, cell in cells.items()}
    baseline = as_read(before)
    baseline = replace(
        baseline,
        cells={name: replace(read, cpu=times.get(name)) for name, read in baseline.cells.items()},
    )
    clean = gate(
        now, baseline, lambda name: again(now[name]), lambda name: retime(now[name]), alpha=alpha
    )
    planted = {}
    for fault, names in targets.items():
        name = names[number % len(names)]
        plant = FAULTS[fault].plant
        broken = now | {name: [measured(cells[name], 2 * number + 1, 0, plant)]}

        measured_again = functools.partial(_again, broken, name, plant)
        found = gate(broken, baseline, measured_again, measured_again, alpha=alpha, cpu=False)
        planted[fault] = (name, _failures(part for part in found if part.cell == name))
    undecided = sum(finding.outcome == "undecided" for finding in clean)
    return Trial(number, _failures(clean), undecided, planted)


def measured(cell: Cell, seed: int, timing: int, plant: Plant = as_is) -> Record:
    """Measure one cell under another seed, as a sweep does."""
    cell, objective = replace(cell, seed=seed), objective_of(cell)
    found = measure_cell(
        objective,
        plant(objective, estimator_of(cell)),
        draws=cell.address["draws"],
        blocks=cell.address["blocks"],
        dtype=cell.address["dtype"],
        device=cell.address["device"],
        seed=seed,
        address=noise_address(cell),
        timing=timing,
    )
    return replace(
        _bare(cell), facts=found.facts, cpu_ratios=found.times.cpu_ratios, blocks=found.blocks,
        exact=found.exact,
    )  # fmt: skip


def _bare(cell: Cell) -> Record:
    """Return the record of a cell without its numbers."""
    return Record(
        cell.id, cell.objective, cell.estimator, cell.samples, cell.seed, cell.address, "ok"
    )


def named(cells: Iterable[Cell]) -> dict[str, Cell]:
    """Return the cells of a sweep by name, its first seed's."""
    found: dict[str, Cell] = {}
    for cell in cells:
        found.setdefault(name_of(_bare(cell)), cell)
    return found


def as_read(groups: Mapping[str, Sequence[Record]]) -> Baseline:
    """Return the baseline that a file of these records would give back, its digits rounded."""
    first = next(iter(groups.values()))[0]
    readings = {name: read_cell(records) for name, records in groups.items()}
    return from_text(to_text(Baseline("selftest", settings_of(first), {}, readings)), "selftest")


def _again(
    groups: Mapping[str, list[Record]], broken: str, plant: Plant, name: str
) -> list[Record]:
    """Measure a cell on fresh seeds, with its fault where it is the broken one."""
    return again(groups[name], plant if name == broken else as_is)


def _failures(findings: Iterable[Finding]) -> tuple[Failure, ...]:
    return tuple((f.cell, f.test, f.message) for f in findings if f.outcome == "fail")
