"""A chain of two normals: z1 ~ N(m1, s1^2), then z2 given z1 ~ N(a z1 + b, s2^2); z is (z1, z2).

params are ``[*items, 5]``: m1, log s1, a, b, log s2, the scales by their LOGARITHMS. Every normal
law of two variables is one of these. The path is z itself, so it is exact; ``mean_vjp`` is not
offered, because the slope a cannot be told from E[z] alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


class Chain(NamedTuple):
    """The parts of params, each [...] without the last axis."""

    mean: Tensor  # m1
    first_scale: Tensor  # s1, not its logarithm
    slope: Tensor  # a
    start: Tensor  # b
    second_scale: Tensor  # s2, not its logarithm


def unpack(params: Tensor) -> Chain:
    """Return m1, s1, a, b and s2 of params [..., 5]."""
    mean, log_first, slope, start, log_second = params.unbind(-1)
    return Chain(mean, log_first.exp(), slope, start, log_second.exp())


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw z1, then z2 given it, [draws, samples, *items, 2]."""
    return quantile(params, noise.uniform(draws, samples, *uniforms(params)))


def uniforms(params: Tensor) -> tuple[int, ...]:
    """Return [*items, 2]: one uniform a variable."""
    return (*params.shape[:-1], 2)


def quantile(params: Tensor, u: Tensor) -> Tensor:
    """Return the z that the inverse CDF of z1, and of z2 given z1, give at u."""
    return _chain(unpack(params), (2 * u - 1).erfinv_().mul_(math.sqrt(2)))


def standardized(params: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the noise behind z: (z1 - m1) / s1 and (z2 - a z1 - b) / s2, each [..., *items]."""
    chain = unpack(params)
    first = (z[..., 0] - chain.mean) / chain.first_scale
    second = (z[..., 1] - chain.slope * z[..., 0] - chain.start) / chain.second_scale
    return first, second


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z1) + log q(z2 | z1)."""
    first, second = standardized(params, z)
    quadratic = 0.5 * (first.square() + second.square())
    return -quadratic - params[..., 1] - params[..., 4] - math.log(2 * math.pi)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d (m1, log s1, a, b, log s2), [..., 5], with e1 and e2 the noise behind z.

    It is (e1 / s1, e1^2 - 1, e2 z1 / s2, e2 / s2, e2^2 - 1).
    """
    chain = unpack(params)
    first, second = standardized(params, z)
    by_start = second / chain.second_scale
    return _stacked(
        first / chain.first_scale,
        first.square() - 1,
        by_start * z[..., 0],
        by_start,
        second.square() - 1,
    )


def mean(params: Tensor) -> Tensor:
    """Return (m1, a m1 + b)."""
    chain = unpack(params)
    return torch.stack((chain.mean, chain.slope * chain.mean + chain.start), -1)


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return z with its exact derivative; ``temperature`` plays no part.

    z1 moves z2 by a, so a slope (g1, g2) reaches z1 as g1 + a g2.
    """
    del temperature
    chain = unpack(params)
    eps = noise.normal(draws, samples, *uniforms(params))
    z = _chain(chain, eps)

    def vjp(slope: Tensor) -> Tensor:
        second = slope[..., 1]
        first = slope[..., 0] + chain.slope * second
        return _stacked(
            first,
            first * chain.first_scale * eps[..., 0],
            second * z[..., 0],
            second,
            second * chain.second_scale * eps[..., 1],
        )

    return Path(z, z, vjp)


def _chain(chain: Chain, eps: Tensor) -> Tensor:
    """Return (z1, z2) of standard normal numbers [..., 2]."""
    first = chain.mean + chain.first_scale * eps[..., 0]
    second = chain.slope * first + chain.start + chain.second_scale * eps[..., 1]
    return _stacked(first, second)


def _stacked(*columns: Tensor) -> Tensor:
    """Stack [draws, ...] along a new last axis, draws-last memory kept."""
    return draws_first(torch.stack([draws_last(column) for column in columns], -2))


GAUSSIAN_CHAIN = Family(
    name="gaussian_chain",
    params_axes=1,
    event_axes=1,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=True,
    uniforms=uniforms,
    quantile=quantile,
)
