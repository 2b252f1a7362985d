"""A relaxed sample and its twin drawn given the hard one, and J between them as control variate.

Tucker et al. 2017 (arXiv 1703.07370), section 3 and appendix C. For any c(z, params),
d E[c(z)] / dparams = E[c(zt) S] + E[d c(zt) / dparams at fixed b], so that
d c(z) - d c(zt) - c(zt) S has mean zero: REBAR takes J of the relaxed z for c, RELAX a network.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from benchbed.contracts import Family, Objective, Path
from benchbed.families import bernoulli, categorical
from benchbed.layout import mean_over_samples
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
    u = noise.uniform(*shape)
    if tied:
        tied_twins = _tied_bits if family.name == "bernoulli" else _tied_categories
        return tied_twins(params, u, temperature, explicit)
    law = bernoulli if family.name == "bernoulli" else categorical
    path = law.relaxed(params, u, temperature, explicit)
    apart = noise.child("twin", noise.drawn)
    twin = law.relaxed_given(params, path.hard, apart.uniform(*shape), temperature, explicit)
    noise.drawn += apart.drawn
    return path, twin


def relaxed_cost_control(
    objective: Objective, params: Tensor, path: Path, twin: Path, score: Tensor
) -> Tensor:
    """Return d J(h(z)) - d J(h(zt)) - J(h(zt)) S, mean zero, averaged over samples.

    Where the twin is tied, h(zt) is h(z) itself and J is evaluated there once.
    """
    at_z = objective.evaluate(path.soft, params, slope=True)
    assert at_z.slope is not None
    control = path.vjp(at_z.slope)  # at once, while the slopes are in the cache
    tied = twin.soft is path.soft
    at_zt = at_z if tied else objective.evaluate(twin.soft, params, slope=True)
    assert at_zt.slope is not None
    control.sub_(twin.vjp(at_zt.slope))
    control.addcmul_(objective.family.lift(at_zt.cost), score, value=-1)
    if at_z.direct is not None and at_zt.direct is not None and not tied:
        control = control + at_z.direct - at_zt.direct  # z and zt have one law: mean zero
    return mean_over_samples(control)


def _tied_bits(params: Tensor, u: Tensor, temperature: float, explicit: float) -> tuple[Path, Path]:
    """Return h(z) at z = params + logit u, twice: as such, and as drawn given b.

    dzt / dparams = s w / (1 - s + s w), s the probability of b and w the v, or 1 - v, at which
    zt = z: that is 1 - (1 - s) / u for b = 1 and 1 - (1 - s) / (1 - u) for b = 0.
    """
    path = bernoulli.relaxed(params, u, temperature, explicit)
    rest = bernoulli.either(path.hard, params.sigmoid(), torch.sigmoid(-params))  # 1 - s
    reach = (u - (1 - path.hard)).abs_()
    rate = rest.div_(reach).neg_().add_(1).div_(temperature).add_(explicit)
    given = Path(
        path.hard, path.soft, lambda slope: bernoulli.concrete_vjp(path.soft, slope).mul_(rate)
    )
    return path, given


def _tied_categories(
    params: Tensor, u: Tensor, temperature: float, explicit: float
) -> tuple[Path, Path]:
    """Return h(z) at z = params + Gumbel, twice: as such, and as drawn given b.

    The e at which zt = z make zt_j - zt_k what z_j - z_k is: z less its normalizer is all h sees.
    """
    path = categorical.relaxed(params, u.clone(), temperature, explicit)
    entries, first = categorical.race(params, u)
    through = categorical.given_the_hard(first / entries, params, temperature, explicit)[1]
    return path, Path(path.hard, path.soft, through)
