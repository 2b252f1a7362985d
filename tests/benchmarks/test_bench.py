"""Every estimator on every job next to its floor and to what people write, for ``make bench``.

Only --benchmark-only runs these. Times are CPU times of one call; ``extra_info`` has the gradients
that a call gives, and the summary at the end gives gradients in a CPU second.
"""

from __future__ import annotations

import time

import floor
import pytest
import torch
from jobs import JOBS, job
from measured import at_its_best, fitting, written
from pairs import pairs, tuned
from sides import drawing, ours
from stopwatch import Work, seconds

from benchbed.measurement.cell import chunk_draws

ROUNDS = 5
VALUES = (2**15, 2**17, 2**19)
CASES = [(title, name) for title in JOBS for name in fitting(title)]
SIDES = [
    (title, pair.label, side)
    for title in JOBS
    for pair in pairs(job(title))
    for side in ("ours", *written(job(title), pair))
]

pytestmark = pytest.mark.benchmark(timer=time.process_time)


def timed(benchmark, group: str, work: Work, gradients: int) -> None:
    """Time ``work`` in slices long enough for the clock, and note what it gives."""
    work()
    benchmark.group = group
    benchmark.extra_info["gradients"] = gradients
    calls = max(1, round(0.01 / seconds(work, 0.002)))
    benchmark.pedantic(work, rounds=ROUNDS, iterations=calls)


@pytest.mark.parametrize("side", ["draws", "floor"])
@pytest.mark.parametrize(("title", "name"), CASES)
def test_draws(benchmark, title, name, side):
    """Time the draws of an estimator, and the floor under them."""
    where = job(title)
    estimator = tuned(where, name)
    if side == "draws":
        work, chunk = drawing(where, estimator)
    else:
        chunk = chunk_draws(where.objective, estimator)
        work = floor.floor(where, floor.numbers_of(where, estimator), chunk)
    timed(benchmark, f"{title}: {name}", work, chunk)


@pytest.mark.parametrize(("title", "label", "side"), SIDES)
def test_moments(benchmark, title, label, side):
    """Time gradients with their mean and variance: benchbed's, and those of people's code."""
    where = job(title)
    torch.manual_seed(81)
    pair = next(each for each in pairs(where) if each.label == label)
    if side == "ours":
        work, gradients = ours(where, tuned(where, pair.name, **pair.settings))
    else:
        work, gradients = at_its_best(where, pair, side, VALUES)
    timed(benchmark, f"{title}: {label}, moments", work, gradients)
