"""Copies of estimators, each with one fault that published code has made or could make.

Each says of itself what its original says. The right ones are the catalogue's of the same names.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Family, Objective, Path, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.estimators import gumbel_rao as gumbel_rao_file
from benchbed.estimators import rebar as rebar_file
from benchbed.families.categorical import softmax_vjp
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def gumbel_rao(samples: int = 1, temperature: float = 0.5, replicates: int = 2) -> Estimator:
    """Average the relaxed sample's Jacobian over noise drawn again given the sample."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        found = objective.evaluate(z, params, slope=True)
        total = torch.zeros_like(z)
        for _ in range(replicates):  # FAULT: the conditional noise is differentiated, too
            total += family.conditional_path(params, z, temperature, noise).vjp(found.slope)
        return add_direct(mean_over_samples(total / replicates), found)

    right = gumbel_rao_file.gumbel_rao(samples, temperature, replicates)
    return replace(right, draw=draw)


def rebar(samples: int = 1, temperature: float = 0.5) -> Estimator:
    """Score function with a relaxed sample, and its conditional twin, as control variate."""
    right = rebar_file.rebar(samples, temperature=temperature)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = replace(objective.family, conditional_path=_as_if_one(objective.family))
        return right.draw(replace(objective, family=family), params, draws, noise)

    return replace(right, draw=draw)


def _as_if_one(family: Family):
    def conditional_path(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
        path = family.conditional_path(params, hard, temperature, noise)

        def vjp(slope: Tensor) -> Tensor:  # FAULT: d zt / d params is not 1 at fixed hard z
            if family.name == "bernoulli":
                return slope * path.soft * (1 - path.soft) / temperature
            return softmax_vjp(path.soft, slope) / temperature

        return Path(hard, path.soft, vjp)

    return conditional_path


def leave_one_out(samples: int = 4) -> Estimator:
    """Average score-function terms, each centred by the mean cost."""

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params)
        family = objective.family
        centred = found.cost - found.cost.mean(1, keepdim=True)  # FAULT: its own cost is in it
        score = family.score(params, z) * family.lift(centred)
        return add_direct(mean_over_samples(score), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "leave_one_out", draw, samples=samples, evaluations=samples, unbiased=True,
        finite=finite_in_z(estimate, together=samples),
    )  # fmt: skip


def disarm(samples: int = 2) -> Estimator:
    """Average antithetic pairs, each 1/2 (J(b) - J(bt)) (b - bt) times the larger probability."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        pairs = samples // 2
        u = noise.uniform(draws, pairs, *params.shape)
        b, bt = (u > torch.sigmoid(-params)).to(u), (u < params.sigmoid()).to(u)
        found = objective.evaluate(torch.cat((b, bt), 1), params)
        gap = found.cost[:, :pairs] - found.cost[:, pairs:]
        scale = 0.5 * params.sigmoid()  # FAULT: sigmoid(|params|), the larger of p and 1 - p
        return add_direct(mean_over_samples((b - bt) * gap[..., None] * scale), found)

    return Estimator(
        "disarm", draw, samples=samples, evaluations=samples, unbiased=True,
        families=frozenset({"bernoulli"}),
    )  # fmt: skip


def reinmax(samples: int = 1, temperature: float = 1.0) -> Estimator:
    """Average 2 Jac((softmax(params / temperature) + z) / 2) J' - 1/2 Jac(softmax(params)) J'."""
    from benchbed.estimators.reinmax import reinmax as right

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        found = objective.evaluate(z, params, slope=True)
        slope = mean_over_samples(found.slope)
        halfway = (family.mean(params / temperature) + z) / 2
        middle = mean_over_samples(family.mean_vjp(halfway, found.slope))
        plain = family.mean_vjp(family.mean(params), slope)
        return add_direct(2 * middle - plain, found)  # FAULT: half of the last term is wanted

    return replace(right(samples, temperature), draw=draw)


def score_function(samples: int = 1) -> Estimator:
    """Average J(z) d log q(z) / d params over samples."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        cost = objective.evaluate(z, params).cost
        return mean_over_samples(family.score(params, z) * family.lift(cost))  # FAULT: no direct

    return Estimator("score_function", draw, samples=samples, evaluations=samples, unbiased=True)


# --- Draw functions that break one promise of the contract each ------------------------------


def plain(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    """Break none: the score function of one sample."""
    return _score(objective, params, objective.family.sample(params, draws, 1, noise))


def _score(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
    found = objective.evaluate(z, params)
    weighted = objective.family.score(params, z) * objective.family.lift(found.cost)
    return add_direct(mean_over_samples(weighted), found)


def one_mean(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    return plain(objective, params, draws, noise).mean(0)


def always_float64(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    return plain(objective, params, draws, noise).double()


def own_generator(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    del noise
    u = torch.rand(draws, 1, *params.shape, dtype=params.dtype)
    return _score(objective, params, objective.family.quantile(params, u))


def own_seed(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    return plain(objective, params, draws, Noise(0, dtype=noise.dtype))


def writes(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    rows = plain(objective, params, draws, noise)
    params.add_(0.01)
    return rows


def keeps_graph(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    with torch.enable_grad():
        return plain(objective, params, draws, noise) * torch.ones(1).to(params).requires_grad_()


def batch_baseline(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    z = objective.family.sample(params, draws, 1, noise)
    found = objective.evaluate(z, params)
    centred = found.cost - found.cost.mean(0)  # its bias is 1 / draws: too small for any draws
    weighted = objective.family.score(params, z) * objective.family.lift(centred)
    return add_direct(mean_over_samples(weighted), found)


def antithetic_rows(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    u = noise.uniform((draws + 1) // 2, 1, *params.shape)
    return _score(objective, params, objective.family.quantile(params, torch.cat((u, 1 - u))))[
        :draws
    ]


def mixes_items(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    z = objective.family.sample(params, draws, 1, noise)
    found = objective.evaluate(z, params)
    cost = found.cost.flatten(2).sum(-1) if found.cost.ndim > 2 else found.cost
    weight = cost.view(*cost.shape, *(1,) * params.ndim)
    weighted = objective.family.score(params, z) * weight
    return add_direct(mean_over_samples(weighted), found)


def overflows(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    p = params.sigmoid()
    return plain(objective, params, draws, noise) * (p / (1 - p).log().exp() / p * (1 - p))


def never(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    return plain(objective, params, draws, noise) * torch.nan


def fails(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    del objective, params, draws, noise
    raise ValueError("two\nlines")


def deaf(samples: int = 1, temperature: float = 0.5) -> Estimator:
    """Take settings and use none; call J once and say three times."""
    del samples, temperature
    return Estimator("deaf", plain, evaluations=3)


# --- Code that knows nothing of benchbed -----------------------------------------------------


def reinforce(logits, cost):
    law = torch.distributions.Bernoulli(logits=logits)
    z = law.sample()
    value = cost(z)
    return value.detach() * law.log_prob(z).sum(-1) + value


def no_score_term(logits, cost):
    return cost(torch.distributions.Bernoulli(logits=logits).sample())
