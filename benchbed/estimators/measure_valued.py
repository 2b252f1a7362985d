"""Measure-valued derivatives (weak derivatives) of normal and Poisson laws, from values of J.

Pflug 1989, "Sampling derivatives of probabilities"; Heidergott, Vazquez-Abad and Volk-Makarewicz
2008, "Sensitivity estimation for Gaussian systems"; Mohamed, Rosca, Figurnov and Mnih 2020, "Monte
Carlo Gradient Estimation in Machine Learning" (arXiv 1906.10652), section 6. The derivative of a
density is a difference of two densities, dq/dphi = c (q+ - q-), so that with z+ and z- equal to
the base sample z in all variables but the i-th

    estimate_i = mean over samples of c_i (J(z+) - J(z-)).

    normal, mean:       c = 1 / (sigma sqrt(2 pi)),  z+- = mu +- sigma W,   W^2 / 2 ~ Exp(1)
    normal, log-scale:  c = 1 (1 / sigma for sigma), z+ = mu + sigma M,     z- = mu + sigma eps
    Poisson, log rate:  c = rate (1 for the rate),   z+ = n + 1,            z- = n

W is Weibull(2, sqrt 2) and M double-sided Maxwell. Coupled, z+ and z- share W or n, and eps = U M
with U ~ U(0, 1). That pair is drawn from its other end: given eps, M = sign(eps)
sqrt(eps^2 + 2 Exp(1)). Hence z- is the base sample itself in the last two rows, J(z) is shared by
all variables, and the usual 2 evaluations a parameter are 1 + 3 d a sample of d normal variables
and 1 + d of d Poisson ones, with the variance of each coordinate unchanged.

Coupling is NOT always better: for a nearly linear J, J(mu + sigma W) and J(mu - sigma W) move
apart, and independent W give less variance (in the mean, for J = (x - k)^2 and a = mu - k:
a^2 (16 / pi - 4) coupled, (4 sigma^2 + (8 - 2 pi) a^2) / pi independent). In the scale it is
better there always: 4 a^2 + 4 sigma^2 against 16 a^2 + 8 sigma^2 (sigma; log-scale: sigma^2 times).

J may be discontinuous. A Bernoulli variable's measure-valued derivative is local_expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.families import normal, poisson
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise

Costs = Callable[[Tensor], Tensor]


def measure_valued(samples: int = 1, coupled: bool = True) -> Estimator:
    """Average c (J(z+) - J(z-)), a pair for every parameter, over ``samples`` base samples.

    Args:
        samples: base samples in one estimate; each has a pair for every parameter.
        coupled: let the two evaluations of a pair share their randomness.
    """
    flag("measure_valued", "coupled", coupled)
    at_least("measure_valued", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = objective.family.sample(params, draws, samples, noise)  # [draws, samples, *items, d]
        base = objective.evaluate(z, params)  # the one place where z has its own law
        quiet = replace(objective, direct=False)

        def costs(end: Tensor) -> Tensor:
            """Return J with each variable in its turn moved to ``end``, shaped like z."""
            moved = _one_at_a_time(z, end)  # [draws, samples * d, *items, d]
            cost = quiet.evaluate(moved, params).cost
            return cost.view(draws, samples, z.shape[-1], *cost.shape[2:]).movedim(2, -1)

        # A stream of its own, so that z goes on sharing its noise with other estimators.
        apart = noise.child("measure_valued", noise.drawn)
        rows = _normal if objective.family.name == "normal" else _poisson
        gradient = rows(params, z, costs, base.cost[..., None], coupled, apart)
        noise.drawn += apart.drawn
        return add_direct(mean_over_samples(gradient), base)

    def evaluations(objective: Objective) -> int:
        moves = 3 if objective.family.name == "normal" else 1
        return samples * (1 + moves * objective.params.shape[-1])

    return Estimator(
        "measure_valued",
        draw,
        samples=samples,
        evaluations=evaluations,
        unbiased=True,
        families=frozenset({"normal", "poisson"}),
        citation="Pflug 1989; Mohamed et al. 2020",
        settings={"coupled": coupled},
    )


def _normal(
    params: Tensor, z: Tensor, costs: Costs, base: Tensor, coupled: bool, noise: Noise
) -> Tensor:
    """Return the estimates of every sample, [draws, samples, *items, 2, d]."""
    mu, sigma = normal.unpack(params)
    right = sigma * (2 * noise.exponential(*z.shape)).sqrt_()  # sigma W
    left = right if coupled else sigma * (2 * noise.exponential(*z.shape)).sqrt_()
    mean = (costs(mu + right) - costs(mu - left)) / (sigma * math.sqrt(2 * math.pi))
    near = z - mu if coupled else sigma * noise.normal(*z.shape)  # sigma eps
    far = torch.hypot(near, sigma * (2 * noise.exponential(*z.shape)).sqrt_())
    log_scale = costs(mu + far.copysign_(near)) - base
    return draws_first(torch.stack((draws_last(mean), draws_last(log_scale)), -3))


def _poisson(
    params: Tensor, z: Tensor, costs: Costs, base: Tensor, coupled: bool, noise: Noise
) -> Tensor:
    """Return the estimates of every sample, [draws, samples, *items, d]."""
    count = z if coupled else poisson.quantile(params, noise.uniform(*z.shape))
    return params.exp() * (costs(count + 1) - base)


def _one_at_a_time(z: Tensor, end: Tensor) -> Tensor:
    """Return z with variable i taken from ``end``, for every i, along the axis of samples."""
    base = draws_last(z).unsqueeze(1)  # [samples, 1, *items, d, n]
    moved = base.repeat(1, z.shape[-1], *(1,) * (base.ndim - 2))
    moved.diagonal(0, 1, -2).copy_(draws_last(end).movedim(-2, -1))
    return draws_first(moved.flatten(0, 1))
