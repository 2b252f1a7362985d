"""Where gradients are taken, and gradients of closed-form values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.rng import Noise


def bernoulli_point(dimensions: int, logits: float | None) -> Tensor:
    """Return equal ``logits``, or by default a spread from -1 to 1, [d] float64."""
    if logits is None:
        return torch.linspace(-1, 1, dimensions, dtype=torch.float64)
    return torch.full((dimensions,), float(logits), dtype=torch.float64)


def categorical_point(dimensions: int, categories: int, spread: float, seed: int) -> Tensor:
    """Return normal logits with standard deviation ``spread``, [d, K] float64."""
    noise = Noise(seed, "categorical point", dtype=torch.float64)
    return spread * noise.normal(dimensions, categories).contiguous()


def gradient_of(value: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the gradient of a closed-form ``value`` by autograd, in float64."""

    def gradient(params: Tensor) -> Tensor:
        point = params.detach().double().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(value(point), point)[0]

    return gradient
