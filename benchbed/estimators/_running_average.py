"""Moving averages of J at a frozen point: what a baseline that trains alongside has learned."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Draw, Objective
from benchbed.errors import BadArgument
from benchbed.rng import Noise

CHUNK = 4096  # evaluations of J at a time


def proper_decay(name: str, decay: float) -> float:
    """Return ``decay``, or say why no average can move by it."""
    if not 0 <= decay < 1:
        raise BadArgument(
            f"{name} needs 0 <= decay < 1, got {decay}; at 1 the average never moves, try 0.9"
        )
    return float(decay)


def costs_in_sequence(
    objective: Objective, params: Tensor, steps: int, batch: int, noise: Noise
) -> Tensor:
    """Return J at ``batch`` fresh z in each of ``steps`` steps: [steps, batch, *items], float64."""
    at_once = max(1, CHUNK // batch)
    parts = []
    for start in range(0, steps, at_once):
        count = min(at_once, steps - start)
        z = objective.family.sample(params, count, batch, noise)
        parts.append(objective.evaluate(z, params).cost.double())
    return torch.cat(parts)


def running_average(values: Tensor, decay: float) -> Tensor:
    """Return where c <- decay c + (1 - decay) value ends after ``values`` [steps, ...].

    Divided by 1 - decay^steps, so that the 0 it starts from leaves no trace.
    """
    age = torch.arange(len(values) - 1, -1, -1, device=values.device)
    weight = torch.pow(decay, age.to(values))
    average: Tensor = torch.tensordot(weight / weight.sum(), values, 1)
    return average


def no_draw_before_tuning(name: str) -> Draw:
    """Return the ``draw`` of an estimator that has yet to see its pilot: it says so."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del objective, params, draws, noise
        raise BadArgument(
            f"{name} has no baseline before its pilot; call "
            "estimator.tune(objective, params, noise) and draw from what it returns"
        )

    return draw
