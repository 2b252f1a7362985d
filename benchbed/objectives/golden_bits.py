"""Three coupled bits with every kind of term, whose exact moments are known to many digits.

J(b) = A b + b^T Q b + 1.5 b0 b1 b2 + exp(0.6 b0 - 0.5 b1 + 0.9 b2), a test bed of this project.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.families import BERNOULLI
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._coupled_blocks import affine_and_pairs, exponential
from benchbed.objectives._extension import extend

LINEAR = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
QUADRATIC = torch.tensor(
    [[0.5, 0.8, -0.6], [0.8, -0.3, 0.9], [-0.6, 0.9, 0.4]], dtype=torch.float64
)
EXPONENT = torch.tensor([0.6, -0.5, 0.9], dtype=torch.float64)
LOGITS = torch.tensor([0.4, -1.3, 0.8], dtype=torch.float64)


def formula(z: Tensor) -> Tensor:
    """Return J at z [..., 3]."""
    inner = draws_last(z)
    first, second, third = inner.unbind(-2)
    polynomial = affine_and_pairs(LINEAR, QUADRATIC, inner) + 1.5 * first * second * third
    return draws_first(polynomial + exponential(EXPONENT, inner))


def golden_bits(extension: str = "native") -> Objective:
    """Cost A b + b^T Q b + 1.5 b0 b1 b2 + exp(0.6 b0 - 0.5 b1 + 0.9 b2), logits 0.4, -1.3, 0.8.

    Args:
        extension: native, multilinear or cubic.
    """
    corners = extend(formula, BERNOULLI, LOGITS, extension)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return corners(z)

    return Objective("golden_bits", BERNOULLI, LOGITS, cost)
