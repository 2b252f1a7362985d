"""Gradients of an expectation: rows S43, S44, S45, S46 and S48.

The relaxed estimators, G4, S49 and S4A, are in facts/relaxations.py.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import expit, roots_hermitenorm

from benchbed.estimators.constant_baseline import constant_baseline
from benchbed.estimators.exact import exact
from benchbed.estimators.leave_one_out import leave_one_out
from benchbed.estimators.score_function import score_function
from benchbed.estimators.straight_through import straight_through
from benchbed.facts import _on_tables as toys
from benchbed.facts._on_tables import Array
from benchbed.facts.fact import Fact
from benchbed.families import CATEGORICAL, NORMAL

GROWTH, MEAN, SCALE = 0.8, 0.3, 0.6  # of E[exp(k z)], z ~ N(mean, scale^2)


def _normal_score_mean() -> Array:
    """Return E[exp(k z) d log q / d (mean, log scale)] by Gauss-Hermite, the score the family's."""
    nodes, weights = roots_hermitenorm(60)
    params = torch.tensor([[MEAN], [math.log(SCALE)]], dtype=torch.float64)
    z = MEAN + SCALE * nodes
    score = NORMAL.score(params, torch.from_numpy(z).reshape(-1, 1, 1)).numpy()[:, 0, :, 0]
    return np.asarray((weights / weights.sum() * np.exp(GROWTH * z)) @ score)


def _normal_by_hand() -> Array:
    value = math.exp(GROWTH * MEAN + 0.5 * (GROWTH * SCALE) ** 2)
    return np.array([GROWTH, (GROWTH * SCALE) ** 2]) * value


def _fisher() -> Array:
    """Return E[score score^T] of the first variable, the family's own score and law."""
    params = torch.from_numpy(toys.LOGITS[:1].copy())
    assert CATEGORICAL.enumerate is not None
    z = CATEGORICAL.enumerate(params, torch.arange(3))
    score = CATEGORICAL.score(params, z)[:, 0].numpy()
    chance = CATEGORICAL.log_prob(params, z).exp().numpy()
    return np.asarray(np.einsum("n,ni,nj->ij", chance, score, score))


def _minus_mean_curvature() -> Array:
    """Return -E[d^2 log p(z) / d theta^2]: every entry of a score by an imaginary step."""
    logits = toys.LOGITS[0]
    chance = toys.shares(logits.astype(np.complex128)).real
    total = np.zeros((3, 3))
    for z in range(3):
        for i in range(3):

            def score(theta: toys.Complex, z: int = z, i: int = i) -> complex:
                return complex((i == z) - np.exp(theta[i]) / np.exp(theta).sum())

            total[i] -= chance[z] * toys.derivative(score, logits)
    return total


def _spread_of_one_hots() -> Array:
    """Return diag(pi) - pi pi^T."""
    pi = toys.shares(toys.LOGITS[0].astype(np.complex128)).real
    return np.asarray(np.diag(pi) - np.outer(pi, pi))


def _mean_threshold(logit: float) -> float:
    """Return E_eps[J(STEP(p - eps))], eps uniform, by quadrature on both sides of the threshold."""
    p = float(expit(logit))

    def cost(eps: float) -> float:
        return 1.7 if p - eps >= 0 else -0.4

    return float(quad(cost, 0, p)[0] + quad(cost, p, 1)[0])


def _quotient(logit: float) -> float:
    """Return its derivative by Richardson's extrapolation of central differences."""
    steps = (0.08, 0.04, 0.02, 0.01)
    rule = [(_mean_threshold(logit + h) - _mean_threshold(logit - h)) / (2 * h) for h in steps]
    for power in (4, 16, 64):
        rule = [(power * fine - coarse) / (power - 1) for coarse, fine in pairwise(rule)]
    return rule[0]


def _sizes(categories: int) -> list[torch.Tensor]:
    """Return logits of 1 to 6 variables."""
    shapes = [(d,) if categories == 2 else (d, categories) for d in range(1, 7)]
    return [torch.zeros(shape, dtype=torch.float64) for shape in shapes]


FACTS: tuple[Fact, ...] = (
    Fact(
        row="S43",
        name="direct marginalization",
        statement="d/dtheta sum_z p(z) J(z) = sum_z J(z) d p(z)/d theta",
        place="S section 4, direct marginalization",
        left=lambda: toys.derivative(toys.table_mean, toys.LOGITS),
        right=lambda: toys.mean_of(toys.table_problem(), exact()),
    ),
    Fact(
        row="S43",
        name="marginalization and the score's integrand",
        statement="sum_z J(z) d p(z)/d theta = E[J(z) d log p(z)/d theta]",
        place="S section 4, score function estimator",
        left=lambda: toys.derivative(toys.table_mean, toys.LOGITS),
        right=lambda: toys.controlled(0.0),
    ),
    Fact(
        row="S44",
        name="mean of the score-function estimator",
        statement="E[J(z) d log p(z)/d theta] = d/dtheta E[J(z)], z two categories of three",
        place="S section 4, score function estimator",
        left=lambda: toys.mean_of(toys.table_problem(), score_function(samples=3)),
        right=lambda: toys.derivative(toys.table_mean, toys.LOGITS),
    ),
    Fact(
        row="S44",
        name="the score function of a normal law",
        statement="E[exp(k z) d log q/d (mu, log sigma)] = d exp(k mu + k^2 sigma^2 / 2)",
        place="S section 4, score function estimator",
        left=_normal_score_mean,
        right=_normal_by_hand,
    ),
    Fact(
        row="S44",
        name="the score's variance is the curvature",
        statement="E[score score^T] = -E[d^2 log p/d theta^2] = diag(pi) - pi pi^T",
        place="S section 4, score function estimator",
        left=lambda: [_fisher()] * 2,
        right=lambda: [_minus_mean_curvature(), _spread_of_one_hots()],
    ),
    Fact(
        row="S45",
        name="a control variate leaves the mean",
        statement="E[(J - c) d log p/d theta] = E[J d log p/d theta] for every constant c",
        place="S section 4, below the three estimators",
        left=lambda: [toys.controlled(c) for c in (-2.0, 0.5, 10.0)],
        right=lambda: [toys.mean_of(toys.table_problem(), score_function())] * 3,
    ),
    Fact(
        row="S45",
        name="what the best coefficient leaves",
        statement="min_c Var((J - c) S) = Var(J S) - Cov(J S, S)^2 / Var(S), c = E[J S^2]/E[S^2]",
        place="S section 4, below the three estimators",
        left=lambda: toys.variance_of(
            toys.table_problem(),
            toys.tuned(
                toys.table_problem(), constant_baseline(1, "optimal_per_coordinate", "exact")
            ),
        ),
        right=toys.left_over,
    ),
    Fact(
        row="S45",
        name="a second sample as the baseline",
        statement="E[(J(z) - J(z')) (S(z) - S(z'))] / 2 = d/dtheta E[J], z and z' independent",
        place="S section 4, below the three estimators",
        left=toys.pair_by_hand,
        right=lambda: toys.mean_of(toys.table_problem(), leave_one_out(samples=2)),
    ),
    Fact(
        row="S46",
        name="the direct term",
        statement="d/dtheta E[J(theta, z)] = E[J d log p/d theta] + E[dJ/dtheta at fixed z]",
        place="S section 4, footnote 4",
        left=lambda: toys.derivative(toys.knowing_mean, toys.LOGITS),
        right=toys.direct_and_score,
    ),
    Fact(
        row="S46",
        name="estimators add the direct term",
        statement="score_function on a cost that knows theta has the mean d/dtheta E[J(theta, z)]",
        place="S section 4, footnote 4",
        left=lambda: toys.mean_of(toys.table_problem(knowing=True), score_function()),
        right=lambda: toys.derivative(toys.knowing_mean, toys.LOGITS),
    ),
    Fact(
        row="S48",
        name="straight-through on a multilinear cost",
        statement="E[dJ/dz] dp/dtheta = d/dtheta E[J(z)] where J is affine in each bit",
        place="S section 4.1, Bernoulli variable",
        left=lambda: toys.mean_of(toys.bits_problem(0.0), straight_through()),
        right=lambda: toys.derivative(lambda x: toys.bits_mean(x, 0.0), toys.BITS),
    ),
    Fact(
        row="S48",
        name="mean of straight-through",
        statement="the estimator's mean is E[dJ/dz] dp/dtheta, J with cubes of the bits",
        place="S section 4.1, Bernoulli variable",
        left=lambda: toys.mean_of(toys.bits_problem(toys.CURVE), straight_through(samples=2)),
        right=lambda: toys.mean_slope(toys.CURVE),
    ),
    Fact(
        row="S48",
        name="bias of straight-through",
        statement="J = J_1 + c sum_i z_i^3, J_1 multilinear: E[dJ/dz] dp/dtheta - d/dtheta E[J] = "
        "c (3 p - 1) p (1 - p)",
        place="S section 4.1, Bernoulli variable",
        left=lambda: (
            toys.mean_of(toys.bits_problem(toys.CURVE), straight_through())
            - toys.derivative(lambda x: toys.bits_mean(x, toys.CURVE), toys.BITS)
        ),
        right=lambda: (
            toys.CURVE * (3 * expit(toys.BITS) - 1) * expit(toys.BITS) * expit(-toys.BITS)
        ),
        bound=1e-9,
    ),
    Fact(
        row="S48",
        name="derivative of the mean of a threshold",
        statement="d/dtheta E[J(STEP(p - eps))] = (J(1) - J(0)) p (1 - p), eps uniform, p = "
        "sigmoid(theta)",
        place="S section 4.1, Bernoulli variable",
        left=lambda: [_quotient(logit) for logit in toys.BITS],
        right=lambda: 2.1 * expit(toys.BITS) * expit(-toys.BITS),
        bound=1e-8,
        slip="the derivative is printed inside the mean over eps with an equals sign; inside it is "
        "0 for almost every eps, so that mean is 0 and all of the gradient is lost at that step, "
        "not at the approximation after it",
    ),
    Fact(
        row="S48",
        name="values of z in a sum over d bits",
        statement="marginalizing evaluates J at 2^d values, d = 1 to 6",
        place="S section 4.1, Bernoulli variable, last sentence",
        left=lambda: [toys.rows_summed(x, categorical=False) for x in _sizes(2)],
        right=lambda: 2.0 ** np.arange(1, 7),
        ordered="rising",
    ),
    Fact(
        row="S48",
        name="random numbers in a sample of d bits",
        statement="a sample takes d uniforms, d = 1 to 6",
        place="S section 4.1, Bernoulli variable, last sentence",
        left=lambda: [toys.numbers_drawn(x, categorical=False) for x in _sizes(2)],
        right=lambda: np.arange(1.0, 7.0),
        ordered="rising",
    ),
)
