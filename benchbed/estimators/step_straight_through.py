"""Deterministic straight-through for bits: threshold the logits, differentiate as if one had not.

STEP(a) = 1[a >= 0], linearized as STEP(a) = a in the backward pass (``identity``), or by the hard
tanh (``clipped``) or the sigmoid (``mean``, at a temperature). Bengio, Leonard and Courville 2013
(arXiv 1308.3432) compare it with the sampled ``straight_through``: it is another estimator. With
z = STEP(params), [*items, d]:

    gradient = dJ/dz at z times 1, 1[|logit| <= 1] or s (1 - s) / temperature, s = sigma(logit / t)

It looks at one z whatever the others cost, so its bias is constant and does not average out; its
variance is exactly 0. One evaluation of J, with dJ/dz, shared by all rows.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from benchbed.contracts import Estimator
from benchbed.estimators._at_the_mode import at_the_mode
from benchbed.estimators._straight_through_derivative import check

KNOWN = ("mean", "identity", "clipped")


def step_straight_through(
    derivative: Literal["mean", "identity", "clipped"] = "mean", temperature: float = 1.0
) -> Estimator:
    """Return dJ/dz at the thresholded logits times a straight-through derivative; no randomness.

    Args:
        derivative: ``mean``, ``identity`` or ``clipped``.
        temperature: of the sigmoid, for ``mean`` only.

    Raises:
        BadArgument: no such derivative, or a temperature beside one that has none.
    """
    check("step_straight_through", derivative, temperature, KNOWN)
    bits = frozenset({"bernoulli"})
    return at_the_mode("step_straight_through", step, bits, derivative, temperature)


def step(logits: Tensor) -> Tensor:
    """Return 1[logits >= 0]."""
    return (logits >= 0).to(logits.dtype)
