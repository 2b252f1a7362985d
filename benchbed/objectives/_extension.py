"""How J is continued from the corners to the inside of the cube or simplex.

The bias of straight-through and relaxed estimators is a property of this continuation, not of J
on the corners, so an objective names the one it uses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.contracts import Family
from benchbed.enumeration import tuples
from benchbed.errors import BadArgument, nearest
from benchbed.layout import draws_first, draws_last, linear
from benchbed.rng import Noise

EXTENSIONS = ("native", "multilinear", "cubic")
MOST_CORNERS = 4096

Function = Callable[[Tensor], Tensor]  # z [draws, ..., *items, *event] -> [draws, ..., *items]


def extend(function: Function, family: Family, params: Tensor, extension: str) -> Function:
    """Continue ``function`` off the corners.

    Args:
        function: the formula, defined everywhere.
        family: bernoulli or categorical.
        params: only its shape is used.
        extension: ``native`` keeps the formula; ``multilinear`` is affine in each variable;
            ``cubic`` adds sum_i a_i z_i (1 - z_i) (z_i - 1/2), which is 0 at every corner and
            moves the slope there by -a_i / 2. The a are normal, as large as J varies.

    Raises:
        BadArgument: no such extension, or more corners than a multilinear one can hold.
    """
    if extension == "native":
        return function
    if extension == "multilinear":
        return multilinear(corner_table(function, family, params), family)
    if extension == "cubic":
        return _cubic(function, family, params)
    raise BadArgument(
        f"unknown extension '{extension}'{nearest(extension, EXTENSIONS)}; "
        f"choose from {', '.join(EXTENSIONS)}"
    )


def corner_table(function: Function, family: Family, params: Tensor) -> Tensor:
    """Return the function at every corner, [*items, states], float64."""
    assert family.states is not None
    count = family.states(params)
    if count > MOST_CORNERS:
        raise BadArgument(
            f"the multilinear extension holds every corner and {count:,} are more than "
            f"{MOST_CORNERS:,}; use fewer dimensions or extension native"
        )
    values = [function(z)[:, 0] for z in tuples(family, params, together=1)]
    return torch.cat(values).movedim(0, -1)


def multilinear(table: Tensor, family: Family) -> Function:
    """Return the function that has ``table`` [*items, states] at the corners, affine between."""

    def function(z: Tensor) -> Tensor:
        inner = draws_last(z)
        if family.name == "bernoulli":
            inner = torch.stack((1 - inner, inner), -2)  # [..., d, 2, n]
        weight = inner[..., 0, :, :]  # [..., states so far, n]
        for i in range(1, inner.shape[-3]):
            weight = (inner[..., i, :, None, :] * weight[..., None, :, :]).flatten(-3, -2)
        return draws_first((weight * table.to(z)[..., None]).sum(-2))

    return function


def _cubic(function: Function, family: Family, params: Tensor) -> Function:
    noise = Noise(0, "cubic extension", dtype=torch.float64)
    corners = family.sample(torch.zeros_like(params), 1024, 1, noise)
    event = params.shape[-family.event_axes :]
    slopes = noise.normal(*event, 1)[..., 0] * function(corners).std()

    def extended(z: Tensor) -> Tensor:
        bump = (z - z.square()) * (z - 0.5)
        return function(z) + linear(slopes.flatten(), bump.flatten(-family.event_axes))

    return extended
