"""The negative evidence bound of a hidden Markov model, q being a Markov chain of its own.

J = log q(z; params) - log p(x, z), to be lowered: E[J] = -log p(x) + KL(q || p(z | x)). The
posterior of a hidden Markov model is itself a chain, with moves that differ from step to step, so
the bound is tight at ``distance`` 0. E[J] by the forward recursion, and log p(x) by the forward
algorithm, both O(T K^2). Row S12 of benchbed.facts.coverage. Rabiner 1989, "A tutorial on hidden
Markov models and selected applications in speech recognition".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families.markov_chain import markov_chain as chain_family
from benchbed.families.markov_chain import unpack
from benchbed.objectives._additive_chain import additive, expectation
from benchbed.objectives._affordable import affordable, affordable_chain
from benchbed.objectives._at_the_posterior import zero_at
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

NAME = "hidden_markov"
CITATION = "Rabiner 1989"


class HiddenMarkov(NamedTuple):
    """A model and what was seen of it; all logarithms of probabilities, in float64."""

    start: Tensor  # [K]
    moves: Tensor  # [K, K], of the state in the columns given that in the row
    symbols: Tensor  # [K, S]
    seen: Tensor  # x, [T], int64


def model(steps: int = 8, categories: int = 3, symbols: int = 4, seed: int = 0) -> HiddenMarkov:
    """Return a model with standard normal logits and a sequence drawn from it."""
    noise = Noise(seed, NAME, dtype=torch.float64)
    start = noise.child("start").normal(categories).log_softmax(-1)
    moves = noise.child("moves").normal(categories, categories).log_softmax(-1).contiguous()
    emission = noise.child("symbols").normal(categories, symbols).log_softmax(-1).contiguous()
    hidden = chain_family((categories,) * steps, shared=True)
    drawn = hidden.sample(torch.cat((start, moves.flatten())), 1, 1, noise.child("states"))
    cdf = (drawn[0, 0] @ emission.exp()).cumsum(-1)  # [T, S]
    u = noise.child("seen").uniform(steps, 1)
    return HiddenMarkov(start, moves, emission, (u >= cdf[:, :-1]).sum(-1))


def log_marginal(given: HiddenMarkov) -> Tensor:
    """Return log p(x), the sum over all K^T paths, by the forward algorithm."""
    likelihood = given.symbols[:, given.seen].T  # [T, K]
    ahead = given.start + likelihood[0]
    for now in likelihood[1:]:
        ahead = (ahead[:, None] + given.moves).logsumexp(0) + now
    return ahead.logsumexp(0)


def posterior(given: HiddenMarkov) -> Tensor:
    """Return the params of the chain that p(z | x) is, [K + (T - 1) K^2], backwards in time."""
    likelihood = given.symbols[:, given.seen].T  # [T, K]
    rest = torch.zeros_like(given.start)
    tables = []
    for after in likelihood[1:].flip(0):
        table = given.moves + after + rest
        rest = table.logsumexp(-1)
        tables.append((table - rest[:, None]).flatten())
    first = (given.start + likelihood[0] + rest).log_softmax(-1)
    return torch.cat((first, *tables[::-1]))


def hidden_markov(
    steps: int = 8, categories: int = 3, symbols: int = 4, distance: float = 1.0, seed: int = 0
) -> Objective:
    """Cost log q(z) - log p(x, z) of a hidden Markov model, q a chain with its own moves.

    z is [steps, categories], one-hot at every step. Estimators that list all categories^steps paths
    are refused above 4,096.

    Args:
        steps: T, from 2 to 10,000, the length of x.
        categories: K, at least 2, hidden states.
        symbols: that x is made of, at least 2.
        distance: of q from the posterior: its logits move by distance / 2 times seeded normal
            numbers. At 0 every J is -log p(x) and the gradient is 0, but one sample of it is not:
            the direct term is a score, whose mean alone is 0.
        seed: of the model, of x and of the move.
    """
    at_least(NAME, "steps", steps, 2)
    at_least(NAME, "categories", categories, 2)
    at_least(NAME, "symbols", symbols, 2)
    at_least(NAME, "seed", seed, 0)
    if not 0 <= distance < math.inf:
        raise BadArgument(f"{NAME} needs a distance >= 0, got {distance}; 0 is the posterior")
    affordable_chain(NAME, steps, categories)
    affordable(NAME, categories * symbols, "use fewer categories or symbols")
    states = (categories,) * steps
    family = chain_family(states)
    given = model(steps, categories, symbols, seed)
    closest = posterior(given)
    away = Noise(seed, NAME, "away", dtype=torch.float64).normal(len(closest))
    unary = given.symbols[:, given.seen].T.neg().contiguous()
    unary[0] -= given.start
    pairwise = -given.moves.expand(steps - 1, -1, -1)
    along = additive(unary, pairwise)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return family.log_prob(params, z) + along(z)

    def value(params: Tensor) -> Tensor:
        parts = unpack(params, states, shared=False)
        at_steps = list(unary.to(params).unbind())
        at_steps[0] = at_steps[0] + parts.start.log_softmax(-1)
        tables = zip(parts.moves, pairwise.to(params), strict=True)
        at_moves = [move.log_softmax(-1) + table for move, table in tables]
        return expectation(parts, at_steps, at_moves)

    return Objective(
        NAME,
        family,
        closest + 0.5 * distance * away,
        cost,
        value,
        zero_at(closest, gradient_of(value)),
        direct=True,
        citation=CITATION,
    )
