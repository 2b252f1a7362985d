"""Score-function estimators as people write them, for bits and categories alike.

Each function takes a job and a leaf of logits, ``[rows, *params.shape]`` for a batch or
``[*params.shape]`` for one estimate, and returns a loss ``[rows, *items]`` whose gradient in the
leaf is the estimate. Those ``by_hand`` return that gradient themselves, without autograd.
"""

from __future__ import annotations

import torch
from jobs import Job
from torch import Tensor


def scored(job: Job, leaf: Tensor, z: Tensor, advantage: Tensor, cost: Tensor) -> Tensor:
    """Return the REINFORCE loss, with the path of a cost that depends on the logits."""
    loss = advantage.detach() * job.log_prob(leaf, z)
    return loss + cost if job.direct else loss


def score_function(job: Job, leaf: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    cost = job.cost(z, leaf)
    return scored(job, leaf, z, cost, cost)


def constant_baseline(job: Job, leaf: Tensor, baseline: Tensor) -> Tensor:
    z = job.sample(*job.lead(leaf))
    cost = job.cost(z, leaf)
    return scored(job, leaf, z, cost - baseline, cost)


def leave_one_out(job: Job, leaf: Tensor, samples: int) -> Tensor:
    z = job.sample(samples, *job.lead(leaf))
    cost = job.cost(z, leaf)  # [samples, rows, *items]
    others = (cost.sum(0) - cost) / (samples - 1)
    return scored(job, leaf, z, cost - others, cost).mean(0)


def muprop(job: Job, leaf: Tensor) -> Tensor:
    """Centre on the tangent at the mean, which is the same for every row."""
    mean = job.mean()
    slope, value = torch.func.grad_and_value(lambda z: job.cost(z, job.params).sum())(mean)
    if job.params.ndim > job.event_axes:  # items: a value of each
        value = job.cost(mean, job.params)
    z = job.sample(*job.lead(leaf))
    cost = job.cost(z, leaf)
    axes = tuple(range(-job.event_axes, 0))
    tangent = value + ((z - mean) * slope).sum(axes)
    soft = leaf.sigmoid() if job.bits else leaf.softmax(-1)
    return scored(job, leaf, z, cost - tangent, cost) + (soft * slope).sum(axes)


def score_function_by_hand(job: Job, rows: int) -> Tensor:
    z = job.sample(rows)
    return job.lift(job.cost(z, job.params)) * (z - job.mean())


def leave_one_out_by_hand(job: Job, rows: int, samples: int) -> Tensor:
    z = job.sample(samples, rows)
    cost = job.cost(z, job.params)
    others = (cost.sum(0) - cost) / (samples - 1)
    return (job.lift(cost - others) * (z - job.mean())).mean(0)
