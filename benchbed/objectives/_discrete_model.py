"""A small generative model of binary images whose latents can all be listed.

z has d independent variables, bits or categories, with a seeded prior that is NOT uniform: under a
uniform prior KL(q || p) is minus the entropy up to a constant, and forms of a bound that mix the
two up would agree. A pixel of x is a logistic function of z. The N images are drawn from the
model. A bit is treated as a variable of two categories throughout: one-hot, ``[d, K]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Family
from benchbed.errors import BadArgument, nearest
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.layout import draws_last
from benchbed.objectives._affordable import affordable
from benchbed.objectives._listable import count_states
from benchbed.rng import Noise

PIXELS = 5
Latents = Literal["bernoulli", "categorical"]


@dataclass(frozen=True)
class DiscreteModel:
    """p(z) p(x | z), every z, and N images.

    Attributes:
        family: of the prior and of q.
        x: the images, 0 or 1, [N, pixels].
        log_prior: log p(z_v = k), [d, K].
        weights: of pixels by the one-hots of z, [pixels, d * K].
        start: logits of the pixels before z's share, [pixels].
        states: every z as one-hots, [S, d, K], numbered as the family numbers them.
        log_priors: log p(z), [S].
        log_likelihoods: log p(x_n | z), [N, S].
    """

    family: Family
    x: Tensor
    log_prior: Tensor
    weights: Tensor
    start: Tensor
    states: Tensor
    log_priors: Tensor
    log_likelihoods: Tensor

    @property
    def log_joints(self) -> Tensor:
        """Return log p(x_n, z), [N, S]."""
        return self.log_priors + self.log_likelihoods

    @property
    def log_evidences(self) -> Tensor:
        """Return log p(x_n), [N]."""
        return self.log_joints.logsumexp(-1)

    def choices(self, z: Tensor) -> Tensor:
        """Return z [draws, ..., d] or [draws, ..., d, K] as one-hots [..., d, K, draws]."""
        inner = draws_last(z)
        return torch.stack((1 - inner, inner), -2) if self.family is BERNOULLI else inner

    def log_pi(self, logits: Tensor) -> Tensor:
        """Return log q_v(k) of logits [..., d, draws] or [..., d, K, draws], [..., d, K, draws]."""
        if self.family is BERNOULLI:
            return torch.stack((F.logsigmoid(-logits), F.logsigmoid(logits)), -2)
        return logits.log_softmax(-2)

    def logits(self, log_pi: Tensor) -> Tensor:
        """Return the family's params of log-probabilities [..., d, K]."""
        return log_pi[..., 1] - log_pi[..., 0] if self.family is BERNOULLI else log_pi

    def pixel_logits(self, choices: Tensor) -> Tensor:
        """Return the logits of p(x | z), [..., pixels, draws]."""
        flat = choices.flatten(-3, -2)
        return self.weights.to(flat) @ flat + self.start.to(flat)[:, None]

    def log_likelihood_of_all(self, choices: Tensor) -> Tensor:
        """Return log p(x_n | z) of ONE z for every image, [..., N, draws]."""
        logits = self.pixel_logits(choices)
        return self.x.to(logits) @ logits - F.softplus(logits).sum(-2, keepdim=True)


def discrete_model(
    name: str, latents: str, data: int, dimensions: int, categories: int, seed: int
) -> DiscreteModel:
    """Build the model from its seed, and draw its images.

    Args:
        name: of the objective, for what is wrong with the rest.
        latents: ``bernoulli`` or ``categorical``.
        data: N.
        dimensions: latent variables.
        categories: of a categorical variable.
        seed: of the weights, the prior and the images.
    """
    kinds = ("bernoulli", "categorical")
    if latents not in kinds:
        raise BadArgument(
            f"{name} needs latents: bernoulli or categorical, got '{latents}'"
            f"{nearest(str(latents), kinds)}"
        )
    family = BERNOULLI if latents == "bernoulli" else CATEGORICAL
    at_least(name, "data", data, 1)
    at_least(name, "dimensions", dimensions, 1)
    at_least(name, "categories", categories, 2)
    at_least(name, "seed", seed, 0)
    values = 2 if family is BERNOULLI else categories
    count = count_states(name, "lists the values of one image's z", values, dimensions)
    affordable(name, data * max(count, PIXELS), "use less data")
    noise = Noise(seed, "discrete model", latents, dtype=torch.float64)
    event = (dimensions,) if family is BERNOULLI else (dimensions, categories)
    prior = noise.normal(*event).contiguous()
    weights = 2 * noise.normal(PIXELS, *event).contiguous()
    start = noise.normal(PIXELS).contiguous()
    if family is BERNOULLI:  # the choice of 0 moves nothing
        log_prior = torch.stack((F.logsigmoid(-prior), F.logsigmoid(prior)), -1)
        weights = torch.stack((torch.zeros_like(weights), weights), -1)
    else:
        log_prior = prior.log_softmax(-1)
    weights = weights.flatten(1)
    assert family.enumerate is not None
    listed = family.enumerate(prior, torch.arange(count))
    if family is BERNOULLI:
        listed = torch.stack((1 - listed, listed), -1)
    log_priors = (listed * log_prior).sum((-2, -1))
    every = listed.flatten(1) @ weights.T + start  # [S, pixels]
    drawn = (noise.uniform(data)[:, None] > log_priors.exp().cumsum(0)[:-1]).sum(-1)
    x = (noise.uniform(data, PIXELS) < every[drawn].sigmoid()).to(prior)
    log_likelihoods = x @ every.T - F.softplus(every).sum(-1)
    return DiscreteModel(family, x, log_prior, weights, start, listed, log_priors, log_likelihoods)


def closest_product(model: DiscreteModel) -> Tensor:
    """Return the marginals of p(z | x_n), log-probabilities [N, d, K].

    Their product is the independent law closest to the posterior in KL(p || q).
    """
    log_posterior = model.log_joints - model.log_evidences[:, None]  # [N, S]
    masked = torch.where(
        model.states > 0, log_posterior[..., None, None], torch.tensor(-torch.inf).double()
    )
    return masked.logsumexp(1)


def encoder_point(
    name: str, model: DiscreteModel, fit: float, distance: float, seed: int
) -> Tensor:
    """Return logits of q(z | x_n), [N * d] or [N * d, K].

    Args:
        name: of the objective, for what is wrong with the rest.
        model: with its images.
        fit: 0 is the prior for every image, 1 the product closest to its posterior; in between
            and beyond, on the line through the two.
        distance: from there: seeded normal steps of standard deviation distance / 2.
        seed: of the steps.
    """
    fit = finite_number(name, "fit", fit)
    if finite_number(name, "distance", distance) < 0:
        raise BadArgument(f"{name} needs a distance >= 0, got {distance}; 0 stays on the line")
    start = model.logits(model.log_prior)
    goal = model.logits(closest_product(model))  # [N, d] or [N, d, K]
    noise = Noise(seed, "encoder point", dtype=torch.float64)
    point = start + fit * (goal - start) + 0.5 * distance * noise.normal(*goal.shape)
    return point.flatten(0, 1).contiguous()
