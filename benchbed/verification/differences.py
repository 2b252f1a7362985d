"""Central differences in float64, extrapolated, and how far two tensors are apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.rng import Noise

STEP = 1e-3  # Richardson's extrapolation leaves an error of order STEP^4
MOST_COORDINATES = 24  # beyond, as many random directions stand for them


def relative_gap(found: Tensor, expected: Tensor) -> float:
    """Return |found - expected| / |expected| (lengths); the difference itself where that is 0."""
    error, size = float((found - expected).norm()), float(expected.norm())
    return error / size if size > 0 else error


def central_differences(
    value: Callable[[Tensor], Tensor], gradient: Tensor, point: Tensor
) -> float:
    """Return how far ``gradient`` is from the derivative of ``value`` at ``point``, relative.

    Along every coordinate where they are few, else along random directions of unit length, where
    the size of what is left unseen is that of what is seen.
    """
    size = point.numel()
    if size <= MOST_COORDINATES:
        directions = torch.eye(size, dtype=torch.float64)
    else:
        noise = Noise(5, "directions", dtype=torch.float64)
        directions = noise.normal(MOST_COORDINATES, size)
        directions = directions / directions.norm(dim=1, keepdim=True)
    rates = torch.stack([_rate(value, point, step.reshape(point.shape)) for step in directions])
    slopes = directions @ gradient.flatten()
    error, length = float((rates - slopes).norm()), float(gradient.norm())
    if size > MOST_COORDINATES:  # a random direction sees 1 / sqrt(size) of an error
        error *= (size / MOST_COORDINATES) ** 0.5
    return error / length if length > 0 else error


def _rate(value: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor) -> Tensor:
    def difference(step: float) -> Tensor:
        ahead, behind = value(point + step * direction), value(point - step * direction)
        return (ahead - behind).detach() / (2 * step)

    return (4 * difference(STEP / 2) - difference(STEP)) / 3
