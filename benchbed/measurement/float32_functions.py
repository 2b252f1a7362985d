"""Functions of float32 as sums and products, where Inductor's own are slower.

Its erfinv is a call for each number, which keeps whole loops from being vectorized: 30 ns a number
against 0.6; its power takes 1.6 ns against 0.6, its tanh 1.0 against 0.4 and its logarithm, a call
for every 16 numbers, 0.3 against 0.2. These are good to some 4 units in the last place, the general
power to one for each unit of the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchbed.rng import SMALLEST

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


# Moshier's Cephes, logf: powers of f, log(1 + f) = f - f^2 / 2 + f^3 times the polynomial.
LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
LOG_2 = (0.693359375, -2.12194440e-4)  # the first has few digits: times an exponent, it is exact
ROOT_HALF, ONE = 0x3F3504F3, 0x3F800000  # the bits of sqrt(1/2), and of 1


def of_words(words: Tensor) -> Tensor:
    """Return the uniforms that ``Noise.uniform`` makes of 32 random bits each, int32."""
    bits: Tensor = ((words >> 9) & 0x7FFFFF) | ONE  # 1 + k / 2^23
    return bits.view(torch.float32) - (1 - SMALLEST[torch.float32])


def log_of_uniform(u: Tensor) -> Tensor:
    """Return log(u) for float32 u from 2^-126 to 1: no other u is looked after."""
    bits = u.view(torch.int32) - ROOT_HALF
    exponent = (bits >> 23).to(torch.float32)
    f = ((bits & 0x7FFFFF) + ROOT_HALF).view(torch.float32) - 1  # between sqrt(1/2) and sqrt(2)
    square = f * f
    found = _polynomial(LOG, f) * f * square + exponent * LOG_2[1] - 0.5 * square + f
    return found + exponent * LOG_2[0]


def _erfinv(x: Tensor) -> Any:
    if x.dtype != torch.float32:
        return NotImplemented
    w = -log_of_uniform((1 - x) * (1 + x))
    near, far = _polynomial(ERFINV_NEAR, w - 2.5), _polynomial(ERFINV_FAR, w.sqrt() - 3)
    found = torch.where(w < 5, near, far) * x
    size = x.abs()
    return torch.where(size < 1, found, torch.where(size == 1, x * math.inf, math.nan))


def _tanh(x: Tensor) -> Any:
    if x.dtype != torch.float32:
        return NotImplemented
    size, square = x.abs(), x * x
    far = 1 - 2 / ((2 * size).exp() + 1)
    near = _polynomial(TANH, square) * square * x + x
    return torch.where(size < 0.625, near, torch.where(x < 0, -far, far))


def _power(x: Tensor, exponent: float) -> Any:
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
