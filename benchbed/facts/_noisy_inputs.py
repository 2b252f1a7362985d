"""STEP and SNAP of inputs with Gaussian noise, by quadrature: sides of rows S41 and S42."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.estimators.vq_straight_through import vq_straight_through
from benchbed.families.snap import snap
from benchbed.families.step import step
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives.snap import snap as snap_objective

Array = NDArray[np.float64]
SIGMA = 0.6
BITS = np.array([0.4, -0.7, 0.1])  # inputs of three thresholds
PAIRS = np.array([[0.0, 0.9, -0.6], [0.9, 0.0, 1.3], [-0.6, 1.3, 0.0]])
SLOPES = np.array([0.8, -1.1, 0.5])
THREE = np.array([0.3, -0.4, 0.5])  # the input of one arg-max
BENDS = np.array([0.6, -0.9, 1.4])


def _tensor(x: Array) -> Tensor:
    return torch.from_numpy(x)


def _multilinear(z: Tensor, params: Tensor) -> Tensor:
    del params
    return z @ _tensor(SLOPES).to(z) + ((z @ _tensor(PAIRS).to(z)) * z).sum(-1) / 2


def step_problem() -> Objective:
    """Return a multilinear cost of three noisy thresholds."""
    return Objective("bits", step(SIGMA), _tensor(BITS), _multilinear)


def half_line(f: float, weight: Callable[[float], float]) -> float:
    """Integrate weight(eps) phi(eps) over f + SIGMA eps > 0."""
    low = max(-f / SIGMA, -12.0)
    edges = np.linspace(low, 12.0, 8)
    pieces = itertools.pairwise(edges)
    return math.fsum(
        quad(lambda e: weight(e) * float(norm.pdf(e)), *ends, epsabs=1e-15)[0] for ends in pieces
    )


def step_gradient() -> Array:
    """Sum J over the corners, each times the mean of eps / SIGMA on its side of a threshold."""
    chance = [half_line(f, lambda _: 1.0) for f in BITS]
    push = [half_line(f, lambda e: e / SIGMA) for f in BITS]  # of x's own density, d / d f
    gradient = np.zeros(3)
    for bits in itertools.product((0, 1), repeat=3):
        b = np.array(bits)
        cost = SLOPES @ b + b @ PAIRS @ b / 2
        for i in range(3):
            others = math.prod(chance[j] if b[j] else 1 - chance[j] for j in range(3) if j != i)
            gradient[i] += cost * others * (push[i] if b[i] else -push[i])
    return gradient


def _both(h: float, k: float) -> float:
    """Return P(U < h, V < k) of standard normals of correlation 1/2, by integrating over it."""

    def density(r: float) -> float:
        exponent = -(h * h - 2 * r * h * k + k * k) / (2 * (1 - r * r))
        return math.exp(exponent) / (2 * math.pi * math.sqrt(1 - r * r))

    return float(norm.cdf(h) * norm.cdf(k) + quad(density, 0.0, 0.5, epsabs=1e-15)[0])


def _gaps(k: int) -> tuple[float, float, list[int]]:
    """Return the two gaps of input k to the others, in units of their noise, and the others."""
    others = [j for j in range(3) if j != k]
    first, second = ((THREE[k] - THREE[j]) / (SIGMA * math.sqrt(2)) for j in others)
    return float(first), float(second), others


def snap_chances() -> Array:
    """Return the chance of each of the three to be the largest."""
    return np.array([_both(*_gaps(k)[:2]) for k in range(3)])


def snap_jacobian() -> Array:
    """Return d P(k) / d f_j: d/dh P(U < h, V < k) = phi(h) Phi((k - h / 2) / sqrt(3/4))."""
    jacobian = np.zeros((3, 3))
    for k in range(3):
        h, other, (i, j) = _gaps(k)
        for at, rest, column in ((h, other, i), (other, h, j)):
            rate = norm.pdf(at) * norm.cdf((rest - at / 2) / math.sqrt(0.75))
            jacobian[k, column] -= rate / (SIGMA * math.sqrt(2))
        jacobian[k, k] = -jacobian[k].sum()
    return jacobian


def _bent(z: Tensor, params: Tensor) -> Tensor:
    """Cost sum_k a_k z_k + b_k z_k^2 of one one-hot, whose slope at a corner is a + 2 b z."""
    del params
    one = z[..., 0, :]
    return (one * _tensor(SLOPES).to(z) + one.square() * _tensor(BENDS).to(z)).sum(-1)


def snap_problem() -> Objective:
    """Return a quadratic cost of one noisy arg-max."""
    return Objective("one-hot", snap(SIGMA), _tensor(THREE)[None], _bent)


def straight_through(problem: Objective) -> Array:
    """Return the exact mean of vq_straight_through."""
    found = exact_moments(problem, vq_straight_through())
    assert found is not None
    return found.mean


def small_snap() -> Objective:
    """Return the catalogue's objective of one arg-max."""
    return snap_objective(dimensions=1, categories=3, scale=SIGMA, seed=5)


def snap_by_correlation() -> Array:
    """Return the gradient of the catalogue's objective at THREE, J read at its three corners."""
    corners = torch.eye(3, dtype=torch.float64)[:, None, None]
    cost = small_snap().cost(corners, torch.zeros(1, 3)).numpy()[:, 0]
    return np.asarray(cost @ snap_jacobian())
