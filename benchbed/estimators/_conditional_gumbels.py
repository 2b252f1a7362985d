"""The relaxed sample drawn again given the hard one, its noise held fixed when differentiating.

Given that category k is sampled, the Gumbels of a variable with shares rho are, up to a constant,
-log e_k at k and -log(e_j / rho_j + e_k) elsewhere, e ~ Exp(1) [K] (Paulus et al. 2021, equation
12). Their softmax at a temperature is y_j = w_j / sum w with w_k = 1 and

    w_j = (e_k / (e_j / rho_j + e_k)) ** (1 / temperature)

and the Jacobian of a sample whose noise is CONSTANT is Jac(y) / temperature. ``Path.vjp`` of a
family's conditional path differentiates through the conditional noise as well; that is REBAR's.
For a bit only w at the value that was not sampled is random: with its share rho and one uniform u,
w = (rho u / (rho u + 1 - u)) ** (1 / temperature).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Family
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def averaged_vjp(
    family: Family,
    params: Tensor,
    hard: Tensor,
    slope: Tensor,
    temperature: float,
    replicates: int,
    noise: Noise,
    *,
    share: float = 1.0,
) -> Tensor:
    """Return the mean over ``replicates`` relaxed samples of Jac(y) ``slope`` / temperature.

    Args:
        family: bernoulli or categorical.
        params: logits [*items, *parameter axes].
        hard: the sample that is conditioned on, [draws, samples, *items, *event].
        slope: dJ/dz there, same shape.
        temperature: of the relaxation.
        replicates: relaxed samples, drawn one at a time so that memory does not grow with them.
        noise: of the relaxed samples.
        share: what the values that were not sampled keep of their probability.
    """
    power = 1 / temperature
    total = torch.zeros_like(slope)
    if family.name == "bernoulli":
        other = torch.sigmoid(params * (1 - 2 * hard)).mul_(share)
        for _ in range(replicates):
            u = noise.uniform(*hard.shape)
            reach = other * u
            w = reach.div_(reach + u.neg_().add_(1)).pow_(power)
            total += w / (1 + w).square_()
        return total * slope * (power / replicates)
    # A probability that rounds to 0 belongs to a category that is as good as never relaxed to.
    rate = 1 / draws_last(params.softmax(-1)[None]).clamp(min=torch.finfo(params.dtype).tiny)
    inner, a, physical = draws_last(hard), draws_last(slope), draws_last(total)
    others = (1 - inner).mul_(rate / share)  # 1 / rho_j, and 0 at the sampled category
    for _ in range(replicates):
        e = draws_last(noise.exponential(*hard.shape))
        top = (e * inner).sum(-2, keepdim=True)
        w = top / e.mul_(others).add_(top)  # 1 at the sampled category: the sum is at least 1
        w.pow_(power)
        y = w.div_(w.sum(-2, keepdim=True))
        weighted = y * a
        physical += weighted - y.mul_(weighted.sum(-2, keepdim=True))
    return draws_first(physical.mul_(power / replicates))
