"""Bits coupled in pairs by a random quadratic form and in one triple."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.families import BERNOULLI
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._coupled_blocks import affine_and_pairs
from benchbed.objectives._extension import extend
from benchbed.objectives._points import bernoulli_point, gradient_of
from benchbed.rng import Noise


def coupled(
    dimensions: int = 8, logits: float | None = None, seed: int = 0, extension: str = "native"
) -> Objective:
    """Cost a b + b^T Q b + 1.5 b0 b1 b2 with normal a and symmetric normal Q / sqrt(d).

    Args:
        dimensions: number of bits, at least 3.
        logits: one value for every bit; None spreads them from -1 to 1.
        seed: of the coefficients.
        extension: native, multilinear or cubic.
    """
    at_least("coupled", "dimensions", dimensions, 3)
    params = bernoulli_point(dimensions, logits)
    noise = Noise(seed, "coupled", dtype=torch.float64)
    slopes = noise.normal(dimensions)
    root = noise.normal(dimensions, dimensions)
    form = (root + root.T) / (2 * math.sqrt(dimensions))

    def formula(z: Tensor) -> Tensor:
        inner = draws_last(z)
        first, second, third = inner[..., :3, :].unbind(-2)
        return draws_first(affine_and_pairs(slopes, form, inner) + 1.5 * first * second * third)

    corners = extend(formula, BERNOULLI, params, extension)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return corners(z)

    def value(params: Tensor) -> Tensor:
        p = params.sigmoid()  # bits are independent and b^2 = b: only the diagonal is special
        off, single = (form - form.diag().diag()).to(p), (slopes + form.diag()).to(p)
        return p @ single + p @ off @ p + 1.5 * p[:3].prod()

    return Objective("coupled", BERNOULLI, params, cost, value, gradient_of(value))
