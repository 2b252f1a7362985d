"""A cost over the steps and the moves of a Markov chain, exact by the forward algorithm.

Direct marginalization where z is a sequence: the K^T paths are summed by a recursion over the
steps, O(T K^2). Row S12 of benchbed.facts.coverage. Rabiner 1989, "A tutorial on hidden Markov
models and selected applications in speech recognition".
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number, flag
from benchbed.contracts import Objective
from benchbed.families.markov_chain import markov_chain as chain_family
from benchbed.families.markov_chain import size, unpack
from benchbed.objectives._additive_chain import additive, expectation
from benchbed.objectives._affordable import affordable_chain
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

NAME = "markov_chain"
CITATION = "Rabiner 1989"


def markov_chain(
    steps: int = 10, categories: int = 3, shared: bool = True, spread: float = 1.0, seed: int = 0
) -> Objective:
    """Cost sum over a chain's steps and moves of standard normal numbers, one for each.

    z is [steps, categories], one-hot at every step; J is no loss: raise or lower it. Estimators
    that list all categories^steps paths are refused above 4,096.

    Args:
        steps: T, from 2 to 10,000.
        categories: K, at least 2, the states at every step.
        shared: the moves of all steps follow one table of logits, K + K^2 parameters in all;
            otherwise each step has its own, K + (T - 1) K^2.
        spread: standard deviation of the logits (0: all paths equally likely).
        seed: of the costs and of the logits.
    """
    at_least(NAME, "steps", steps, 2)
    at_least(NAME, "categories", categories, 2)
    at_least(NAME, "seed", seed, 0)
    flag(NAME, "shared", shared)
    affordable_chain(NAME, steps, categories)
    spread = finite_number(NAME, "spread", spread)
    states = (categories,) * steps
    noise = Noise(seed, NAME, dtype=torch.float64)
    unary = noise.child("steps").normal(steps, categories).contiguous()
    pairwise = noise.child("moves").normal(steps - 1, categories, categories).contiguous()
    params = spread * noise.child("point").normal(size(states, shared))
    along = additive(unary, pairwise)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return along(z)

    def value(params: Tensor) -> Tensor:
        parts = unpack(params, states, shared)
        return expectation(parts, unary.to(params).unbind(), pairwise.to(params).unbind())

    return Objective(
        NAME,
        chain_family(states, shared),
        params,
        cost,
        value,
        gradient_of(value),
        citation=CITATION,
    )
