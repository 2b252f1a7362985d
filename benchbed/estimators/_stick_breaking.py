"""Antithetic pairs of categorical samples by stick-breaking.

Dong, Mnih and Tucker 2021 (arXiv 2106.08056): a categorical variable is a string of
bits, stop at class c or go on, with logits psi_c = phi_c - logsumexp(phi_{c+1..C}), c < C. One
uniform a bit gives B_c = 1[u_c < sigma(psi_c)] and Bt_c = 1[1 - u_c < sigma(psi_c)]; z is the first
class that stops, or C.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.contracts import Objective, add_direct
from benchbed.elementwise import indicator
from benchbed.estimators._antithetic_bits import pair_states
from benchbed.layout import draws_first, draws_last

FEW_CLASSES = 64  # up to here a product a class is faster than ``cumprod``


class Sticks(NamedTuple):
    """Classes of a pair, draws-last; the two of a pair are the first two entries."""

    reached: Tensor  # [2, pairs, *items, d, C - 1, draws]: 1 where no earlier class stopped
    classes: Tensor  # one-hot, [2, pairs, *items, d, C, draws]


def tails(params: Tensor) -> Tensor:
    """Return logsumexp(phi_{c+1..C}) for c < C, [*items, d, C - 1]."""
    return params.flip(-1).logcumsumexp(-1).flip(-1)[..., 1:]


def stick_logits(params: Tensor) -> Tensor:
    """Return psi [*items, d, C - 1]."""
    return params[..., :-1] - tails(params)


def sticks(psi: Tensor, u: Tensor) -> Sticks:
    """Break the sticks at u [draws, pairs, *items, d, C - 1]."""
    inner = draws_last(u)
    p, q = psi.sigmoid()[..., None], torch.sigmoid(-psi)[..., None]
    # Whether any class from the first on is still to stop, between the ends: yes, and no.
    *lead, last, draws = inner.shape
    going = inner.new_empty(2, *lead, last + 2, draws)
    going[..., 0, :], going[..., -1, :] = 1, 0
    going[0, ..., 1:-1, :] = indicator(torch.ge, inner, p)  # 1 - B
    going[1, ..., 1:-1, :] = indicator(torch.le, inner, q)  # 1 - Bt
    if last > FEW_CLASSES:
        going[..., 1:-1, :] = going[..., 1:-1, :].cumprod(-2)
    else:
        for before, own in itertools.pairwise(going[..., 1:-1, :].unbind(-2)):
            own *= before
    return Sticks(going[..., :-2, :], going[..., :-1, :] - going[..., 1:, :])


def stick_states(psi: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (probability [n, *items], u [n, 1, *psi]) for the 3^(d (C - 1)) outcomes of a pair."""
    if psi.shape[-1] == 0:  # one class, nothing to break
        yield psi.new_ones(1, *psi.shape[:-2]), psi.new_ones(1, 1, *psi.shape)
        return
    for probability, u in pair_states(psi.flatten(-2)):
        yield probability, u.reshape(*u.shape[:-1], *psi.shape[-2:])


def stick_state_count(params: Tensor) -> int:
    """Return the number of outcomes of ``stick_states``."""
    return int(3 ** (params.shape[-2] * (params.shape[-1] - 1)))


def one_class(objective: Objective, params: Tensor, draws: int, samples: int) -> Tensor:
    """Return the estimate where there is one class, z = 1: only the direct term is left."""
    z = params.new_ones(samples, *params.shape, draws)
    found = objective.evaluate(draws_first(z), params)
    return add_direct(draws_first(params.new_zeros(*params.shape, draws)), found)
