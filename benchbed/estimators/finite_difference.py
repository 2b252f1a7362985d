"""Central finite differences of sampled values, with common random numbers or without.

Glasserman and Yao 1992, "Some guidelines and guarantees for common random numbers" (Management
Science 38). For one parameter phi_i of one item, with uniforms u behind z,

    [J(z(u, phi + h e_i), phi + h e_i) - J(z(u', phi - h e_i), phi - h e_i)] / (2 h),

u' = u for common random numbers. Its mean is the central difference of the value: bias O(h^2).
Where z is discrete the variance of one bit is (dJ)^2 P (1 - P) / (4 h^2), P the chance that z
changes, so O(1 / h) with common random numbers and O(1 / h^2) without; where z and J are smooth
common random numbers leave O(1).

It uses values of J only, no density and no derivative. Items of an amortized model are moved
together, each by its own parameter, because their expectations are independent. In float32 a step
under about 1e-3 loses the difference to rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective
from benchbed.estimators._shifted_params import costs_at, positive_step
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def finite_difference(samples: int = 1, step: float = 0.1, common: bool = True) -> Estimator:
    """Average ``samples`` central differences of J for each parameter, 2 evaluations each.

    Args:
        samples: independent differences of every parameter in one estimate.
        step: h, by which a parameter is moved up and down.
        common: use the same uniforms up and down, and for every parameter; otherwise fresh ones
            for each evaluation.
    """
    at_least("finite_difference", "samples", samples, 1)
    positive_step("finite_difference", "step", step)
    flag("finite_difference", "common", common)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        assert family.uniforms is not None
        shape = (draws, samples, *family.uniforms(params))
        u = noise.uniform(*shape)
        # The first evaluation shares its noise with other estimators; fresh ones lie apart.
        apart = noise.child("fresh", noise.drawn)
        inner = params.shape[params.ndim - family.params_axes :]
        slopes = []
        for i in range(math.prod(inner)):
            move = params.new_zeros(math.prod(inner))
            move[i] = step
            move = move.reshape(inner)  # the same parameter of every item
            fresh = not common and i > 0
            up = costs_at(objective, params, params + move, apart.uniform(*shape) if fresh else u)
            down = costs_at(
                objective, params, params - move, u if common else apart.uniform(*shape)
            )
            slopes.append(draws_last(mean_over_samples(up - down)))  # [*items, draws]
        noise.drawn += apart.drawn
        rows = torch.stack(slopes, -2).div_(2 * step)  # [*items, parameters, draws]
        return draws_first(rows.reshape(*params.shape, draws))

    def evaluations(objective: Objective) -> int:
        params = objective.params
        return 2 * samples * math.prod(params.shape[params.ndim - objective.family.params_axes :])

    return Estimator(
        "finite_difference",
        draw,
        samples=samples,
        evaluations=evaluations,
        at_once=2 * samples,
        unbiased="limit",
        needs=frozenset({"quantile"}),
        citation="Glasserman and Yao 1992",
        settings={"step": step, "common": common},
    )
