"""Independent gammas: params ``[*items, 2, d]`` are LOG concentration and LOG rate, z ``[..., d]``.

z > 0 has density b^a z^(a - 1) exp(-b z) / Gamma(a), mean a / b and variance a / b^2. Numbers
below the smallest normal one of the dtype are raised to it, which happens with chance 10^(-38 a)
in float32 and 10^(-308 a) in float64: in float32 the score is exact for a above 0.2 or so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.families._concentrations import standard_gamma, two_rows
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def unpack(params: Tensor) -> tuple[Tensor, Tensor]:
    """Return concentration and rate (not their logarithms), each [..., d]."""
    return params[..., 0, :].exp(), params[..., 1, :].exp()


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw g / b with g ~ Gamma(a, 1), [draws, samples, *items, d]."""
    a, b = unpack(params)
    return _positive(standard_gamma(a, draws, samples, noise).div_(b))


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables."""
    a, b = unpack(params)
    log_bz = params[..., 1, :] + z.log()
    return (a * log_bz - b * z - z.log() - a.lgamma()).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d (log a, log b) = (a (log(b z) - digamma(a)), a - b z), [..., 2, d]."""
    a, b = unpack(params)
    return two_rows(a * (params[..., 1, :] + z.log() - a.digamma()), a - b * z)


def mean(params: Tensor) -> Tensor:
    """Return a / b."""
    return (params[..., 0, :] - params[..., 1, :]).exp()


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return (m slope, -m slope): log m = log a - log b."""
    pulled = mean * slope
    return two_rows(pulled, -pulled)


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return z with its implicit derivative; ``temperature`` plays no part.

    Figurnov, Mohamed and Mnih 2018 (arXiv 1805.08498): dg/da = -(dF(g; a)/da) / q(g; a) at fixed
    F, by torch's ``_standard_gamma_grad``, an approximation that is right to 0.15 % (its mean to
    0.012 %). The rate is a scale: dz/d log b = -z.
    """
    del temperature
    a, b = unpack(params)
    g = standard_gamma(a, draws, samples, noise)
    z = _positive(g / b)

    def vjp(slope: Tensor) -> Tensor:
        inner = draws_last(g)  # [samples, *items, d, n]
        implicit = torch._standard_gamma_grad(a[..., None].expand_as(inner), inner)
        return two_rows(slope * draws_first(implicit) * (a / b), -slope * z)

    return Path(z, z, vjp)


def _positive(z: Tensor) -> Tensor:
    return z.clamp_(min=torch.finfo(z.dtype).tiny)


GAMMA = Family(
    name="gamma",
    params_axes=2,
    event_axes=1,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=True,
    mean_vjp=mean_vjp,
)
