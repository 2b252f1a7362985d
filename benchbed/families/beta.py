"""Independent betas: params ``[*items, 2, d]`` are the LOGS of both concentrations, z in (0, 1).

z has density proportional to z^(a - 1) (1 - z)^(b - 1) and mean a / (a + b). z is kept between
the smallest normal number of the dtype and the largest below 1, which happens with chances near
10^(-38 a) and 10^(-7 b) in float32, 10^(-308 a) and 10^(-16 b) in float64. A score function at such
a z is that of another z, and so BIASED: by 25 % in float32 at a = 0.05. It wants a above 0.2 and b
above 0.5 in float32, b above 0.2 in float64; for a smaller b take a Dirichlet of two categories,
which keeps 1 - z as well. The implicit derivative does not use the raised z and has no such bias.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.families._concentrations import implicit_rate, log_standard_gamma, two_rows
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def unpack(params: Tensor) -> tuple[Tensor, Tensor]:
    """Return both concentrations (not their logarithms), each [..., d]."""
    return params[..., 0, :].exp(), params[..., 1, :].exp()


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw g / (g + h) with g ~ Gamma(a, 1) and h ~ Gamma(b, 1), [draws, samples, *items, d]."""
    return _inside(_logit(params, draws, samples, noise))


def _logit(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    return _difference(log_standard_gamma(params.exp(), draws, samples, noise))


def _difference(logs: Tensor) -> Tensor:
    """Return logit z = log g - log h, of logs [..., 2, d]."""
    return logs[..., 0, :] - logs[..., 1, :]


def _inside(logit: Tensor) -> Tensor:
    kind = torch.finfo(logit.dtype)
    return logit.sigmoid().clamp_(kind.tiny, 1 - kind.eps / 2)


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables."""
    a, b = unpack(params)
    weight = (a + b).lgamma() - a.lgamma() - b.lgamma()
    return ((a - 1) * z.log() + (b - 1) * torch.log1p(-z) + weight).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d (log a, log b), [..., 2, d].

    It is (a (log z - digamma(a) + digamma(a + b)), b (log(1 - z) - digamma(b) + digamma(a + b))).
    """
    a, b = unpack(params)
    total = (a + b).digamma()
    return two_rows(
        a * (z.log() - a.digamma() + total), b * (torch.log1p(-z) - b.digamma() + total)
    )


def mean(params: Tensor) -> Tensor:
    """Return a / (a + b)."""
    return (params[..., 0, :] - params[..., 1, :]).sigmoid()


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return (m (1 - m) slope, -m (1 - m) slope): logit m = log a - log b."""
    pulled = mean * (1 - mean) * slope
    return two_rows(pulled, -pulled)


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return z with its implicit derivative; ``temperature`` plays no part.

    Figurnov, Mohamed and Mnih 2018 (arXiv 1805.08498): dz/da = -(dF(z; a, b)/da) / q(z; a, b) at
    fixed F, the derivative of z's own quantile; the other concentration follows from 1 - z. Beyond
    concentrations of 300 each gamma moves along its own quantile instead (``implicit_rate``).
    """
    del temperature
    a, b = unpack(params)
    both = params.double().exp()
    logs = log_standard_gamma(params.exp(), draws, samples, noise)  # [..., 2, d]
    logit = _difference(logs)
    z = _inside(logit)

    def vjp(slope: Tensor) -> Tensor:
        # Not z and 1 - z in float32: they lose what is near 1, and the derivative there is NaN.
        wide = draws_last(logit).double()  # [samples, *items, d, n]
        one, other = _inside(wide), _inside(-wide)
        total = both.sum(-2)[..., None]
        log_g, log_h = draws_last(logs).unbind(-3)
        first = implicit_rate(one, log_g, both[..., 0, :, None], total) * other
        second = implicit_rate(other, log_h, both[..., 1, :, None], total) * one
        return two_rows(
            slope * a * draws_first(first.to(z.dtype)), -slope * b * draws_first(second.to(z.dtype))
        )

    return Path(z, z, vjp)


BETA = Family(
    name="beta",
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
