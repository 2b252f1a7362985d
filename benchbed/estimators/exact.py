"""Direct marginalization: the sum over everything that can happen. No variance, cost K^d."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Finite, Objective
from benchbed.rng import Noise


def exact() -> Estimator:
    """Return the exact gradient as every draw.

    Its ``evaluations`` are the states that a marginalization visits, also where a closed form
    was used; on a family without states they are 0.
    """

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del noise
        gradient = objective.exact_gradient(params.double()).to(params)
        return gradient.expand(draws, *params.shape)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        certain = torch.ones(1, *objective.family.items(params)).to(params)
        yield certain, objective.exact_gradient(params)[None]

    def evaluations(objective: Objective) -> int:
        return objective.family.states(objective.params) if objective.family.states else 0

    return Estimator(
        "exact",
        draw,
        samples=1,
        evaluations=evaluations,
        constant=True,
        unbiased=True,
        finite=Finite(lambda _objective, _params: 1, outcomes),
    )
