"""Faults to plant, and the gate's power against them: what people do break."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.rng import Noise

BIAS, VARIANCE = 0.05, 1.25


@dataclass(frozen=True)
class Fault:
    """One way to break an estimator.

    Attributes:
        says: what it does, in a line.
        fits: whether it does anything to this estimator on this objective.
        plant: returns the broken estimator.
    """

    says: str
    fits: Callable[[Objective, Estimator], bool]
    plant: Callable[[Objective, Estimator], Estimator]


def _biased(objective: Objective, estimator: Estimator) -> Estimator:
    """Take 5 % of the exact gradient away from every estimate: the variance stays as it was."""
    missing = BIAS * estimator.exact_gradient(objective)

    def draw(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimator.draw(problem, params, draws, noise) - missing.to(params)

    return replace(estimator, draw=draw)


def _noisier(objective: Objective, estimator: Estimator) -> Estimator:
    """Stretch every estimate about the exact gradient: no bias, 1.25 times the variance."""
    centre = estimator.exact_gradient(objective)
    stretch = math.sqrt(VARIANCE)

    def draw(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        middle = centre.to(params)
        return middle + stretch * (estimator.draw(problem, params, draws, noise) - middle)

    return replace(estimator, draw=draw)


def _without_direct_term(_: Objective, estimator: Estimator) -> Estimator:
    """Forget that J depends on params other than through z."""

    def draw(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimator.draw(replace(problem, direct=False), params, draws, noise)

    return replace(estimator, draw=draw)


def _detached(_: Objective, estimator: Estimator) -> Estimator:
    """Detach the first variable of z inside J: autograd sees no slope along it."""

    def draw(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        axis = -problem.family.event_axes

        def cost(z: Tensor, point: Tensor) -> Tensor:
            first, rest = z.narrow(axis, 0, 1), z.narrow(axis, 1, z.shape[axis] - 1)
            return problem.cost(torch.cat([first.detach(), rest], axis), point)

        return estimator.draw(replace(problem, cost=cost), params, draws, noise)

    return replace(estimator, draw=draw)


def _dead(_: Objective, estimator: Estimator) -> Estimator:
    """Return zeros: what a detach in the wrong place leaves."""

    def draw(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return torch.zeros_like(estimator.draw(problem, params, draws, noise))

    return replace(estimator, draw=draw)


def _promises(_: Objective, estimator: Estimator) -> bool:
    return estimator.unbiased is True


FAULTS: Mapping[str, Fault] = {
    "bias of 5 %": Fault(
        "5 % of the exact gradient is missing from every estimate", lambda *_: True, _biased
    ),
    "variance x 1.25": Fault(
        "every estimate is stretched about the exact gradient", _promises, _noisier
    ),
    "dropped term": Fault(
        "the direct derivative of J by params is forgotten",
        lambda objective, _: objective.direct,
        _without_direct_term,
    ),
    "detached tensor": Fault(
        "the first variable of z is detached inside J",
        lambda _, estimator: "differentiable" in estimator.needs,
        _detached,
    ),
    "dead draw": Fault("every estimate is 0", lambda *_: True, _dead),
}
