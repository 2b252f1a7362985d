"""What an exact gradient costs as a problem grows, next to what sampling costs.

Summing over every z takes time like 2^d, K^d or K^T; dynamic programming over a chain T K^2, a sum
over the one discrete variable of a nested model K d; one sampled estimate d, K d or T. But one
estimate is noisy: the time until the mean of many is right to one per cent is shown as well. Rows
S48, S49, S12 and S4C of benchbed.facts.coverage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Objective
from benchbed.enumeration import marginalize
from benchbed.measurement.cell import chunk_draws, measure_cell
from benchbed.rng import Noise

SUM, FORMULA = "sum over every z", "dynamic programming"
ONE, MANY = "one sampled estimate", "sampled, mean right to 1 %"
DRAWS = 8192  # behind the variance of one estimate
REPEATS = 5  # of each timing
LEAST_SECONDS = 0.02  # of each repeat
PATIENCE = 20.0  # seconds of one exact gradient, beyond which larger sums are left out
TOLERANCE = 0.01


@dataclass(frozen=True)
class Ladder:
    """A problem at growing sizes.

    Attributes:
        problem: title, with what is counted.
        objective: name and fixed settings.
        size: the setting that grows.
        summed: sizes at which every z is summed.
        sampled: sizes at which estimates are drawn and, where there is one, the formula is used.
        formula: what the objective's own exact gradient does, or empty.
        growth: what theory says the costs grow like, for the caption.
    """

    problem: str
    objective: dict[str, Any]
    size: str
    summed: tuple[int, ...]
    sampled: tuple[int, ...]
    formula: str
    growth: str


LADDERS = (
    Ladder(
        "d bits", {"name": "coupled"}, "dimensions",
        (3, 4, 6, 8, 10, 12, 14, 16, 18, 20), (3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 30, 50, 100),
        "", "2^d against d^2: the cost has a quadratic form",
    ),
    Ladder(
        "d variables of 4 categories", {"name": "smooth", "categories": 4}, "dimensions",
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 25, 50),
        "", "4^d against d^2",
    ),
    Ladder(
        "chain of T steps, 3 states", {"name": "markov_chain", "categories": 3}, "steps",
        (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 50, 100),
        FORMULA, "3^T against T",
    ),
    Ladder(
        "one of K values, then 2 normals", {"name": "nested", "dimensions": 2}, "categories",
        (), (2, 4, 8, 16, 32, 64, 128, 256),
        "sum over the K values, quadrature within", "K d against d",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """CPU seconds of one gradient, one thread.

    Attributes:
        problem: a ladder's title.
        size: the step on it.
        way: how the gradient was found.
        seconds: median of the repeats.
        low, high: the least and the most.
    """

    problem: str
    size: int
    way: str
    seconds: float
    low: float
    high: float


def scaling(ladders: tuple[Ladder, ...] = LADDERS) -> Iterator[Point]:
    """Yield the timings, one at a time: a minute or two in all."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for ladder in ladders:
            patient = True
            for size in sorted({*ladder.summed, *ladder.sampled}):
                settings = {**ladder.objective, ladder.size: size}
                objective = build_objective(**settings)
                if size in ladder.summed and patient:
                    point = _timed(
                        ladder, size, SUM, partial(marginalize, objective, objective.params)
                    )
                    patient = point.seconds < PATIENCE
                    yield point
                if size in ladder.sampled:
                    if ladder.formula:
                        yield _timed(ladder, size, ladder.formula, objective.exact_gradient)
                    yield from _sampled(ladder, size, objective)
    finally:
        torch.set_num_threads(before)


def _sampled(ladder: Ladder, size: int, objective: Objective) -> Iterator[Point]:
    """Time one leave-one-out estimate of 2 samples, and as many as 1 % of the gradient takes."""
    estimator = build_estimator("leave_one_out", samples=2)
    chunk = chunk_draws(objective, estimator)
    noise, params = Noise(0, "scaling", ladder.problem, size), objective.params.float()
    one = _timed(
        ladder, size, ONE, lambda: estimator.draw(objective, params, chunk, noise), rows=chunk
    )
    yield one
    if ladder.formula or size in ladder.summed:  # the length of the gradient is known
        blocks = measure_cell(objective, estimator, draws=DRAWS, timing=0).blocks
        error = float(blocks.distance[0].sum() / blocks.count.sum())  # E |g - exact|^2
        length = float((blocks.exact**2).sum())
        draws = max(1.0, error / (TOLERANCE**2 * length))
        yield Point(
            ladder.problem, size, MANY, one.seconds * draws, one.low * draws, one.high * draws
        )


def _timed(ladder: Ladder, size: int, way: str, work: Callable[[], object], rows: int = 1) -> Point:
    """Return CPU seconds of one gradient where ``work`` finds ``rows`` of them."""
    found: list[float] = []
    start = time.process_time()
    work()  # warms up, and says how long it takes
    slow = time.process_time() - start > 1
    for _ in range(1 if slow else REPEATS):
        calls, start = 0, time.process_time()
        while not calls or time.process_time() - start < LEAST_SECONDS:
            work()
            calls += 1
        found.append((time.process_time() - start) / calls / rows)
    found.sort()
    return Point(ladder.problem, size, way, found[len(found) // 2], found[0], found[-1])
