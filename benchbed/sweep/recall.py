"""A finished sweep, recognized without torch as long as nothing it depends on has changed.

Finding a spec's cells loads torch and builds every objective: seconds. A results folder therefore
keeps the hash of all that its cells were found from; under the same hash they are the same cells.
The hash is coarser than the cells' own (a comment changes it), never finer: where it differs, the
cells are found anew and their ids decide.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchbed.errors import UnusableResults
from benchbed.store import Results
from benchbed.sweep.spec import Spec

ROOT = Path(__file__).resolve().parents[1]


class Finished(NamedTuple):
    """What a folder holds that has every cell."""

    states: dict[str, str]  # of each cell: ok or nonfinite
    skipped: list[str]  # what cannot work, and why


def recipe_of(spec: Spec) -> str:
    """Return the hash of everything that decides the cells of ``spec`` and their numbers.

    The spec, each source of the project byte by byte, Python, torch and numpy. Empty, which
    recognizes nothing, where more has a say: code of your own, a plugin, a GPU that may be missing.
    """
    names = [entry.get("name") for entry in (*spec.objectives, *spec.estimators)]
    plain = all(isinstance(name, str) and ":" not in name for name in names)
    if spec.device != "cpu" or not plain or not _offered().isdisjoint(names):
        return ""
    wanted = json.dumps(spec.model_dump(), sort_keys=True)  # tells nan and inf from null
    return hashlib.sha256(f"{_sources()}\n{wanted}".encode()).hexdigest()


def finished(store: Results, recipe: str) -> Finished | None:
    """Return what ``store`` holds if it was made by ``recipe`` and nothing is left to measure."""
    try:
        sweep = store.sweep()
    except UnusableResults:
        return None
    cells = sweep.get("cells", [])
    if not recipe or sweep.get("recipe") != recipe or not store.ids().issuperset(cells):
        return None
    states, damaged = store.states(cells)
    if damaged or "failed" in states.values():
        return None
    return Finished(states, sweep.get("skipped", []))


def _offered() -> set[str]:
    """Return the names that installed packages offer."""
    return {
        point.name
        for kind in ("estimators", "objectives")
        for point in metadata.entry_points(group=f"benchbed.{kind}")
    }


@functools.cache
def _sources() -> str:
    """Hash what this process imports or has imported; an edit counts from the next process on."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("torch", "numpy"):
        digest.update(f"\n{name} {metadata.version(name)}".encode())
    for path in sorted(ROOT.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()
