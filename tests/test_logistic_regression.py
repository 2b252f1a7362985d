"""Bayesian logistic regression: its quadrature, its exact gradient, and estimators judged on it.

The independent side is numpy and scipy: scikit-learn's own scaler, adaptive quadrature of every
margin, scipy's densities.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED
from numpy.polynomial.hermite_e import hermegauss
from panel import blocks_of, fresh_blocks
from scipy import integrate, stats
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from benchbed.analysis.bias import predicted_power
from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Path
from benchbed.errors import BadArgument
from benchbed.families import NORMAL
from benchbed.objectives._logistic_margins import expected_logistic_loss
from benchbed.rng import Noise

TERMS = pytest.mark.parametrize("terms", ["sampled", "exact"])


def built(**settings):
    return build_objective("logistic_regression", **settings)


def noise_of(*path: str | int) -> Noise:
    return Noise(61, "logistic_regression", *path, dtype=torch.float64)


def expectation(function, mean: float, scale: float) -> float:
    """E f(m), m ~ N(mean, scale^2), by adaptive quadrature with a break where softplus turns."""
    edges = np.concatenate((np.linspace(-10, 10, 21), (np.arange(-12, 13, 2) - mean) / scale))
    edges = np.unique(edges.clip(-10, 10))

    def term(eps: float) -> float:
        return float(function(mean + scale * eps)) * math.exp(-0.5 * eps**2)

    parts = (
        integrate.quad(term, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in itertools.pairwise(edges)
    )
    return math.fsum(parts) / math.sqrt(2 * math.pi)


def by_hand(params: np.ndarray, examples: int, prior_scale: float = 1.0, power: int = 2):
    """Value and gradient in numpy; ``power`` 1 adds up sigma for sigma^2 in a margin."""
    data = load_breast_cancer()
    x = np.column_stack((StandardScaler().fit_transform(data.data), np.ones(569)))
    rows = np.linspace(0, 568, examples).astype(int)
    signed = x[rows] * np.where(data.target[rows] == 1, 1, -1)[:, None]
    mu, log_sigma = params
    sigma = np.exp(log_sigma)
    value, by_mean, by_log_scale = 0.0, np.zeros(31), np.zeros(31)
    for row in signed:
        mean, scale = float(row @ mu), math.sqrt((row**2) @ sigma**power)
        value += expectation(lambda m: np.logaddexp(0, -m), mean, scale)
        by_mean -= row * expectation(lambda m: expit(-m), mean, scale)
        bend = expectation(lambda m: expit(m) * expit(-m), mean, scale)
        by_log_scale += row**2 * sigma**power * bend * power / 2
    prior, posterior = stats.norm(0, prior_scale), stats.norm(mu, sigma)
    value += (-posterior.entropy() - prior.logpdf(0)).sum()
    value += ((mu**2 + sigma**2) / (2 * prior_scale**2)).sum()
    by_mean += mu / prior_scale**2
    by_log_scale += sigma**2 / prior_scale**2 - 1
    return value / examples, np.stack((by_mean, by_log_scale)) / examples


def divergence(params: np.ndarray, prior_scale: float = 1.0) -> float:
    """KL(q || prior) by scipy's entropies."""
    mu, sigma = params[0], np.exp(params[1])
    inside = (mu**2 + sigma**2) / (2 * prior_scale**2) - stats.norm(0, prior_scale).logpdf(0)
    return float((inside - stats.norm.entropy(mu, sigma)).sum())


# The quadrature.


def test_the_data_are_the_biopsies():
    signed = built(examples=569, training_steps=0)
    data = load_breast_cancer()
    assert data.data.shape == (569, 30)
    assert data.target_names[1] == "benign"
    value, _ = by_hand(signed.params.numpy(), 3)
    assert float(built(examples=3, training_steps=0).exact_value()) == pytest.approx(value, 1e-11)


def test_the_expected_loss_of_a_margin():
    """From narrow to wide, on both sides of the change of rule."""
    means = [-30.0, -3.0, -0.5, 0.0, 0.7, 4.0, 20.0]
    scales = [1e-3, 0.1, 0.5, 0.9, 1.0, 1.0001, 1.5, 3.0, 8.0, 30.0, 300.0]
    for mean, scale in itertools.product(means, scales):
        expected = expectation(lambda m: np.logaddexp(0, -m), mean, scale)
        at = torch.tensor([mean, scale], dtype=torch.float64)
        found = float(expected_logistic_loss(*at))
        assert abs(found - expected) < 3e-14 * (1 + abs(mean) + scale), (mean, scale)


@pytest.mark.parametrize(("scale", "nodes", "least"), [(3.0, 20, 1e-5), (10.0, 100, 1e-5)])
def test_gauss_hermite_would_not_do(scale, nodes, least):
    """The test above, shown the usual rule on wide margins; on narrow ones it is as good."""

    def error(scale: float) -> float:
        eps, weight = hermegauss(nodes)
        found = weight @ np.logaddexp(0, -(0.7 + scale * eps)) / weight.sum()
        at = torch.tensor([0.7, scale], dtype=torch.float64)
        return abs(found / float(expected_logistic_loss(*at)) - 1)

    assert error(scale) > least
    assert error(0.5) < 1e-14


def test_the_expected_loss_at_the_ends_of_float64():
    for scale in (1e-300, 1.0, 1e8):
        at = torch.tensor([0.7, scale], dtype=torch.float64, requires_grad=True)
        loss = expected_logistic_loss(at[0], at[1])
        (slope,) = torch.autograd.grad(loss, at)
        assert torch.isfinite(slope).all()
        if scale == 1e8:  # max(-m, 0): half of N(0, scale^2)'s mean size
            assert float(slope[1]) == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-7)


# The exact value and gradient.


@TERMS
def test_value_and_gradient_by_adaptive_quadrature(terms):
    objective = built(examples=4, terms=terms, training_steps=3, prior_scale=1.7, scale=0.5)
    for params in (objective.params, objective.params + 0.4 * noise_of("off").normal(2, 31)):
        value, gradient = by_hand(params.numpy(), 4, 1.7)
        if terms == "exact":
            value -= divergence(objective.params.numpy(), 1.7) / 4
        assert float(objective.exact_value(params)) == pytest.approx(value, rel=1e-11)
        found = objective.exact_gradient(params).numpy()
        assert np.abs(found - gradient).max() < 1e-11 * np.abs(gradient).max()
        faulty, slope = by_hand(params.numpy(), 4, 1.7, power=1)  # sigma for sigma^2
        assert abs(faulty - value) > 1e-3 * value
        assert np.abs(slope - gradient).max() > 1e-2 * np.abs(gradient).max()


@TERMS
def test_the_mean_of_the_cost_is_the_value(terms):
    """All but two weights held almost still: J itself, averaged over a plane of Gauss-Hermite."""
    objective = built(examples=8, terms=terms, training_steps=1)
    params = objective.params.clone()
    moving = [3, 30]
    params[1] = -30.0
    params[1, moving] = torch.tensor([-0.9, -0.4], dtype=torch.float64)
    nodes, weights = (torch.from_numpy(part) for part in hermegauss(60))
    eps = torch.zeros(3600, 31, dtype=torch.float64)
    eps[:, moving] = torch.cartesian_prod(nodes, nodes)
    weight = torch.cartesian_prod(weights, weights).prod(-1) / weights.sum() ** 2
    z = (params[0] + params[1].exp() * eps)[:, None]
    found = objective.evaluate(z, params, slope=True)
    # Of a weight at eps = 0 the sampled log q lacks E[-eps^2 / 2], and its derivative -1.
    held = 29 * (terms == "sampled")
    value = weight @ found.cost[:, 0] - 0.5 * held / 8
    assert float(objective.exact_value(params)) == pytest.approx(float(value), rel=1e-12)
    pathwise = torch.stack((found.slope[:, 0], found.slope[:, 0] * params[1].exp() * eps), 1)
    mean = torch.einsum("n,nij->ij", weight, pathwise + found.direct[:, 0])
    expected = objective.exact_gradient(params)
    for row in (0, 1):
        gap = (mean - expected)[row, moving].abs().max()
        assert gap < 1e-11 * expected[row, moving].abs().max()
    without = torch.einsum("n,nij->ij", weight, pathwise)  # no direct term
    missing = (without - expected)[1, moving].abs().max() / expected[1, moving].abs().max()
    # The slope of log q alone has mean 0; that of an exact divergence is most of the gradient.
    assert missing < 1e-12 if terms == "sampled" else missing > 0.1


def test_both_forms_of_the_divergence_have_one_mean_and_differ_by_a_known_amount():
    sampled, exact = (built(examples=8, terms=terms) for terms in ("sampled", "exact"))
    assert torch.equal(sampled.params, exact.params)
    assert torch.equal(sampled.exact_gradient(), exact.exact_gradient())
    z = NORMAL.sample(sampled.params, 50, 2, noise_of("forms"))
    at = z.numpy()
    here = divergence(sampled.params.numpy())
    moved = sampled.params + 0.2 * noise_of("moved").normal(2, 31)
    for params in (sampled.params, moved):
        mu, sigma = params[0].numpy(), params[1].exp().numpy()
        log_ratio = (stats.norm.logpdf(at, mu, sigma) - stats.norm.logpdf(at)).sum(-1)
        expected = (log_ratio - divergence(params.numpy()) + here) / 8
        found = (sampled.cost(z, params) - exact.cost(z, params)).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    assert float(sampled.exact_value() - exact.exact_value()) == pytest.approx(here / 8, rel=1e-12)


def test_the_score_multiplies_no_closed_form():
    """With the divergence's own value in J it would be noise: no better than sampled."""
    method, spread = build_estimator("score_function"), {}
    for terms in ("sampled", "exact"):
        problem = built(terms=terms)
        rows = method.draw(problem, problem.params, 4096, noise_of("level"))
        spread[terms] = float(rows.flatten(1).var(0).sum())
    assert spread["exact"] < 0.6 * spread["sampled"]


def test_training_lowers_the_bound():
    values = [float(built(training_steps=steps).exact_value()) for steps in (0, 5, 20, 200)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 3 * values[-1]
    near, far = (built(training_steps=steps).exact_gradient().norm() for steps in (200, 0))
    assert near < 1e-3 * far


def test_the_seed_moves_the_start_and_nothing_else():
    one, other, again = (built(training_steps=0, examples=4, seed=seed) for seed in (0, 1, 0))
    assert torch.equal(one.params, again.params)
    assert not torch.equal(one.params[0], other.params[0])
    assert torch.equal(one.exact_value(other.params), other.exact_value())


# Estimators, judged at a point where a shrink of 5 % shows in few draws.

ESTIMATORS = {
    "reparameterization": ({}, 16_384),
    "score_function": ({"samples": 8}, 131_072),
    "leave_one_out": ({"samples": 4}, 32_768),
    "constant_baseline": ({"kind": "optimal"}, 65_536),
    "delta_control_variate": ({"pilot": 400}, 32_768),
    "measure_valued": ({}, 16_384),
    "antithetic_score_function": ({"samples": 2}, 65_536),
}


def tuned(name: str, problem):
    method = build_estimator(name, **ESTIMATORS[name][0])
    return (
        method.tune(problem, problem.params.float(), Noise(31, "tune")) if method.tune else method
    )


def verdicts(problem, methods, draws):
    cells = {name: blocks_of(problem, methods[name], draws[name], SEED) for name in methods}

    def again(name: str):
        return fresh_blocks(problem, methods[name], draws[name], SEED)

    return {name: found.outcome for name, found in judge(cells, again).items()}


@TERMS
def test_estimators_are_unbiased(terms):
    problem = built(examples=32, terms=terms, training_steps=0)
    methods = {name: tuned(name, problem) for name in ESTIMATORS}
    draws = {name: count for name, (_, count) in ESTIMATORS.items()}
    assert set(verdicts(problem, methods, draws).values()) == {"unbiased"}


def test_planted_faults_are_seen():
    """Sigma for sigma^2 in the exact value, the same in dz/d log sigma, and no direct term."""
    problem = built(examples=32, terms="exact", training_steps=0)
    whole = tuned("reparameterization", problem)

    def squared(params, draws, samples, temperature, noise):
        path = NORMAL.path(params, draws, samples, temperature, noise)

        def vjp(slope):
            rows = path.vjp(slope).clone()
            rows[..., 1, :] *= params[1].exp()
            return rows

        return Path(path.hard, path.soft, vjp)

    def shrunk(*given):
        return (1 - SHRINK) * whole.draw(*given)

    wrong_path = replace(problem, family=replace(NORMAL, path=squared))
    _, wrong = by_hand(problem.params.numpy(), 32, power=1)
    wrong_exact = replace(problem, gradient=lambda _: torch.from_numpy(wrong))
    forgetful = replace(problem, direct=False)
    cases = {
        "path": (wrong_path, whole, 8_192),
        "exact": (wrong_exact, whole, 8_192),
        "direct": (forgetful, whole, 8_192),
        "shrink": (problem, replace(whole, draw=shrunk), 16_384),
    }
    power = predicted_power(blocks_of(problem, cases["shrink"][1], 16_384, SEED), SHRINK, 0.1)
    assert power >= 0.99
    for name, (objective, method, draws) in cases.items():
        found = verdicts(objective, {name: method}, {name: draws})
        assert found == {name: "biased"}, name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"examples": 0}, "examples >= 1, got 0"),
        ({"examples": 570}, "has 569 examples, got 570; use 569 for all"),
        ({"examples": 4.5}, "whole examples"),
        ({"terms": "closed"}, "terms: sampled or exact, got 'closed'"),
        ({"training_steps": -1}, "training_steps >= 0"),
        ({"scale": 0.0}, "scale > 0, got 0.0; it is a standard deviation"),
        ({"prior_scale": -2.0}, "prior_scale > 0, got -2.0"),
        ({"scale": math.inf}, "scale: a finite number"),
        ({"scale": 1e-300}, "a scale from 1e-06 to 1e+06, got 1e-300"),
        ({"scale": 1e300}, "a scale from 1e-06 to 1e+06"),
        ({"prior_scale": 1e-200}, "a prior_scale from 1e-06 to 1e+06"),
        ({"prior_scale": 1e200}, "a prior_scale from 1e-06 to 1e+06"),
        ({"seed": -1}, "seed >= 0"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(BadArgument) as caught:
        built(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
