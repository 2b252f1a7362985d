"""Latents between latents, or between label and data: the facts of rows S33 and S35.

The laws of priors.py, and the two small models of the objectives, by numpy over every value.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, softmax, xlogy
from scipy.stats import multivariate_normal, norm

from benchbed.facts.fact import Fact
from benchbed.objectives import conditional_prior as conditional
from benchbed.objectives import hierarchical_prior as hierarchical
from benchbed.objectives._prior_model import Decoder

Array = NDArray[np.float64]
LEVELS_PLACE, LABEL_PLACE = "S section 3, hierarchical prior", "S section 3, conditional prior"
_ROWS = np.random.default_rng(33)
FIRST: Array = softmax(_ROWS.normal(size=(5, 3)), 1)  # q(z1 | x) of five x
SECOND: Array = softmax(_ROWS.normal(size=(5, 3, 4)), 2)  # q(z2 | x, z1)
PRIOR: Array = softmax(_ROWS.normal(size=3))  # p(z1)
BELOW: Array = softmax(_ROWS.normal(size=(3, 4)), 1)  # p(z2 | z1)
POPULATION: Array = softmax(_ROWS.normal(size=(6, 3)))  # pop(x, y)
EMISSION: Array = softmax(_ROWS.normal(size=(4, 6)), 1)  # p(x | z), beside p(z | y) = BELOW


def likelihood(decoder: Decoder, inputs: Array, item: int) -> float:
    """Return log p(x | z) of one data point, pixel by pixel."""
    logits = decoder.matrix.numpy() @ inputs + decoder.start.numpy()
    signs = 2 * decoder.x[item].numpy() - 1
    return float(-np.log1p(np.exp(-signs * logits)).sum())


def _chain_kl() -> Array:
    """Return KL(q(z1, z2 | x) || p(z1, z2)) of every x, over all pairs."""
    q = FIRST[:, :, None] * SECOND
    return np.asarray(xlogy(q, q / (PRIOR[:, None] * BELOW)).sum((1, 2)))


def _link_by_link() -> Array:
    first = xlogy(FIRST, FIRST / PRIOR).sum(1)
    second = xlogy(SECOND, SECOND / BELOW).sum(2)  # of every z1
    return np.asarray(first + (FIRST * second).sum(1))


def _levels_value(distance: float) -> float:
    found = hierarchical.hierarchical_prior(first=2, second=4, distance=distance, seed=6)
    return float(found.exact_value())


def _levels_logs(distance: float) -> tuple[Array, Array]:
    """Return log p(z1, z2, x) and log q(z1, z2 | x) of every pair, [items, 2, 4] each."""
    levels = hierarchical.levels_model(3, 2, 4, 6)
    first, second = levels.first.numpy(), levels.second.numpy()
    rows = hierarchical.hierarchical_prior(first=2, second=4, distance=distance, seed=6).params
    joint, log_q = np.zeros((3, 2, 4)), np.zeros((3, 2, 4))
    for item, row in enumerate(rows.numpy()):
        start, moves = log_softmax(row[:2]), log_softmax(row[2:].reshape(2, 4), 1)
        for i, j in itertools.product(range(2), range(4)):
            inputs = np.concatenate((np.eye(2)[i], np.eye(4)[j]))
            joint[item, i, j] = first[i] + second[i, j] + likelihood(levels.decoder, inputs, item)
            log_q[item, i, j] = start[i] + moves[i, j]
    return joint, log_q


def _levels_evidence() -> float:
    return float(logsumexp(_levels_logs(0.0)[0], axis=(1, 2)).mean())


def _levels_gap(distance: float) -> float:
    """Return E KL(q(z1, z2 | x) || p(z1, z2 | x))."""
    joint, log_q = _levels_logs(distance)
    posterior = joint - logsumexp(joint, axis=(1, 2), keepdims=True)
    return float((np.exp(log_q) * (log_q - posterior)).sum((1, 2)).mean())


def _gaussian_value(distance: float) -> float:
    found = hierarchical.hierarchical_prior("normal", distance=distance, seed=7)
    return float(found.exact_value())


def _quadrature() -> float:
    """Return the linear Gaussian negative bound by 12 x 12 Gauss-Hermite nodes, from densities."""
    model = hierarchical.gaussian_model(3, 7)
    params = hierarchical.hierarchical_prior("normal", items=3, distance=1.5, seed=7).params
    nodes, mass = hermegauss(12)
    one, two = (grid.ravel() for grid in np.meshgrid(nodes, nodes, indexing="ij"))
    weight = np.outer(mass, mass).ravel() / mass.sum() ** 2
    total = 0.0
    for x, (m1, r1, a, b, r2) in zip(model.x.numpy(), params.numpy(), strict=True):
        z1 = m1 + math.exp(r1) * one
        z2 = a * z1 + b + math.exp(r2) * two
        log_q = norm.logpdf(z1, m1, math.exp(r1)) + norm.logpdf(z2, a * z1 + b, math.exp(r2))
        mean = np.outer(z1, model.weights[0]) + np.outer(z2, model.weights[1])
        log_p = norm.logpdf(z1) + norm.logpdf(z2, model.alpha * z1)
        log_p = log_p + norm.logpdf(x, mean + model.start.numpy()).sum(1)
        total += float(weight @ (log_q - log_p))
    return total / 3


def _gaussian_evidence() -> float:
    """Return E log p(x): x is normal, with the covariance of w1 z1 + w2 z2 and of its noise."""
    model = hierarchical.gaussian_model(3, 7)
    root = np.array([[1, 0], [model.alpha, 1]])  # z = root @ noise
    spread = root.T @ model.weights.numpy()
    law = multivariate_normal(model.start.numpy(), spread.T @ spread + np.eye(5))
    return float(law.logpdf(model.x.numpy()).mean())


def _paths(seed: int) -> tuple[Array, Array, Array]:
    """Return log p(z, x | y), log q(z) and p(z | x, y) of every path [pairs, 27], three steps."""
    pairs = conditional.pairs_of("chain", 4, 2, 3, 3, seed)
    params = conditional.conditional_prior("chain", seed=seed).params.numpy()
    joint, log_q = np.zeros((4, 27)), np.zeros((4, 27))
    for item in range(4):
        start = log_softmax(params[item, :3])
        moves = log_softmax(params[item, 3:].reshape(2, 3, 3), -1)
        for n, (i, j, k) in enumerate(itertools.product(range(3), repeat=3)):
            log_q[item, n] = start[i] + moves[0, i, j] + moves[1, j, k]
            prior = pairs.moves[item].numpy()
            joint[item, n] = pairs.prior[item, 0].numpy()[i] + prior[0, i, j] + prior[1, j, k]
            for step, state in enumerate((i, j, k)):
                part = pairs.decoder._replace(x=pairs.decoder.x[:, step])
                joint[item, n] += likelihood(part, np.eye(3)[state], item)
    return joint, log_q, softmax(joint, 1)


def _evidence_given_label(seed: int) -> float:
    return float(logsumexp(_paths(seed)[0], axis=1).mean())


def _bound_given_label(seed: int, distance: float = 1.0) -> float:
    found = conditional.conditional_prior("chain", distance=distance, seed=seed)
    return -float(found.exact_value())


def _to_the_posterior(seed: int) -> float:
    _, log_q, posterior = _paths(seed)
    return float((np.exp(log_q) * (log_q - np.log(posterior))).sum(1).mean())


def _likelihood_given_label() -> Array:
    return np.asarray((BELOW @ EMISSION).T)  # p(x | y), [x, y]


def _joint_divergence() -> float:
    model = _likelihood_given_label() * POPULATION.sum(0)
    return float(xlogy(POPULATION, POPULATION / model).sum())


def _by_conditionals() -> float:
    entropy = (
        xlogy(POPULATION.sum(0), POPULATION.sum(0)).sum() - xlogy(POPULATION, POPULATION).sum()
    )
    return float(-entropy - xlogy(POPULATION, _likelihood_given_label()).sum())


HIERARCHIES: tuple[Fact, ...] = (
    Fact(
        "S33",
        "the chain rule of a hierarchical prior",
        "KL(q(z1, z2 | x) || p) = KL(q(z1 | x) || p(z1)) + E KL(q(z2 | x, z1) || p(z2 | z1))",
        LEVELS_PLACE,
        _chain_kl,
        _link_by_link,
    ),
    Fact(
        "S33",
        "two levels at the posterior",
        "at q = p(z1, z2 | x) the bound of hierarchical_prior is E log p(x)",
        LEVELS_PLACE,
        lambda: -_levels_value(0.0),
        _levels_evidence,
    ),
    Fact(
        "S33",
        "two levels away from the posterior",
        "E log p(x) - ELBO = E KL(q(z1, z2 | x) || p(z1, z2 | x))",
        LEVELS_PLACE,
        lambda: _levels_evidence() + _levels_value(1.5),
        lambda: _levels_gap(1.5),
    ),
    Fact(
        "S33",
        "two Gaussian levels in closed form",
        "the bound as a quadratic form of m1, s1, a, b and s2 is its Gauss-Hermite sum",
        LEVELS_PLACE,
        lambda: _gaussian_value(1.5),
        _quadrature,
    ),
    Fact(
        "S33",
        "two Gaussian levels at the posterior",
        "at the chain of two normals that is p(z1, z2 | x) the bound is E log p(x)",
        LEVELS_PLACE,
        lambda: -_gaussian_value(0.0),
        _gaussian_evidence,
    ),
    Fact(
        "S35",
        "what a conditional bound leaves",
        "E log p(x | y) - bound = E KL(q(z | x, y) || p(z | x, y))",
        LABEL_PLACE,
        lambda: _evidence_given_label(2) - _bound_given_label(2),
        lambda: _to_the_posterior(2),
    ),
    Fact(
        "S35",
        "a conditional chain at the posterior",
        "at the backward recursion's chain p(z | x, y) the bound is E log p(x | y), by all paths",
        LABEL_PLACE,
        lambda: [_bound_given_label(seed, 0.0) for seed in range(3)],
        lambda: [_evidence_given_label(seed) for seed in range(3)],
    ),
    Fact(
        "S35",
        "why the conditional likelihood",
        "KL(pop(x, y) || p(x, y)) = -H_pop(X | Y) - E log p(x | y), where p(y) = pop(y)",
        LABEL_PLACE,
        _joint_divergence,
        _by_conditionals,
    ),
)
