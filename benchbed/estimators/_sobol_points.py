"""One Sobol net of uniforms for every draw, randomized anew by a random digital shift.

L'Ecuyer and Lemieux 2002, "Recent advances in randomized quasi-Monte Carlo methods", section on
digital nets: the binary digits of every point are added modulo 2 to those of ONE uniform of the
draw, per dimension. Each shifted point alone is exactly uniform, so means are unbiased; the points
of one draw together remain a digital net; and draws (and items), which have shifts of their own,
are independent. Owen's nested scrambling and linear matrix scrambling can have less variance, but
cost a permutation or a matrix for every draw, where the shift is one XOR: with 2^m points each of
the 2^m cells of a dimension holds one point, at ONE offset common to all cells.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from benchbed.contracts import Family
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last
from benchbed.rng import SMALLEST, Noise

# Digits of the net; the shift, a float32 of 24 or a float64 of 53, stays as it is below them.
DIGITS = {torch.float32: 23, torch.float64: 30}


def sobol_uniforms(
    name: str, family: Family, params: Tensor, draws: int, samples: int, noise: Noise
) -> Tensor:
    """Return shifted Sobol points in the unit cube, [draws, samples, *items, uniforms].

    The first point of the net is 0, so the first sample of a draw is its plain uniform; with one
    sample this is independent sampling. Nets are most even when ``samples`` is a power of two.

    Raises:
        BadArgument: one item needs more dimensions than the Sobol table has.
    """
    assert family.uniforms is not None
    shape = family.uniforms(params)
    items = family.items(params)
    dimensions = int(torch.Size(shape[len(items) :]).numel())
    if dimensions > SobolEngine.MAXDIM:
        raise BadArgument(
            f"{name} needs {dimensions:,} uniforms for one sample and the Sobol table has "
            f"{SobolEngine.MAXDIM:,}; use independent samples, such as score_function"
        )
    shift = draws_last(noise.uniform(draws, 1, *shape))  # [1, *items, uniforms, draws]
    digits = DIGITS[noise.dtype]
    scaled = shift.mul_(2**digits)
    whole = scaled.to(torch.int32)
    mixed = _net(dimensions, samples, digits).to(whole.device)  # [samples, dimensions]
    mixed = mixed.reshape(samples, *(1,) * len(items), *shape[len(items) :], 1) ^ whole
    u = mixed.to(noise.dtype).add_(scaled.sub_(whole)).mul_(2.0**-digits)
    return draws_first(u.clamp_(min=SMALLEST[noise.dtype]))


@functools.cache
def _net(dimensions: int, samples: int, digits: int) -> Tensor:
    """Return the first ``samples`` points of the Sobol sequence as integers of ``digits`` bits."""
    size = 1 << (samples - 1).bit_length()  # torch warns of other sizes
    sequence: Callable[..., Any] = SobolEngine  # torch leaves it untyped
    points: Tensor = sequence(dimensions, scramble=False).draw(size, dtype=torch.float64)
    return points[:samples].mul(2**digits).to(torch.int32)
