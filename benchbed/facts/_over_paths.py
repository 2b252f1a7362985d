"""Sums over every path of a chain, in plain numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from benchbed.contracts import Objective
from benchbed.facts.fact import Array
from benchbed.objectives.hidden_markov import HiddenMarkov

Table = NDArray[np.int64]


def paths(steps: int, states: int) -> Table:
    """Return every path, [K^T, T]."""
    return np.array(list(itertools.product(range(states), repeat=steps)))


def joint(given: HiddenMarkov) -> tuple[Table, Array]:
    """Return every path and log p(x, z) of it."""
    start, moves, symbols = (table.numpy() for table in given[:3])
    z, x = paths(len(given.seen), len(start)), given.seen.numpy()
    return z, start[z[:, 0]] + moves[z[:, :-1], z[:, 1:]].sum(1) + symbols[z, x].sum(1)


def log_marginal(given: HiddenMarkov) -> float:
    """Return log p(x)."""
    return float(np.logaddexp.reduce(joint(given)[1]))


def backwards(given: HiddenMarkov) -> float:
    """Return log p(x) from the last step to the first, in probabilities scaled at every step."""
    start, moves, symbols = (np.exp(table.numpy()) for table in given[:3])
    rest, logarithm = np.ones(len(start)), 0.0
    for seen in given.seen.numpy()[:0:-1]:
        rest = moves @ (symbols[:, seen] * rest)
        logarithm += math.log(rest.sum())
        rest = rest / rest.sum()
    return logarithm + math.log(float(start @ (symbols[:, given.seen[0]] * rest)))


def counts(given: HiddenMarkov) -> Array:
    """Return how often p(z | x) starts, moves and emits in every way, flat."""
    z, log_p = joint(given)
    weight = np.exp(log_p - np.logaddexp.reduce(log_p))
    found = [np.zeros(table.shape) for table in given[:3]]
    for path, w in zip(z, weight, strict=True):
        found[0][path[0]] += w
        np.add.at(found[1], (path[:-1], path[1:]), w)
        np.add.at(found[2], (path, given.seen.numpy()), w)
    return np.concatenate([table.ravel() for table in found])


def value_and_gradient(problem: Objective, steps: int, states: int, shared: bool) -> Array:
    """Return the sums of q J and of q J d log q, flat."""
    z = paths(steps, states)
    hot = np.eye(states)[z]  # [paths, T, K]
    cost = problem.cost(torch.from_numpy(hot)[:, None], problem.params)[:, 0].numpy()
    start, moves = _tables(problem.params.numpy(), steps, states)
    by_move = hot[:, :-1, :, None] * (hot[:, 1:, None, :] - moves)
    if shared:
        by_move = by_move.sum(1, keepdims=True)
    score = np.concatenate([hot[:, 0] - start, by_move.reshape(len(z), -1)], 1)
    weighted = _log_q(z, start, moves)
    weighted = np.exp(weighted) * cost
    return np.append(weighted.sum(), weighted @ score)


def bound(given: HiddenMarkov, params: Array) -> float:
    """Return -log p(x) + KL(q || p(z | x)), q the chain with moves of its own at every step."""
    z, log_p = joint(given)
    marginal = np.logaddexp.reduce(log_p)
    log_q = _log_q(z, *_tables(params, len(given.seen), len(given.start)))
    return float(-marginal + np.exp(log_q) @ (log_q - (log_p - marginal)))


def _log_q(z: Table, start: Array, moves: Array) -> Array:
    at_steps = np.log(moves)[np.arange(z.shape[1] - 1), z[:, :-1], z[:, 1:]]
    found: Array = np.log(start[z[:, 0]]) + at_steps.sum(1)
    return found


def _tables(params: Array, steps: int, states: int) -> tuple[Array, Array]:
    """Return the probabilities of a chain's first state [K] and of its moves [T - 1, K, K]."""
    weight = np.exp(params)
    start, moves = weight[:states], weight[states:].reshape(-1, states, states)
    moves = np.broadcast_to(moves, (steps - 1, states, states))
    return start / start.sum(), moves / moves.sum(-1, keepdims=True)
