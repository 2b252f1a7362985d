"""Intervals of the standard normal law, without cancellation in either tail.

P = Phi(high) - Phi(low) of a cell [low, high] in standard deviations. A cell to the right of 0 is
mirrored into the left tail, where Phi has all its digits, and FAR stands for an infinite end: it is
finite, so that no derivative is inf times 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.errors import BadArgument

FAR = 1e15
LEAST_SCALE, MOST_SCALE = 1e-6, 1e6  # within them boundaries stay well inside of FAR


def noise_scale(name: str, scale: float) -> float:
    """Return the standard deviation of an encoder's noise, or say why it cannot be used."""
    real = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not real or not LEAST_SCALE <= scale <= MOST_SCALE:
        raise BadArgument(
            f"{name} needs scale > 0, from {LEAST_SCALE:g} to {MOST_SCALE:g}, got {scale!r}; "
            "without noise the gradient is 0 almost everywhere, try 0.5"
        )
    return float(scale)


def hazard(x: Tensor) -> Tensor:
    """Return phi(x) / Phi(x), finite in the left tail and 0 far to the right."""
    scaled: Tensor = torch.special.erfcx(x / -math.sqrt(2))
    return math.sqrt(2 / math.pi) / scaled


def log_mass(low: Tensor, high: Tensor) -> Tensor:
    """Return log P of the cells [low, high], low < high."""
    left, right, _ = _mirrored(low, high)
    log_right: Tensor = torch.special.log_ndtr(right)
    gap = torch.special.log_ndtr(left) - log_right
    return log_right + torch.log(-torch.expm1(gap))


def edge_rates(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return phi(low) / P and phi(high) / P: how log P falls with low and rises with high."""
    left, right, mirrored = _mirrored(low, high)
    gap = torch.special.log_ndtr(left) - torch.special.log_ndtr(right)
    at_left = hazard(left) / torch.expm1(-gap)
    at_right = hazard(right) / -torch.expm1(gap)
    return torch.where(mirrored, at_right, at_left), torch.where(mirrored, at_left, at_right)


def _mirrored(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mirrored = low + high > 0
    left, right = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    return left, right, mirrored
