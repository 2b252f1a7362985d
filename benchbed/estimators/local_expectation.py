"""Local expectation gradients: each variable summed over its values, the others as sampled.

Titsias and Lazaro-Gredilla 2015, "Local Expectation Gradients for Black Box Variational Inference"
(arXiv 1503.01494); the same as IndeCateR of De Smet, Sansone and Zuidberg Dos Martires 2023,
"Differentiable Sampling of Categorical Distributions Using the CatLog-Derivative Trick" (arXiv
2311.12569), and, for Bernoulli latents, as the coupled measure-valued derivative. For one sample z,

    Bernoulli:    g_i  = p_i (1 - p_i) (J(z[i<-1]) - J(z[i<-0])),
    categorical:  g_ic = pi_ic (J(z[i<-c]) - sum_m pi_im J(z[i<-m])).

No variance for an additive J. The direct term at z[i<-c] has the weight pi_ic / d: z with one
variable summed out, averaged over which one.

Cost: J at z itself serves every variable, so 1 + d evaluations (Bernoulli) or 1 + d (C - 1). They
are made for one variable after another, so that memory holds C samples and not d C.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Evaluation, Objective
from benchbed.enumeration import finite_in_z
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def local_expectation(samples: int = 1) -> Estimator:
    """Sum each variable over its values exactly, the other variables as sampled.

    Args:
        samples: independent z, each evaluated with every one of its variables changed.
    """
    at_least("local_expectation", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        base = objective.evaluate(z, params)
        one = _bits if objective.family.name == "bernoulli" else _categories
        axis = -objective.family.params_axes  # of the variables in params
        gradient = torch.zeros_like(draws_last(z)[0])  # [*params, draws]
        direct = None if base.direct is None else torch.zeros_like(gradient)
        for i in range(params.shape[axis]):
            own, part = one(objective, params, z, base, i)
            gradient.select(axis - 1, i).copy_(own)
            if direct is not None and part is not None:
                direct += part
        if direct is not None:
            gradient += direct / params.shape[axis]
        return draws_first(gradient)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    def evaluations(objective: Objective) -> int:
        shape = objective.params.shape
        if objective.family.name == "bernoulli":
            return int(samples * (1 + shape[-1]))
        return int(samples * (1 + shape[-2] * (shape[-1] - 1)))

    return Estimator(
        "local_expectation",
        draw,
        samples=samples,
        evaluations=evaluations,
        unbiased=True,
        families=frozenset({"bernoulli", "categorical"}),
        citation="Titsias and Lazaro-Gredilla 2015; De Smet et al. 2023",
        finite=finite_in_z(estimate, replicates=samples),
    )


def _bits(
    objective: Objective, params: Tensor, z: Tensor, base: Evaluation, i: int
) -> tuple[Tensor, Tensor | None]:
    """Return the gradient in logit i [*items, draws], and the direct term with bit i summed."""
    flipped = draws_last(z).clone()
    flipped[..., i, :] = 1 - flipped[..., i, :]
    found = objective.evaluate(draws_first(flipped), params)
    bit = draws_last(z)[..., i, :]  # [samples, *items, draws]
    gap = draws_last(base.cost) - draws_last(found.cost)
    logit = params[..., i, None]
    gradient = ((2 * bit - 1) * gap).mean(0) * (logit.sigmoid() * torch.sigmoid(-logit))
    if base.direct is None or found.direct is None:
        return gradient, None
    as_sampled = torch.sigmoid((2 * bit - 1) * logit).unsqueeze(-2)  # P(bit i is what it is)
    here, there = draws_last(base.direct), draws_last(found.direct)
    return gradient, torch.lerp(there, here, as_sampled).mean(0)


def _categories(
    objective: Objective, params: Tensor, z: Tensor, base: Evaluation, i: int
) -> tuple[Tensor, Tensor | None]:
    """Return the gradient in logits i [*items, C, draws], and the direct term with i summed."""
    physical = draws_last(z)  # [samples, *items, d, C, draws]
    samples, categories = len(physical), params.shape[-1]
    mine = physical[..., i, :, :]
    others = physical.repeat(categories - 1, *(1,) * (physical.ndim - 1))
    turned = torch.stack([mine.roll(s, -2) for s in range(categories)])  # [C, samples, .., C, n]
    others[..., i, :, :] = turned[1:].flatten(0, 1)
    found = objective.evaluate(draws_first(others), params)
    cost = draws_last(found.cost)
    cost = cost.reshape(categories - 1, samples, *cost.shape[1:])
    every = torch.cat((draws_last(base.cost)[None], cost))  # [C, samples, *items, draws]
    # One-hots that turn through all categories: the sum puts each cost at its category.
    at = (turned * every.unsqueeze(-2)).sum(0)  # [samples, *items, C, draws]
    pi = F.softmax(params[..., i, :], -1)[..., None]
    # J(c) - E J as E (J(c) - J(m)): a constant in J drops out before it is rounded.
    at = at - at[..., :1, :]
    gradient = (pi * (at - (pi * at).sum(-2, keepdim=True))).mean(0)
    if base.direct is None or found.direct is None:
        return gradient, None
    share = (turned * pi).sum(-2)[..., None, None, :]  # [C, samples, *items, 1, 1, draws]
    direct = draws_last(found.direct).reshape(categories - 1, *physical.shape)
    total = share[0] * draws_last(base.direct) + (share[1:] * direct).sum(0)
    return gradient, total.mean(0)
