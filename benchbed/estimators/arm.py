"""ARM, augment-REINFORCE-merge, for Bernoulli latents.

Yin and Zhou 2019, "ARM: Augment-REINFORCE-Merge Gradient for Stochastic Binary Networks" (arXiv
1807.11143), theorem 1: g = (J(b) - J(bt)) (u - 1/2), b = 1[u > 1 - p], bt = 1[u < p].
"""

from __future__ import annotations

from torch import Tensor

from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.estimators._antithetic_bits import even_samples, pair
from benchbed.estimators._weighted_scores import weighted_sum_
from benchbed.rng import Noise


def arm(samples: int = 2) -> Estimator:
    """Average ``samples / 2`` antithetic pairs, each weighted by its uniform."""
    pairs = even_samples("arm", samples)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        u = noise.uniform(draws, pairs, *params.shape)
        found = objective.evaluate(pair(params, u), params)
        gap = found.cost[:, :pairs] - found.cost[:, pairs:]  # [draws, pairs, *items]
        weight = objective.family.lift(gap / pairs)
        return add_direct(weighted_sum_(u.sub_(0.5), weight), found)

    return Estimator(
        "arm",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        families=frozenset({"bernoulli"}),
        citation="Yin and Zhou 2019",
    )
