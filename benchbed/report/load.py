"""What a results folder holds, checked, as the page needs it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchbed.analysis.table import table
from benchbed.errors import UnusableResults
from benchbed.records import Record
from benchbed.store import Results

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # as a spec's: one folder, never a path


@dataclass(frozen=True)
class Surroundings:
    """Where and with what some of the records were measured."""

    key: str
    records: int
    facts: dict[str, Any]  # empty if they were lost


@dataclass(frozen=True)
class Loaded:
    """One sweep, read.

    Attributes:
        name: of the sweep; safe as a folder's name.
        question: what it answers.
        spec: what was asked for.
        cells: how many cells it has when finished.
        records: those that are there, in the sweep's order.
        damaged: a line for each record that cannot be read.
        skipped: a line for each combination that cannot work.
        surroundings: one for each commit, processor or set of versions.
        frame: ``benchbed.analysis.table.table`` of the records.
    """

    name: str
    question: str
    spec: dict[str, Any]
    cells: int
    records: list[Record]
    damaged: list[str]
    skipped: list[str]
    surroundings: list[Surroundings]
    frame: pd.DataFrame

    @property
    def missing(self) -> int:
        """Cells that were not measured yet or cannot be read."""
        return self.cells - len(self.records)

    @property
    def bad(self) -> list[Record]:
        """Records that failed or are not finite."""
        return [record for record in self.records if record.status != "ok"]


def load(results: Path) -> Loaded:
    """Read the folder of one sweep.

    Raises:
        UnusableResults: it is missing, foreign, damaged, or holds no readable cell.
    """
    store = Results(results)
    sweep = store.sweep()
    name, cells = sweep.get("name"), sweep.get("cells")
    if not (isinstance(name, str) and NAME.fullmatch(name) and isinstance(cells, list)):
        raise UnusableResults(
            f"{results} is damaged: its mark names no sweep or no cells; "
            "run the sweep again to mend it"
        )
    found, damaged = store.read(str(cell) for cell in cells)
    records = list(found.values())
    if not records:
        why = f"{len(damaged)} are damaged" if damaged else "none was measured yet"
        raise UnusableResults(
            f"{results} holds none of its {len(cells)} cells ({why}); "
            "'benchbed run SPEC' measures them"
        )
    spec, skipped = sweep.get("spec"), sweep.get("skipped")
    return Loaded(
        name=name,
        question=str(sweep.get("question") or ""),
        spec=spec if isinstance(spec, dict) else {},
        cells=len(cells),
        records=records,
        damaged=damaged,
        skipped=[str(line) for line in skipped] if isinstance(skipped, list) else [],
        surroundings=[
            Surroundings(key, count, store.provenance(key))
            for key, count in Counter(record.provenance for record in records).items()
        ],
        frame=table(records),
    )
