"""Vector quantization with a codebook among the parameters, that moves the law of the codes.

params are flat, ``[*items, d * D + D * K]``: d encoder vectors f of D coordinates, then K codes of
every coordinate, C, shared by the vectors (a product codebook of K^D vectors). x = f + scale * eps,
eps ~ N(0, I), and z ``[..., d, D]`` is the NUMBER, 0 to K - 1, of the code nearest to x. Numbers
are those of the parameters, in whatever order the codes come to lie. What a code is worth is for
the cost to look up, so that its dependence on C is a direct term, as in ``extended``; but C moves
the boundaries of the cells too, b = (s_r + s_{r + 1}) / 2 between neighbours s_r in order, so the
law depends on it and has a score there. With l', h' the ends of a cell in standard deviations
around f,

    P = Phi(h') - Phi(l'),  d log P / d f   = (phi(l') - phi(h')) / (scale P),
                            d log P / d b_h = phi(h') / (scale P),  d log P / d b_l = -phi(l') / ..,

half of the last two for each neighbour. Straight-through takes the quantized vector for
f + sg(C_z - f): its path gives the gradient in the code's value to f, and nothing to C. Two equal
codes have no law: the cell of one is empty.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Family, Path
from benchbed.families._normal_cells import FAR, edge_rates, log_mass, noise_scale
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def learned_codebook(vectors: int, coordinates: int, codes: int, scale: float) -> Family:
    """Return the law of the nearest codes' numbers.

    Args:
        vectors: d.
        coordinates: D, of one vector.
        codes: K, of one coordinate.
        scale: standard deviation of the encoder's noise, from 1e-6 to 1e6.
    """
    at_least("learned_codebook", "vectors", vectors, 1)
    at_least("learned_codebook", "coordinates", coordinates, 1)
    at_least("learned_codebook", "codes", codes, 2)
    noise_scale("learned_codebook", scale)
    size = vectors * coordinates

    def parts(params: Tensor) -> tuple[Tensor, Tensor]:
        return split(params, vectors, coordinates)

    def uniforms(params: Tensor) -> tuple[int, ...]:
        return (*params.shape[:-1], size)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        f, codebook = parts(params)
        eps = (2 * u - 1).erfinv_().mul_(math.sqrt(2))
        return _nearest(torch.unflatten(eps, -1, (vectors, coordinates)).mul_(scale) + f, codebook)

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        return _pick(log_masses(*parts(params), scale), z).sum((-2, -1))

    def score(params: Tensor, z: Tensor) -> Tensor:
        """Return d log P(z) / d (f, C), [..., d * D + D * K]."""
        found = draws_last(_pick(_scores(*parts(params), scale), z, 1))  # [.., d, D, 1 + K, n]
        of_f = found[..., 0, :].flatten(-3, -2)
        of_codes = found[..., 1:, :].sum(-4).flatten(-3, -2)  # every vector moves the one codebook
        return draws_first(torch.cat((of_f, of_codes), -2))

    def mean(params: Tensor) -> Tensor:
        number = torch.arange(codes).to(params)
        return (log_masses(*parts(params), scale).exp() * number).sum(-1)

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        """Return the numbers, hard and soft, and what straight-through makes of a slope."""
        del temperature
        z = sample(params, draws, samples, noise)

        def vjp(slope: Tensor) -> Tensor:
            inner = draws_last(slope).flatten(-3, -2)  # [..., d * D, n]
            rest = inner.new_zeros(*inner.shape[:-2], coordinates * codes, inner.shape[-1])
            return draws_first(torch.cat((inner, rest), -2))

        return Path(z, z, vjp)

    def states(params: Tensor) -> int:
        del params
        return int(codes**size)

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        """Return the states numbered ``index`` [n], first coordinate first: [n, d, D]."""
        radix = codes ** torch.arange(size, device=index.device)
        digits = index[:, None] // radix % codes
        return digits.reshape(-1, vectors, coordinates).to(params.dtype)

    return Family(
        name="learned_codebook",
        params_axes=1,
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
    )


def split(params: Tensor, vectors: int, coordinates: int) -> tuple[Tensor, Tensor]:
    """Return the encoder's vectors [..., d, D] and the codebook [..., D, K] in flat params."""
    size = vectors * coordinates
    f = torch.unflatten(params[..., :size], -1, (vectors, coordinates))
    return f, torch.unflatten(params[..., size:], -1, (coordinates, -1))


def log_masses(f: Tensor, codebook: Tensor, scale: float) -> Tensor:
    """Return log P of every code of every coordinate, [..., d, D, K]."""
    _, rank, low, high = _cells(f, codebook, scale)
    found = log_mass(low, high)
    return found.gather(-1, rank.expand_as(found))


def _scores(f: Tensor, codebook: Tensor, scale: float) -> Tensor:
    """Return d log P of every code by f, then by every code, [..., d, D, K, 1 + K]."""
    order, rank, low, high = _cells(f, codebook, scale)
    down, up = (rate / scale for rate in edge_rates(low, high))  # by the ends, in units of x
    own = torch.diag_embed((up - down) / 2)
    above = torch.diag_embed(up[..., :-1] / 2, offset=1)
    below = torch.diag_embed(-down[..., 1:] / 2, offset=-1)
    table = torch.cat(((down - up).unsqueeze(-1), own + above + below), -1)  # codes in order
    codes = order.shape[-1]
    rows = rank[..., None].expand(*table.shape[:-2], codes, codes + 1)
    table = table.gather(-2, rows)
    back = torch.cat((torch.zeros_like(rank[..., :1]), rank + 1), -1)  # f stays in front
    return table.gather(-1, back[..., None, :].expand_as(table))


def _cells(f: Tensor, codebook: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the codes' order and rank [..., 1, D, K] and the ends of the cells, in their order.

    The ends are in standard deviations around f, [..., d, D, K] each.
    """
    codes, order = codebook.unsqueeze(-3).sort(-1)
    inner = ((codes[..., 1:] + codes[..., :-1]) / 2 - f[..., None]) / scale
    end = torch.full_like(inner[..., :1], FAR)
    low, high = torch.cat((-end, inner), -1), torch.cat((inner, end), -1)
    return order, order.argsort(-1), low, high


def _nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Return the number of the nearest code of every coordinate of ``x``, the layout kept."""
    codes, order = codebook.unsqueeze(-3).sort(-1)
    number, middles = order.to(x), (codes[..., 1:] + codes[..., :-1]) / 2
    z = number[..., 0].expand_as(x)
    for k in range(middles.shape[-1]):
        z = torch.where(x > middles[..., k], number[..., k + 1], z)
    return z


def _pick(table: Tensor, z: Tensor, more: int = 0) -> Tensor:
    """Return the entries of table [..., d, D, K, *more] at the numbers z, [..., d, D, *more].

    The table has the axes of params, with or without axes of draws and samples in front.
    """
    own = table.ndim == z.ndim + 1 + more
    physical = draws_last(table) if own else table[..., None]
    inner = draws_last(z).round().long()
    inner = inner[(..., *(None,) * (1 + more), slice(None))]  # [..., d, D, 1, *1, n]
    physical = physical[(None,) * (inner.ndim - physical.ndim)]
    chosen = torch.take_along_dim(physical, inner, -2 - more)
    return draws_first(chosen.squeeze(-2 - more))
