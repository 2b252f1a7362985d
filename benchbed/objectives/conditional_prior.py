"""A conditional prior, p(z | y), of pairs (x, y): the story y -> z -> x, a bound on log p(x | y).

Sohn, Lee and Yan 2015, "Learning Structured Output Representation using Deep Conditional
Generative Models", equation 4, with x independent of y given the bottleneck z:

    log p(x | y) >= E_{q(z | x, y)} log p(x | z) - KL(q(z | x, y) || p(z | y)),

tight where q is the posterior p(z | x, y). The latents are independent given y, or a Markov chain
whose transitions depend on y and on the step, with pixels of its own at every step; then the
posterior is a chain again, and both it and the bound are exact in O(steps categories^2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.families.markov_chain import markov_chain, unpack
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._affordable import affordable, affordable_chain
from benchbed.objectives._at_the_posterior import zero_at
from benchbed.objectives._listable import count_states
from benchbed.objectives._points import gradient_of
from benchbed.objectives._prior_model import (
    LISTS,
    PIXELS,
    Decoder,
    apart,
    decoder_of,
    drawn,
    every_state,
    table_of,
)
from benchbed.rng import Noise

NAME, CITATION = "conditional_prior", "Sohn et al. 2015"
Latents = Literal["categorical", "chain"]
Function = Callable[[Tensor, Tensor], Tensor]


class Pairs(NamedTuple):
    """Pairs (x, y), with p(z | y) already taken at the y of each."""

    labels: Tensor  # [items], y
    prior: Tensor  # [items, d, K], log p(z_i | y); of a chain only the first step's are used
    moves: Tensor  # [items, d - 1, K, K], log p(z_t | z_t-1, y) from row to column
    decoder: Decoder  # of all variables side by side, or of each step of a chain


def conditional_prior(
    latents: Latents = "categorical",
    items: int = 4,
    labels: int = 2,
    dimensions: int | None = None,
    categories: int = 3,
    distance: float = 1.0,
    seed: int = 0,
) -> Objective:
    """Cost: the mean negative bound on log p(x | y), in nats a pair, of a bottleneck model.

    To be lowered. categorical: params ``[items, dimensions, categories]``. chain: params
    ``[items, categories + (dimensions - 1) * categories^2]``, the logits of z_1 and then, row by
    row, those of every transition. z is one-hot ``[dimensions, categories]`` in both. Row S35 of
    benchbed.facts.coverage.

    Args:
        latents: ``categorical`` (independent given y, 5 binary pixels x that depend on all of
            them) or ``chain`` (steps, 5 binary pixels of each).
        items: pairs (x, y), each with its own q.
        labels: values of y.
        dimensions: latent variables, or steps of a chain; by default 2, or 3 steps.
        categories: values of one variable.
        distance: of q from the posterior or, for independent variables, from the product law
            closest to it in KL(p || q): logits move by distance / 2 times seeded normal numbers.
            At 0, of a chain or one variable, the bound is log p(x | y) and the gradient 0.
        seed: of the model, the pairs and the step.
    """
    if latents not in ("categorical", "chain"):
        raise BadArgument(f"conditional_prior needs latents: categorical or chain, got '{latents}'")
    at_least(NAME, "items", items, 1)
    at_least(NAME, "labels", labels, 2)
    at_least(NAME, "categories", categories, 2)
    at_least(NAME, "seed", seed, 0)
    if dimensions is None:
        dimensions = 3 if latents == "chain" else 2
    least = 2 if latents == "chain" else 1
    at_least(NAME, "dimensions", dimensions, least)
    if latents == "categorical":
        largest = count_states(NAME, LISTS, categories, dimensions)
    else:
        affordable_chain(NAME, dimensions, categories)
        largest = dimensions * categories**2
    largest = max(labels, items) * max(largest, dimensions * PIXELS)
    affordable(NAME, largest, "use fewer items, labels, dimensions or categories")
    pairs = pairs_of(latents, items, labels, dimensions, categories, seed)
    if latents == "chain":
        family = markov_chain((categories,) * dimensions, shared=False)
        closest, cost, value = _chain(pairs, family.log_prob)
    else:
        family = CATEGORICAL
        closest, cost, value = _independent(pairs)
    gradient = gradient_of(value)
    reached = distance == 0 and (latents == "chain" or dimensions == 1)
    return Objective(
        NAME,
        family,
        apart(NAME, closest, distance, Noise(seed, NAME, latents, dtype=torch.float64)),
        cost,
        value,
        zero_at(closest, gradient) if reached else gradient,
        direct=True,
        citation=CITATION,
    )


def pairs_of(
    latents: Latents, items: int, labels: int, dimensions: int, categories: int, seed: int
) -> Pairs:
    """Return a seeded model and ``items`` pairs drawn from it, y uniform."""
    noise = Noise(seed, NAME, latents, dtype=torch.float64)
    y = noise.integers(labels, items).contiguous()
    prior = noise.normal(labels, dimensions, categories).contiguous().log_softmax(-1)[y]
    shape = (labels, dimensions - 1, categories, categories)
    moves = noise.normal(*shape).contiguous().log_softmax(-1)[y]
    truth = drawn(CATEGORICAL, prior, noise)
    if latents == "chain":
        steps = [truth[:, 0]]
        for step in range(dimensions - 1):
            row = torch.einsum("ij,ijk->ik", steps[-1], moves[:, step])
            steps.append(drawn(CATEGORICAL, row[:, None], noise)[:, 0])
        truth = torch.stack(steps, 1)
    flat = truth if latents == "chain" else truth.flatten(1)
    return Pairs(y, prior, moves, decoder_of(flat, noise))


def _independent(pairs: Pairs) -> tuple[Tensor, Function, Callable[[Tensor], Tensor]]:
    """Return the closest product's logits, the cost and the exact value, by a list of all z."""
    items, prior = len(pairs.labels), pairs.prior
    every = every_state(CATEGORICAL, prior[0])
    likelihood = table_of(pairs.decoder.log_likelihood, every, items)
    joint = CATEGORICAL.log_prob(prior[:, None], every) + likelihood  # [items, states]
    closest = torch.einsum("is,sdk->idk", joint.softmax(1), every).log()

    def cost(z: Tensor, params: Tensor) -> Tensor:
        log_ratio = CATEGORICAL.log_prob(params, z) - CATEGORICAL.log_prob(prior.to(z), z)
        return (log_ratio - pairs.decoder.log_likelihood(z.flatten(-2))) / items

    def value(params: Tensor) -> Tensor:
        log_q = CATEGORICAL.log_prob(params[:, None], every)
        return (log_q.exp() * (log_q - joint)).sum(1).mean()

    return closest, cost, value


def _chain(pairs: Pairs, log_q: Function) -> tuple[Tensor, Function, Callable[[Tensor], Tensor]]:
    """Return the posterior's params, the cost and the exact value, by recursions over the steps."""
    items, start, moves = len(pairs.labels), pairs.prior[:, 0], pairs.moves
    steps, categories = pairs.prior.shape[1:]
    hot = torch.eye(categories).to(start)[:, None, None, None]  # one draw of each category
    seen = pairs.decoder.log_likelihood(hot.expand(-1, 1, items, steps, -1))[:, 0]
    seen = seen.permute(1, 2, 0)  # log p(x_t | z_t), [items, steps, K]
    to_come = seen[:, -1]  # log p(x_t, x_t+1, ... | z_t)
    posterior: list[Tensor] = []
    for step in reversed(range(steps - 1)):
        joint = moves[:, step] + to_come[:, None]
        posterior.insert(0, joint.log_softmax(2).flatten(1))
        to_come = seen[:, step] + joint.logsumexp(2)
    posterior.insert(0, (start + to_come).log_softmax(1))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        inner = draws_last(z)  # [samples, items, steps, K, n]
        first = (inner[..., 0, :, :] * start.to(z)[..., None]).sum(-2)
        crossed = inner[..., :-1, :, None, :] * inner[..., 1:, None, :, :]
        later = (crossed * moves.to(z)[..., None]).sum((-4, -3, -2))
        reconstruction = pairs.decoder.log_likelihood(z).sum(-1)
        return (log_q(params, z) - draws_first(first + later) - reconstruction) / items

    def value(params: Tensor) -> Tensor:
        logits = unpack(params, (categories,) * steps, shared=False)
        law = logits.start.log_softmax(1)
        total = (law.exp() * (law - start - seen[:, 0])).sum(1)
        marginal = law.exp()
        for step, table in enumerate(logits.moves):
            down = table.log_softmax(2)
            mass = marginal[..., None] * down.exp()
            ratio = down - moves[:, step] - seen[:, step + 1, None]
            total = total + (mass * ratio).sum((1, 2))
            marginal = mass.sum(1)
        return total.mean()

    return torch.cat(posterior, 1), cost, value
