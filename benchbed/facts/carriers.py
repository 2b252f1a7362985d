"""What carries each row of the notes, and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from benchbed.catalogue import ESTIMATORS, OBJECTIVES
from benchbed.facts.coverage import ROWS, Row
from benchbed.facts.fact import Fact, Limit


@dataclass(frozen=True)
class Carried:
    """A row and what carries it: ``facts`` of them, those its record names, what is missing."""

    name: str
    row: Row
    facts: int
    missing: tuple[str, ...]


def carriers(
    facts: Iterable[Fact | Limit],
    rows: Mapping[str, Row] = ROWS,
    objectives: Collection[str] = OBJECTIVES,
    estimators: Collection[str] = ESTIMATORS,
) -> list[Carried]:
    """Return every row, in the order of the notes, with what carries it and what is missing.

    Args:
        facts: all there are; one whose row is in no table is an error of its author.
        rows: the table.
        objectives: every name there is.
        estimators: likewise.
    """
    of_row = [fact.row for fact in facts]
    strange = sorted(set(of_row) - set(rows))
    assert not strange, f"facts of rows that are in no note: {strange}"
    found = []
    for name, row in rows.items():
        kinds = (
            ("objective", row.objectives, objectives),
            ("estimator", row.estimators, estimators),
        )
        missing = [
            f"no {kind} {one}" for kind, named, there in kinds for one in named if one not in there
        ]
        count = of_row.count(name)
        if not count:
            missing.append("no fact")
        found.append(Carried(name, row, count, tuple(missing)))
    return found
