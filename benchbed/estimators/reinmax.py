"""ReinMax: straight-through by the trapezoid (Heun) rule instead of Euler's.

Liu, Dong, Liu, Yu and Gao 2023, "Bridging Discrete and Backpropagation: Straight-Through and
Beyond" (arXiv 2304.08612), algorithm 1. At temperature 1 it is exact for a J at most quadratic in
each variable; at other temperatures it is biased even for a linear one. At temperature 1 it is,
sample by sample, half the sum of ``straight_through`` and ``darn``; that is also ZGR, the limit of
``gumbel_rao`` as its temperature goes to 0 (Shekhovtsov 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.families.bernoulli import either
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def reinmax(samples: int = 1, temperature: float = 1.0) -> Estimator:
    """Average 2 Jac((softmax(params / temperature) + z) / 2) J' - 1/2 Jac(softmax(params)) J'.

    Bernoulli latents are the case of two categories with logits (params, 0).

    Args:
        samples: z in one estimate.
        temperature: of the averaged softmax; sampling is at temperature 1 always.
    """
    at_least("reinmax", "samples", samples, 1)
    positive_temperature("reinmax", temperature)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        slope = found.slope  # dJ/dz at the corner, [draws, samples, *event]
        assert slope is not None
        family = objective.family
        half = _half_bits if family.name == "bernoulli" else _half_categories
        gradient = mean_over_samples(half(params / temperature, z, slope))
        if temperature != 1:  # half of (Jac(softmax(params / temperature)) - Jac(pi)) J'
            assert family.mean_vjp is not None
            slope = mean_over_samples(slope)
            gradient.add_(family.mean_vjp(family.mean(params / temperature), slope), alpha=0.5)
            gradient.sub_(family.mean_vjp(family.mean(params), slope), alpha=0.5)
        return add_direct(gradient, found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "reinmax",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable", "mean"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Liu et al. 2023",
        settings={"temperature": temperature},
        finite=finite_in_z(estimate, replicates=samples),
    )


def _half_bits(logits: Tensor, z: Tensor, slope: Tensor) -> Tensor:
    """Return half the sum of p (1 - p) J' and (z - p)^2 J': half the other value's share of J'."""
    return either(z, logits.sigmoid() / 2, torch.sigmoid(-logits) / 2).mul_(slope)


def _half_categories(logits: Tensor, z: Tensor, slope: Tensor) -> Tensor:
    """Return half the sum of Jac(pi) J' and <s, J'> s, s = z - pi, at pi = softmax(logits).

    That is 1/2 [z (<z, J'> - <pi, J'>) + pi (J' - <z, J'>)], for z has a single 1.
    """
    hot, a, pi = draws_last(z), draws_last(slope), logits.softmax(-1)
    at_z = (hot * a).sum(-2, keepdim=True)
    lead = at_z - pi.unsqueeze(-2) @ a
    return draws_first((a - at_z).mul_(pi[..., None] / 2).addcmul_(hot, lead, value=0.5))
