"""Elementwise work at the machine's speed, where the plain torch call is several times slower.

On a CPU a comparison that gives booleans, and their conversion to numbers, take some eight times
as long as one that writes the numbers; numpy's float32 log, exp and tanh take a half to a tenth of
torch's time where the processor has the instructions. Under torch.compile and on other devices all
of these are the plain torch call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

# What numpy has vectorized for float32, by the instructions that torch finds.
VECTORIZED = {
    "AVX512": {"log", "exp", "log1p", "tanh"},
    "AVX2": {"log", "exp"},
}.get(torch.backends.cpu.get_cpu_capability(), set())


def indicator(compare: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return 1 where ``compare(x, y)`` holds (torch.gt, torch.le, ...), else 0, in x's dtype.

    Laid out draws-last where x is ``[draws, ...]`` in that layout, contiguous otherwise.
    """
    x, y = x.detach(), y.detach()
    if torch.compiler.is_compiling():
        return compare(x, y).to(x.dtype)
    shape = torch.Size(np.broadcast_shapes(x.shape, y.shape))
    if shape == x.shape:
        out = torch.empty_like(x)
    elif x.ndim == len(shape) and x.stride(0) == 1 < x.ndim:
        out = x.new_empty(*shape[1:], shape[0]).movedim(-1, 0)
    else:
        out = x.new_empty(shape)
    return compare(x, y.to(x.dtype), out=out)


def _in_place(name: str) -> Callable[[Tensor], Tensor]:
    by_numpy: Callable[..., Any] = getattr(np, name)
    by_torch: Callable[[Tensor], Tensor] = getattr(torch.Tensor, f"{name}_")

    def apply(x: Tensor) -> Tensor:
        plain = torch.compiler.is_compiling() or x.device.type != "cpu" or x.requires_grad
        if plain or name not in VECTORIZED or x.dtype != torch.float32:
            return by_torch(x)
        array = x.numpy()
        with np.errstate(all="ignore"):  # log(0) is -inf here, too
            by_numpy(array, out=array)
        return x

    apply.__doc__ = f"Take the {name} of a fresh tensor in place, and return it."
    return apply


log_ = _in_place("log")
exp_ = _in_place("exp")
log1p_ = _in_place("log1p")
tanh_ = _in_place("tanh")


def power_(x: Tensor, exponent: float) -> Tensor:
    """Raise a fresh tensor of numbers >= 0 to ``exponent`` > 0 in place, and return it."""
    if exponent == 1:
        return x
    if exponent == 2:
        return x.square_()
    return exp_(log_(x).mul_(exponent))
