"""Product of categoricals: params are logits ``[*items, d, K]``, z one-hot ``[..., d, K]``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.elementwise import indicator, power_
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
    if torch.compiler.is_compiling():
        ends = torch.zeros_like(cdf[..., :1, :]), torch.ones_like(cdf[..., :1, :])
        low, high = torch.cat((ends[0], cdf), -2), torch.cat((cdf, ends[1]), -2)
        at = u.unsqueeze(-2)
        return draws_first(((at >= low) & (at < high)).to(params.dtype))
    # 1 where u is above a boundary, between the two ends that it is always, and never, above.
    categories = params.shape[-1]
    above = u.new_empty(*u.shape[:-1], categories + 1, u.shape[-1], dtype=params.dtype)
    above[..., 0, :], above[..., categories, :] = 1, 0
    torch.ge(u.unsqueeze(-2), cdf.to(u), out=above[..., 1:categories, :])
    return draws_first(above[..., :-1, :] - above[..., 1:, :])


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
    return softmax_vjp(mean, slope)


def softmax_vjp(probs: Tensor, slope: Tensor) -> Tensor:
    """Return (diag(p) - p p^T) slope along the last axis, for draws-first ``slope``.

    ``probs`` is draws-first as well, or one for all draws: [*items, d, K].
    """
    a = draws_last(slope)
    if probs.ndim < slope.ndim:
        return draws_first((a - probs.unsqueeze(-2) @ a).mul_(probs[..., None]))
    p = draws_last(probs)
    weighted = a * p
    return draws_first(torch.addcmul(weighted, p, weighted.sum(-2, keepdim=True), value=-1))


def one_hot_of_largest(x: Tensor) -> Tensor:
    """Return the one-hot of the arg-max along the last axis of draws-first ``x``."""
    physical = draws_last(x)
    return draws_first(_of_the_extreme(torch.ge, physical, physical.amax(-2, keepdim=True)))


def _of_the_extreme(compare: Callable[..., Tensor], x: Tensor, extreme: Tensor) -> Tensor:
    hot = indicator(compare, x, extreme)
    compiling = torch.compiler.is_compiling()
    if compiling or float(hot.sum(dtype=torch.float64)) != hot.numel() // hot.shape[-2]:
        hot = hot * indicator(torch.eq, hot.cumsum(-2), hot.new_ones(()))  # a tie: the first
    return hot


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return the Gumbel-Softmax sample softmax((params + G) / temperature) and its arg-max.

    Jang et al. 2017 (arXiv 1611.01144), equation 2; Maddison et al. 2017 (arXiv 1611.00712).
    """
    # exp(-(Gumbel + log pi)) is an exponential over pi, a race that the least wins: neither the
    # Gumbel's second log nor the softmax's exp is needed.
    race = draws_last(noise.exponential(draws, samples, *params.shape))
    race.mul_(params.softmax(-1).reciprocal()[..., None])
    least = race.amin(-2, keepdim=True)
    soft = power_(least / race, 1 / temperature)
    soft = draws_first(soft.div_(soft.sum(-2, keepdim=True)))

    def vjp(slope: Tensor) -> Tensor:
        return softmax_vjp(soft, slope).div_(temperature)

    return Path(lambda: draws_first(_of_the_extreme(torch.le, race, least)), soft, vjp)


def conditional_path(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
    """Return the Gumbel-Softmax sample drawn again given the hard sample.

    Tucker et al. 2017 (arXiv 1703.07370), appendix C: with e ~ Exp(1) and category k sampled,
    zt_k = -log e_k and zt_j = -log(e_j / pi_j + e_k). The derivative at fixed e and k is
    0 for j = k and r_j (1[j = m] - pi_m), r_j = (e_j / pi_j) / (e_j / pi_j + e_k), for j != k.
    """
    pi = params.softmax(-1)[..., None]
    inner = draws_last(hard)  # [samples, *items, d, K, n]
    e = draws_last(noise.exponential(*hard.shape))
    top = (e * inner).sum(-2, keepdim=True)
    others = (1 - inner).mul_(pi.reciprocal())  # 1 / pi_j, and 0 at the sampled category
    behind = top / e.mul_(others).add_(top)  # exp(zt_j - zt_k), 1 at the sampled category
    share = 1 - behind  # r_j
    soft = power_(behind, 1 / temperature)
    soft = draws_first(soft.div_(soft.sum(-2, keepdim=True)))

    def vjp(slope: Tensor) -> Tensor:
        pulled = draws_last(softmax_vjp(soft, slope)).mul_(share).div_(temperature)
        return draws_first(torch.addcmul(pulled, pi, pulled.sum(-2, keepdim=True), value=-1))

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
