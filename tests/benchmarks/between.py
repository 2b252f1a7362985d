"""What lies between the floor and an estimate: making z, J with its slope, and all else."""

from __future__ import annotations

from dataclasses import dataclass

import floor
import sides
import torch
from jobs import job
from pairs import tuned
from stopwatch import Spread, alternated

from benchbed.measurement.cell import chunk_draws
from benchbed.rng import Noise

# One of each kind: a score, two that pull the slope at a hard z back, one at a relaxed z.
KINDS = ("score_function", "straight_through", "reinmax", "gumbel_softmax")


@dataclass(frozen=True)
class Between:
    """Nanoseconds a draw, by part."""

    name: str
    floor: Spread
    noise: Spread  # the random numbers, as benchbed draws them
    rest_of_z: Spread  # what else it takes to make z
    cost: Spread  # J there, with its slope where the estimator asks for it
    rest: Spread  # from there to the gradient
    total: Spread


def between(title: str, name: str, rounds: int) -> Between:
    """Time one chunk by part, the parts alternated."""
    where, estimator = job(title), tuned(job(title), name)
    family, params = where.objective.family, where.params
    chunk, noise = chunk_draws(where.objective, estimator), Noise(62)
    numbers = floor.numbers_of(where, estimator)
    warm = float(str(estimator.settings.get("temperature", 1)))
    soft = "relaxed" in estimator.needs

    def make() -> torch.Tensor:
        if soft:
            return family.path(params, chunk, 1, warm, noise).soft
        return family.sample(params, chunk, 1, noise)

    with torch.no_grad():
        z, slope = make(), estimator.slopes > 0
        works = {
            "floor": floor.floor(where, numbers, chunk),
            "noise": lambda: noise.uniform(chunk, numbers),
            "z": make,
            "cost": lambda: where.objective.evaluate(z, params, slope=slope),
            "total": sides.drawing(where, estimator)[0],
        }
        times = alternated({part: (work, chunk) for part, work in works.items()}, rounds)
    found = list(zip(*times.values(), strict=True))  # of each round
    return Between(
        name,
        *(
            _nanoseconds(values)
            for values in (
                [low for low, *_ in found],
                [numbers for _, numbers, *_ in found],
                [z - numbers for _, numbers, z, _, _ in found],
                [cost for *_, cost, _ in found],
                [total - z - cost for _, _, z, cost, total in found],
                [total for *_, total in found],
            )
        ),
    )


def _nanoseconds(values: list[float]) -> Spread:
    ordered = sorted(1e9 * value for value in values)
    return Spread(ordered[len(ordered) // 2], ordered[0], ordered[-1])
