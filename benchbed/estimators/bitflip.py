"""BitFlip-1: the exact effect of one bit, picked at random, on one sample of the others.

Kunes, Yin, Land, Haviv, Pe'er and Tavare 2023, "Gradient Estimation for Binary Latent Variables via
Gradient Variance Clipping" (arXiv 2208.06124). With j uniform on the d bits of an item,

    g_j = d p_j (1 - p_j) (J(b[j <- 1]) - J(b[j <- 0])), and 0 for every other bit.

The factor d makes up for the bits not picked. Var g_i = d v_i^2 E[(J(b[i <- 1]) - J(b[i <- 0]))^2]
minus the squared gradient, v_i = p_i (1 - p_i): of order v^2 for bits that are nearly sure, where
DisARM's is of order v. Two evaluations of J a sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Finite, Objective
from benchbed.enumeration import tuples
from benchbed.estimators._picked_bit import one_hot, pick
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def bitflip(samples: int = 1) -> Estimator:
    """Average ``samples`` copies of d v_j (J(b[j <- 1]) - J(b[j <- 0])), one random bit j each.

    Args:
        samples: independent copies, each of two evaluations of J.
    """
    at_least("bitflip", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor, picked: Tensor) -> Tensor:
        """Take z [draws, copies, *items, d] and the bit picked, [draws, copies, *items]."""
        copies, dimensions = z.shape[1], params.shape[-1]
        hot = one_hot(picked, dimensions, params.dtype)
        off = (1 - hot).mul_(draws_last(z))
        found = objective.evaluate(draws_first(torch.cat((off + hot, off))), params)
        gap = found.cost[:, :copies] - found.cost[:, copies:]  # [draws, copies, *items]
        spread = params.sigmoid() * torch.sigmoid(-params) * dimensions
        direct = None
        if found.direct is not None:
            # b is one of the two points; its law given the other bits weighs their direct terms.
            at = draws_last(found.direct)  # [2 * copies, *items, d, draws]
            share = (params.sigmoid()[..., None] * hot).sum(-2, keepdim=True)  # p_j
            direct = torch.lerp(at[copies:], at[:copies], share)
        effect = hot.mul_(spread[..., None]).mul_(draws_last(gap).unsqueeze(-2))
        return mean_over_samples(draws_first(effect if direct is None else effect.add_(direct)))

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = objective.family.sample(params, draws, samples, noise)
        picked = pick(params, draws, samples, noise)
        return estimate(objective, params, z, picked)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        dimensions = params.shape[-1]
        for z in tuples(objective.family, params, together=1):
            probability = objective.family.log_prob(params, z)[:, 0].exp() / dimensions
            for bit in range(dimensions):
                picked = torch.full(z.shape[:-1], bit, device=z.device)
                yield probability, estimate(objective, params, z, picked)

    def count(_objective: Objective, params: Tensor) -> int:
        return int(params.shape[-1] * 2 ** params.shape[-1])

    return Estimator(
        "bitflip",
        draw,
        samples=samples,
        evaluations=2 * samples,
        unbiased=True,
        families=frozenset({"bernoulli"}),
        citation="Kunes et al. 2023",
        finite=Finite(count, outcomes, samples),
    )
