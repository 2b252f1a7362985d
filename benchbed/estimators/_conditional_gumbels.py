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
from benchbed.elementwise import log_, power_
from benchbed.families.bernoulli import either
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
    mean = _bits if family.name == "bernoulli" else _categories
    return mean(params, hard, slope, 1 / temperature, replicates, noise, share)


def _bits(
    params: Tensor,
    hard: Tensor,
    slope: Tensor,
    power: float,
    replicates: int,
    noise: Noise,
    share: float,
) -> Tensor:
    other = either(hard, params.sigmoid() * share, torch.sigmoid(-params) * share)
    total = torch.zeros_like(slope)
    for _ in range(replicates):
        u = noise.uniform(*hard.shape)
        reach = other * u
        w = power_(reach.div_(u.neg_().add_(1).add_(reach)), power)
        total.addcdiv_(w, (1 + w).square_())
    return total.mul_(slope).mul_(power / replicates)


def _categories(
    params: Tensor,
    hard: Tensor,
    slope: Tensor,
    power: float,
    replicates: int,
    noise: Noise,
    share: float,
) -> Tensor:
    # A probability that rounds to 0 belongs to a category that is as good as never relaxed to.
    tiny = torch.finfo(params.dtype).tiny
    rate = (params.softmax(-1).clamp(min=tiny) * share).reciprocal_()[..., None]  # 1 / rho
    inner, a = draws_last(hard), draws_last(slope)
    total = torch.zeros_like(a)
    for _ in range(replicates):
        e = log_(draws_last(noise.uniform(*hard.shape)))  # its sign cancels in the ratio
        top = (e * inner).sum(-2, keepdim=True)
        ratio = e.mul_(rate).add_(top).reciprocal_().mul_(top)
        w = power_(ratio.clamp_min_(inner), power)  # 1 at the sampled category
        whole = w.sum(-2, keepdim=True).reciprocal_()
        pulled = w * a
        along = pulled.sum(-2, keepdim=True).mul_(whole)  # <y, J'>
        total.addcmul_(pulled.addcmul_(w, along, value=-1), whole)
    return draws_first(total.mul_(power / replicates))
