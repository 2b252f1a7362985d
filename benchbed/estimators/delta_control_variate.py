"""The score function with a second-order Taylor expansion of J as its control variate.

Paisley, Blei and Jordan 2012, "Variational Bayesian Inference with Stochastic Search" (arXiv
1206.6430); the "delta method" control variate of Mohamed, Rosca, Figurnov and Mnih 2020 (arXiv
1906.10652). For normal latents, with gradient g [*items, d] and full Hessian
H [*items, d, d] of J in z at the mean,

    h(z) = J(mu) + g (z - mu) + 1/2 (z - mu) H (z - mu),
    grad E[h] = (g, sigma^2 diag H) in (mean, log-scale), at a fixed expansion,
    estimate = mean over samples of (J(z) - c h(z)) S(z) + c grad E[h],

one c for each parameter, cov(J S, h S) / var(h S). A quadratic J leaves no variance at c = 1.

c must not depend on the samples it is used on, or the estimate is biased: ``tune`` finds it on a
pilot of its own, 25 samples as published, once, and freezes it (the published code spends as many
at every step of training, and adds 1e-3 to the variance, which depends on the units of J). One
pilot's luck stays in the variance; a larger one costs nothing afterwards.

Assumes a J that is twice differentiable at the mean. Cost: one evaluation of J at the mean for all
draws of a call, with its gradient and d products for the Hessian, and ``samples`` more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Draw, Estimator, Objective, add_direct
from benchbed.errors import BadArgument
from benchbed.families import normal
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


class _Expansion(NamedTuple):
    """J about the mean of each item, and the gradient of its expectation."""

    value: Tensor  # [*items]
    slope: Tensor  # [*items, d]
    hessian: Tensor  # [*items, d, d]
    gradient: Tensor  # [*items, 2, d]


def delta_control_variate(samples: int = 1, pilot: int = 25) -> Estimator:
    """Average score-function terms of J less its second-order Taylor expansion about the mean.

    Args:
        samples: z in one estimate.
        pilot: evaluations of J spent on the coefficients of the control variate.
    """
    at_least("delta_control_variate", "samples", samples, 1)
    at_least("delta_control_variate", "pilot", pilot, 2, "; a covariance needs two")

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        z = objective.family.sample(params, pilot, 1, noise)
        score = normal.score(params, z)[:, 0]
        lift = objective.family.lift
        known = lift(_at(_expand(objective, params), params, z)[:, 0]) * score
        plain = lift(objective.evaluate(z, params).cost[:, 0]) * score
        known, centred = known - known.mean(0), plain - plain.mean(0)
        spread = known.square().sum(0)
        # A flat expansion controls nothing, whatever its coefficient.
        found = torch.where(spread > 0, (centred * known).sum(0) / spread, torch.zeros_like(spread))
        return _frozen(samples, pilot, found, spent=pilot + 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del objective, params, draws, noise
        raise BadArgument(
            "delta_control_variate has no coefficients before its pilot; call "
            "estimator.tune(objective, params, noise) and draw from what it returns"
        )

    return _estimator(samples, pilot, draw, tune=tune)


def _frozen(samples: int, pilot: int, coefficient: Tensor, spent: int) -> Estimator:
    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = objective.family.sample(params, draws, samples, noise)
        found = objective.evaluate(z, params)
        expansion = _expand(objective, params)  # once for all draws
        c = coefficient.to(params)
        # With draws last throughout: broadcasting c in front of them would turn the memory round.
        cost, known = (
            draws_last(x)[..., None, None, :] for x in (found.cost, _at(expansion, params, z))
        )
        rest = draws_first(cost - c[..., None] * known)  # [draws, samples, *items, 2, d]
        rows = mean_over_samples(rest * normal.score(params, z))
        return add_direct(rows + c * expansion.gradient, found)

    return _estimator(samples, pilot, draw, spent=spent)


def _expand(objective: Objective, params: Tensor) -> _Expansion:
    """Differentiate J twice at the mean: one evaluation, one row of all items.

    ``objective.evaluate`` gives first derivatives only, so this calls the cost itself, with
    autograd on although the measurement around it has it off. Costs of items are summed: an item's
    latents move no other item's cost, so row k of the sum's Hessian holds row k of every item's.
    """
    mu, sigma = normal.unpack(params.detach())
    with torch.enable_grad():
        z = mu[None, None].clone().requires_grad_()
        cost = objective.cost(z, params.detach())
        slope = _derivative(cost.sum(), z)
        rows = [_derivative(slope[..., k].sum(), z) for k in range(mu.shape[-1])]
    hessian = torch.stack(rows, -2).detach()[0, 0]
    slope = slope.detach()[0, 0]
    curvature = hessian.diagonal(dim1=-2, dim2=-1) * sigma.square()
    return _Expansion(cost.detach()[0, 0], slope, hessian, torch.stack((slope, curvature), -2))


def _derivative(total: Tensor, z: Tensor) -> Tensor:
    """Return d total / dz as a function of z; zeros where total does not depend on it."""
    if not total.requires_grad:  # J is constant or linear
        return torch.zeros_like(z)
    found = torch.autograd.grad(total, z, create_graph=True, allow_unused=True)[0]
    return torch.zeros_like(z) if found is None else found


def _at(expansion: _Expansion, params: Tensor, z: Tensor) -> Tensor:
    """Return the expansion at z, [draws, samples, *items]."""
    away = draws_last(z - params[..., 0, :])  # [samples, *items, d, n]
    bend = expansion.slope[..., None] + 0.5 * (expansion.hessian @ away)
    return draws_first((bend * away).sum(-2) + expansion.value[..., None])


def _estimator(
    samples: int,
    pilot: int,
    draw: Draw,
    tune: Callable[[Objective, Tensor, Noise], Estimator] | None = None,
    spent: int = 0,
) -> Estimator:
    return Estimator(
        "delta_control_variate",
        draw,
        samples=samples,
        evaluations=samples + 1,
        slopes=1,
        unbiased=True,
        needs=frozenset({"differentiable"}),
        families=frozenset({"normal"}),
        citation="Paisley et al. 2012",
        settings={"pilot": pilot},
        tune=tune,
        tuning_evaluations=spent,
    )
