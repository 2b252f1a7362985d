"""Independent normals of a known scale: params ``[*items, *event]`` are the means, z like them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def normal_mean(scale: float, axes: int = 1) -> Family:
    """Return the law N(params, scale^2), whose only parameters are the means.

    Args:
        scale: standard deviation of every variable, > 0.
        axes: trailing axes of params, and of z, that belong to one item.
    """
    at_least("normal_mean", "axes", axes, 1)
    if not finite_number("normal_mean", "scale", scale) > 0:
        raise BadArgument(
            f"normal_mean needs scale > 0, got {scale}; without noise z has no density, try 1.0"
        )

    def uniforms(params: Tensor) -> tuple[int, ...]:
        """Return [*items, variables]: one uniform a variable."""
        inner = params.ndim - axes
        return (*params.shape[:inner], math.prod(params.shape[inner:]))

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        """Return mu + scale * sqrt(2) erfinv(2 u - 1)."""
        event = params.shape[params.ndim - axes :]
        eps = (2 * u - 1).erfinv_().mul_(math.sqrt(2) * scale)
        return torch.unflatten(eps, -1, event).add_(params) if axes > 1 else eps.add_(params)

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        eps = draws_last((z - params) / scale).flatten(-axes - 1, -2)
        constant = eps.shape[-2] * (math.log(scale) + 0.5 * math.log(2 * math.pi))
        return draws_first(-0.5 * eps.square().sum(-2)) - constant

    def score(params: Tensor, z: Tensor) -> Tensor:
        """Return (z - mu) / scale^2."""
        return (z - params) / scale**2

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        """Return mu + scale * eps, whose derivative is 1; ``temperature`` plays no part."""
        del temperature
        z = noise.normal(draws, samples, *params.shape).mul_(scale).add_(params)
        return Path(z, z, lambda slope: slope)

    def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
        del mean
        return slope

    return Family(
        name="normal_mean",
        params_axes=axes,
        event_axes=axes,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=lambda params: params,
        path=path,
        exact_path=True,
        mean_vjp=mean_vjp,
        uniforms=uniforms,
        quantile=quantile,
    )
