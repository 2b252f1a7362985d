"""The same sweep by ``benchbed run -j 1`` and by more processes: what they save."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchbed.analysis.intervals import Interval, of_log_mean
from benchbed.errors import UnusableResults
from benchbed.store import Results

ROUNDS = 3
SWEEP = """\
name: processes
question: How long does the same sweep take by one process and by several?
objectives:
  - {name: quadratic, dimensions: 20}
  - {name: polynomial, dimensions: 8, categories: 10}
estimators: [score_function, leave_one_out, gumbel_softmax, rebar]
seeds: 4
draws: 4000000
timing: 0
"""
PROGRAM = "from benchbed.cli import main; main()"


@dataclass(frozen=True)
class Run:
    """One run of the sweep, in a fresh process and an empty folder.

    Attributes:
        processes: -j.
        round: number of the repeat; a round runs every number of processes once.
        cells: measured.
        wall: seconds of the command, the start of Python and torch included.
        drawing: CPU seconds spent drawing, over all cells.
        waiting: wall seconds that drawing took beyond them: other work was on the processors.
    """

    processes: int
    round: int
    cells: int
    wall: float
    drawing: float
    waiting: float


def by_processes(
    counts: Sequence[int] = (1, 2), rounds: int = ROUNDS, sweep: str = SWEEP
) -> Iterator[Run]:
    """Yield the runs, every other round in reverse order: some 20 seconds a round.

    Raises:
        UnusableResults: a run failed; with what it said.
    """
    for number in range(rounds):
        for processes in counts if number % 2 == 0 else reversed(counts):
            yield _run(processes, number, sweep)


def efficiency(runs: Sequence[Run], processes: int) -> Interval:
    """Return wall(-j 1) / (processes * wall(-j processes)), pairs of one round; 1 is the best."""
    walls = {(run.processes, run.round): run.wall for run in runs}
    rounds = sorted({run.round for run in runs})
    return of_log_mean(
        np.array([walls[1, n] / walls[processes, n] / processes for n in rounds], dtype=np.float64)
    )


def _run(processes: int, number: int, sweep: str) -> Run:
    with TemporaryDirectory() as folder:
        spec = Path(folder) / "processes.yaml"
        spec.write_text(sweep, encoding="utf-8")
        command = ["run", str(spec), "-j", str(processes), "--results", folder]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        wall = time.perf_counter() - start
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise UnusableResults(f"'benchbed run -j {processes}' failed: {' '.join(said)}")
        store = Results(Path(folder) / "processes")
        cells, _ = store.read(store.sweep()["cells"])
        seconds = [cell.blocks.seconds.sum(1) for cell in cells.values() if cell.blocks]
        cpu, waited = (float(sum(each[k] for each in seconds)) for k in (0, 1))
    return Run(processes, number, len(cells), wall, cpu, waited - cpu)
