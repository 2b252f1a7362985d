"""Estimators for Bernoulli latents as people write them: row-major, batched, no loops.

Each function takes a job and a leaf of logits, ``[rows, *items, d]`` for a batch or ``[*items, d]``
for one estimate, and returns a loss ``[rows, *items]`` whose gradient in the leaf is the estimate.
Those ``by_hand`` return that gradient themselves, without autograd. Settings are those that
benchbed's estimators have by default.
"""

from __future__ import annotations

import torch
from homemade_scores import scored
from jobs import Job
from torch import Tensor

TEMPERATURE = 0.5  # of gumbel_softmax, its straight-through form, gumbel_rao and rebar
REPLICATES = 10  # of gumbel_rao


def antithetic(job: Job, lead: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return a uniform and the two samples it gives."""
    u, p = torch.rand(*lead, *job.params.shape), job.mean()
    return u, (u > 1 - p).float(), (u < p).float()


def arm_by_hand(job: Job, rows: int) -> Tensor:
    u, z, other = antithetic(job, (rows,))
    gap = job.cost(z, job.params) - job.cost(other, job.params)
    return job.lift(gap) * (u - 0.5)


def disarm_by_hand(job: Job, rows: int) -> Tensor:
    _, z, other = antithetic(job, (rows,))
    gap = job.cost(z, job.params) - job.cost(other, job.params)
    return 0.5 * job.lift(gap) * (z - other) * job.params.abs().sigmoid()


def arm(job: Job, leaf: Tensor) -> Tensor:
    u, z, other = antithetic(job, job.lead(leaf))
    first, second = job.cost(z, leaf), job.cost(other, leaf)
    loss = (first - second).detach() * ((u - 0.5) * leaf).sum(-1)
    return loss + (first + second) / 2 if job.direct else loss


def disarm(job: Job, leaf: Tensor) -> Tensor:
    _, z, other = antithetic(job, job.lead(leaf))
    first, second = job.cost(z, leaf), job.cost(other, leaf)
    weight = 0.5 * (z - other) * job.params.abs().sigmoid()
    loss = (first - second).detach() * (weight * leaf).sum(-1)
    return loss + (first + second) / 2 if job.direct else loss


def straight_through(job: Job, leaf: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    soft = leaf.sigmoid()
    return job.cost(z + soft - soft.detach(), leaf)


def logistic(like: Tensor) -> Tensor:
    """Draw logistic noise; a uniform of 0 would give an infinity."""
    return torch.rand_like(like).clamp(min=1e-7).logit()


def gumbel_softmax(job: Job, leaf: Tensor) -> Tensor:
    return job.cost(((leaf + logistic(leaf)) / TEMPERATURE).sigmoid(), leaf)


def straight_through_gumbel_softmax(job: Job, leaf: Tensor) -> Tensor:
    soft = ((leaf + logistic(leaf)) / TEMPERATURE).sigmoid()
    z = (soft > 0.5).float()
    return job.cost(z + soft - soft.detach(), leaf)


def reinmax(job: Job, leaf: Tensor) -> Tensor:
    """Write the paper's weight for two categories out: 2 m (1 - m) - p (1 - p) / 2."""
    z, p = job.sample(*job.lead(leaf)), job.mean()
    middle = (z + p) / 2
    path = (2 * middle * (1 - middle) - 0.5 * p * (1 - p)) * leaf
    return job.cost(z + path - path.detach(), leaf)


def darn(job: Job, leaf: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    path = (z - job.mean()).square() * leaf
    return job.cost(z + path - path.detach(), leaf)


def gapped_straight_through(job: Job, leaf: Tensor) -> Tensor:
    """Move the logit so that the sampled value leads by 1."""
    z = job.sample(*job.lead(leaf))
    sign = 2 * z - 1
    moved = sign * (sign * leaf.detach()).clamp(min=1)
    soft = (leaf + (moved - leaf.detach())).sigmoid()
    return job.cost(z + soft - soft.detach(), leaf)


def conditional_logistic(leaf: Tensor, z: Tensor, v: Tensor) -> Tensor:
    """Return logits + logistic noise given that its sign is z's, from uniforms v."""
    p = leaf.sigmoid()
    u = torch.where(z > 0, 1 - p + v * p, v * (1 - p))
    return leaf + u.clamp(1e-7, 1 - 1e-7).logit()


def gumbel_rao(job: Job, leaf: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    v = torch.rand_like(z.expand(REPLICATES, *z.shape))
    noise = conditional_logistic(leaf.detach(), z, v) - leaf.detach()
    soft = ((leaf + noise) / TEMPERATURE).sigmoid().mean(0)
    return job.cost(z + soft - soft.detach(), leaf)


def rebar(job: Job, leaf: Tensor) -> Tensor:
    relaxed = leaf + logistic(leaf)
    z = (relaxed > 0).to(leaf.dtype)
    twin = conditional_logistic(leaf, z, torch.rand_like(leaf))
    cost = job.cost(z, leaf)
    at_z = job.cost((relaxed / TEMPERATURE).sigmoid(), leaf)
    at_twin = job.cost((twin / TEMPERATURE).sigmoid(), leaf)
    return scored(job, leaf, z, cost - at_twin, cost) + at_z - at_twin


def local_expectation(job: Job, leaf: Tensor) -> Tensor:
    """Flip every bit in turn, all in one evaluation of [d, rows, *items, d]."""
    z = job.sample(*job.lead(leaf))
    d = z.shape[-1]
    one = torch.eye(d).view(d, *(1,) * (z.ndim - 1), d)
    cost, flipped = job.cost(z, leaf), job.cost((z - one).abs(), leaf).movedim(0, -1)
    gap = (2 * z - 1) * (cost.unsqueeze(-1) - flipped)  # J(bit set) - J(bit clear)
    soft = leaf.sigmoid()
    loss = (soft * gap.detach()).sum(-1)
    if not job.direct:
        return loss
    stays = (1 - (z - soft).abs()).detach()  # the probability of each bit's own value
    return loss + (stays * cost.unsqueeze(-1) + (1 - stays) * flipped).mean(-1)
