"""A hierarchical prior, p(z1) p(z2 | z1), with x drawn from both: topics, facts, sentence.

q(z1 | x) q(z2 | x, z1) runs the same way down, as in Sonderby et al. 2016, "Ladder Variational
Autoencoders" (arXiv 1602.02282), so the KL divergence is a chain,

    KL(q(z1, z2 | x) || p(z1, z2)) = KL(q(z1 | x) || p(z1)) + E KL(q(z2 | x, z1) || p(z2 | z1)),

and q can be the posterior itself, where the bound is log p(x). Two models: categorical, q a Markov
chain of two steps with their own numbers of states; and linear Gaussian, q a chain of two normals,
where the bound is a quadratic form:

    z1 ~ N(0, 1),   z2 | z1 ~ N(alpha z1, 1),   x | z1, z2 ~ N(w1 z1 + w2 z2 + start, I).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.families.gaussian_chain import GAUSSIAN_CHAIN
from benchbed.families.gaussian_chain import unpack as unpack_gaussian
from benchbed.families.markov_chain import markov_chain, unpack
from benchbed.layout import draws_first, draws_last, linear
from benchbed.objectives._affordable import affordable
from benchbed.objectives._at_the_posterior import zero_at
from benchbed.objectives._in_range import in_range
from benchbed.objectives._listable import count_states
from benchbed.objectives._points import gradient_of
from benchbed.objectives._prior_model import (
    LISTS,
    PIXELS,
    Decoder,
    apart,
    decoder_of,
    drawn,
    table_of,
)
from benchbed.rng import Noise

NAME, CITATION = "hierarchical_prior", "Sonderby et al. 2016"
LOG_2PI = math.log(2 * math.pi)
Latents = Literal["categorical", "normal"]


class Levels(NamedTuple):
    """The categorical model: log p(z1), log p(z2 | z1), and p(x | z1, z2) of both one-hots."""

    first: Tensor  # [states of z1]
    second: Tensor  # [states of z1, states of z2]
    decoder: Decoder  # of the two one-hots, side by side


class Gaussian(NamedTuple):
    """The linear Gaussian model."""

    alpha: float
    weights: Tensor  # [2, PIXELS], w1 and w2
    start: Tensor  # [PIXELS]
    x: Tensor  # [items, PIXELS]


def hierarchical_prior(
    latents: Latents = "categorical",
    items: int = 3,
    first: int | None = None,
    second: int | None = None,
    distance: float = 1.0,
    seed: int = 0,
) -> Objective:
    """Cost: the mean negative ELBO, in nats a data point, of a model with two levels of latents.

    To be lowered; at the posterior it is -log p(x). categorical: params ``[items, first +
    first * second]``, the logits of z1 and then, row by row, those of z2 given z1; z is one-hot
    ``[2, max(first, second)]``. normal: params ``[items, 5]`` and z ``[2]`` of
    benchbed.families.gaussian_chain. Row S33 of benchbed.facts.coverage.

    Args:
        latents: ``categorical`` or ``normal``.
        items: data points of 5 pixels (binary, or real numbers for normal latents), each with its
            own q.
        first: states of a categorical z1; by default 2.
        second: states of a categorical z2; by default 3.
        distance: of q from the posterior: every parameter moves by distance / 2 times a seeded
            normal number; 0 is the posterior, where the gradient is 0.
        seed: of the model, the data and the step.
    """
    if latents not in ("categorical", "normal"):
        raise BadArgument(
            f"hierarchical_prior needs latents: categorical or normal, got '{latents}'"
        )
    affordable(NAME, at_least(NAME, "items", items, 1) * PIXELS, "use fewer items")
    at_least(NAME, "seed", seed, 0)
    if latents == "normal":
        for what, given in (("first", first), ("second", second)):
            if given is not None:
                raise BadArgument(
                    f"hierarchical_prior with normal latents has no states, got {what} {given}; "
                    "leave it out, or use latents: categorical"
                )
        family, gaussian = GAUSSIAN_CHAIN, gaussian_model(items, seed)
        posterior, cost, value = gaussian_posterior(gaussian), _cost(gaussian), _value(gaussian)
    else:
        one = at_least(NAME, "first", 2 if first is None else first, 2)
        two = at_least(NAME, "second", 3 if second is None else second, 2)
        states = count_states(NAME, LISTS, one * two, 1, "states of z1 or z2")
        affordable(NAME, items * states, "use fewer items or states")
        family = markov_chain((one, two), shared=False)
        levels = levels_model(items, one, two, seed)
        posterior, cost, value = _levels(levels, family.log_prob, items)
    gradient = gradient_of(value)
    return in_range(
        Objective(
            NAME,
            family,
            apart(NAME, posterior, distance, Noise(seed, NAME, latents, dtype=torch.float64)),
            cost,
            value,
            zero_at(posterior, gradient) if distance == 0 else gradient,
            direct=True,
            citation=CITATION,
        )
    )


def levels_model(items: int, first: int, second: int, seed: int) -> Levels:
    """Return a seeded categorical model and ``items`` data points drawn from it."""
    noise = Noise(seed, NAME, "categorical", dtype=torch.float64)
    log_first = noise.normal(first).contiguous().log_softmax(0)
    log_second = noise.normal(first, second).contiguous().log_softmax(1)
    z1 = drawn(CATEGORICAL, log_first.expand(items, 1, -1), noise)[:, 0]
    z2 = drawn(CATEGORICAL, (z1 @ log_second)[:, None], noise)[:, 0]
    return Levels(log_first, log_second, decoder_of(torch.cat((z1, z2), 1), noise))


Function = Callable[[Tensor, Tensor], Tensor]


def _levels(
    levels: Levels, log_q: Function, items: int
) -> tuple[Tensor, Function, Callable[[Tensor], Tensor]]:
    """Return the posterior's params [items, n], the cost and the exact value."""
    one, two = levels.second.shape
    log_prior = levels.first[:, None] + levels.second  # [K1, K2]
    hot = torch.eye(one).to(log_prior), torch.eye(two).to(log_prior)
    pairs = [part.flatten(0, 1) for part in _crossed(*hot)]  # of every (z1, z2)
    likelihood = table_of(levels.decoder.log_likelihood, torch.cat(pairs, 1), items)
    joint = log_prior + likelihood.reshape(items, one, two)
    posterior = torch.cat((joint.logsumexp(2).log_softmax(1), joint.log_softmax(2).flatten(1)), 1)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        z1, z2 = z[..., 0, :one], z[..., 1, :two]
        below = draws_last(linear(levels.second.T, z1)) * draws_last(z2)  # log p(z2 | z1)
        log_p = draws_first(below.sum(-2)) + linear(levels.first, z1)
        reconstruction = levels.decoder.log_likelihood(torch.cat((z1, z2), -1))
        return (log_q(params, z) - log_p - reconstruction) / items

    def value(params: Tensor) -> Tensor:
        start, (down,) = unpack(params, (one, two), shared=False)
        each = start.log_softmax(1)[..., None] + down.log_softmax(2)
        return (each.exp() * (each - joint)).sum((1, 2)).mean()

    return posterior, cost, value


def _crossed(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of both, every pair of them, [m, n, ...] each."""
    pairs = (len(first), len(second), -1)
    return first[:, None].expand(pairs), second.expand(pairs)


def gaussian_model(items: int, seed: int) -> Gaussian:
    """Return a seeded linear Gaussian model and ``items`` data points drawn from it."""
    noise = Noise(seed, NAME, "normal", dtype=torch.float64)
    alpha = float(noise.normal(1))
    weights, start = noise.normal(2, PIXELS).contiguous(), noise.normal(PIXELS).contiguous()
    z1 = noise.normal(items, 1)
    z2 = alpha * z1 + noise.normal(items, 1)
    x = start + torch.cat((z1, z2), 1) @ weights + noise.normal(items, PIXELS)
    return Gaussian(alpha, weights, start, x.contiguous())


def gaussian_posterior(model: Gaussian) -> Tensor:
    """Return the params [items, 5] of p(z1, z2 | x): precision P and pull h give them.

    z1 has variance (P^-1)_11; z2 given z1 has precision P_22, slope -P_21 / P_22 and start
    h_2 / P_22.
    """
    alpha, weights = model.alpha, model.weights
    prior = torch.tensor([[1 + alpha**2, -alpha], [-alpha, 1]]).to(weights)
    precision = prior + weights @ weights.T
    pull = (model.x - model.start) @ weights.T  # [items, 2]
    covariance = torch.linalg.inv(precision)
    slope, scale = -precision[1, 0] / precision[1, 1], -0.5 * precision[1, 1].log()
    return torch.stack(
        (
            pull @ covariance[0],
            (0.5 * covariance[0, 0].log()).expand(len(pull)),
            slope.expand(len(pull)),
            pull[:, 1] / precision[1, 1],
            scale.expand(len(pull)),
        ),
        1,
    )


def _cost(model: Gaussian) -> Function:
    items = len(model.x)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        z1, z2 = z[..., 0], z[..., 1]
        prior = z1.square() + (z2 - model.alpha * z1).square()
        mean = draws_last(linear(model.weights.T, z)) + model.start.to(z)[:, None]
        misfit = draws_first((model.x.to(z)[..., None] - mean).square().sum(-2))
        log_p = -0.5 * (prior + misfit + (2 + PIXELS) * LOG_2PI)
        return (GAUSSIAN_CHAIN.log_prob(params, z) - log_p) / items

    return cost


def _value(model: Gaussian) -> Callable[[Tensor], Tensor]:
    """Return the exact value: expected squares of what is linear in z1 and in z2's own noise."""
    first, second = model.weights[0], model.weights[1]

    def value(params: Tensor) -> Tensor:
        chain = unpack_gaussian(params)
        m1, v1, v2 = chain.mean, chain.first_scale.square(), chain.second_scale.square()
        steeper = chain.slope - model.alpha
        prior = m1.square() + v1 + (steeper * m1 + chain.start).square() + steeper**2 * v1 + v2
        reach = first + chain.slope[:, None] * second  # dx / dz1 through both, [items, PIXELS]
        left = model.x - model.start - chain.start[:, None] * second - reach * m1[:, None]
        spread = reach.square().sum(1) * v1 + second.square().sum() * v2
        misfit = left.square().sum(1) + spread
        log_p = -0.5 * (prior + misfit + (2 + PIXELS) * LOG_2PI)
        entropy = params[:, 1] + params[:, 4] + 1 + LOG_2PI
        return (-entropy - log_p).mean()

    return value
