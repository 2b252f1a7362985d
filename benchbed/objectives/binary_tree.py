"""A cost over the spans and the rules of a random labelled tree, exact by the inside algorithm.

Direct marginalization where z is a tree: the Catalan(n - 1) L^(2 n - 1) labelled bracketings of n
leaves are summed by a recursion over the spans, O(n^3 L^3), and the expected uses of each span and
rule by the same on its way back. Row S13 of benchbed.facts.coverage. Baker 1979, "Trainable
grammars for speech recognition"; Kim, Dyer and Rush 2019, "Compound probabilistic context-free
grammars for grammar induction" (arXiv 1906.10225).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families.binary_tree import binary_tree as tree_family
from benchbed.families.binary_tree import expectations, size, statistics
from benchbed.layout import linear
from benchbed.objectives._affordable import affordable_tree
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

NAME = "binary_tree"
CITATION = "Baker 1979; Kim et al. 2019"


def binary_tree(leaves: int = 6, labels: int = 2, spread: float = 1.0, seed: int = 0) -> Objective:
    """Cost sum over a tree's labelled spans and rules of standard normal numbers, one for each.

    z is [spans, labels], 1 where the tree has a span with that label, leaves included; J is no
    loss: raise or lower it. Estimators that list all trees are refused above 4,096: 4 leaves with 2
    labels have 640, 5 have 7,168.

    Args:
        leaves: n, at least 2 (3, where there is one label).
        labels: L, that a span can have.
        spread: standard deviation of the scores (0: all trees equally likely).
        seed: of the costs and of the scores.
    """
    at_least(NAME, "leaves", leaves, 2)
    at_least(NAME, "labels", labels, 1)
    at_least(NAME, "seed", seed, 0)
    if leaves == 2 and labels == 1:
        raise BadArgument(f"{NAME} of 2 leaves with 1 label has one tree alone; use 3 leaves")
    affordable_tree(NAME, leaves, labels)
    spread = finite_number(NAME, "spread", spread)
    noise = Noise(seed, NAME, dtype=torch.float64)
    count = size(leaves, labels)
    potentials = noise.child("costs").normal(count)
    params = spread * noise.child("point").normal(count)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return linear(potentials, statistics(z, leaves))

    def value(params: Tensor) -> Tensor:
        return expectations(params, leaves, labels) @ potentials.to(params)

    return Objective(
        NAME,
        tree_family(leaves, labels),
        params,
        cost,
        value,
        gradient_of(value),
        citation=CITATION,
    )
