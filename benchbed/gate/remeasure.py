"""One cell again: on fresh seeds for the confirming run, or its CPU time alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchbed.analysis.gate.baseline import name_of
from benchbed.analysis.verdict import CONFIRM_FACTOR
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BrokenContract
from benchbed.measurement.cell import Measured, measure_cell
from benchbed.records import Record
from benchbed.sweep.cells import Cell, check_source, estimator_of, noise_address, objective_of

TUNINGS = 8  # fresh ones for an estimator that each seed tunes anew
RETIMED = 9  # alternations of a re-run
Plant = Callable[[Objective, Estimator], Estimator]


def as_is(_: Objective, estimator: Estimator) -> Estimator:
    """Plant nothing."""
    return estimator


def foreign(records: Sequence[Record]) -> list[str]:
    """Return the names of people's own code that a cell would import."""
    entries = (records[0].objective, records[0].estimator)
    return [str(entry["name"]) for entry in entries if ":" in str(entry["name"])]


def again(records: Sequence[Record], plant: Plant = as_is) -> list[Record]:
    """Measure a cell on fresh noise, with 16 times its draws, in its own dtype.

    In float64 a fault of float32 alone would be acquitted. The noise has the sweep's own seeds in
    its address: fresh to the sweep, and the same when the same sweep is checked twice.

    Args:
        records: of the cell, its seeds.
        plant: what puts a fault into the estimator, to see it found.

    Raises:
        BrokenContract: draws are not finite.
    """
    first = records[0]
    count = TUNINGS if first.facts.get("tuned") else 1
    total = sum(int(record.address["draws"]) for record in records)
    found = []
    for number in range(count):
        measured = _measured(
            first, plant, draws=CONFIRM_FACTOR * total // count, dtype=first.address["dtype"],
            address=("confirm", str(number), *(str(record.seed) for record in records)),
        )  # fmt: skip
        lost = int(measured.blocks.nonfinite.sum())
        if lost:
            raise BrokenContract(
                f"{name_of(first)}: {lost:,} draws of the confirming run were NaN or infinite; "
                "'benchbed verify estimator' shows where"
            )
        fresh = replace(first, blocks=measured.blocks, facts=measured.facts, cpu_ratios=())
        found.append(replace(fresh, exact=measured.exact))
    return found


def retime(records: Sequence[Record], plant: Plant = as_is, timing: int = RETIMED) -> list[Record]:
    """Time a cell again, by so many alternations, and nothing else."""
    first = records[0]
    few = 2 * int(first.address["blocks"])
    measured = _measured(
        first, plant, draws=few, dtype=first.address["dtype"], address=("retime",), timing=timing
    )
    return [replace(first, cpu_ratios=measured.times.cpu_ratios)]


def cell_of(record: Record) -> Cell:
    """Return the cell that a record is of."""
    return Cell(
        record.cell, record.objective, record.estimator, record.samples, record.seed,
        record.address,
    )  # fmt: skip


def _measured(
    record: Record,
    plant: Plant,
    *,
    draws: int,
    dtype: str,
    address: tuple[str, ...],
    timing: int = 0,
) -> Measured:
    cell = cell_of(record)
    check_source(cell)
    objective = objective_of(cell)
    return measure_cell(
        objective,
        plant(objective, estimator_of(cell)),
        draws=draws,
        blocks=record.address["blocks"],
        dtype=dtype,
        device=record.address["device"],
        seed=record.seed,
        address=(*address, *noise_address(cell)),
        timing=timing,
        compile=record.address.get("compile", False),
    )
