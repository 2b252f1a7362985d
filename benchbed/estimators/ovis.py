"""OVIS: optimal variance control of the score-function gradient of a multi-sample bound.

Lievin, Dittadi, Christensen and Winther 2020, "Optimal Variance Control of the Score-Function
Gradient Estimator for Importance-Weighted Bounds" (arXiv 2008.01998). With J = log mean_k w_k,

    sum_k (d_k - c_k) h_k,   d_k = J - wt_k,

    monte_carlo:  c_k = mean over S further particles of d_k with z_k replaced by each,
    asymptotic:   c_k = log mean_{j != k} w_j - gamma wt_k + (1 - gamma) log(1 - 1/K), that is
                  d_k - c_k = -log(1 - wt_k) - (1 - gamma) wt_k + gamma log(1 - 1/K).

The S further particles are shared by the K baselines, none of which holds its own z_k: unbiased,
as is gamma = 0. Any gamma > 0 is biased, since c_k holds wt_k: gamma = 1 is ``vimco`` without its
term -wt_k h_k. Published code clamps 1 - wt_k from below, which truncates the weights; here
log(1 - wt_k) is a difference of log sums and needs no clamp. Cost: one evaluation of J a sample;
S further particles of every sample count as S / K evaluations, rounded up in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Finite, Objective
from benchbed.elementwise import exp_
from benchbed.enumeration import finite_in_z, tuples
from benchbed.errors import BadArgument
from benchbed.estimators._log_weights import (
    log_mean,
    log_sum_of_others,
    log_weights,
    needs_others,
    one_particle,
    particles_in,
    weighted_scores,
)
from benchbed.families.particles import particles
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def ovis(
    samples: int = 1,
    kind: Literal["monte_carlo", "asymptotic"] = "monte_carlo",
    auxiliary: int | None = None,
    gamma: float | None = None,
) -> Estimator:
    """Score-function gradient of a multi-sample bound with nearly optimal baselines.

    Args:
        samples: independent K-tuples in one estimate.
        kind: ``monte_carlo`` averages each baseline over further particles; ``asymptotic`` is its
            form for many particles.
        auxiliary: S, further particles a sample (monte_carlo only); by default 4.
        gamma: 0 is unbiased and suits many effective particles, 1 is biased and suits few
            (asymptotic only); by default 0.
    """
    at_least("ovis", "samples", samples, 1)
    if kind not in ("monte_carlo", "asymptotic"):
        raise BadArgument(f"ovis needs kind: monte_carlo or asymptotic, got '{kind}'")
    if kind == "monte_carlo":
        if gamma is not None:
            raise BadArgument(
                f"ovis takes gamma for the asymptotic baseline only, got {gamma} with kind: "
                "monte_carlo; add kind: asymptotic"
            )
        further = 4 if auxiliary is None else at_least("ovis", "auxiliary", auxiliary, 1)
        return _monte_carlo(samples, further)
    if auxiliary is not None:
        raise BadArgument(
            f"ovis takes auxiliary for the Monte Carlo baseline only, got {auxiliary} with kind: "
            "asymptotic; leave it out, or use kind: monte_carlo"
        )
    weight = 0.0 if gamma is None else gamma
    if not 0 <= weight <= 1:
        raise BadArgument(f"ovis needs gamma from 0 (unbiased) to 1, got {gamma}")
    return _asymptotic(samples, float(weight))


def _asymptotic(samples: int, gamma: float) -> Estimator:
    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = log_weights(objective, params, z)
        count = needs_others("ovis", found.each, "kind: monte_carlo")
        total = draws_first(draws_last(found.each).logsumexp(-2, keepdim=True))
        log_rest = log_sum_of_others(found.each) - total  # log(1 - wt_k)
        centred = gamma * math.log1p(-1 / count) - log_rest - (1 - gamma) * found.share
        return weighted_scores(objective, params, z, centred)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "ovis",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=gamma == 0,
        needs=frozenset({"log_joint"}),
        citation="Lievin et al. 2020",
        settings={"kind": "asymptotic", "gamma": gamma},
        finite=finite_in_z(estimate, replicates=samples),
    )


def _monte_carlo(samples: int, auxiliary: int) -> Estimator:
    def estimate(objective: Objective, params: Tensor, z: Tensor, other: Tensor) -> Tensor:
        """Take z [draws, samples, *items, K, *event] and other [..., *items, S, *event]."""
        found, extra = (log_weights(objective, params, of) for of in (z, other))
        rest = draws_last(log_sum_of_others(found.each)).unsqueeze(-2)  # [..., K, 1, draws]
        swapped = draws_last(extra.each).unsqueeze(-3)  # [..., 1, S, draws]
        total = torch.logaddexp(rest, swapped)  # log sum of w_-k and one further weight
        log_count = math.log(found.each.shape[-1])
        baseline = draws_first((total - log_count - exp_(swapped - total)).mean(-2))
        centred = log_mean(found.each) - found.share - baseline
        return weighted_scores(objective, params, z, centred)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = objective.family.sample(params, draws, samples, noise)
        # A stream of its own, so that z goes on sharing its noise with other estimators.
        apart = noise.child("auxiliary", noise.drawn)
        more = particles(one_particle(objective), auxiliary).sample(params, draws, samples, apart)
        noise.drawn += apart.drawn
        return estimate(objective, params, z, more)

    def count(objective: Objective, params: Tensor) -> int:
        states = one_particle(objective).states
        return 0 if states is None else states(params) ** (particles_in(objective) + auxiliary)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        given, particle = particles_in(objective), one_particle(objective)
        both = particles(particle, given + auxiliary)
        for z in tuples(both, params, together=1):
            weight = both.log_prob(params, z)[:, 0].exp()
            first, last = torch.split(z, [given, auxiliary], -both.event_axes)
            yield weight, estimate(objective, params, first, last)

    def evaluations(objective: Objective) -> int:
        return samples + math.ceil(samples * auxiliary / particles_in(objective))

    return Estimator(
        "ovis",
        draw,
        samples=samples,
        evaluations=evaluations,
        unbiased=True,
        needs=frozenset({"log_joint"}),
        citation="Lievin et al. 2020",
        settings={"kind": "monte_carlo", "auxiliary": auxiliary},
        finite=Finite(count, outcomes, samples),
    )
