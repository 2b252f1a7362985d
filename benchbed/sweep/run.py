"""The driver: measure what a spec asks for and its results do not hold yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from benchbed.errors import BadArgument, ExitCode
from benchbed.store import Results
from benchbed.store.provenance import key as provenance_key
from benchbed.store.provenance import provenance
from benchbed.sweep.cells import Cell, expand
from benchbed.sweep.executors import InProcess, executor
from benchbed.sweep.spec import Spec
from benchbed.sweep.task import Done, failed, measure_into


@dataclass
class Outcome:
    """How a sweep ended."""

    path: Path
    cells: int
    kept: int = 0  # already there
    done: list[Done] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # combinations that cannot work
    damaged: list[str] = field(default_factory=list)  # files that were measured again
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
        return ExitCode.INCOMPLETE if self.bad else ExitCode.OK

    def one_line(self) -> str:
        """Say it in one line that can be quoted."""
        parts = [f"{len(self.done)} measured in {self.seconds:.1f} s", f"{self.kept} already there"]
        if self.skipped:
            parts.append(f"{len(self.skipped)} combinations skipped")
        if self.bad:
            parts.append(f"{len(self.bad)} failed or not finite")
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
        progress: called after every cell.

    Returns:
        The outcome; after Ctrl-C with ``interrupted`` set and every finished cell stored.

    Raises:
        BadSpec, UnknownName, BadArgument: the spec cannot work; nothing was run.
        UnusableResults: the folder is foreign or cannot be written.
    """
    if jobs < 1:
        raise BadArgument(f"-j needs at least 1 process, got {jobs}")
    start = time.perf_counter()
    cells, skipped = expand(spec)
    store = Results(Path(results) / spec.name)
    store.create(
        {
            "name": spec.name,
            "question": spec.question,
            "spec": spec.model_dump(),
            "cells": [cell.id for cell in cells],
            "skipped": skipped,
        }
    )
    surroundings = provenance()
    mark = provenance_key(surroundings)
    store.put_provenance(mark, surroundings)
    there, damaged = store.read(cell.id for cell in cells)
    sound = {cell for cell, record in there.items() if record.status != "failed"}
    todo = [cell for cell in cells if cell.id not in sound]
    outcome = Outcome(store.path, len(cells), len(cells) - len(todo), [], skipped, damaged)
    progress(outcome)
    if todo:
        _drive(store, todo, min(jobs, len(todo)), spec.timing, mark, outcome, progress)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _drive(
    store: Results,
    todo: list[Cell],
    jobs: int,
    timing: int,
    mark: str,
    outcome: Outcome,
    progress: Callable[[Outcome], None],
) -> None:
    """Submit, collect, and submit again what a dead worker took along, then one at a time."""
    waiting = {cell.id: cell for cell in todo}
    alone = False  # after a crash: one cell at a time, so that the guilty one is known
    while waiting and not outcome.interrupted:
        pool = executor(1 if alone and jobs == 1 else (2 if alone else jobs))
        futures: dict[Future[Done], Cell] = {}
        queue = list(waiting.values())
        width = 1 if alone or isinstance(pool, InProcess) else 2 * jobs
        try:
            while queue or futures:
                while queue and len(futures) < width:
                    cell = queue.pop(0)
                    submitted = pool.submit(measure_into, store.path, cell, timing, mark)
                    futures[submitted] = cell
                ready, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in ready:
                    cell = futures.pop(future)
                    try:
                        done = future.result()
                    except BrokenProcessPool:
                        if not alone:
                            raise
                        done = _died(store, cell)
                    waiting.pop(cell.id)
                    outcome.done.append(done)
                    progress(outcome)
                    if done.message == DIED:
                        raise BrokenProcessPool
        except BrokenProcessPool:
            alone = True
        except KeyboardInterrupt:
            outcome.interrupted = True
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if outcome.interrupted:
            for future, cell in futures.items():
                if future.done() and not future.cancelled() and not future.exception():
                    outcome.done.append(future.result())
                    waiting.pop(cell.id, None)


DIED = "the process that measured it died (out of memory?)"


def _died(store: Results, cell: Cell) -> Done:
    store.put(failed(cell, DIED))
    return Done(cell.id, "failed", DIED, 0.0)
