"""Costs read from tables and summed over everything, in plain numpy: sides of rows S43 to S48.

Derivatives are imaginary steps, Im F(theta + i h) / h with h = 1e-20, which lose no digits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import marginalize
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
LOGITS = np.array([[0.4, -0.3, 0.1], [-0.8, 0.5, 0.2]])  # of two variables of three categories
TABLE = np.array([[1.3, -0.7, 0.4], [0.2, 2.1, -1.6], [-0.9, 0.6, 1.1]])
WEIGHTS = np.array([[0.5, -1.2, 0.8], [0.3, 0.7, -0.4]])  # of a cost that knows the logits
BITS = np.array([0.6, -1.1, 0.3])  # logits of three bits
SINGLE = np.array([0.9, -0.5, 1.4])
DOUBLE = np.array([1.2, -0.8, 0.7])  # of bits 01, 02 and 12
TRIPLE, CURVE = 1.1, 0.8
EDGES = ((0, 1), (0, 2), (1, 2))


def derivative(value: Callable[[Complex], complex], at: Array) -> Array:
    """Return the gradient of a real-analytic function by an imaginary step in every entry."""
    gradient = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(np.complex128)
        moved[index] += 1e-20j
        gradient[index] = value(moved).imag / 1e-20
    return gradient


def pairs_of_categories() -> list[tuple[int, int]]:
    """Return every value of the two variables."""
    return [(a, b) for a in range(3) for b in range(3)]


def shares(logits: Complex) -> Complex:
    """Return the softmax of every row."""
    grown = np.exp(logits)
    return np.asarray(grown / grown.sum(-1, keepdims=True))


def table_mean(logits: Complex) -> complex:
    """Return E[J] by direct marginalization."""
    p = shares(logits)
    return complex(sum(TABLE[a, b] * p[0, a] * p[1, b] for a, b in pairs_of_categories()))


def table_terms() -> tuple[Array, Array, Array]:
    """Return P(z), J(z) and the score z - pi of every z, [9], [9] and [9, 2, 3]."""
    p = shares(LOGITS.astype(np.complex128)).real
    chance = np.array([p[0, a] * p[1, b] for a, b in pairs_of_categories()])
    cost = np.array([TABLE[a, b] for a, b in pairs_of_categories()])
    score = np.array([np.eye(3)[[a, b]] - p for a, b in pairs_of_categories()])
    return chance, cost, score


def knowing_mean(logits: Complex) -> complex:
    """Return E[J] of the table plus (sum of weights * logits at z)^2: theta acts in two ways."""
    p = shares(logits)
    total = 0j
    for a, b in pairs_of_categories():
        known = WEIGHTS[0, a] * logits[0, a] + WEIGHTS[1, b] * logits[1, b]
        total += (TABLE[a, b] + known**2) * p[0, a] * p[1, b]
    return complex(total)


def table_problem(knowing: bool = False) -> Objective:
    """Return the same for the software: one-hots z, J bilinear in them."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        plain = torch.einsum(
            "...a,ab,...b->...", z[..., 0, :], torch.from_numpy(TABLE).to(z), z[..., 1, :]
        )
        if not knowing:
            return plain
        known = (z * params * torch.from_numpy(WEIGHTS).to(z)).sum((-2, -1))
        return plain + known.square()

    return Objective("table", CATEGORICAL, torch.from_numpy(LOGITS), cost, direct=knowing)


def controlled(coefficient: float) -> Array:
    """Return E[(J - c) score]."""
    chance, cost, score = table_terms()
    return np.asarray(np.einsum("n,n,nij->ij", chance, cost - coefficient, score))


def left_over() -> Array:
    """Return Var(J S) - Cov(J S, S)^2 / Var(S) of every coordinate, S the score."""
    chance, cost, score = table_terms()

    def covariance(one: Array, two: Array) -> Array:
        means = (np.einsum("n,nij->ij", chance, x) for x in (one, two))
        return np.asarray(np.einsum("n,nij->ij", chance, one * two) - math.prod(means))

    product = cost[:, None, None] * score
    return covariance(product, product) - covariance(product, score) ** 2 / covariance(score, score)


def pair_by_hand() -> Array:
    """Return E[(J - J') (S - S')] / 2 over two independent z."""
    chance, cost, score = table_terms()
    joint = np.outer(chance, chance)
    difference = cost[:, None] - cost
    scores = score[:, None] - score
    return np.asarray(np.einsum("nm,nm,nmij->ij", joint, difference, scores) / 2)


def direct_and_score() -> Array:
    """Return E[J S] + E[dJ/dtheta], the two terms of the cost that knows theta, each by hand."""
    chance, cost, score = table_terms()
    total = np.zeros((2, 3))
    for n, (a, b) in enumerate(pairs_of_categories()):
        hot = np.eye(3)[[a, b]] * WEIGHTS
        known = float((hot * LOGITS).sum())
        total += chance[n] * ((cost[n] + known**2) * score[n] + 2 * known * hot)
    return total


def bits_cost(z: Array, curve: float) -> float:
    """Return a multilinear cost of three bits, plus ``curve`` times sum_i z_i^3."""
    double = sum(w * z[i] * z[j] for w, (i, j) in zip(DOUBLE, EDGES, strict=True))
    return float(SINGLE @ z + double + TRIPLE * z.prod() + curve * (z**3).sum())


def bits_mean(logits: Complex, curve: float) -> complex:
    """Return E[J] by a sum over all corners."""
    p = 1 / (1 + np.exp(-logits))
    total = 0j
    for bits in itertools.product((0, 1), repeat=3):
        b = np.array(bits, dtype=np.float64)
        total += bits_cost(b, curve) * np.prod(np.where(b == 1, p, 1 - p))
    return complex(total)


def mean_slope(curve: float) -> Array:
    """Return E[dJ/dz] p (1 - p), the slopes by an imaginary step from every corner."""
    p = 1 / (1 + np.exp(-BITS))
    total = np.zeros(3)
    for bits in itertools.product((0, 1), repeat=3):
        b = np.array(bits, dtype=np.float64)
        chance = np.prod(np.where(b == 1, p, 1 - p))

        def along(z: Complex) -> complex:
            double = sum(w * z[i] * z[j] for w, (i, j) in zip(DOUBLE, EDGES, strict=True))
            return complex(SINGLE @ z + double + TRIPLE * z.prod() + curve * (z**3).sum())

        total += chance * derivative(along, b)
    return np.asarray(total * p * (1 - p))


def bits_problem(curve: float) -> Objective:
    """Return the same for the software."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        double = sum(
            float(w) * z[..., i] * z[..., j] for w, (i, j) in zip(DOUBLE, EDGES, strict=True)
        )
        single = (z * torch.from_numpy(SINGLE).to(z)).sum(-1)
        return single + double + TRIPLE * z.prod(-1) + curve * z.pow(3).sum(-1)

    return Objective("bits", BERNOULLI, torch.from_numpy(BITS), cost)


def mean_of(problem: Objective, estimator: Estimator) -> Array:
    """Return the exact mean of an estimator, shaped like the parameters."""
    found = exact_moments(problem, estimator)
    assert found is not None
    return found.mean.reshape(tuple(problem.params.shape))


def variance_of(problem: Objective, estimator: Estimator) -> Array:
    """Return the exact variance of one estimate."""
    found = exact_moments(problem, estimator)
    assert found is not None
    return found.variance.reshape(tuple(problem.params.shape))


def tuned(problem: Objective, estimator: Estimator) -> Estimator:
    """Return an estimator tuned by a sum over every z."""
    assert estimator.tune is not None
    return estimator.tune(problem, problem.params, Noise(0, "facts", dtype=torch.float64))


def rows_summed(params: Tensor, categorical: bool) -> int:
    """Count the values of z at which marginalizing evaluates J."""
    seen = 0

    def cost(z: Tensor, params: Tensor) -> Tensor:
        nonlocal seen
        del params
        seen += z.shape[0] * z.shape[1]
        return z.flatten(2).sum(-1)

    marginalize(
        Objective("counted", CATEGORICAL if categorical else BERNOULLI, params, cost), params
    )
    return seen


def numbers_drawn(params: Tensor, categorical: bool) -> int:
    """Count the random numbers behind one relaxed sample."""
    noise = Noise(0, "facts", dtype=torch.float64)
    (CATEGORICAL if categorical else BERNOULLI).path(params, 1, 1, 0.5, noise)
    return noise.drawn
