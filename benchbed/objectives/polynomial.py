"""ReinMax's polynomial programming: mean |z - t|^p over categorical variables on [0, 1].

Liu et al. 2023, "Bridging Discrete and Backpropagation" (arXiv 2304.08612): 128 variables, two
categories, t = 0.45, p in 1.5, 2, 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.layout import draws_first, draws_last, linear
from benchbed.objectives._extension import extend
from benchbed.objectives._points import categorical_point, gradient_of
from benchbed.objectives._square import squared_from


def polynomial(
    dimensions: int = 8,
    categories: int = 10,
    exponent: float = 2.0,
    target: float = 0.45,
    spread: float = 1.0,
    seed: int = 0,
    extension: str = "native",
) -> Objective:
    """Cost mean over i of |v_i - target|^exponent, where category c stands for c / (K - 1).

    Args:
        dimensions: number of variables.
        categories: K, at least 2.
        exponent: p > 1, so that the slope exists everywhere (1.5, 2 and 3 in the paper).
        target: t.
        spread: standard deviation of the logits (0: all categories equally likely).
        seed: of the logits.
        extension: native, multilinear or cubic.
    """
    at_least("polynomial", "dimensions", dimensions, 1)
    at_least("polynomial", "categories", categories, 2)
    if not exponent > 1:
        raise BadArgument(f"polynomial needs exponent > 1, got {exponent}; try 1.5, 2 or 3")
    params = categorical_point(dimensions, categories, spread, seed)
    places = torch.linspace(0, 1, categories, dtype=torch.float64)

    def power(v: Tensor) -> Tensor:
        return squared_from(v, target) if exponent == 2 else (v - target).abs() ** exponent

    def formula(z: Tensor) -> Tensor:
        return draws_first(power(draws_last(linear(places, z))).mean(-2))

    corners = extend(formula, CATEGORICAL, params, extension)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return corners(z)

    def value(params: Tensor) -> Tensor:
        return (params.softmax(-1) @ power(places).to(params)).mean()

    return Objective(
        "polynomial",
        CATEGORICAL,
        params,
        cost,
        value,
        gradient_of(value),
        citation="Liu et al. 2023",
    )
