"""Product of categoricals: params are logits ``[*items, d, K]``, z one-hot ``[..., d, K]``."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw one-hot z from one uniform a variable."""
    return quantile(params, noise.uniform(draws, samples, *uniforms(params)))


def uniforms(params: Tensor) -> tuple[int, ...]:
    """Return [*items, d]: one uniform a variable."""
    return tuple(params.shape[:-1])


def quantile(params: Tensor, u: Tensor) -> Tensor:
    """Return the one-hot z that the inverse CDF gives at u."""
    u = draws_last(u)  # [s, *items, d, n]
    if params.ndim > u.ndim:  # params of every draw
        probs = draws_last(params).softmax(-2)
        cdf = probs.cumsum(-2).cummax(-2).values[..., :-1, :]
    else:
        # Monotone also where a parallel sum rounds: a category's share is never negative.
        cdf = params.softmax(-1).cumsum(-1).cummax(-1).values[..., :-1, None]  # [*items, d, K-1, 1]
    above = (u.unsqueeze(-2) >= cdf).to(params.dtype)  # [s, *items, d, K - 1, n]
    z = torch.empty(*u.shape[:-1], params.shape[-1], u.shape[-1]).to(params)
    # Above the first k boundaries and not above the next one: category k.
    z[..., 0, :] = 1
    z[..., 1:, :] = above
    z[..., :-1, :] -= above
    return draws_first(z)


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables; extended off the corners as <z, log pi>."""
    return (z * params.log_softmax(-1)).sum((-2, -1))


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d logits = z - pi (for one-hot z)."""
    return z - params.softmax(-1)


def mean(params: Tensor) -> Tensor:
    """Return pi."""
    return params.softmax(-1)


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return (diag(m) - m m^T) slope at the (possibly relaxed) mean m."""
    return softmax_vjp(mean.expand_as(slope), slope)


def softmax_vjp(probs: Tensor, slope: Tensor) -> Tensor:
    """Return (diag(p) - p p^T) slope along the last axis, for draws-first ``probs``."""
    p, a = draws_last(probs), draws_last(slope)
    weighted = p * a
    return draws_first(weighted - p * weighted.sum(-2, keepdim=True))


def one_hot_of_largest(x: Tensor) -> Tensor:
    """Return the one-hot of the arg-max along the last axis of draws-first ``x``."""
    physical = draws_last(x)
    # x - max is 0 at the top and negative elsewhere: all in floats, which vectorize.
    hot = (physical - physical.amax(-2, keepdim=True)).sign_().add_(1)
    if float(hot.sum(dtype=torch.float64)) != hot.numel() // hot.shape[-2]:
        hot *= hot.cumsum(-2) == 1  # an exact tie: keep the first of the equals
    return draws_first(hot)


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return the Gumbel-Softmax sample softmax((params + G) / temperature) and its arg-max.

    Jang et al. 2017 (arXiv 1611.01144), equation 2; Maddison et al. 2017 (arXiv 1611.00712).
    """
    logits = noise.gumbel(draws, samples, *params.shape).add_(params)
    hard = one_hot_of_largest(logits)
    soft = draws_first(draws_last(logits).div_(temperature).softmax(-2))

    def vjp(slope: Tensor) -> Tensor:
        return softmax_vjp(soft, slope).div_(temperature)

    return Path(hard, soft, vjp)


def conditional_path(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
    """Return the Gumbel-Softmax sample drawn again given the hard sample.

    Tucker et al. 2017 (arXiv 1703.07370), appendix C: with e ~ Exp(1) and category k sampled,
    zt_k = -log e_k and zt_j = -log(e_j / pi_j + e_k). The derivative at fixed e and k is
    0 for j = k and r_j (1[j = m] - pi_m), r_j = (e_j / pi_j) / (e_j / pi_j + e_k), for j != k.
    """
    pi = params.softmax(-1)
    inner = draws_last(hard)  # [samples, *items, d, K, n]
    e = draws_last(noise.exponential(*hard.shape))
    top = (e * inner).sum(-2, keepdim=True)
    rate = (1 - inner).mul_(e / pi[..., None]).add_(top)
    soft = draws_first((rate.log().div_(-temperature)).softmax(-2))
    share = 1 - top / rate  # r_j, and 0 at the sampled category

    def vjp(slope: Tensor) -> Tensor:
        pulled = draws_last(softmax_vjp(soft, slope)) * share / temperature
        return draws_first(pulled - pi[..., None] * pulled.sum(-2, keepdim=True))

    return Path(hard, soft, vjp)


def states(params: Tensor) -> int:
    """Return K^d."""
    return int(params.shape[-1] ** params.shape[-2])


def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
    """Return the states numbered ``index`` [n] as one-hots, first variable first: [n, d, K]."""
    dimensions, categories = params.shape[-2:]
    radix = categories ** torch.arange(dimensions, device=index.device)
    digits = index[:, None] // radix % categories  # [n, d]
    return torch.nn.functional.one_hot(digits, categories).to(params.dtype)


CATEGORICAL = Family(
    name="categorical",
    params_axes=2,
    event_axes=2,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=False,
    conditional_path=conditional_path,
    states=states,
    enumerate=enumerate_states,
    mean_vjp=mean_vjp,
    uniforms=uniforms,
    quantile=quantile,
)
