"""Estimators for categorical latents as people write them: row-major, on autograd, no loops.

Each function takes a job and a leaf of logits, ``[rows, *items, d, K]`` for a batch or
``[*items, d, K]`` for one estimate, and returns a loss ``[rows, *items]`` whose gradient in the
leaf is the estimate. Settings are those that benchbed's estimators have by default.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from homemade_scores import scored
from jobs import Job, one_hot
from torch import Tensor

TEMPERATURE = 0.5  # of gumbel_softmax, its straight-through form, gumbel_rao and rebar
REPLICATES = 10  # of gumbel_rao


def straight_through(job: Job, leaf: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    soft = leaf.softmax(-1)
    return job.cost(z + soft - soft.detach(), leaf)


def gumbel_softmax(job: Job, leaf: Tensor) -> Tensor:
    return job.cost(F.gumbel_softmax(leaf, tau=TEMPERATURE), leaf)


def straight_through_gumbel_softmax(job: Job, leaf: Tensor) -> Tensor:
    """Spell ``hard=True`` out: its scatter in place has no batching rule under vmap."""
    soft = F.gumbel_softmax(leaf, tau=TEMPERATURE)
    z = one_hot(soft.argmax(-1), leaf.shape[-1])
    return job.cost(z + soft - soft.detach(), leaf)


def reinmax(job: Job, leaf: Tensor) -> Tensor:
    """Algorithm 2 of the paper, as printed."""
    z = job.sample(*job.lead(leaf))
    soft = leaf.softmax(-1)
    middle = ((z + soft) / 2).detach().log()
    middle = (middle - leaf.detach() + leaf).softmax(-1)
    both = 2 * middle - 0.5 * soft
    return job.cost(both - both.detach() + z, leaf)


def darn(job: Job, leaf: Tensor) -> Tensor:
    """Let dJ/dz reach the logits through the outer product of the score with itself."""
    z = job.sample(*job.lead(leaf))
    score = z - job.mean()
    path = score * (score * leaf).sum(-1, keepdim=True)
    return job.cost(z + path - path.detach(), leaf)


def gapped_straight_through(job: Job, leaf: Tensor) -> Tensor:
    """Move the logits so that the sampled one leads by 1, as the authors' code does."""
    z = job.sample(*job.lead(leaf))
    logits = leaf.detach()
    top = logits.amax(-1, keepdim=True)
    up = (top - logits) * z
    down = (logits - top + 1).clamp(min=0) * (1 - z)
    soft = (leaf + (up - down)).softmax(-1)
    return job.cost(z + soft - soft.detach(), leaf)


def conditional_gumbels(logits: Tensor, z: Tensor, e: Tensor) -> Tensor:
    """Return logits + Gumbels given their arg-max z, from exponentials e; logits normalized."""
    top = (e * z).sum(-1, keepdim=True)
    return -torch.where(z > 0, top, e / logits.exp() + top).log()


def gumbel_rao(job: Job, leaf: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    logits = leaf.detach().log_softmax(-1)
    e = torch.empty_like(z.expand(REPLICATES, *z.shape)).exponential_()
    noise = conditional_gumbels(logits, z, e) - logits
    soft = ((leaf + noise) / TEMPERATURE).softmax(-1).mean(0)
    return job.cost(z + soft - soft.detach(), leaf)


def rebar(job: Job, leaf: Tensor) -> Tensor:
    logits = leaf.log_softmax(-1)
    relaxed = logits - torch.empty_like(leaf).exponential_().log()
    z = one_hot(relaxed.argmax(-1), leaf.shape[-1])
    twin = conditional_gumbels(logits, z, torch.empty_like(leaf).exponential_())
    cost = job.cost(z, leaf)
    at_z = job.cost((relaxed / TEMPERATURE).softmax(-1), leaf)
    at_twin = job.cost((twin / TEMPERATURE).softmax(-1), leaf)
    return scored(job, leaf, z, cost - at_twin, cost) + at_z - at_twin


def local_expectation(job: Job, leaf: Tensor) -> Tensor:
    """Sum every variable over its categories, the others as sampled."""
    variables, categories = job.params.shape[-2:]
    z = job.sample(*job.lead(leaf))
    soft = leaf.softmax(-1)
    loss = 0.0
    for i in range(variables):
        every = z.expand(categories, *z.shape).clone()
        every.movedim(-2, 0)[i] = torch.eye(categories).view(
            categories, *(1,) * (z.ndim - 2), categories
        )
        cost = job.cost(every, leaf).movedim(0, -1)  # [rows, *items, K]
        loss = loss + (soft[..., i, :] * cost.detach()).sum(-1)
        if job.direct:
            loss = loss + (soft[..., i, :].detach() * cost).sum(-1) / variables
    return loss
