"""Functions of float32 as sums and products, where Inductor's own are many times slower.

Its erfinv is a call for each number, which keeps whole loops from being vectorized: 30 ns a number
against 0.8; its power takes 1.6 ns and its tanh 1.0. These are good to some 4 units in the last
place, the general power to one for each unit of the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Giles 2012, "Approximating the erfinv function": powers of w - 2.5, and of sqrt(w) - 3 for w >= 5.
ERFINV_NEAR = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
ERFINV_FAR = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)
# Moshier's Cephes, tanhf: powers of x^2, for |x| < 0.625.
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)


def _erfinv(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return NotImplemented
    w = -torch.log((1 - x) * (1 + x))
    near, far = _polynomial(ERFINV_NEAR, w - 2.5), _polynomial(ERFINV_FAR, w.sqrt() - 3)
    return torch.where(w < 5, near, far) * x


def _tanh(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return NotImplemented
    size, square = x.abs(), x * x
    far = 1 - 2 / ((2 * size).exp() + 1)
    near = _polynomial(TANH, square) * square * x + x
    return torch.where(size < 0.625, near, torch.where(x < 0, -far, far))


def _power(x: Tensor, exponent: float) -> Tensor:
    whole, half = divmod(float(exponent), 1)
    if x.dtype != torch.float32 or half == 0:  # whole powers are products already
        return NotImplemented
    if half == 0.5 and 0 <= whole <= 3:
        return x**whole * x.sqrt()
    return (x.log() * exponent).exp()


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """Return the polynomial whose highest coefficient comes first."""
    first, *others = coefficients
    found = x * first + others[0]
    for coefficient in others[1:]:
        found = found * x + coefficient
    return found


DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.erfinv.default: _erfinv,
    torch.ops.aten.tanh.default: _tanh,
    torch.ops.aten.pow.Tensor_Scalar: _power,
}
