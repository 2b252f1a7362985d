"""Sums over every labelled binary tree, in plain numpy."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch

from benchbed.contracts import Objective
from benchbed.facts.fact import Array
from benchbed.objectives.pcfg import Grammar

Node = tuple[int, int]  # a span, from its first leaf to behind its last


def bracketings(start: int, end: int) -> Iterator[list[tuple[Node, int]]]:
    """Yield every bracketing as its spans of two leaves or more, each with where it splits."""
    if end - start == 1:
        yield []
    for middle in range(start + 1, end):
        for left in bracketings(start, middle):
            for right in bracketings(middle, end):
                yield [((start, end), middle), *left, *right]


@functools.cache
def trees(leaves: int, labels: int) -> Array:
    """Return how often every labelled tree uses every span and rule, [trees, parameters]."""
    spans = [(i, i + w) for w in range(1, leaves + 1) for i in range(leaves - w + 1)]
    names = np.array(list(itertools.product(range(labels), repeat=2 * leaves - 1)))
    rows = np.arange(len(names))
    found = []
    for splits in bracketings(0, leaves):
        nodes = [span for span, _ in splits] + [(i, i + 1) for i in range(leaves)]
        label = {span: names[:, i] for i, span in enumerate(nodes)}
        uses = np.zeros((len(names), len(spans), labels))
        rules = np.zeros((len(names), labels, labels, labels))
        for span in nodes:
            uses[rows, spans.index(span), label[span]] = 1
        for (start, end), middle in splits:
            parts = label[start, end], label[start, middle], label[middle, end]
            np.add.at(rules, (rows, *parts), 1)
        found.append(np.hstack([uses.reshape(len(names), -1), rules.reshape(len(names), -1)]))
    return np.concatenate(found)


def joint(given: Grammar) -> tuple[Array, Array]:
    """Return what every tree uses and log p(x, z) of it."""
    uses = trees(len(given.sentence), len(given.root))
    spans = np.zeros((len(given.sentence) * (len(given.sentence) + 1) // 2, len(given.root)))
    spans[: len(given.sentence)] = given.words.numpy()[:, given.sentence].T
    spans[-1] = given.root.numpy()
    return uses, uses @ np.concatenate([spans.ravel(), given.rules.numpy().ravel()])


def log_marginal(given: Grammar) -> float:
    """Return log p(x)."""
    return float(np.logaddexp.reduce(joint(given)[1]))


def left_to_right(given: Grammar) -> float:
    """Return log p(x) word after word, of all spans ending there the shortest first."""
    root, rules, words = (np.exp(table.numpy()) for table in given[:3])
    weight: dict[Node, Array] = {}
    for end, word in enumerate(given.sentence.tolist(), 1):
        weight[end - 1, end] = words[:, word]
        for start in range(end - 2, -1, -1):
            pairs = [np.outer(weight[start, m], weight[m, end]) for m in range(start + 1, end)]
            weight[start, end] = (rules * np.sum(pairs, axis=0)).sum((1, 2))
    return math.log(float(root @ weight[0, len(given.sentence)]))


def counts(given: Grammar) -> Array:
    """Return how often p(z | x) uses every span and rule."""
    uses, log_p = joint(given)
    weight: Array = np.exp(log_p - np.logaddexp.reduce(log_p))
    return weight @ uses


def value_and_gradient(problem: Objective, leaves: int, labels: int) -> Array:
    """Return the sums of q J and of q J d log q, flat."""
    uses = trees(leaves, labels)
    flat = torch.from_numpy(uses[:, : -(labels**3)])
    z = flat.reshape(len(uses), 1, -1, labels)
    cost = problem.cost(z, problem.params)[:, 0].numpy()
    q = np.exp(_log_q(uses, problem.params.numpy()))
    return np.append(q @ cost, (q * cost) @ (uses - q @ uses))


def bound(given: Grammar, params: Array) -> float:
    """Return -log p(x) + KL(q || p(z | x))."""
    uses, log_p = joint(given)
    marginal = np.logaddexp.reduce(log_p)
    log_q = _log_q(uses, params)
    return float(-marginal + np.exp(log_q) @ (log_q - (log_p - marginal)))


def _log_q(uses: Array, params: Array) -> Array:
    weight = uses @ params
    found: Array = weight - np.logaddexp.reduce(weight)
    return found
