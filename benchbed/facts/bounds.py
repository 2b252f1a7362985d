"""Bounds on log p(x): rows S21 to S25.

One side is benchbed's objectives; the other plain numpy over a list of every z, on the same
numbers. Inequalities are equalities of their gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import torch

from benchbed.contracts import Objective
from benchbed.enumeration import marginalize, tuples
from benchbed.facts._listed_models import (
    Listed,
    blahut,
    decomposed,
    five_forms,
    five_slopes,
    kl,
    listed,
    share_at_collapse,
)
from benchbed.facts.fact import Array, Fact, Limit
from benchbed.objectives.elbo import Form, elbo
from benchbed.objectives.prior_bound import prior_bound
from benchbed.objectives.rate_distortion import curve, rate_distortion

Settings = Mapping[str, Any]
BITS: Settings = {"latents": "bernoulli", "data": 3, "dimensions": 2, "categories": 2, "seed": 1}
WIDE: Settings = {"latents": "categorical", "data": 4, "dimensions": 2, "categories": 3, "seed": 2}
CHANNEL: Settings = {**WIDE, "data": 6, "dimensions": 1}
MULTIPLIERS = (0.3, 0.6, 1.0, 1.5)


def _forms() -> list[Objective]:
    return [elbo(form, "sampled", **BITS) for form in get_args(Form)]


def _toy(settings: Settings, **at: Any) -> tuple[Listed, Array]:
    """Return a model in a list and an encoder of it, [N, S]."""
    toy = listed(**settings)
    return toy, toy.encoder(elbo(**settings, **at).params.numpy())


def _integrands() -> Array:
    found = []
    for problem in _forms():
        z = next(tuples(problem.family, problem.params, together=1))
        found.append(problem.cost(z, problem.params)[:, 0].numpy())
    return np.array(found)


def _one_integrand() -> Array:
    """Return the mean over images of log q - log p(x, z) at every joint z, five times."""
    toy, q = _toy(BITS)
    each = np.log(q) - np.log(toy.likelihood * toy.prior_table)  # [images, S]
    order = [toy.states.index((s % 2, s // 2)) for s in range(4)]  # the first bit runs fastest
    first, second, third = each[:, order]
    return np.tile((third[:, None, None] + second[:, None] + first).ravel() / 3, (5, 1))


def _parts(settings: Settings, **at: Any) -> Array:
    """Return I(X, Z), the total correlation and the variables' KLs, as the weights single out."""
    names = ("mutual_information", "total_correlation", "dimension_wise")
    none: dict[str, Any] = dict.fromkeys(names, 0.0)
    least = elbo("dvae", "sampled", **settings, **at, **none).exact_value()
    alone = (elbo("dvae", "sampled", **settings, **at, **{**none, name: 1.0}) for name in names)
    return np.array([float(one.exact_value() - least) for one in alone])


def _collapsing() -> Array:
    found = []
    for fit in (0.25, 0.5, 1.0):
        toy, q = _toy(WIDE, fit=fit, distance=0.3)
        found.append(kl(q, toy.prior_table).mean() - kl(q.mean(0), toy.prior_table))
    return np.array(found)


def _weighted() -> Array:
    """Return beta-VAE at 4 and beta-TCVAE at 6, from tables."""
    toy, q = _toy(WIDE)
    distortion = -(q * np.log(toy.likelihood)).sum(-1).mean()
    rate = kl(q, toy.prior_table).mean()
    return np.array([distortion + 4 * rate, distortion + rate + 5 * decomposed(*_toy(WIDE))[0]])


def _weighted_objectives() -> list[float]:
    beta = elbo(
        "vae", "sampled", **WIDE, mutual_information=4, total_correlation=4, dimension_wise=4
    )
    correlation = elbo("dvae", "sampled", **WIDE, total_correlation=6)
    return [float(beta.exact_value()), float(correlation.exact_value())]


def _rate_slopes() -> Array:
    """Return the gradient of multiplier * I at the optimal encoders."""
    found = []
    for multiplier in MULTIPLIERS:
        at = torch.from_numpy(np.log(blahut(listed(**CHANNEL), multiplier)[0]))
        both = rate_distortion(multiplier, **CHANNEL).exact_gradient(at)
        found.append(both - rate_distortion(0.0, **CHANNEL).exact_gradient(at))
    return torch.stack(found).numpy()


def _distortion_slopes() -> Array:
    toy, found = listed(**CHANNEL), []
    distortion = -np.log(toy.likelihood)
    for multiplier in MULTIPLIERS:
        q = blahut(toy, multiplier)[0]
        excess = distortion - (q * distortion).sum(-1, keepdims=True)
        found.append(-q * excess / len(q))
    return np.array(found)


def _rates() -> Array:
    optimal = (blahut(listed(**CHANNEL), multiplier)[0] for multiplier in MULTIPLIERS)
    return np.array([kl(q, q.mean(0)).mean() for q in optimal])


def _free_energies() -> Array:
    found = (blahut(listed(**CHANNEL), multiplier)[1] for multiplier in MULTIPLIERS)
    return np.array([-m * np.log(z).mean() for m, z in zip(MULTIPLIERS, found, strict=True)])


def _prior_gap() -> float:
    toy = listed(**WIDE)
    apart = kl(toy.prior_table, toy.posterior).mean()
    return float(apart - np.log(toy.evidence).mean())


def _share(parts: Array) -> float:
    return float(parts[0] / parts.sum())


FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        row="S21",
        name="five forms of the ELBO, one value",
        statement="EM = entropy = VAE = DVAE = MAXENT, each from its own definition",
        place="S section 2, forms of ELBO",
        left=lambda: [float(marginalize(form, form.params)[0]) for form in _forms()],
        right=lambda: five_forms(_toy(BITS)[0], _forms()[0].params.numpy()),
    ),
    Fact(
        row="S21",
        name="five forms of the ELBO, one gradient",
        statement="d/d logits of the five, in closed form and by complex steps",
        place="S section 2, forms of ELBO",
        left=lambda: torch.stack([form.exact_gradient() for form in _forms()]).numpy(),
        right=lambda: five_slopes(_toy(BITS)[0], _forms()[0].params.numpy()),
    ),
    Fact(
        row="S21",
        name="five integrands, one function",
        statement="with every term sampled the five costs agree at each of the 64 joint z",
        place="S section 2, forms of ELBO",
        left=_integrands,
        right=_one_integrand,
    ),
    Fact(
        row="S22",
        name="the prior-sampled bound and its gap",
        statement="-E_z~p[log p(x | z)] = -log p(x) + KL(p(z) || p(z | x))",
        place="S section 2, footnote 2",
        left=lambda: float(prior_bound(**WIDE).exact_value()),
        right=_prior_gap,
    ),
    Fact(
        row="S23",
        name="the optimal prior is the aggregate",
        statement="-ELBO - (I + H(pop, p(x | z))) = KL(q_Z || p), which p = q_Z makes 0",
        place="S section 2, rate-distortion autoencoders",
        left=lambda: float(
            elbo("vae", "sampled", **WIDE).exact_value() - rate_distortion(**WIDE).exact_value()
        ),
        right=lambda: float(decomposed(*_toy(WIDE))[2]),
    ),
    Fact(
        row="S23",
        name="the optimum's cost is Blahut's free energy",
        statement="min_q m I + D = -m E log sum_z q_Z(z) p(x | z)^(1/m); it rises with m",
        place="S section 2, rate-distortion autoencoders",
        left=lambda: [
            m * point.rate + point.distortion
            for m, point in zip(MULTIPLIERS, curve(MULTIPLIERS, **CHANNEL), strict=True)
        ],
        right=_free_energies,
        ordered="rising",
    ),
    Fact(
        row="S23",
        name="the rate along the curve",
        statement="I(X, Z) at the optimum falls with the multiplier",
        place="S section 2, rate-distortion autoencoders",
        left=lambda: [point.rate for point in curve(MULTIPLIERS, **CHANNEL)],
        right=_rates,
        bound=1e-9,
        ordered="falling",
    ),
    Fact(
        row="S23",
        name="rate and distortion pull equally at the optimum",
        statement="m dI/dq = -dD/dq at the optimal q, coordinate by coordinate",
        place="S section 2, rate-distortion autoencoders",
        left=_rate_slopes,
        right=_distortion_slopes,
        bound=1e-9,
    ),
    Fact(
        row="S24",
        name="posterior collapse takes the mutual information along",
        statement="I(X, Z) = KL(q || p) - KL(q_Z || p) <= KL(q || p), for q nearer and nearer p",
        place="S section 2, footnote 3",
        left=lambda: [_parts(WIDE, fit=fit, distance=0.3)[0] for fit in (0.25, 0.5, 1.0)],
        right=_collapsing,
    ),
    Limit(
        row="S24",
        name="at the collapse a fixed share of KL(q || p) is mutual information",
        statement="logits = prior + step_n / t: I / KL(q || p) -> var(step) / mean(step^2)",
        place="S section 2, footnote 3",
        at=(16.0, 64.0, 256.0),
        left=lambda n: _share(_parts(BITS, fit=1 / n, distance=0.0)),
        right=lambda: share_at_collapse(listed(**BITS)),
        rate=1.0,
    ),
    Fact(
        row="S25",
        name="KL(q_Z || prod p) is total correlation and a part for each variable",
        statement="KL(q_Z || prod p_i) = TC(q_Z) + sum_i KL(q_Zi || p_i), and each of the three",
        place="S section 2, disentanglement",
        left=lambda: [*_parts(WIDE)[1:], _parts(WIDE)[1:].sum()],
        right=lambda: decomposed(*_toy(WIDE)),
    ),
    Fact(
        row="S25",
        name="beta-VAE and beta-TCVAE are weights on the parts",
        statement="D + 4 KL(q || p), and D + KL(q || p) + 5 TC(q_Z)",
        place="S section 2, disentanglement",
        left=_weighted_objectives,
        right=_weighted,
    ),
)
