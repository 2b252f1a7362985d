"""The toy of REBAR (t = 0.45), RELAX (0.499) and ARM: E[(b - t)^2] over Bernoulli bits.

Tucker et al. 2017 (arXiv 1703.07370); Grathwohl et al. 2018 (arXiv 1711.00123); Yin and Zhou 2019
(arXiv 1807.11143). For ``mean`` with t near 1/2 the cost is almost constant: REINFORCE's variance
is then a million times leave-one-out's, which says little about other problems.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import BERNOULLI
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._extension import extend
from benchbed.objectives._points import bernoulli_point
from benchbed.objectives._square import squared_from


def quadratic(
    dimensions: int = 8,
    target: float = 0.45,
    reduce: Literal["mean", "sum"] = "mean",
    logits: float | None = None,
    extension: str = "native",
) -> Objective:
    """Cost mean (or sum) over i of (b_i - target)^2, b_i ~ Bernoulli(sigmoid(logits_i)).

    Args:
        dimensions: number of bits.
        target: t, what every bit is drawn towards.
        reduce: ``mean`` or ``sum`` over the bits.
        logits: one value for every bit; None spreads them from -1 to 1.
        extension: native, multilinear (here the same as t^2 + (1 - 2t) b) or cubic.
    """
    at_least("quadratic", "dimensions", dimensions, 1)
    if reduce not in ("mean", "sum"):
        raise BadArgument(f"quadratic needs reduce: mean or sum, got '{reduce}'")
    scale = 1 / dimensions if reduce == "mean" else 1.0
    params = bernoulli_point(dimensions, logits)

    def formula(z: Tensor) -> Tensor:
        return draws_first(squared_from(draws_last(z), target).sum(-2) * scale)

    corners = extend(formula, BERNOULLI, params, extension)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return corners(z)

    def value(params: Tensor) -> Tensor:
        p = params.sigmoid()
        return scale * (p * (1 - target) ** 2 + (1 - p) * target**2).sum()

    def gradient(params: Tensor) -> Tensor:
        return scale * (1 - 2 * target) * params.sigmoid() * torch.sigmoid(-params)

    return Objective(
        "quadratic", BERNOULLI, params, cost, value, gradient, citation="Tucker et al. 2017"
    )
