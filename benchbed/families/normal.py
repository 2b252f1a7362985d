"""Independent normals: params ``[*items, 2, d]`` are the mean and the LOG-scale, z ``[..., d]``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.rng import Noise


def unpack(params: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the scale (not its logarithm), each [..., d]."""
    return params[..., 0, :], params[..., 1, :].exp()


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw mu + sigma * eps, [draws, samples, *items, d]."""
    return quantile(params, noise.uniform(draws, samples, *uniforms(params)))


def uniforms(params: Tensor) -> tuple[int, ...]:
    """Return [*items, d]: one uniform a variable."""
    return (*params.shape[:-2], params.shape[-1])


def quantile(params: Tensor, u: Tensor) -> Tensor:
    """Return mu + sigma * sqrt(2) erfinv(2 u - 1)."""
    mu, sigma = unpack(params)
    return (2 * u - 1).erfinv_().mul_(math.sqrt(2)).mul_(sigma).add_(mu)


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return (slope, 0): the mean of z is mu."""
    del mean
    return _pair(slope, torch.zeros_like(slope))


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables."""
    mu, sigma = unpack(params)
    eps = (z - mu) / sigma
    return (-0.5 * eps.square() - params[..., 1, :] - 0.5 * math.log(2 * math.pi)).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d (mean, log-scale) = (eps / sigma, eps^2 - 1), [..., 2, d]."""
    mu, sigma = unpack(params)
    eps = (z - mu) / sigma
    return _pair(eps / sigma, eps.square() - 1)


def mean(params: Tensor) -> Tensor:
    """Return mu."""
    return unpack(params)[0]


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return mu + sigma * eps with its exact derivative; ``temperature`` plays no part."""
    del temperature
    mu, sigma = unpack(params)
    scaled = noise.normal(draws, samples, *mu.shape).mul_(sigma)
    z = scaled + mu

    def vjp(slope: Tensor) -> Tensor:
        return _pair(slope, slope * scaled)  # dz/d log sigma = sigma * eps

    return Path(z, z, vjp)


def _pair(mean_part: Tensor, log_scale_part: Tensor) -> Tensor:
    """Stack along the axis before the last, draws-last memory kept: [..., 2, d]."""
    return torch.stack((mean_part.movedim(0, -1), log_scale_part.movedim(0, -1)), -3).movedim(-1, 0)


NORMAL = Family(
    name="normal",
    params_axes=2,
    event_axes=1,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=True,
    mean_vjp=mean_vjp,
    uniforms=uniforms,
    quantile=quantile,
)
