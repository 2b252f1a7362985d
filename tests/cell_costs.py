"""What one cell costs: seconds whatever its draws, seconds a draw, memory, disk."""

from __future__ import annotations

import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.measurement.cell import measure_cell
from benchbed.measurement.growth_in_draws import peak_memory
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec import Spec

JOBS = {
    "20 bits": {"name": "quadratic", "dimensions": 20},
    "8 variables of 10 categories": {"name": "polynomial", "dimensions": 8, "categories": 10},
    "2 variables of 1,000 categories": {"name": "polynomial", "dimensions": 2, "categories": 1000},
    "16 digits of 8 bits, 1,176 weights": {"name": "digits_vae"},
}
ESTIMATORS = (
    {"name": "score_function"},
    {"name": "leave_one_out"},
    {"name": "straight_through"},
    {"name": "gumbel_softmax"},
    {"name": "rebar"},
    {"name": "rebar", "eta": "tune", "temperature": "tune"},
    {"name": "local_expectation"},
)
FEW, SECONDS, ROUNDS, BLOCKS = 128, 0.4, 2, 64
SLOW = 0.3  # seconds of the few draws, beyond which nothing is repeated


@dataclass(frozen=True)
class CellCost:
    """CPU seconds of ``fixed + each * draws``, one thread, with 64 blocks and no timing pass.

    Attributes:
        job, estimator: as in JOBS and ESTIMATORS.
        fixed: seconds, exact gradient, exact moments and tuning included.
        each: seconds a draw, its moments included. NaN for what is tuned, as ``fixed`` is for what
            is too slow to tell.
        coordinates: numbers in one gradient, of weights where there is a network.
        random_numbers: in one estimate.
    """

    job: str
    estimator: str
    fixed: float
    each: float
    coordinates: int
    random_numbers: float


@dataclass(frozen=True)
class JobCost:
    """What the cells of one job take besides time: peak MiB of a process, KiB on disk of a cell."""

    job: str
    estimators: list[CellCost]
    at_start: float
    peak: float
    disk: float


def job_costs() -> list[JobCost]:
    """Measure every job in a fresh process."""
    found = []
    for job, entry in JOBS.items():
        build_objective(**entry)  # a model is trained here and now, and kept on disk
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found.append(pool.submit(job_cost, job).result())
    return found


def job_cost(job: str) -> JobCost:
    """Measure one job; the peak of memory is this process's."""
    start = peak_memory()
    objective = build_objective(**JOBS[job])
    estimators = []
    for entry in ESTIMATORS:
        estimator = build_estimator(**entry)
        if obstacle(objective, estimator):
            continue
        fixed, each = _line(objective, estimator)
        facts = measure_cell(objective, estimator, draws=FEW, timing=0)
        numbers = float(str(facts.facts["random_numbers"]))
        estimators.append(
            CellCost(job, _label(entry), fixed, each, facts.blocks.exact.size, numbers)
        )
    peak = peak_memory()
    return JobCost(job, estimators, start, peak, _disk(job))


def _line(objective: Objective, estimator: Estimator) -> tuple[float, float]:
    """Return seconds a cell and seconds a draw.

    NaN for the latter of what is tuned, and for the former where a few draws take so long that it
    cannot be told.
    """

    def seconds(draws: int) -> float:
        begun = time.process_time()
        measure_cell(objective, estimator, draws=draws, blocks=BLOCKS, timing=0)
        return time.process_time() - begun

    first = seconds(FEW)  # it also loads what is loaded at first use
    rounds = ROUNDS if first < SLOW else 1
    few = min(seconds(FEW) for _ in range(rounds))
    if estimator.tune:  # frozen, it draws like the same estimator with its settings given
        return few, math.nan
    rough = max(seconds(50 * FEW) - few, 1e-6) / 49 / FEW if few < SLOW else few / FEW
    many = FEW + max(FEW, math.ceil(SECONDS / rough / BLOCKS) * BLOCKS)
    each = (min(seconds(many) for _ in range(rounds)) - few) / (many - FEW)
    fixed = few - each * FEW
    return fixed if fixed > 0.1 * few else math.nan, each


def _disk(job: str) -> float:
    """Return KiB of the two files that a cell leaves behind."""
    spec = Spec(
        name="disk", objectives=[JOBS[job]], estimators=["leave_one_out"], draws=FEW, timing=0
    )
    with TemporaryDirectory() as folder:
        done = run_sweep(spec, folder)
        assert not done.bad, done.bad
        files = [path.stat().st_size for path in (Path(folder) / "disk" / "cells").iterdir()]
    assert len(files) == 2
    return sum(files) / 1024


def _label(entry: dict[str, Any]) -> str:
    return entry["name"] + (", tuned" if "eta" in entry else "")
