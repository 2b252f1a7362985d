"""The cost a u + u^T Q u + exp(e u) of a vector u, and its mean where blocks of u are independent.

Smooth, and coupled across the blocks: Q is full and the exponential is a product over all of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def affine_and_pairs(slopes: Tensor, form: Tensor, inner: Tensor) -> Tensor:
    """Return a u + u^T Q u as <u, a + Q u>, for draws-last ``inner`` [..., n, draws]."""
    inside = (form.to(inner) @ inner).add_(slopes.to(inner)[:, None])
    return (inside * inner).sum(-2)


def exponential(exponent: Tensor, inner: Tensor) -> Tensor:
    """Return exp(e u) for draws-last ``inner`` [..., n, draws]."""
    return (exponent.to(inner) @ inner).exp()


class CoupledCost(NamedTuple):
    """The coefficients of a u + u^T Q u + exp(e u), float64."""

    slopes: Tensor  # a, [n]
    form: Tensor  # Q, [n, n], symmetric
    exponent: Tensor  # e, [n]

    def at(self, u: Tensor) -> Tensor:
        """Return the cost of ``u`` [..., n]."""
        inner = draws_last(u)
        polynomial = affine_and_pairs(self.slopes, self.form, inner)
        return draws_first(polynomial + exponential(self.exponent, inner))

    def mean(self, masses: Tensor, values: Tensor) -> Tensor:
        """Return its expectation, in closed form.

        Args:
            masses: [blocks, states], the chance of every value of each block.
            values: [blocks, states, width], the values, of n / blocks numbers each.
        """
        blocks, _, width = values.shape
        form = self.form.to(values).reshape(blocks, width, blocks, width)
        first = torch.einsum("bs,bsw->bw", masses, values)
        pairs = torch.einsum("aw,awbv,bv->", first, form, first)
        own = torch.einsum("bwbv->bwv", form)  # a block with itself: its second moment instead
        within = torch.einsum("bs,bsw,bwv,bsv->", masses, values, own, values)
        apart = torch.einsum("bw,bwv,bv->", first, own, first)
        growth = (values @ self.exponent.to(values).reshape(blocks, width, 1))[..., 0].exp()
        single = (self.slopes.to(values) * first.flatten()).sum()
        return single + pairs - apart + within + (masses * growth).sum(-1).prod()


def coupled_cost(size: int, noise: Noise) -> CoupledCost:
    """Return seeded coefficients for ``size`` numbers, drawn from ``noise``."""
    slopes = noise.normal(size)
    root = noise.normal(size, size)
    form = (root + root.T) / (2 * math.sqrt(size))
    return CoupledCost(slopes, form, noise.normal(size) / math.sqrt(size))
