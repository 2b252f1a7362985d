"""A surrogate cost: one hidden layer of tanh, with its derivative in closed form.

c(x) = heads . tanh(inner x + offset) + constant, the hidden layer shared by the items of an
amortized model, the heads and the constant (a baseline) each item's own.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from benchbed.elementwise import tanh_
from benchbed.layout import draws_first, draws_last

Surrogate = Callable[[Tensor], tuple[Tensor, Tensor]]


def surrogate(inner: Tensor, offset: Tensor, x: Tensor, items: int) -> Surrogate:
    """Return the function of the heads [*items, hidden + 1], the constant last, that gives c(x).

    It returns c(x) [draws, samples, *items] and dc/dx, shaped like x.

    Args:
        inner: [hidden, inputs].
        offset: [hidden].
        x: [draws, samples, *items, *event].
        items: number of item axes.
    """
    shape = draws_last(x).shape  # [samples, *items, *event, n]
    flat = draws_last(x).flatten(1 + items, -2)
    active = tanh_((inner @ flat).add_(offset[:, None]))  # [samples, *items, hidden, n]
    rate = active.square().neg_().add_(1)

    def read(heads: Tensor) -> tuple[Tensor, Tensor]:
        out = heads[..., :-1]
        value = (out[..., None, :] @ active)[..., 0, :] + heads[..., -1, None]
        slope = inner.mT @ (out[..., None] * rate)
        return draws_first(value), draws_first(slope.reshape(shape))

    return read
