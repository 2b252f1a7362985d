"""Independent Dirichlets: params ``[*items, d, K]`` are LOG concentrations, z on the simplex.

z ``[..., d, K]`` has density proportional to prod_k z_k^(a_k - 1). Entries below the smallest
normal number of the dtype are raised to it, with chance 10^(-38 a_k) in float32 and 10^(-308 a_k)
in float64. A score function at such a z is that of another z, and so BIASED: by 30 % in float32 at
concentrations of 0.02. In float32 it wants concentrations above 0.2. The implicit derivative moves
such an entry by next to nothing and has no such bias.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.families._concentrations import implicit_rate, log_standard_gamma
from benchbed.families.categorical import softmax_vjp
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw g / sum g with g_k ~ Gamma(a_k, 1), [draws, samples, *items, d, K]."""
    return _normalized(log_standard_gamma(params.exp(), draws, samples, noise))


def _normalized(logs: Tensor) -> Tensor:
    z = draws_last(logs).softmax(-2)
    return draws_first(z.clamp_(min=torch.finfo(z.dtype).tiny))


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables."""
    a = params.exp()
    weight = a.sum(-1).lgamma() - a.lgamma().sum(-1)
    return (((a - 1) * z.log()).sum(-1) + weight).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d log a_k = a_k (log z_k - digamma(a_k) + digamma(sum a))."""
    a = params.exp()
    return a * (z.log() - a.digamma() + a.sum(-1, keepdim=True).digamma())


def mean(params: Tensor) -> Tensor:
    """Return a / sum a."""
    return params.softmax(-1)


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return (diag(m) - m m^T) slope: the mean is the softmax of the log concentrations."""
    return softmax_vjp(mean.expand_as(slope), slope)


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return z with its implicit derivative; ``temperature`` plays no part.

    Figurnov, Mohamed and Mnih 2018 (arXiv 1805.08498). Raising a_k moves z_k along its own
    (beta) quantile and scales the other entries alike: with D_k = dz_k/da_k / (1 - z_k),
    dz/da_k = D_k (e_k - z). Beyond concentrations of 300 its gamma moves instead, in the same
    direction (``implicit_rate``).
    """
    del temperature
    logs = log_standard_gamma(params.exp(), draws, samples, noise)
    z = _normalized(logs)

    def vjp(slope: Tensor) -> Tensor:
        inner, pulled = draws_last(z), draws_last(slope)  # [samples, *items, d, K, n]
        a = params.double().exp()[..., None]
        rate = implicit_rate(inner, draws_last(logs), a, a.sum(-2, keepdim=True))
        centred = pulled - (inner * pulled).sum(-2, keepdim=True)
        return draws_first(a.to(z.dtype) * rate * centred)

    return Path(z, z, vjp)


DIRICHLET = Family(
    name="dirichlet",
    params_axes=2,
    event_axes=2,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=True,
    mean_vjp=mean_vjp,
)
