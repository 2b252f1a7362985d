"""Pseudo-actions: what categorical samples become when two entries of their noise are swapped.

Yin, Yue and Zhou 2019 (arXiv 1905.01413): w ~ Dirichlet(1, .., 1) a variable, z = argmin_c (log w_c
- phi_c). Swapping entries c and j of w, in ALL variables of an item at once, gives z^{c<->j}, which
has the law of z. w is E / sum E with E ~ Exp(1), and z is the arg-max of phi - log E.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.families.categorical import one_hot_of_largest
from benchbed.layout import draws_first


def pseudo_actions(
    params: Tensor, gumbels: Tensor, reference: Tensor
) -> Callable[[int, int], Tensor]:
    """Return what gives z^{c<->j} for ``start`` <= c < ``stop``, one after another.

    Each one-hot, [draws, (stop - start) * samples, *params].

    Args:
        params: logits [*items, d, C].
        gumbels: -log E, [samples, *items, d, C, draws].
        reference: j as a mask of 0 and 1 over C, broadcasting to ``gumbels``.
    """
    logits = params[..., None]
    elsewhere = ((1 - reference) * gumbels).add_(logits)
    at_reference = (gumbels * reference).sum(-2, keepdim=True)

    def swapped(start: int, stop: int) -> Tensor:
        mine, own = gumbels[..., start:stop, :], logits[..., start:stop, :]
        noise = torch.stack([elsewhere] * (stop - start))
        noise.addcmul_(reference, mine.movedim(-2, 0).unsqueeze(-2))
        noise.diagonal(start, 0, -2).copy_((at_reference + own).movedim(-2, -1))
        return one_hot_of_largest(draws_first(noise.flatten(0, 1)))

    return swapped


def dirichlet(exponentials: Tensor) -> Tensor:
    """Return w, [samples, *items, d, C, draws]."""
    return exponentials / exponentials.sum(-2, keepdim=True)
