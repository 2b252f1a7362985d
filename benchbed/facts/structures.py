"""Marginals over sequences and trees by dynamic programming: rows S12 and S13.

One side is a recursion of benchbed's families or objectives; the other plain numpy over a list of
every path or every labelled tree or, where they are too many, a recursion the other way round.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from benchbed.contracts import Objective
from benchbed.facts import _over_paths as paths
from benchbed.facts import _over_trees as trees
from benchbed.facts.fact import Array, Fact, Limit
from benchbed.families.binary_tree import expectations, log_partition, size
from benchbed.objectives import hidden_markov as markov
from benchbed.objectives import pcfg as grammar
from benchbed.objectives.binary_tree import binary_tree
from benchbed.objectives.markov_chain import markov_chain

PLACE = "S section 1, direct marginalization"
STEPS, STATES, SYMBOLS = 5, 3, 4
LEAVES, LABELS = 5, 2
LONG = markov.model(steps=100, categories=10)
LONGEST = grammar.model(leaves=20)
MODELS = tuple(markov.model(STEPS, STATES, SYMBOLS, seed) for seed in range(4))
GRAMMARS = tuple(grammar.model(LEAVES, LABELS, SYMBOLS, seed) for seed in range(4))
DISTANCES = (0.0, 1.0, 2.0)
MOST = 20  # leaves of the trees that are counted


def _derivatives() -> Array:
    """Differentiate log p(x) in every logarithm of a probability."""
    *tables, seen = MODELS[0]
    start, moves, symbols = (table.clone().requires_grad_() for table in tables)
    with torch.enable_grad():
        total = markov.log_marginal(markov.HiddenMarkov(start, moves, symbols, seen))
        found = torch.autograd.grad(total, (start, moves, symbols))
    return np.concatenate([table.numpy().ravel() for table in found])


def _exact(problem: Objective) -> Array:
    return np.append(float(problem.exact_value()), problem.exact_gradient().numpy())


def _chains() -> dict[bool, Objective]:
    return {shared: markov_chain(STEPS, STATES, shared, seed=1) for shared in (True, False)}


def _chains_over_paths() -> Array:
    each = [paths.value_and_gradient(p, STEPS, STATES, s) for s, p in _chains().items()]
    return np.concatenate(each)


def _markov_bounds() -> list[Objective]:
    return [markov.hidden_markov(STEPS, STATES, SYMBOLS, distance) for distance in DISTANCES]


def _tree_bounds() -> list[Objective]:
    return [grammar.pcfg(LEAVES, LABELS, SYMBOLS, distance) for distance in DISTANCES]


def _expected_uses() -> Array:
    found: Array = expectations(grammar.posterior(GRAMMARS[0]), LEAVES, LABELS).numpy()
    return found


def _log_counts() -> Array:
    """Return log Z where every score is 0, [labels, leaves]."""

    def of(leaves: int, labels: int) -> float:
        scores = torch.zeros(size(leaves, labels), dtype=torch.float64)
        return float(log_partition(scores, leaves, labels))

    return np.array([[of(n, k) for n in range(2, MOST + 1)] for k in (1, 2, 3)])


def _log_catalan() -> Array:
    """Return log (2 n - 2)! / (n! (n - 1)!) + (2 n - 1) log L, [labels, leaves]."""

    def of(n: int, k: int) -> float:
        return math.log(math.comb(2 * n - 2, n - 1) // n) + (2 * n - 1) * math.log(k)

    return np.array([[of(n, k) for n in range(2, MOST + 1)] for k in (1, 2, 3)])


def _listed() -> Array:
    return np.array([sum(1 for _ in trees.bracketings(0, n)) for n in range(1, 10)])


def _catalan() -> Array:
    """Return the Catalan numbers by C(m) = (4 m - 2) / (m + 1) C(m - 1)."""
    found = [1.0]
    for m in range(1, 9):
        found.append((4 * m - 2) / (m + 1) * found[-1])
    return np.array(found)


FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        "S12",
        "the forward algorithm sums over all paths",
        "log sum_z p(x, z) by T - 1 steps of O(K^2) = over a list of K^T paths",
        PLACE,
        lambda: [float(markov.log_marginal(given)) for given in MODELS],
        lambda: [paths.log_marginal(given) for given in MODELS],
    ),
    Fact(
        "S12",
        "forwards = backwards, 10^100 paths",
        "log p(x) from the first step to the last = from the last to the first, T = 100, K = 10",
        PLACE,
        lambda: float(markov.log_marginal(LONG)),
        lambda: paths.backwards(LONG),
    ),
    Fact(
        "S12",
        "the gradient of log p(x) counts under the posterior",
        "d log p(x) / d log p(move) = E_{z ~ p(z | x)}[uses of the move]; starts, symbols likewise",
        PLACE,
        _derivatives,
        lambda: paths.counts(MODELS[0]),
    ),
    Fact(
        "S12",
        "a chain's E[J] and its gradient by the forward algorithm",
        "E[J], dE[J]/dparams by recursion = sums of q J and q J d log q over all paths",
        PLACE,
        lambda: np.concatenate([_exact(problem) for problem in _chains().values()]),
        _chains_over_paths,
    ),
    Fact(
        "S12",
        "the bound of a hidden Markov model",
        "E_q[log q - log p(x, z)] by recursion = -log p(x) + KL(q || p(z | x)) over all paths; 0 "
        "away from the posterior, which is a chain, the KL is 0",
        PLACE,
        lambda: [float(problem.exact_value()) for problem in _markov_bounds()],
        lambda: [paths.bound(MODELS[0], problem.params.numpy()) for problem in _markov_bounds()],
        ordered="rising",
    ),
    Fact(
        "S13",
        "the inside algorithm sums over all trees",
        "log sum_z p(x, z) over spans in O(n^3) = over a list of Catalan(n - 1) L^(2 n - 1) trees",
        PLACE,
        lambda: [float(grammar.log_marginal(given)) for given in GRAMMARS],
        lambda: [trees.log_marginal(given) for given in GRAMMARS],
    ),
    Fact(
        "S13",
        "by width = word after word, 20 words",
        "log p(x) by spans of growing width = by spans ending at the first word, the second ...",
        PLACE,
        lambda: float(grammar.log_marginal(LONGEST)),
        lambda: trees.left_to_right(LONGEST),
    ),
    Fact(
        "S13",
        "with all scores 0 the inside algorithm counts trees",
        "log Z = log Catalan(n - 1) + (2 n - 1) log L, n = 2 ... 20 leaves, L = 1, 2, 3 labels",
        PLACE,
        _log_counts,
        _log_catalan,
        ordered="rising",
    ),
    Fact(
        "S13",
        "bracketings listed one by one",
        "n leaves have Catalan(n - 1) binary bracketings: 1, 1, 2, 5, 14, 42, 132, 429, 1430",
        PLACE,
        _listed,
        _catalan,
    ),
    Fact(
        "S13",
        "the gradient of log p(x) counts spans and rules",
        "from the top down, E_{z ~ p(z | x)}[uses of a rule] = over a list of all trees",
        PLACE,
        _expected_uses,
        lambda: trees.counts(GRAMMARS[0]),
    ),
    Fact(
        "S13",
        "a tree's E[J] and its gradient by the inside algorithm",
        "E[J], dE[J]/dparams by recursion = sums of q J and q J d log q over all trees",
        PLACE,
        lambda: _exact(binary_tree(LEAVES, LABELS, seed=1)),
        lambda: trees.value_and_gradient(binary_tree(LEAVES, LABELS, seed=1), LEAVES, LABELS),
    ),
    Fact(
        "S13",
        "the bound of a context-free grammar",
        "E_q[log q - log p(x, z)] by recursion = -log p(x) + KL(q || p(z | x)) over all trees; 0 "
        "away from the posterior the KL is 0",
        PLACE,
        lambda: [float(problem.exact_value()) for problem in _tree_bounds()],
        lambda: [trees.bound(GRAMMARS[0], problem.params.numpy()) for problem in _tree_bounds()],
        ordered="rising",
    ),
)
