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
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Evaluation, Objective
from benchbed.enumeration import finite_in_z
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def local_expectation(samples: int = 1) -> Estimator:
    """Sum each variable over its values exactly, the other variables as sampled.

    Args:
        samples: independent z, each evaluated with every one of its variables changed.
    """
    at_least("local_expectation", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        base = objective.evaluate(z, params)
        over_all = _bits if objective.family.name == "bernoulli" else _categories
        gradient, direct = over_all(objective, params, z, base)
        if direct is not None:
            gradient += direct.div_(params.shape[-objective.family.params_axes])
        return mean_over_samples(draws_first(gradient))

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    def evaluations(objective: Objective) -> int:
        shape = objective.params.shape
        if objective.family.name == "bernoulli":
            return int(samples * (1 + shape[-1]))
        return int(samples * (1 + shape[-2] * (shape[-1] - 1)))

    def at_once(objective: Objective) -> int:
        bits = objective.family.name == "bernoulli"
        return 2 * samples if bits else evaluations(objective)

    return Estimator(
        "local_expectation",
        draw,
        samples=samples,
        evaluations=evaluations,
        at_once=at_once,
        unbiased=True,
        families=frozenset({"bernoulli", "categorical"}),
        citation="Titsias and Lazaro-Gredilla 2015; De Smet et al. 2023",
        finite=finite_in_z(estimate, replicates=samples),
    )


def _bits(
    objective: Objective, params: Tensor, z: Tensor, base: Evaluation
) -> tuple[Tensor, Tensor | None]:
    """Return the gradient [samples, *params, draws] and the sum of the direct terms, or None."""
    sampled = draws_last(z)  # [samples, *items, d, draws]
    moved, gap, direct = sampled.clone(), torch.empty_like(sampled), None
    cost, sign = draws_last(base.cost), 2 * sampled - 1
    for i in range(params.shape[-1]):
        moved[..., i, :] = 1 - sampled[..., i, :]
        found = objective.evaluate(draws_first(moved), params)
        moved[..., i, :] = sampled[..., i, :]
        gap[..., i, :] = cost - draws_last(found.cost)
        if base.direct is None or found.direct is None:
            continue
        as_sampled = (sign[..., i : i + 1, :] * params[..., i, None, None]).sigmoid_()
        part = torch.lerp(draws_last(found.direct), draws_last(base.direct), as_sampled)
        direct = part if direct is None else direct.add_(part)
    return gap.mul_(sign).mul_((params.sigmoid() * torch.sigmoid(-params))[..., None]), direct


def _categories(
    objective: Objective, params: Tensor, z: Tensor, base: Evaluation
) -> tuple[Tensor, Tensor | None]:
    """Return the gradient [samples, *params, draws] and the sum of the direct terms, or None.

    Of the C - 1 evaluations the c-th, from 0, has the variable at category c where it was sampled
    above c, and at c + 1 where it was not.
    """
    sampled = draws_last(z)  # [samples, *items, d, C, draws]
    categories = params.shape[-1]
    count = categories - 1
    if count == 0:  # nothing to sum over
        here = None if base.direct is None else draws_last(base.direct) * params.shape[-2]
        return torch.zeros_like(sampled), here
    below = sampled.cumsum(-2)[..., :-1, :]  # [..., d, C - 1, draws]
    above = 1 - below
    # Laid out as count x draws samples: rows are long also where a chunk is a draw or two.
    moved = sampled.new_empty(*sampled.shape[:-1], count, sampled.shape[-1])
    moved.copy_(sampled.unsqueeze(-2))
    at = sampled * draws_last(base.cost)[..., None, None, :]  # J at every category
    pi, direct = params.softmax(-1)[..., None], None
    for i in range(params.shape[-2]):
        up, down, slot = above[..., i, :, :], below[..., i, :, :], moved[..., i, :, :, :]
        slot.zero_()
        slot.diagonal(0, -3, -2).copy_(up.movedim(-2, -1))
        slot.diagonal(-1, -3, -2).copy_(down.movedim(-2, -1))
        found = objective.evaluate(draws_first(moved.flatten(-2)), params)
        slot.copy_(sampled[..., i, :, None, :])
        cost = _parted(found.cost, count)
        at[..., i, :count, :].addcmul_(up, cost)
        at[..., i, 1:, :].addcmul_(down, cost)
        if base.direct is None or found.direct is None:
            continue
        mine = pi[..., i, :, :]
        share = (sampled[..., i, :, :] * mine).sum(-2)[..., None, None, :]
        part = draws_last(base.direct) * share
        shares = (up * mine[..., :-1, :]).addcmul_(down, mine[..., 1:, :])
        its = _parted(found.direct, count)
        for c in range(count):
            part.addcmul_(its[..., c, :], shares[..., None, None, c, :])
        direct = part if direct is None else direct.add_(part)
    # J(c) - E J as E (J(c) - J(m)): a constant in J drops out before it is rounded.
    at -= at[..., :1, :].clone()
    return at.sub_((pi * at).sum(-2, keepdim=True)).mul_(pi), direct


def _parted(x: Tensor, count: int) -> Tensor:
    """Return [count * draws, ...] as [..., count, draws]."""
    last = draws_last(x)
    return last.view(*last.shape[:-1], count, -1)
