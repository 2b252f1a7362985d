"""What an estimate costs as ONE thing grows: dimensions, categories, samples or items.

Each timing is a cell measured by ``measure_cell``, so it holds what a sweep pays for an estimate:
drawing it, taking it through a network's Jacobian, adding up its moments. What a cell costs
whatever its draws (the exact gradient, exact moments, tuning) is kept out: growth_in_draws has it.

J itself is linear in the size here: a cost with a quadratic form (``coupled``, ``smooth``) grows
like the square of the dimensions by itself, whatever the estimator.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.measurement.cell import chunk_draws, measure_cell

DRAWN, MEASURED = "drawn", "drawn and measured"
ROUNDS = 5  # every size of a ladder is timed once in each
TRIES = 2  # the least of so many is a timing: other work on the machine only ever adds to it
SECONDS = 0.02  # of each try, at least
PATIENCE = 1e-3  # seconds of one estimate, beyond which larger sizes are left out
BLOCKS = 2  # of a cell that is timed
LEAST_SAMPLES = {"leave_one_out": 2, "disarm": 2}

ESTIMATORS = (
    *("score_function", "leave_one_out", "straight_through", "gumbel_softmax", "disarm", "rebar"),
    "local_expectation",  # its evaluations of J grow with the size: dearer by design
)
AVERAGING = ("score_function", "leave_one_out", "gumbel_softmax", "rebar")
BITS = {"name": "quadratic", "dimensions": 20}


@dataclass(frozen=True)
class Ladder:
    """An objective of which one thing grows.

    Attributes:
        along: dimensions, categories, samples or items.
        problem: for a reader, with what is counted.
        objective: name and fixed settings.
        setting: the one that grows, of the objective; of the estimators where it is ``samples``.
        sizes: all that are timed.
        fitted: from this size on a law is fitted: a chunk is full, so that what calls cost is a
            fixed, small share. Below, they cost more than the numbers they work on.
        estimators: those that cannot work on the objective, or at a size, are left out.
        draws: of a cell, at least. Tables of J pay in cells of many draws only.
    """

    along: str
    problem: str
    objective: dict[str, Any]
    setting: str
    sizes: tuple[int, ...]
    fitted: int
    estimators: tuple[str, ...] = ESTIMATORS
    draws: int = 0


LADDERS = (
    Ladder(
        "dimensions", "d bits", {"name": "quadratic"}, "dimensions",
        (1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048), 32,
    ),
    Ladder(
        "dimensions", "d variables of 10 categories", {"name": "polynomial", "categories": 10},
        "dimensions", (1, 2, 4, 8, 16, 32, 64, 128), 4,
    ),
    Ladder(
        "categories", "4 variables of K categories", {"name": "polynomial", "dimensions": 4},
        "categories", (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), 16,
    ),
    Ladder("samples", "20 bits", BITS, "samples", (1, 2, 4, 8, 16, 32, 64), 1, AVERAGING),
    Ladder(
        "samples", "8 variables of 10 categories",
        {"name": "polynomial", "dimensions": 8, "categories": 10}, "samples",
        (1, 2, 4, 8, 16, 32), 1, AVERAGING,
    ),
    Ladder(
        "items", "digits, 8 bits each, 1,176 weights", {"name": "digits_vae"}, "images",
        (1, 2, 4, 8, 16, 32, 64), 8, ("leave_one_out", "gumbel_softmax"), 2**13,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """One timing, on one thread.

    Attributes:
        along, problem: of the ladder.
        estimator: name.
        way: DRAWN is the estimator's ``draw`` alone, MEASURED everything.
        size: of what grows.
        round: number of the repeat.
        seconds: CPU seconds of one estimate.
        evaluations: of J in one estimate.
        chunk: draws at a time.
        fitted: whether a law is to be fitted here.
        tabulated: whether J was read from tables.
        peak: MiB, the most memory that its process had held by then; NaN where it is not asked or
            the system does not say.
    """

    along: str
    problem: str
    estimator: str
    way: str
    size: int
    round: int
    seconds: float
    evaluations: int
    chunk: int
    fitted: bool
    tabulated: bool
    peak: float = math.nan


def growth(ladders: Sequence[Ladder] = LADDERS, rounds: int = ROUNDS) -> Iterator[Timing]:
    """Yield the timings of the ladders, one at a time: about a minute in all."""
    for ladder in ladders:
        for name in ladder.estimators:
            yield from _climbed(ladder, name, rounds)


def _climbed(ladder: Ladder, name: str, rounds: int) -> Iterator[Timing]:
    """Time every size once in each round, in another order each time.

    So a burst of other work on the machine leans on no size more than on another.
    """
    cells = []
    for size in ladder.sizes:
        if ladder.setting == "samples" and size < LEAST_SAMPLES.get(name, 1):
            continue
        cell = _cell(ladder, name, size)
        if obstacle(cell.objective, cell.estimator):
            return
        warm = _timed(cell, 0)[0]
        if warm > PATIENCE:
            break
        draws = max(cell.draws * math.ceil(SECONDS / warm / cell.draws), ladder.draws)
        cells.append((size, replace(cell, draws=draws)))
    for number in range(rounds):
        for place in np.random.default_rng([19, number]).permutation(len(cells)):
            size, cell = cells[place]
            whole, drawn, tables = zip(*(_timed(cell, number) for _ in range(TRIES)), strict=True)
            for way, seconds in ((MEASURED, min(whole)), (DRAWN, min(drawn))):
                yield Timing(
                    ladder.along, ladder.problem, name, way, size, number, seconds,
                    cell.estimator.evaluations_on(cell.objective),
                    chunk_draws(cell.objective, cell.estimator), size >= ladder.fitted,
                    tables[0],
                )  # fmt: skip


@dataclass(frozen=True)
class _Cell:
    objective: Objective
    estimator: Estimator
    draws: int


def _cell(ladder: Ladder, name: str, size: int) -> _Cell:
    """Build one size's cell: two chunks, the exact gradient at hand, exact moments left out."""
    grown = {ladder.setting: size}
    of_estimator = ladder.setting == "samples"
    estimator = build_estimator(name, **(grown if of_estimator else {}))
    objective = build_objective(**(ladder.objective if of_estimator else ladder.objective | grown))
    exact = objective.exact_gradient()
    return _Cell(
        replace(objective, gradient=lambda _: exact),
        replace(estimator, finite=None),
        BLOCKS * max(2, chunk_draws(objective, estimator)),
    )


def _timed(cell: _Cell, seed: int) -> tuple[float, float, bool]:
    """Return CPU seconds of one estimate, measured and only drawn, and whether J had tables."""
    start = time.process_time()
    found = measure_cell(
        cell.objective, cell.estimator, draws=cell.draws, blocks=BLOCKS, timing=0, seed=seed
    )
    spent = time.process_time() - start
    drawn = float(found.blocks.seconds[0].sum())
    return spent / cell.draws, drawn / cell.draws, bool(found.facts["tabulated"])
