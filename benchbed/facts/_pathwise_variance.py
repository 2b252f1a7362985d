"""Two estimators of d E[cos(k z)], z ~ N(mean, SCALE^2): their variances in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from benchbed.estimators.reparameterization import reparameterization
from benchbed.estimators.score_function import score_function
from benchbed.facts._quadrature_noise import MEAN, SCALE, Array, rows, spread, trapezoid

PLACE = 0.9  # of the mean where the total variances are compared


def variances(k: float, mean: float = MEAN) -> Array:
    """Closed forms: (pathwise, score function) by (mean, log-scale), of one sample."""
    s, double = SCALE, math.cos(2 * k * mean) * math.exp(-2 * (k * SCALE) ** 2)
    t = 2 * k * s
    shrink = math.exp(-0.5 * (k * s) ** 2)
    gradient = np.array([-k * math.sin(k * mean), -((k * s) ** 2) * math.cos(k * mean)]) * shrink
    pathwise = [k**2 * (1 - double), (k * s) ** 2 * (1 - double * (1 - t**2))]
    score = [(1 + double * (1 - t**2)) / s**2, 2 + double * (t**4 - 4 * t**2 + 2)]
    return np.asarray(np.array([pathwise, score]) / 2 - gradient**2)


def integrated_variances(k: float, mean: float = MEAN) -> Array:
    eps, weight = trapezoid()
    methods = (reparameterization(), score_function())
    return np.array([spread(rows(method, k, eps, mean), weight) for method in methods])


def ratio(found: Array) -> float:
    """Total variance of the pathwise gradient over that of the score function's."""
    pathwise, score = found.sum(1)
    return float(pathwise / score)


def crossing(of: Callable[[float, float], Array]) -> float:
    """The k sigma at which the two estimators' total variances are equal."""

    def excess(k: float) -> float:
        return ratio(of(k, PLACE)) - 1

    return float(brentq(excess, 0.5, 4.0, xtol=1e-13) * SCALE)
