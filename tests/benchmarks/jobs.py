"""The jobs that speed is measured on: benchbed's objective, and its cost as a user would write it.

The cost of a user is row-major: z ``[..., *items, *event]`` contiguous along the event, logits
shaped alike, one cost for each row and item. Everything a user needs besides is here as well: how
to sample z, the encoder behind the logits of the model of digits, and its Jacobian.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.catalogue import build_objective
from benchbed.contracts import Objective
from benchbed.objectives._digits_model import digits_model

JOBS: dict[str, dict[str, Any]] = {
    "Bernoulli, d = 20": {"name": "quadratic", "dimensions": 20},
    "Bernoulli, d = 20, coupled": {"name": "coupled", "dimensions": 20},
    "categorical, d = 8, K = 10": {"name": "polynomial", "dimensions": 8, "categories": 10},
    "categorical, d = 2, K = 1000": {"name": "polynomial", "dimensions": 2, "categories": 1000},
    "digits, 8 bits": {"name": "digits_vae", "latents": "bernoulli"},
    "digits, d = 2, K = 10": {"name": "digits_vae", "latents": "categorical"},
}
# The laws that those are not; nothing was written by hand for them.
OTHER_LAWS: dict[str, dict[str, Any]] = {
    "normal, d = 8": {"name": "normal_quadratic", "dimensions": 8},
    "gamma, d = 8": {"name": "gamma_quadratic", "dimensions": 8},
    "quantized, 8 vectors": {"name": "quantized", "dimensions": 8, "codes": 2},
    "3 bits, 2 particles": {"name": "iwae"},
    "normal, 2 particles": {"name": "iwae", "latents": "normal"},
}
# A J on categories that takes more than a few steps.
SMOOTH = {"smooth, d = 8, K = 10": {"name": "smooth", "dimensions": 8, "categories": 10}}
IMAGES = 16

Cost = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Job:
    """One job, from both sides."""

    title: str
    objective: Objective
    params: Tensor  # [*items, *parameter axes], float32, contiguous
    cost: Cost  # (z, logits) -> [..., *items]
    event_axes: int
    encode: Callable[[Tensor], Tensor] | None = None  # network weights -> logits
    weights: Tensor | None = None
    jacobian: Tensor | None = None  # [params, weights], float32

    @property
    def bits(self) -> bool:
        """Say whether z is bits, and not one-hots."""
        return self.objective.family.name == "bernoulli"

    @property
    def direct(self) -> bool:
        """Say whether the cost depends on the logits besides."""
        return self.objective.direct

    def lead(self, leaf: Tensor) -> tuple[int, ...]:
        """Return the axes of a leaf in front of those of params: (rows,) or ()."""
        return tuple(leaf.shape[: leaf.ndim - self.params.ndim])

    def sample(self, *lead: int) -> Tensor:
        """Draw z [*lead, *params.shape] from params: every row has the same law, which is cheap."""
        if self.bits:
            return (torch.rand(*lead, *self.params.shape) < self.params.sigmoid()).float()
        shape, rows = self.params.shape, math.prod(lead)
        index = torch.multinomial(self.mean().view(-1, shape[-1]), rows, replacement=True)
        return one_hot(index.T.reshape(*lead, *shape[:-1]), shape[-1])

    def mean(self) -> Tensor:
        """Return E[z]."""
        return self.params.sigmoid() if self.bits else self.params.softmax(-1)

    def log_prob(self, logits: Tensor, z: Tensor) -> Tensor:
        """Return log q(z) [..., *items]."""
        if self.bits:
            return (z * logits - F.softplus(logits)).sum(-1)
        return (z * logits.log_softmax(-1)).sum((-1, -2))

    def lift(self, cost: Tensor) -> Tensor:
        """Give costs [..., *items] the axes of an event, so that they multiply a score."""
        return cost[(..., *(None,) * self.event_axes)]


def one_hot(index: Tensor, categories: int) -> Tensor:
    """Return float one-hots; ``F.one_hot`` is slower, and refused by vmap."""
    zeros = torch.zeros(*index.shape, categories)
    return zeros.scatter(-1, index.unsqueeze(-1), 1.0)


@cache
def job(title: str) -> Job:
    """Build a job."""
    objective = build_objective(**(JOBS | OTHER_LAWS | SMOOTH)[title])
    params = objective.params.float().contiguous()
    if objective.name == "quadratic":
        return Job(title, objective, params, _quadratic, 1)
    if objective.name == "coupled":
        return Job(title, objective, params, _coupled(params.shape[-1]), 1)
    if objective.name == "polynomial":
        return Job(title, objective, params, _polynomial(params.shape[-1]), 2)
    if objective.name == "digits_vae":
        return _digits(title, objective, params)
    return Job(title, objective, params, objective.cost, objective.family.event_axes)


def _quadratic(z: Tensor, logits: Tensor) -> Tensor:
    del logits
    return (z - 0.45).pow(2).mean(-1)


def _coupled(dimensions: int) -> Cost:
    """Return the cost with the coefficients read off benchbed's own, which draws them."""
    theirs = build_objective("coupled", dimensions=dimensions)
    one = torch.eye(dimensions, dtype=torch.float64)
    pairs = (one[:, None] + one).clamp(max=1)  # bits i and j set
    at_one = theirs.cost(one[:, None], theirs.params)[:, 0]  # a_i + Q_ii
    at_two = theirs.cost(pairs.view(-1, 1, dimensions), theirs.params).view(pairs.shape[:2])
    form = (at_two - at_one[:, None] - at_one) / 2
    # b^2 = b, but off the corners the diagonal of Q is not part of a.
    half = theirs.cost(0.5 * one[:, None], theirs.params)[:, 0]  # a_i / 2 + Q_ii / 4
    diagonal = 2 * at_one - 4 * half
    form.fill_diagonal_(0)
    form, slopes = (form + diagonal.diag()).float(), (at_one - diagonal).float()

    def cost(z: Tensor, logits: Tensor) -> Tensor:
        del logits
        return z @ slopes + ((z @ form) * z).sum(-1) + 1.5 * z[..., 0] * z[..., 1] * z[..., 2]

    return cost


def _polynomial(categories: int) -> Cost:
    places = torch.linspace(0, 1, categories)

    def cost(z: Tensor, logits: Tensor) -> Tensor:
        del logits
        return (z @ places - 0.45).pow(2).mean(-1)

    return cost


def _digits(title: str, objective: Objective, params: Tensor) -> Job:
    """Return the negative ELBO with encoder and decoder written as layers."""
    latents = objective.family.name
    model = digits_model(latents, 40)
    x = model.minibatch(IMAGES).float()
    size = model.size
    pieces = model.decoder.float().split([32 * size, 32, 64 * 32, 64])
    inner, outer = pieces[0].view(32, size), pieces[2].view(64, 32)
    states = 2**size if latents == "bernoulli" else params.shape[-1] ** params.shape[-2]
    axes = 1 if latents == "bernoulli" else 2

    def log_q(z: Tensor, logits: Tensor) -> Tensor:
        if axes == 1:
            return (z * logits - F.softplus(logits)).sum(-1)
        return (z * logits.log_softmax(-1)).sum((-1, -2))

    def cost(z: Tensor, logits: Tensor) -> Tensor:
        hidden = torch.tanh(F.linear(2 * z.flatten(-axes) - 1, inner, pieces[1]))
        pixels = F.linear(hidden, outer, pieces[3])
        log_p = (pixels * x - F.softplus(pixels)).sum(-1)
        return (log_q(z, logits) + math.log(states) - log_p) / IMAGES

    def encode(weights: Tensor) -> Tensor:
        first, bias, second, last = weights.split([16 * 64, 16, size * 16, size])
        hidden = torch.tanh(F.linear(2 * x - 1, first.view(16, 64), bias))
        return F.linear(hidden, second.view(size, 16), last).view(params.shape)

    weights = model.encoder.float()
    assert objective.jacobian is not None
    jacobian = objective.jacobian.float().reshape(params.numel(), -1).contiguous()
    return Job(title, objective, params, cost, axes, encode, weights, jacobian)
