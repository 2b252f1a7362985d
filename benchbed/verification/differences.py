"""Central differences in float64, extrapolated, and how far two tensors are apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.rng import Noise
from benchbed.verification.check import EXACT

STEP = 1e-3  # Richardson's extrapolation leaves an error of order STEP^4
MOST_COORDINATES = 24  # beyond, as many random directions stand for them
# What is right to 16 units in the last place may be as far off as this, times its size.
ROUNDING = 16 * 2.0**-52


def relative_gap(found: Tensor, expected: Tensor, size: float = 0.0) -> float:
    """Return |found - expected| / |expected| (lengths); the difference itself where that is 0.

    Args:
        found: any shape.
        expected: the same shape.
        size: of the numbers that ``expected`` is a sum of. What they leave when they cancel is
            rounding, so a length below ``ROUNDING * size / EXACT`` counts as that.
    """
    error, length = float((found - expected).norm()), float(expected.norm())
    length = max(length, ROUNDING * size / EXACT)
    return error / length if length > 0 else error


def central_differences(
    value: Callable[[Tensor], Tensor],
    gradient: Tensor,
    point: Tensor,
    size: float = 0.0,
    most: int = MOST_COORDINATES,
) -> float:
    """Return how far ``gradient`` is from the derivative of ``value`` at ``point``, relative.

    Along every coordinate where they are few, else along random directions of unit length, where
    the size of what is left unseen is that of what is seen. A gradient so small that differences of
    the value, rounded, cannot tell it to ``EXACT`` counts as the smallest that they can.

    Args:
        value: of a tensor like ``point``, one number.
        gradient: what is held.
        point: where.
        size: of the numbers that the value is a sum of, where it is less than they are.
        most: directions.
    """
    count = point.numel()
    if count <= most:
        directions = torch.eye(count, dtype=torch.float64)
    else:
        noise = Noise(5, "directions", dtype=torch.float64)
        directions = noise.normal(most, count)
        directions = directions / directions.norm(dim=1, keepdim=True)
    found = [_rate(value, point, step.reshape(point.shape)) for step in directions]
    rates = torch.stack([rate for rate, _ in found])
    size = max(size, *(largest for _, largest in found))
    slopes = directions @ gradient.flatten()
    error, length = float((rates - slopes).norm()), float(gradient.norm())
    if count > most:  # a random direction sees 1 / sqrt(count) of an error
        error *= (count / most) ** 0.5
    length = max(length, 3 * ROUNDING * size / STEP * count**0.5 / EXACT)
    return error / length if length > 0 else error


def _rate(
    value: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor
) -> tuple[Tensor, float]:
    """Return the derivative along a direction, and the size of the values it comes from."""

    def difference(step: float) -> tuple[Tensor, float]:
        ahead, behind = value(point + step * direction), value(point - step * direction)
        return (ahead - behind).detach() / (2 * step), float(ahead.detach().abs())

    (wide, size), (narrow, _) = difference(STEP), difference(STEP / 2)
    return (4 * narrow - wide) / 3, size
