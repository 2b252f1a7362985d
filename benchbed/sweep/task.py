"""What a worker does: measure one cell and put it in the store. Never raises; never half done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchbed.errors import BenchbedError
from benchbed.measurement.cell import measure_cell
from benchbed.records import Record
from benchbed.store import Results
from benchbed.sweep.cells import Cell, check_source, estimator_of, noise_address, objective_of

LONGEST = 500  # characters of a message: a table's cell, and one atomic write to the driver


@dataclass(frozen=True)
class Done:
    """How one cell ended."""

    cell: str
    status: str
    message: str
    notice: str = ""  # what a person should know although the numbers are right


def measure_into(path: Path, cell: Cell, timing: int, provenance: str) -> Done:
    """Measure ``cell`` and write its record under ``path``; a failure is a record, too.

    Raises:
        UnusableResults: the folder cannot be written.
    """
    record = replace(_measured(cell, timing), provenance=provenance)
    Results(path).put(record)
    why = record.facts.get("not_compiled")
    notice = f"compile: {why}; going on without it" if why else ""
    return Done(cell.id, record.status, record.message, notice)


def failed(cell: Cell, message: str) -> Record:
    """Return the record of a cell that gave no numbers."""
    return Record(
        cell.id, cell.objective, cell.estimator, cell.samples, cell.seed, cell.address,
        status="failed", message=" ".join(message.split())[:LONGEST],
    )  # fmt: skip


def _measured(cell: Cell, timing: int) -> Record:
    try:
        check_source(cell)
        found = measure_cell(
            objective_of(cell),
            estimator_of(cell),
            draws=cell.address["draws"],
            blocks=cell.address["blocks"],
            dtype=cell.address["dtype"],
            device=cell.address["device"],
            seed=cell.seed,
            address=noise_address(cell),
            timing=timing,
            compile=cell.address.get("compile", False),
        )
    except BenchbedError as error:
        return failed(cell, f"{cell.one_line()}: {error}")
    except (Exception, SystemExit) as error:  # your own code may do anything
        return failed(cell, f"{cell.one_line()}: {type(error).__name__}: {error}")
    lost = int(found.blocks.nonfinite.sum())
    message = (
        f"{cell.one_line()}: {lost:,} of {cell.address['draws']:,} draws were NaN or infinite"
        if lost
        else ""
    )
    return replace(
        failed(cell, message),
        status="nonfinite" if lost else "ok",
        facts=found.facts,
        cpu_ratios=found.times.cpu_ratios,
        seconds=found.times.seconds,
        blocks=found.blocks,
        exact=found.exact,
    )
