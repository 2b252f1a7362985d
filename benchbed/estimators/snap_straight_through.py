"""Deterministic straight-through for categories: take the arg-max, differentiate as if one had not.

SNAP(u) = one-hot of the largest u_k, linearized as SNAP(u) = u in the backward pass (``identity``)
or by the softmax (``mean``, at a temperature): Bengio, Leonard and Courville 2013
(arXiv 1308.3432), for a vector. With z = SNAP(params), [*items, d, K]:

    gradient = dJ/dz at z, or Jac(softmax(params / temperature)) dJ/dz / temperature

It looks at one z whatever the others cost, so its bias is constant and does not average out; its
variance is exactly 0. One evaluation of J, with dJ/dz, shared by all rows.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from benchbed.contracts import Estimator
from benchbed.estimators._at_the_mode import at_the_mode
from benchbed.estimators._straight_through_derivative import check
from benchbed.families.categorical import one_hot_of_largest


def snap_straight_through(
    temperature: float = 1.0, derivative: Literal["mean", "identity"] = "mean"
) -> Estimator:
    """Return dJ/dz at the arg-max times a straight-through derivative; no randomness.

    Args:
        temperature: of the softmax, for ``mean`` only.
        derivative: ``mean`` or ``identity``.

    Raises:
        BadArgument: no such derivative, or a temperature beside one that has none.
    """
    check("snap_straight_through", derivative, temperature, ("mean", "identity"))
    categories = frozenset({"categorical"})
    return at_the_mode("snap_straight_through", snap, categories, derivative, temperature)


def snap(logits: Tensor) -> Tensor:
    """Return the one-hot of the largest logit of each variable, the first of equals."""
    return one_hot_of_largest(logits[None])[0]
