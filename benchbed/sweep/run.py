"""The driver: measure what a spec asks for and its results do not hold yet.

torch is imported where something may have to be measured, not before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchbed.errors import BadArgument, ExitCode
from benchbed.store import Results
from benchbed.store.provenance import key as provenance_key
from benchbed.store.provenance import provenance
from benchbed.sweep.recall import finished, recipe_of
from benchbed.sweep.spec import Spec

if TYPE_CHECKING:
    from benchbed.sweep.task import Done


@dataclass
class Outcome:
    """How a sweep ended."""

    path: Path
    cells: int
    kept: int = 0  # already there
    kept_nonfinite: int = 0  # of them, those whose draws were not all finite
    done: list[Done] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # what cannot work, and why
    damaged: list[str] = field(default_factory=list)  # files that were measured again
    notice: str = ""  # what a person should know before anything runs
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def bad(self) -> list[Done]:
        """Cells that failed or were not finite."""
        return [done for done in self.done if done.status != "ok"]

    @property
    def exit_code(self) -> ExitCode:
        """Return INTERRUPTED, INCOMPLETE or OK."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.INCOMPLETE if self.bad or self.kept_nonfinite else ExitCode.OK

    def one_line(self) -> str:
        """Say it in one line that can be quoted."""
        parts = [f"{len(self.done)} measured in {self.seconds:.1f} s", f"{self.kept} already there"]
        if self.skipped:
            parts.append("some combinations skipped")
        if self.bad or self.kept_nonfinite:
            count = len(self.bad) + self.kept_nonfinite
            parts.append(f"{count} failed or not finite (benchbed table {self.path} names them)")
        left = self.cells - self.kept - len(self.done)
        if left:
            parts.append(f"{left} left; the same command goes on from here")
        return f"{self.path}: {self.cells} cells, {', '.join(parts)}"


def run_sweep(
    spec: Spec,
    results: str | Path = "results",
    jobs: int = 1,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Measure every cell of ``spec`` that is not under ``results/<name>`` yet.

    Args:
        spec: what to measure.
        results: the folder that holds sweeps' folders.
        jobs: processes; the numbers do not depend on it.
        progress: called before anything runs, and after every cell.

    Returns:
        The outcome; after Ctrl-C with ``interrupted`` set and every finished cell stored.

    Raises:
        BadSpec, UnknownName, BadArgument: the spec cannot work; nothing was run.
        UnusableResults: the folder is foreign or cannot be written.
    """
    if jobs < 1:
        raise BadArgument(f"-j needs at least 1 process, got {jobs}")
    start = time.perf_counter()
    store = Results(Path(results) / spec.name)
    recipe = recipe_of(spec)
    if known := finished(store, recipe):
        outcome = _outcome(store, known.states, len(known.states), known.skipped, [])
        progress(outcome)
        outcome.seconds = time.perf_counter() - start
        return outcome
    from benchbed.sweep.cells import expand
    from benchbed.sweep.drive import Drive

    notice = _no_compiler(spec)
    if notice:  # these are the plain cells; another day the same command measures compiled ones
        spec = spec.model_copy(update={"compile": False})
        recipe = recipe_of(spec)
    cells, skipped = expand(spec)
    store.create(
        {
            "name": spec.name,
            "question": spec.question,
            "spec": spec.model_dump(),
            "cells": [cell.id for cell in cells],
            "skipped": skipped,
            "recipe": recipe,
        }
    )
    surroundings = provenance()
    mark = provenance_key(surroundings)
    store.put_provenance(mark, surroundings)
    states, damaged = store.states(cell.id for cell in cells)
    todo = [cell for cell in cells if states.get(cell.id, "failed") == "failed"]
    outcome = _outcome(store, states, len(cells), skipped, damaged)
    outcome.notice = notice
    progress(outcome)

    def report(done: Done) -> None:
        outcome.done.append(done)
        progress(outcome)

    try:
        Drive(store, spec.timing, mark, report).run(todo, jobs)
    except KeyboardInterrupt:
        outcome.interrupted = True
    outcome.seconds = time.perf_counter() - start
    return outcome


def _no_compiler(spec: Spec) -> str:
    """Say why draws that should be compiled cannot be, or nothing."""
    if not spec.compile:
        return ""
    import torch

    from benchbed.measurement.inductor import NoCompiler, check_compiler

    try:
        check_compiler(torch.device(spec.device))
    except NoCompiler as error:
        return f"compile: {error}; going on without it"
    return ""


def _outcome(
    store: Results, states: dict[str, str], cells: int, skipped: list[str], damaged: list[str]
) -> Outcome:
    """Return the state of a sweep before anything is measured."""
    failed = list(states.values()).count("failed")
    return Outcome(
        store.path,
        cells=cells,
        kept=len(states) - failed,
        kept_nonfinite=list(states.values()).count("nonfinite"),
        skipped=skipped,
        damaged=damaged,
    )
