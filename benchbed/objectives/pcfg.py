"""The negative evidence bound of a probabilistic context-free grammar, q being trees of its own.

J = log q(z; params) - log p(x, z), to be lowered: E[J] = -log p(x) + KL(q || p(z | x)), z the
labelled binary tree over the words of a sentence x. Given its sentence a grammar's trees have the
law of families/binary_tree.py, so the bound is tight at ``distance`` 0. E[J] and log p(x) by the
inside algorithm, O(n^3 L^3). Row S13 of benchbed.facts.coverage. Baker 1979, "Trainable grammars
for speech recognition"; Kim, Dyer and Rush 2019, "Compound probabilistic context-free grammars for
grammar induction" (arXiv 1906.10225).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families.binary_tree import binary_tree as tree_family
from benchbed.families.binary_tree import expectations, log_partition, statistics, unpack
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._affordable import affordable, affordable_tree
from benchbed.objectives._at_the_posterior import zero_at
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

NAME = "pcfg"
CITATION = "Baker 1979; Kim et al. 2019"


class Grammar(NamedTuple):
    """A grammar and a sentence; all logarithms of probabilities, in float64.

    What a label A becomes, a pair of labels or a word, has probabilities that sum to one.
    """

    root: Tensor  # [L]
    rules: Tensor  # A -> B C, [L, L, L]
    words: Tensor  # A -> w, [L, W]
    sentence: Tensor  # x, [n], int64


def model(leaves: int = 5, labels: int = 2, symbols: int = 4, seed: int = 0) -> Grammar:
    """Return a grammar with standard normal logits and a sentence of n words drawn from it.

    The sentence is drawn as those that the grammar makes with n words are: a tree from the law with
    the words summed out, then a word for each of its leaves.
    """
    noise = Noise(seed, NAME, dtype=torch.float64)
    root = noise.child("root").normal(labels).log_softmax(-1)
    logits = noise.child("rules").normal(labels, labels**2 + symbols)
    becomes = logits.log_softmax(-1).contiguous()
    rules = torch.unflatten(becomes[:, : labels**2], -1, (labels, labels))
    words = becomes[:, labels**2 :].contiguous()
    scores = _scores(root, rules, words.logsumexp(-1).expand(leaves, labels))
    tree = tree_family(leaves, labels).sample(scores, 1, 1, noise.child("tree"))
    cdf = (tree[0, 0, :leaves] @ words.softmax(-1)).cumsum(-1)  # [n, W]
    u = noise.child("words").uniform(leaves, 1)
    return Grammar(root, rules, words, (u >= cdf[:, :-1]).sum(-1))


def posterior(given: Grammar) -> Tensor:
    """Return the scores at which binary_tree is p(z | x): their trees weigh p(x, z)."""
    return _scores(given.root, given.rules, given.words[:, given.sentence].T)


def log_marginal(given: Grammar) -> Tensor:
    """Return log p(x), the sum over all trees, by the inside algorithm."""
    return log_partition(posterior(given), len(given.sentence), len(given.root))


def pcfg(
    leaves: int = 5, labels: int = 2, symbols: int = 4, distance: float = 1.0, seed: int = 0
) -> Objective:
    """Cost log q(z) - log p(x, z) of a context-free grammar, q scoring spans and rules of trees.

    z is [spans, labels], 1 where the tree has a span with that label, leaves included. Estimators
    that list all trees are refused above 4,096: 4 leaves with 2 labels have 640, 5 have 7,168.

    Args:
        leaves: n, at least 2 (3, where there is one label), words of the sentence.
        labels: L, nonterminals.
        symbols: different words, at least 2.
        distance: of q from the posterior: its scores move by distance / 2 times seeded normal
            numbers. At 0 every J is -log p(x) and the gradient is 0, but one sample of it is not:
            the direct term is a score, whose mean alone is 0.
        seed: of the grammar, of the sentence and of the move.
    """
    at_least(NAME, "leaves", leaves, 2)
    at_least(NAME, "labels", labels, 1)
    at_least(NAME, "symbols", symbols, 2)
    at_least(NAME, "seed", seed, 0)
    if leaves == 2 and labels == 1:
        raise BadArgument(f"{NAME} of 2 leaves with 1 label has one tree alone; use 3 leaves")
    if not 0 <= distance < math.inf:
        raise BadArgument(f"{NAME} needs a distance >= 0, got {distance}; 0 is the posterior")
    affordable_tree(NAME, leaves, labels)
    affordable(NAME, labels * symbols, "use fewer labels or symbols")
    closest = posterior(model(leaves, labels, symbols, seed))
    away = Noise(seed, NAME, "away", dtype=torch.float64).normal(len(closest))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        apart = params - closest.to(params)  # log q - log p is linear in what z uses
        both = statistics(z, leaves) * apart
        return draws_first(draws_last(both).sum(-2)) - log_partition(params, leaves, labels)

    def value(params: Tensor) -> Tensor:
        used = expectations(params, leaves, labels)
        return used @ (params - closest.to(params)) - log_partition(params, leaves, labels)

    return Objective(
        NAME,
        tree_family(leaves, labels),
        closest + 0.5 * distance * away,
        cost,
        value,
        zero_at(closest, gradient_of(value)),
        direct=True,
        citation=CITATION,
    )


def _scores(root: Tensor, rules: Tensor, leaf: Tensor) -> Tensor:
    """Return flat scores, [n], from those of the root [L], of rules and of leaves [n, L]."""
    leaves, labels = leaf.shape
    spans = leaves * (leaves + 1) // 2
    flat = torch.cat((root.new_zeros(spans * labels), rules.flatten()))
    span, _ = unpack(flat, leaves, labels)  # a view
    span[:leaves] = leaf
    span[-1] += root
    return flat
