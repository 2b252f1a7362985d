"""What a whole cell costs in time and memory as its draws grow: so much, and so much a draw."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.cell import chunk_draws, measure_cell
from benchbed.measurement.growth import BITS, MEASURED, Timing

SIZES = (10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7, 3 * 10**7, 10**8)


@dataclass(frozen=True)
class DrawsLadder:
    """One cell at growing numbers of draws.

    Attributes:
        problem: for a reader.
        objective: name and settings.
        estimators: names; each is timed in a fresh process.
        sizes: numbers of draws, in rising order.
        repeats: of each size, unless it takes longer than ``slow`` seconds.
        slow: see there.
    """

    problem: str = "20 bits"
    objective: dict[str, Any] = field(default_factory=lambda: dict(BITS))
    estimators: tuple[str, ...] = ("score_function", "leave_one_out", "gumbel_softmax")
    sizes: tuple[int, ...] = SIZES
    repeats: int = 3
    slow: float = 1.0


def growth_in_draws(ladder: DrawsLadder) -> Iterator[Timing]:
    """Yield the timings of whole cells, an estimator at a time.

    Each has a process of its own, so that the peak of its memory is its own, too. The sizes rise:
    the peak after each is that of no more draws.
    """
    for name in ladder.estimators:
        fresh = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        with fresh as pool:
            yield from pool.submit(_climbed, ladder, name).result()


def peak_memory() -> float:
    """Return the most MiB that this process ever held, NaN where the system does not say."""
    try:  # not ru_maxrss: it starts at the size of the process that launched this one
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return math.nan
    return int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0]) / 1024


def _climbed(ladder: DrawsLadder, name: str) -> list[Timing]:
    """Measure cells as a sweep does, with 64 blocks and exact moments where there are any."""
    objective, estimator = build_objective(**ladder.objective), build_estimator(name)
    measure_cell(objective, estimator, draws=128, timing=0)  # loads what is loaded at first use
    found = []
    for size in ladder.sizes:
        for number in range(ladder.repeats):
            start = time.process_time()
            cell = measure_cell(objective, estimator, draws=size, timing=0, seed=number)
            spent = time.process_time() - start
            found.append(
                Timing(
                    "draws", ladder.problem, name, MEASURED, size, number, spent / size,
                    estimator.evaluations_on(objective), chunk_draws(objective, estimator), True,
                    bool(cell.facts["tabulated"]), peak_memory(),
                )
            )  # fmt: skip
            if spent > ladder.slow:
                break
    return found
