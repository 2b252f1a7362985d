"""The records of a sweep as the gate takes them: cells that are ok, and findings for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbed.analysis.gate.baseline import grouped, settings_of
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.verdict import LEAST_BLOCKS
from benchbed.errors import UnusableResults
from benchbed.records import Record
from benchbed.store import Results

UNKNOWN = (None, "", "unknown")
FACTS = ("commit", "dirty", "processor", "torch", "numpy")  # of the surroundings, for a reader


@dataclass(frozen=True)
class Sweep:
    """One sweep.

    Attributes:
        name: of the sweep.
        groups: the records of each cell, its seeds; all of them ok.
        findings: what is missing, failed or not finite.
        settings: dtype, device ... of its cells.
        surroundings: commit, processor and versions of the first record.
        processor: of every record; empty where it is unknown, or they differ.
    """

    name: str
    groups: dict[str, list[Record]]
    findings: list[Finding]
    settings: dict[str, Any]
    surroundings: dict[str, Any]
    processor: str


def load_sweep(results: Path) -> Sweep:
    """Read the folder of one sweep.

    Raises:
        UnusableResults: it is missing, foreign, empty, or has too few blocks for the tests.
    """
    store = Results(results)
    sweep = store.sweep()
    cells = sweep.get("cells", [])
    found, damaged = store.read(cells)
    if not found:
        raise UnusableResults(
            f"{results} holds none of its {len(cells)} cells; 'benchbed run SPEC' measures them"
        )
    findings = []
    lost = len(cells) - len(found)
    if lost:
        why = f"{lost} of {len(cells)} cells are missing or damaged ({len(damaged)} damaged)"
        advice = "'benchbed run SPEC' measures them"
        findings.append(Finding("", "cell", "incomplete", f"{why}; {advice}"))
    groups = grouped(found.values())
    for name, records in list(groups.items()):
        bad = [record for record in records if record.status != "ok"]
        if bad:
            message = f"{bad[0].status}: {bad[0].message}"
            findings.append(Finding(name, "cell", "incomplete", message))
            del groups[name]
    first = next(iter(found.values()))
    blocks = int(first.address.get("blocks", 0))
    if blocks < LEAST_BLOCKS:
        raise UnusableResults(
            f"{results} was measured in {blocks} blocks and the tests need {LEAST_BLOCKS}; "
            f"write blocks: {LEAST_BLOCKS} or more in its spec and run it again"
        )
    facts = _flat(store.provenance(first.provenance))
    places = {record.provenance for record in found.values()}
    processors = {_flat(store.provenance(place)).get("processor") for place in places}
    alone = next(iter(processors)) if len(processors) == 1 else None
    return Sweep(
        str(sweep.get("name", results.name)),
        groups,
        findings,
        settings_of(first),
        {key: facts[key] for key in FACTS if key in facts},
        "" if alone in UNKNOWN else str(alone),
    )


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    inner = {k: v for value in facts.values() if isinstance(value, dict) for k, v in value.items()}
    return facts | inner
