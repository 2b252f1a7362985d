"""A smooth, coupled cost over categorical variables: quadratic form plus an exponential."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.families import CATEGORICAL
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._coupled_blocks import affine_and_pairs, exponential
from benchbed.objectives._extension import extend
from benchbed.objectives._points import categorical_point, gradient_of
from benchbed.rng import Noise


def smooth(
    dimensions: int = 4,
    categories: int = 5,
    spread: float = 1.0,
    seed: int = 0,
    extension: str = "native",
) -> Objective:
    """Cost a z + z^T Q z + exp(e z) over the flattened one-hots z, all coefficients normal.

    Args:
        dimensions: number of variables.
        categories: K, at least 2.
        spread: standard deviation of the logits.
        seed: of the coefficients and the logits.
        extension: native, multilinear or cubic.
    """
    at_least("smooth", "dimensions", dimensions, 1)
    at_least("smooth", "categories", categories, 2)
    params = categorical_point(dimensions, categories, spread, seed)
    size = dimensions * categories
    noise = Noise(seed, "smooth", dtype=torch.float64)
    slopes = noise.normal(size)
    root = noise.normal(size, size)
    form = (root + root.T) / (2 * math.sqrt(dimensions))
    exponent = noise.normal(size) / (2 * math.sqrt(dimensions))

    def formula(z: Tensor) -> Tensor:
        inner = draws_last(z).flatten(-3, -2)
        return draws_first(affine_and_pairs(slopes, form, inner) + exponential(exponent, inner))

    corners = extend(formula, CATEGORICAL, params, extension)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return corners(z)

    owner = torch.arange(size) // categories  # the variable that each entry belongs to
    same = owner[:, None] == owner
    between = form.masked_fill(same, 0)  # variables are independent: E factors between blocks

    def value(params: Tensor) -> Tensor:
        probs = params.softmax(-1)
        flat = probs.flatten()
        growth = (probs * exponent.to(params).reshape(params.shape).exp()).sum(-1).prod()
        return flat @ (slopes + form.diag()).to(flat) + flat @ between.to(flat) @ flat + growth

    return Objective("smooth", CATEGORICAL, params, cost, value, gradient_of(value))
