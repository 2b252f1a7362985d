"""Costs that are sums over the steps and the moves of a chain, and their expectations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchbed.families.markov_chain import Parts, marginals
from benchbed.layout import draws_first, draws_last


def additive(unary: Tensor, pairwise: Tensor) -> Callable[[Tensor], Tensor]:
    """Return sum_t unary[t, z_t] + sum_t pairwise[t, z_t, z_{t+1}], of z [draws, ..., T, K].

    Args:
        unary: [T, K].
        pairwise: [T - 1, K, K].
    """

    def cost(z: Tensor) -> Tensor:
        inner = draws_last(z)  # [..., T, K, n]
        found = (inner * unary.to(z)[..., None]).sum((-3, -2))
        onward = pairwise.to(z).mT @ inner[..., :-1, :, :]  # [..., T - 1, K, n]
        return draws_first(found + (onward * inner[..., 1:, :, :]).sum((-3, -2)))

    return cost


def expectation(parts: Parts, unary: Sequence[Tensor], pairwise: Sequence[Tensor]) -> Tensor:
    """Return the mean of such a cost, by the forward recursion: O(T K^2).

    Args:
        parts: logits of the chain.
        unary: T of [K].
        pairwise: T - 1 of [K, K].
    """
    at = marginals(parts)
    total = torch.stack([p @ cost for p, cost in zip(at, unary, strict=True)]).sum()
    for here, move, cost in zip(at, parts.moves, pairwise, strict=False):  # at: one more
        total = total + here @ (move.softmax(-1) * cost).sum(-1)
    return total
