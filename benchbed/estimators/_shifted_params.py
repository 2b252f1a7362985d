"""J at parameters moved away from where the gradient is wanted: all that a black box needs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.layout import compact


def positive_step(name: str, what: str, value: float) -> float:
    """Return ``value``, or say why parameters cannot be moved by it."""
    if not 0 < value < math.inf:
        raise BadArgument(
            f"{name} needs {what} > 0, got {value}; the parameters are moved by it, try 0.1"
        )
    return float(value)


def costs_at(objective: Objective, params: Tensor, point: Tensor, u: Tensor) -> Tensor:
    """Return J at the z that ``point`` makes of the uniforms ``u``, [draws, samples, *items].

    Args:
        objective: only its values are used; with ``direct`` J sees ``point`` as well, which
            brings the direct term in without a derivative.
        params: where the gradient is wanted.
        point: moved parameters, ``[*params]`` or ``[draws, samples, *params]``.
        u: [draws, samples, *items, uniforms].
    """
    family = objective.family
    assert family.quantile is not None
    with torch.no_grad():
        z = compact(family.quantile(point, u))
        return compact(objective.costs(z, point if objective.direct else params))
