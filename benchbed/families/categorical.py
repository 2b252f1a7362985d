"""Product of categoricals: params are logits ``[*items, d, K]``, z one-hot ``[..., d, K]``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.elementwise import log_, power_
from benchbed.families._one_hot import of_interval, of_largest
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
        cdf = _rising(probs.cumsum(-2), -2)[..., :-1, :]
    else:
        cdf = _rising(params.softmax(-1).cumsum(-1), -1)[..., :-1, None]  # [*items, d, K-1, 1]
    return draws_first(of_interval(u, cdf))


def _rising(cdf: Tensor, axis: int) -> Tensor:
    """Return sums that nowhere fall: a GPU's, added in parallel, may, where they round."""
    return cdf if cdf.device.type == "cpu" else cdf.cummax(axis).values


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables; extended off the corners as <z, log pi>."""
    if params.ndim < z.ndim and params.dtype == z.dtype:  # one law for all draws
        log_pi = params.log_softmax(-1).flatten(-2).unsqueeze(-2)
        return draws_first((log_pi @ draws_last(z).flatten(-3, -2)).squeeze(-2))
    if params.ndim == z.ndim > 2:  # params of every draw
        return draws_first((draws_last(z) * draws_last(params).log_softmax(-2)).sum((-3, -2)))
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
    """Return (diag(p) - p p^T) slope along the last axis, for draws-first ``slope``; fresh.

    ``probs`` is draws-first as well, or one for all draws: [*items, d, K].
    """
    a = draws_last(slope)
    if probs.ndim < slope.ndim:
        return draws_first((a - probs.unsqueeze(-2) @ a).mul_(probs[..., None]))
    p = draws_last(probs)
    weighted = a * p
    return draws_first(weighted.addcmul_(p, weighted.sum(-2, keepdim=True), value=-1))


def one_hot_of_largest(x: Tensor) -> Tensor:
    """Return the one-hot of the arg-max along the last axis of draws-first ``x``."""
    physical = draws_last(x)
    return draws_first(of_largest(physical, physical.amax(-2, keepdim=True)))


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return the Gumbel-Softmax sample softmax((params + G) / temperature) and its arg-max.

    Jang et al. 2017 (arXiv 1611.01144), equation 2; Maddison et al. 2017 (arXiv 1611.00712).
    """
    return relaxed(params, noise.uniform(draws, samples, *params.shape), temperature)


def race(params: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return log(u) / pi, -exp(-(G + log pi)), draws last, and the largest of each variable.

    It wins the race of the Gumbels G, which needs neither their second log nor the softmax's exp.
    ``u`` is overwritten.
    """
    entries = log_(draws_last(u)).mul_(params.softmax(-1).reciprocal()[..., None])
    return entries, entries.amax(-2, keepdim=True)


def relaxed(params: Tensor, u: Tensor, temperature: float, explicit: float = 0.0) -> Path:
    """Return softmax((params + G) / temperature + explicit * params) and the arg-max of both.

    G = -log(-log u) [draws, samples, *items, d, K]; ``u`` is overwritten.
    """
    entries, first = race(params, u)
    soft = _softened(first / entries, params, temperature, explicit)

    def vjp(slope: Tensor) -> Tensor:
        return softmax_vjp(soft, slope).mul_(1 / temperature + explicit)

    return Path(lambda: draws_first(of_largest(entries, first)), soft, vjp)


def _softened(behind: Tensor, params: Tensor, temperature: float, explicit: float) -> Tensor:
    """Return softmax(log(behind) / temperature + explicit * params), draws first."""
    if explicit:
        relaxed_logits = log_(behind).div_(temperature).add_((explicit * params)[..., None])
        return draws_first(relaxed_logits.softmax(-2))
    weight = power_(behind, 1 / temperature)
    return draws_first(weight.div_(weight.sum(-2, keepdim=True)))


def conditional_path(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
    """Return the Gumbel-Softmax sample drawn again given the hard sample.

    Tucker et al. 2017 (arXiv 1703.07370), appendix C: with e ~ Exp(1) and category k sampled,
    zt_k = -log e_k and zt_j = -log(e_j / pi_j + e_k). The derivative at fixed e and k is
    0 for j = k and r_j (1[j = m] - pi_m), r_j = (e_j / pi_j) / (e_j / pi_j + e_k), for j != k.
    """
    return relaxed_given(params, hard, noise.uniform(*hard.shape), temperature)


def relaxed_given(
    params: Tensor, hard: Tensor, v: Tensor, temperature: float, explicit: float = 0.0
) -> Path:
    """Return the relaxed sample given the hard one with e = -log v; ``v`` is overwritten."""
    inner = draws_last(hard)  # [samples, *items, d, K, n]
    minus_e = log_(draws_last(v))
    top = (minus_e * inner).sum(-2, keepdim=True)
    total = minus_e.mul_(params.softmax(-1).reciprocal()[..., None]).add_(top)
    # exp(zt_j - zt_k), and 1 at the sampled category.
    behind = total.reciprocal_().mul_(top).clamp_min_(inner)
    return Path(hard, *given_the_hard(behind, params, temperature, explicit))


def given_the_hard(
    behind: Tensor, params: Tensor, temperature: float, explicit: float
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the relaxed sample of exp(zt_j - zt_k), which it overwrites, and its derivative."""
    pi = params.softmax(-1)[..., None]
    share = (1 - behind).div_(temperature)  # r_j / temperature
    soft = _softened(behind, params, temperature, explicit)

    def vjp(slope: Tensor) -> Tensor:
        pulled = draws_last(softmax_vjp(soft, slope))
        through = pulled * share if explicit else pulled.mul_(share)
        through.addcmul_(pi, through.sum(-2, keepdim=True), value=-1)
        return draws_first(through.add_(pulled, alpha=explicit) if explicit else through)

    return soft, vjp


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
