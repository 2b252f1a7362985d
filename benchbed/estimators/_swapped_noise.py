"""Pseudo-actions: what categorical samples become when two entries of their noise are swapped.

Yin, Yue and Zhou 2019 (arXiv 1905.01413): w ~ Dirichlet(1, .., 1) a variable, z = argmin_c (log w_c
- phi_c). Swapping entries c and j of w, in ALL variables of an item at once, gives z^{c<->j}, which
has the law of z. w is E / sum E with E ~ Exp(1), and z is the arg-max of phi - log E.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchbed.families.categorical import one_hot_of_largest
from benchbed.layout import draws_first


def pseudo_actions(
    params: Tensor, gumbels: Tensor, reference: Tensor, swaps: Iterable[int]
) -> Tensor:
    """Return z^{c<->j} for all c in ``swaps``, one-hot [draws, swaps * samples, *params].

    Args:
        params: logits [*items, d, C].
        gumbels: -log E, [samples, *items, d, C, draws].
        reference: j as a mask over C, broadcasting to ``gumbels``.
        swaps: the c.
    """
    at_reference = (gumbels * reference).sum(-2)
    swapped = []
    for c in swaps:
        noise = torch.where(reference > 0, gumbels[..., c : c + 1, :], gumbels)
        noise[..., c, :] = at_reference
        swapped.append(noise.add_(params[..., None]))
    return one_hot_of_largest(draws_first(torch.cat(swapped)))


def dirichlet(exponentials: Tensor) -> Tensor:
    """Return w, [samples, *items, d, C, draws]."""
    return exponentials / exponentials.sum(-2, keepdim=True)
