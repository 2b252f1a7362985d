"""Weights of the particles of a multi-sample bound, in log space, and what estimators make of them.

w_k = p(x, z_k) / q(z_k), wt_k = w_k / sum_j w_j, h_k = d log q(z_k) / d params. One K-tuple of
particles given to ``log_joint`` is one evaluation of the bound J = log mean_k w_k.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.contracts import Family, Objective, Path
from benchbed.errors import BadArgument
from benchbed.layout import compact, draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


class LogWeights(NamedTuple):
    """What ``log_joint`` gave at some tuples."""

    each: Tensor  # log w_k, [draws, samples, *items, K]
    slope: Tensor | None  # d log w_k / dz_k at fixed params, shaped like z

    @property
    def share(self) -> Tensor:
        """Return wt_k, shaped like log w_k."""
        return draws_first(draws_last(self.each).softmax(-2))


def log_weights(
    objective: Objective, params: Tensor, z: Tensor, *, slope: bool = False
) -> LogWeights:
    """Return log w at ``z`` [draws, samples, *items, K, *event], and its slope by one autograd."""
    log_joint = objective.log_joint
    assert log_joint is not None
    particle = one_particle(objective)
    point = beside_particles(particle, params.detach())
    z = z.detach()
    if not slope:
        return LogWeights(compact(log_joint(z) - particle.log_prob(point, z)), None)
    z = z.requires_grad_()
    with torch.enable_grad():
        each = log_joint(z) - particle.log_prob(point, z)
        (found,) = torch.autograd.grad(each.sum(), z)
    return LogWeights(compact(each.detach()), compact(found))


def one_particle(objective: Objective) -> Family:
    """Return the law of one particle."""
    assert objective.family.particle is not None
    return objective.family.particle


def beside_particles(particle: Family, params: Tensor) -> Tensor:
    """Return params with an axis of length 1 where z has its particles."""
    return params.unsqueeze(-particle.params_axes - 1)


def particles_in(objective: Objective) -> int:
    """Return K, the particles that the objective's bound takes."""
    family = objective.family
    return family.mean(objective.params).shape[-family.event_axes]


def needs_others(name: str, log_weight: Tensor, instead: str) -> int:
    """Return K, or say that a baseline made of the other particles needs two or more."""
    count = log_weight.shape[-1]
    if count < 2:
        raise BadArgument(
            f"{name} centres each particle by the others and the bound has 1; use an objective "
            f"of 2 or more particles, or {instead}"
        )
    return count


def log_mean(log_weight: Tensor) -> Tensor:
    """Return J = log mean_k w_k with the particle axis kept, [draws, samples, *items, 1]."""
    inner = draws_last(log_weight)
    return draws_first(inner.logsumexp(-2, keepdim=True) - math.log(inner.shape[-2]))


def log_sum_of_others(log_weight: Tensor) -> Tensor:
    """Return log sum_{j != k} w_j for every k; -inf where there are no others.

    By sums from both ends that leave w_k out. log(sum_j w_j - w_k) would lose every digit where
    one particle dominates.
    """
    rows = draws_last(log_weight).unbind(-2)  # K times [samples, *items, draws]
    if len(rows) == 1:
        return torch.full_like(log_weight, -math.inf)
    # Sums of the first 1 to K - 1 weights, and of the last. logcumsumexp takes 12 times as long.
    first = list(itertools.accumulate(rows[:-1], torch.logaddexp))
    last = list(itertools.accumulate(rows[:0:-1], torch.logaddexp))
    between = [torch.logaddexp(*ends) for ends in zip(first[:-1], last[-2::-1], strict=True)]
    return draws_first(torch.stack((last[-1], *between, first[-1]), -2))


def weighted_scores(objective: Objective, params: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over samples of sum_k weight_k h_k, [draws, *params.shape]."""
    particle = one_particle(objective)
    h = particle.score(beside_particles(particle, params), z)  # [draws, samples, *items, K, ...]
    products = draws_last(particle.lift(weight) * h).sum(-particle.params_axes - 2)
    return mean_over_samples(draws_first(products))


def along_path(
    objective: Objective, params: Tensor, draws: int, samples: int, noise: Noise
) -> tuple[Path, LogWeights]:
    """Draw reparameterized particles and differentiate their log weights."""
    path = objective.family.path(params, draws, samples, 1.0, noise)
    return path, log_weights(objective, params, path.hard, slope=True)


def through_path(objective: Objective, path: Path, found: LogWeights, weight: Tensor) -> Tensor:
    """Return the mean over samples of sum_k weight_k d log w_k/dz_k dz_k/dparams."""
    assert found.slope is not None
    lifted = weight[(..., *(None,) * one_particle(objective).event_axes)]
    pulled = path.vjp(lifted * found.slope)
    return mean_over_samples(pulled)
