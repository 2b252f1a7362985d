"""Likelihoods: rows S11 and S14, by direct marginalization and by EM.

One side is benchbed's objectives; the other plain numpy over a list of every z, on the same
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchbed.facts._listed_models import (
    em_by_hand,
    kl,
    listed,
    mixture_joint,
    mixture_likelihood,
    slopes,
    tempered,
)
from benchbed.facts.fact import Array, Fact
from benchbed.objectives._discrete_model import discrete_model
from benchbed.objectives.expectation_maximization import (
    Mixture,
    expectation_maximization,
    likelihood_trace,
)
from benchbed.objectives.log_marginal import log_marginal

PRIORS: tuple[Mapping[str, Any], ...] = (
    {"latents": "categorical", "data": 4, "dimensions": 1, "categories": 4, "seed": 0},
    {"latents": "bernoulli", "data": 4, "dimensions": 3, "categories": 2, "seed": 1},
)


def _population() -> Array:
    return np.random.default_rng(11).dirichlet(np.ones(32))


def _divergence() -> list[float]:
    pop, evidence = _population(), listed(**PRIORS[1], every_image=True).evidence
    return [kl(pop, evidence), evidence.sum()]


def _cross_entropy() -> list[float]:
    pop, model = _population(), discrete_model("a fact", **PRIORS[1])
    images = torch.cartesian_prod(*[torch.arange(2.0).double()] * 5)
    every = replace(model, x=images).log_likelihood_of_all(model.states.movedim(0, -1))
    log_p = (every + model.log_priors).logsumexp(-1).numpy()
    return [-pop @ log_p + pop @ np.log(pop), 1.0]


def _evidence_slopes(settings: Mapping[str, Any]) -> Array:
    toy = listed(**settings)

    def negative(logits: Array) -> Any:
        return -np.log(toy._replace(prior=toy.factors(logits)).evidence).mean()

    at = np.log(toy.prior[:, 1] / toy.prior[:, 0]) if toy.bits else np.log(toy.prior)
    return slopes(negative, at).ravel()


def _mixture() -> tuple[Array, Array, Array]:
    """Return images [N, 5], and the flat params and the mixture of EM's objective."""
    x = discrete_model("a fact", "categorical", 4, 1, 3, 0).x.numpy()
    params = expectation_maximization().params.numpy()
    return x, params, 1 / (1 + np.exp(-params[3:].reshape(3, 5)))


def _bound_at_the_posterior() -> float:
    x, params, means = _mixture()
    mixing = np.exp(params[:3]) / np.exp(params[:3]).sum()
    posterior = mixture_joint(x, mixing, means)
    posterior /= posterior.sum(-1, keepdims=True)
    entropy = -(posterior * np.log(posterior)).sum(-1).mean()
    return float(entropy - mixture_likelihood(x, params, 3))


def _start() -> tuple[Array, Array, Array]:
    """Return 12 images and where EM starts on them."""
    rng = np.random.default_rng(7)
    x = discrete_model("a fact", "categorical", 12, 1, 3, 5).x.numpy()
    return x, rng.dirichlet(np.ones(3)), rng.uniform(0.2, 0.8, (3, 5))


def _em_trace() -> Array:
    x, mixing, means = (torch.from_numpy(given) for given in _start())
    return likelihood_trace(x, Mixture(mixing, means), 12)[0].numpy()


FACTS: tuple[Fact, ...] = (
    Fact(
        row="S11",
        name="log p(x) by enumeration and by thermodynamic integration",
        statement="log sum_z p(x, z) = int_0^1 E_t[log p(x | z)] dt, z ~ p(z) p(x | z)^t / Z_t",
        place="S section 1, direct marginalization",
        left=lambda: np.concatenate(
            [discrete_model("a fact", **toy).log_evidences.numpy() for toy in PRIORS]
        ),
        right=lambda: np.concatenate([tempered(listed(**toy)) for toy in PRIORS]),
    ),
    Fact(
        row="S11",
        name="the gradient of -log p(x) as that of an expectation",
        statement="d E_z[-p(x|z)/p(x; theta_0)] = d -log p(x; theta) at theta_0",
        place="S section 1, direct marginalization",
        left=lambda: np.concatenate(
            [log_marginal(**toy).exact_gradient().numpy().ravel() for toy in PRIORS]
        ),
        right=lambda: np.concatenate([_evidence_slopes(toy) for toy in PRIORS]),
    ),
    Fact(
        row="S11",
        name="the divergence to be lowered is a cross-entropy less a constant",
        statement="KL(pop || p_X) = H(pop, p_X) - H(pop), and sum_x p_X(x) = 1, over 32 images",
        place="S section 1, direct marginalization",
        left=_divergence,
        right=_cross_entropy,
    ),
    Fact(
        row="S14",
        name="Fisher's identity",
        statement="E_z~p(z|x;theta_0)[d -log p(x, z; theta)] = d -log p(x; theta) at theta_0",
        place="S section 1, variational optimization",
        left=lambda: expectation_maximization().exact_gradient().numpy(),
        right=lambda: slopes(lambda at: -mixture_likelihood(_mixture()[0], at, 3), _mixture()[1]),
    ),
    Fact(
        row="S14",
        name="the bound is tight at the posterior",
        statement="E_z~p(z|x)[-log p(x, z)] - H(p(z | x)) = -log p(x)",
        place="S section 1, variational optimization",
        left=lambda: float(expectation_maximization().exact_value()),
        right=_bound_at_the_posterior,
    ),
    Fact(
        row="S14",
        name="EM raises the likelihood at every step",
        statement="log p(x; theta_t) is the same by loops, and rises with t, t = 0 ... 12",
        place="S section 1, variational optimization",
        left=_em_trace,
        right=lambda: em_by_hand(*_start(), 12),
        ordered="rising",
    ),
)
