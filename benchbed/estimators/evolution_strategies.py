"""Evolution strategies: the gradient of the value smoothed by a Gaussian over the parameters.

Salimans, Ho, Chen, Sidor and Sutskever 2017, "Evolution Strategies as a Scalable Alternative to
Reinforcement Learning" (arXiv 1703.03864), section 2. With eps ~ N(0, I) in the parameters' shape
and uniforms u behind z,

    plain:       J(z(u, phi + s eps), phi + s eps) eps / s
    antithetic:  [J(z(u, phi + s eps), phi + s eps)
                  - J(z(u', phi - s eps), phi - s eps)] eps / (2 s),

u' = u for common random numbers. The mean of both is the gradient of E[L(phi + s eps)], L the
value: bias O(s^2). The variance grows with the number of parameters; without pairs it changes when
a constant is added to J and grows like 1 / s^2. Values of J only: where J depends on the
parameters directly it is evaluated at the moved ones, so that the direct term is right on average
and not in each draw. The paper's rank shaping of the costs is left out: it changes what is
estimated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective
from benchbed.estimators._antithetic_bits import even_samples
from benchbed.estimators._shifted_params import costs_at, positive_step
from benchbed.estimators._weighted_scores import weighted_sum_
from benchbed.rng import Noise


def evolution_strategies(
    samples: int = 2, scale: float = 0.1, antithetic: bool = True, common: bool = True
) -> Estimator:
    """Average J at Gaussian moves of the parameters, times the move, over ``samples`` evaluations.

    Args:
        samples: evaluations of J; an even number if they come in mirrored pairs.
        scale: standard deviation s of the moves.
        antithetic: pair every move with its mirror image.
        common: use the same uniforms at both ends of a pair; without pairs it plays no part.
    """
    flag("evolution_strategies", "common", common)
    flag("evolution_strategies", "antithetic", antithetic)
    if antithetic:
        moves = even_samples("evolution_strategies", samples)
    else:
        moves = at_least("evolution_strategies", "samples", samples, 1)
    positive_step("evolution_strategies", "scale", scale)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        assert family.uniforms is not None
        shape = (draws, moves, *family.uniforms(params))
        u = noise.uniform(*shape)
        apart = noise.child("moves", noise.drawn)
        eps = apart.normal(draws, moves, *params.shape)
        at = torch.add(params, eps, alpha=scale)
        cost = costs_at(objective, params, at, u)  # [draws, moves, *items]
        if antithetic:
            mirrored = u if common else apart.uniform(*shape)
            at = torch.sub(params, eps, alpha=scale)
            cost = (cost - costs_at(objective, params, at, mirrored)) / 2
        noise.drawn += apart.drawn
        return weighted_sum_(eps, family.lift(cost / (scale * moves)))

    return Estimator(
        "evolution_strategies",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased="limit",
        needs=frozenset({"quantile"}),
        citation="Salimans et al. 2017",
        settings={"scale": scale, "antithetic": antithetic, "common": common},
    )
