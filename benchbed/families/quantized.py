"""Vector quantization of a noisy encoder output: params f ``[*items, d, D]``, z ``[..., d, D]``.

x = f + scale * eps with eps ~ N(0, I); z is the nearest entry of a product (grid) codebook, taken
coordinate by coordinate, so that d vectors of D coordinates are d * D independent variables and the
code VALUE is z itself. van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv 1711.00937) take the
nearest code of a deterministic f; the gradient of E[J(z)] in f is then 0 almost everywhere. With
Gaussian noise P(code) is the mass of its Voronoi cell, an interval [l, h]:

    P = Phi(h') - Phi(l'),  d log P / d f = (phi(l') - phi(h')) / (scale P),  l' = (l - f) / scale.

The same smoothing gives a threshold (2 codes) an exact gradient. z itself has no derivative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.families._normal_cells import FAR, edge_rates, log_mass, noise_scale
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def sorted_codebook(codebook: Tensor) -> Tensor:
    """Return the codes of every coordinate in order, [1 or D, codes] float64."""
    codes = torch.as_tensor(codebook, dtype=torch.float64)
    codes = codes.reshape(1, -1) if codes.ndim == 1 else codes
    if codes.ndim != 2 or codes.shape[1] < 2 or not torch.isfinite(codes).all():
        raise BadArgument(
            f"quantized needs a codebook [codes] or [D, codes] of 2 or more finite numbers, got "
            f"shape {list(torch.as_tensor(codebook).shape)}; try torch.tensor([-1.0, 0.0, 1.0])"
        )
    codes = codes.sort(-1).values
    if not (codes.diff() > 0).all():
        raise BadArgument(
            "quantized needs codes that differ within a coordinate; leave out those given twice"
        )
    return codes


def log_masses(codes: Tensor, scale: float, params: Tensor) -> Tensor:
    """Return log P of every code of every coordinate, [*params.shape, codes]."""
    return log_mass(*_cells(codes, scale, params))


def scores(codes: Tensor, scale: float, params: Tensor) -> Tensor:
    """Return d log P / d f of every code of every coordinate, [*params.shape, codes]."""
    at_low, at_high = edge_rates(*_cells(codes, scale, params))
    return (at_low - at_high) / scale


def quantized(codebook: Tensor, scale: float) -> Family:
    """Return the family of a noisy encoder whose output is rounded to ``codebook``.

    Args:
        codebook: [codes], the same in every coordinate, or [D, codes].
        scale: standard deviation of the encoder's noise.

    Raises:
        BadArgument: fewer than two codes, equal codes, or a scale outside of 1e-6 to 1e6.
    """
    noise_scale("quantized", scale)
    codes = sorted_codebook(codebook)
    count = codes.shape[1]
    middles = (codes[:, 1:] + codes[:, :-1]) / 2  # boundaries, [1 or D, codes - 1]

    def nearest(x: Tensor) -> Tensor:
        """Return the nearest code of every coordinate of ``x`` [..., D], the layout kept."""
        values, boundaries = codes.to(x), middles.to(x)
        z = values[:, 0].expand_as(x)
        for k in range(1, count):
            z = torch.where(x > boundaries[:, k - 1], values[:, k], z)
        return z

    def numbers(z: Tensor) -> Tensor:
        """Return which code every coordinate of ``z`` is nearest to, int64."""
        boundaries = middles.to(z)
        index = torch.zeros_like(z, dtype=torch.int64)
        for k in range(count - 1):
            index += z > boundaries[:, k]
        return index

    def uniforms(params: Tensor) -> tuple[int, ...]:
        return tuple(params.shape)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        # As Noise.normal does, so that ``path`` and ``sample`` agree at the same noise.
        eps = (2 * u - 1).erfinv_().mul_(math.sqrt(2))
        return nearest(params + scale * eps)

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        return _pick(log_masses(codes, scale, params), numbers(z)).sum((-2, -1))

    def score(params: Tensor, z: Tensor) -> Tensor:
        return _pick(scores(codes, scale, params), numbers(z))

    def mean(params: Tensor) -> Tensor:
        return (log_masses(codes, scale, params).exp() * codes.to(params)).sum(-1)

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        """Return the code and, as ``soft``, the noisy encoder output x, whose Jacobian is 1."""
        del temperature
        x = noise.normal(draws, samples, *params.shape).mul_(scale).add_(params)
        return Path(nearest(x), x, lambda slope: slope)

    def states(params: Tensor) -> int:
        return int(count ** math.prod(params.shape[-2:]))

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        """Return the states numbered ``index`` [n], first coordinate first: [n, d, D]."""
        shape = params.shape[-2:]
        radix = count ** torch.arange(math.prod(shape), device=index.device)
        digits = (index[:, None] // radix % count).reshape(-1, *shape)  # [n, d, D]
        every = codes.to(params).expand(*shape, count)
        return every.expand(len(digits), *every.shape).gather(-1, digits[..., None])[..., 0]

    return Family(
        name="quantized",
        params_axes=2,
        event_axes=2,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=False,
        states=states,
        enumerate=enumerate_states,
        uniforms=uniforms,
        quantile=quantile,
        codebook=codes,
    )


def _cells(codes: Tensor, scale: float, params: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends of every cell in standard deviations, each [*params.shape, codes]."""
    middles = ((codes[:, 1:] + codes[:, :-1]) / 2).to(params)
    inner = (middles - params[..., None]) / scale  # [..., d, D, codes - 1]
    end = torch.full_like(inner[..., :1], FAR)
    return torch.cat((-end, inner), -1), torch.cat((inner, end), -1)


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Return table [..., d, D, codes] at index [..., d, D], in the draws-last layout of index.

    The table has the axes of params, with or without axes of draws and samples in front.
    """
    physical = draws_last(table) if table.ndim > index.ndim else table[..., None]
    inner = draws_last(index).unsqueeze(-2)
    physical = physical[(None,) * (inner.ndim - physical.ndim)]
    chosen = torch.take_along_dim(physical, inner, -2)
    return draws_first(chosen.squeeze(-2))
