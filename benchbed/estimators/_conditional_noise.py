"""A relaxed sample and its twin drawn given the hard one, and J between them as control variate.

Tucker et al. 2017 (arXiv 1703.07370), section 3 and appendix C. For any c(z, params),
d E[c(z)] / dparams = E[c(zt) S] + E[d c(zt) / dparams at fixed b], so that
d c(z) - d c(zt) - c(zt) S has mean zero: REBAR takes J of the relaxed z for c, RELAX a network.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.contracts import Family, Objective, Path
from benchbed.families.bernoulli import quantile
from benchbed.families.categorical import one_hot_of_largest, softmax_vjp
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise

Relaxation = Literal["plain", "muprop"]


def relaxed_twins(
    family: Family,
    params: Tensor,
    draws: int,
    samples: int,
    temperature: float,
    noise: Noise,
    relaxation: Relaxation = "plain",
    tied: bool = False,
) -> tuple[Path, Path]:
    """Return h(z) with z's hard sample b, and h(zt) with zt drawn given b.

    Args:
        family: bernoulli or categorical.
        params: logits [*items, d] or [*items, d, K].
        draws: rows.
        samples: z in each row.
        temperature: of h.
        noise: z is drawn from it, zt from a stream of its own, so that z goes on sharing its
            noise with other estimators.
        relaxation: ``plain`` is sigma(z / t) or softmax(z / t); ``muprop`` adds params t / (t + 1)
            to z / t, whose derivative in params both paths then carry.
        tied: give zt the noise that makes it equal to z; its derivative still holds b, and the
            noise, fixed.
    """
    if relaxation == "plain" and not tied:
        path = family.path(params, draws, samples, temperature, noise)
        apart = noise.child("twin", noise.drawn)
        assert family.conditional_path is not None
        twin = family.conditional_path(params, path.hard, temperature, apart)
        noise.drawn += apart.drawn
        return path, twin
    explicit = temperature / (temperature + 1) if relaxation == "muprop" else 0.0
    shape = (draws, samples, *params.shape)
    bits = family.name == "bernoulli"
    first = noise.uniform(*shape) if bits else noise.gumbel(*shape)
    second = None
    if not tied:
        apart = noise.child("twin", noise.drawn)
        second = apart.uniform(*shape) if bits else apart.exponential(*shape)
        noise.drawn += apart.drawn
    twins = _bits if bits else _categories
    return twins(params, first, second, temperature, explicit)


def relaxed_cost_control(
    objective: Objective, params: Tensor, path: Path, twin: Path, score: Tensor
) -> Tensor:
    """Return d J(h(z)) - d J(h(zt)) - J(h(zt)) S, mean zero, averaged over samples.

    Where the twin is tied, h(zt) is h(z) itself and J is evaluated there once.
    """
    at_z = objective.evaluate(path.soft, params, slope=True)
    tied = twin.soft is path.soft
    at_zt = at_z if tied else objective.evaluate(twin.soft, params, slope=True)
    assert at_z.slope is not None
    assert at_zt.slope is not None
    control = path.vjp(at_z.slope) - twin.vjp(at_zt.slope)
    control = control - objective.family.lift(at_zt.cost) * score
    if at_z.direct is not None and at_zt.direct is not None and not tied:
        control = control + at_z.direct - at_zt.direct  # z and zt have one law: mean zero
    return mean_over_samples(control)


def _bits(
    params: Tensor, u: Tensor, v: Tensor | None, temperature: float, explicit: float
) -> tuple[Path, Path]:
    """Return sigma(z / t + explicit * params) at z = params + logit u, and at zt given b.

    dzt / dparams = s w / (1 - s + s w), s the probability of b and w = v or 1 - v. The tied v is
    that at which zt = z: dzt / dparams is then 1 - (1 - s) / u for b = 1 and 1 - (1 - s) / (1 - u)
    for b = 0.
    """
    hard = quantile(params, u)
    sign = 2 * hard - 1
    logistic = u.log() - u.neg().log1p_()
    z = logistic + params
    towards = params * sign
    if v is None:
        zt = z
        rate = -torch.expm1(F.logsigmoid(-towards) - F.logsigmoid(sign * logistic))
    else:
        signed = (v.log() - v.neg().log1p_()).mul_(sign)
        zt = F.softplus(signed + F.softplus(towards)).mul_(sign)
        likely = towards.sigmoid()
        weight = likely * (0.5 + sign * (v - 0.5))
        rate = weight / (1 - likely + weight)
    soft = (z / temperature + explicit * params).sigmoid_()
    soft_given = soft if v is None else (zt / temperature + explicit * params).sigmoid_()

    def vjp(slope: Tensor) -> Tensor:
        return slope * soft * (1 - soft) * (1 / temperature + explicit)

    def vjp_given(slope: Tensor) -> Tensor:
        return slope * soft_given * (1 - soft_given) * (rate / temperature + explicit)

    return Path(hard, soft, vjp), Path(hard, soft_given, vjp_given)


def _categories(
    params: Tensor, gumbel: Tensor, e: Tensor | None, temperature: float, explicit: float
) -> tuple[Path, Path]:
    """Return softmax(z / t + explicit * params) at z = params + Gumbel, and at zt given b.

    zt_k = -log e_k, zt_j = -log(e_j / pi_j + e_k); dzt_j / dparams_m = r_j (1[j = m] - pi_m) with
    r_j = 1 - exp(zt_j - zt_k), which is 0 at the sampled category k. The tied e give zt = z less
    its normalizer, which h does not see.
    """
    z = gumbel + params
    hard = one_hot_of_largest(z)
    pi = params.softmax(-1)[..., None]
    pushed = explicit * params[..., None]
    if e is None:
        zt = draws_last(z)
    else:
        inner, each = draws_last(hard), draws_last(e)
        top = (each * inner).sum(-2, keepdim=True)
        zt = -((1 - inner) * (each / pi) + top).log()
    share = -torch.expm1(zt - zt.amax(-2, keepdim=True))
    soft = draws_first((draws_last(z) / temperature + pushed).softmax(-2))
    soft_given = soft if e is None else draws_first((zt / temperature + pushed).softmax(-2))

    def vjp(slope: Tensor) -> Tensor:
        return softmax_vjp(soft, slope) * (1 / temperature + explicit)

    def vjp_given(slope: Tensor) -> Tensor:
        pulled = draws_last(softmax_vjp(soft_given, slope))
        through = pulled * share / temperature
        through = through - pi * through.sum(-2, keepdim=True)
        return draws_first(through + explicit * pulled)

    return Path(hard, soft, vjp), Path(hard, soft_given, vjp_given)
