"""Simultaneous perturbation stochastic approximation (SPSA): all parameters moved at once.

Spall 1992, "Multivariate stochastic approximation using a simultaneous perturbation gradient
approximation" (IEEE Transactions on Automatic Control 37). With signs delta in {-1, +1}^p, each
with probability 1/2, and uniforms u behind z,

    g_i = [J(z(u, phi + c delta), phi + c delta) - J(z(u', phi - c delta), phi - c delta)]
          / (2 c delta_i),

u' = u for common random numbers. Two evaluations whatever the number of parameters p; the bias is
O(c^2) and the variance grows with p. It uses values of J only: where J depends on the parameters
directly it is evaluated at the moved ones, so that the direct term, too, is right on average over
the signs and not in each draw. Signs are drawn per item: items never mix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective
from benchbed.elementwise import indicator
from benchbed.estimators._shifted_params import costs_at, positive_step
from benchbed.estimators._weighted_scores import weighted_sum_
from benchbed.rng import Noise


def spsa(samples: int = 1, step: float = 0.1, common: bool = True) -> Estimator:
    """Average ``samples`` central differences along random signs, 2 evaluations each.

    Args:
        samples: independent pairs of evaluations, each with signs of its own.
        step: c, by which every parameter is moved.
        common: use the same uniforms at both ends; otherwise fresh ones at the lower end.
    """
    at_least("spsa", "samples", samples, 1)
    flag("spsa", "common", common)
    positive_step("spsa", "step", step)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        assert family.uniforms is not None
        shape = (draws, samples, *family.uniforms(params))
        u = noise.uniform(*shape)
        apart = noise.child("signs", noise.drawn)
        # 1 / delta_i = delta_i. [draws, samples, *params]
        half = params.new_tensor(0.5)
        signs = indicator(torch.ge, apart.uniform(draws, samples, *params.shape), half)
        signs.mul_(2).sub_(1)
        up = costs_at(objective, params, torch.add(params, signs, alpha=step), u)
        below = u if common else apart.uniform(*shape)
        down = costs_at(objective, params, torch.sub(params, signs, alpha=step), below)
        noise.drawn += apart.drawn
        slope = (up - down) / (2 * step * samples)  # [draws, samples, *items]
        return weighted_sum_(signs, family.lift(slope))

    return Estimator(
        "spsa",
        draw,
        samples=samples,
        evaluations=2 * samples,
        unbiased="limit",
        needs=frozenset({"quantile"}),
        citation="Spall 1992",
        settings={"step": step, "common": common},
    )
