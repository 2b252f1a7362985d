"""Closed forms and product rules for the linear Gaussian model of ``objectives/rainforth.py``.

z ~ N(mu, I), x | z ~ N(z, I), q(z | x) = N(m, 2/3 I), in plain numpy.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from benchbed.contracts import Objective
from benchbed.facts.fact import Array
from benchbed.objectives.rainforth import model_of, rainforth

VARIANCE = 2 / 3  # of q; the posterior's is 1/2

# Several data points.
TOY: dict[str, Any] = {"items": 3, "dimensions": 3, "perturbation": 0.2, "seed": 1}


def _linear(**changed: Any) -> tuple[Array, Array, Array]:
    """Return x, the means of q and mu."""
    settings = TOY | changed
    model = model_of(
        settings["items"], settings["dimensions"], settings["perturbation"], settings["seed"]
    )
    x, means, mu = (part.numpy() for part in (model.x, model.means, model.mu))
    return x, means, mu


def elbo() -> float:
    """Return E_q log p(x, z) + H(q), summed over the data points."""
    x, means, mu = _linear()
    size = x.size
    energy = ((means - mu) ** 2).sum() + ((x - means) ** 2).sum() + 2 * size * VARIANCE
    entropy = 0.5 * size * math.log(2 * math.pi * math.e * VARIANCE)
    return float(-0.5 * energy - size * math.log(2 * math.pi) + entropy)


def evidences() -> Array:
    """Return log p(x), the density of N(mu, 2), of every data point."""
    x, _, mu = _linear()
    return np.asarray((-0.25 * (x - mu) ** 2 - 0.5 * math.log(4 * math.pi)).sum(1))


def second_moments() -> Array:
    """Return E w^2 / p(x)^2 of every data point: the integral of p(z | x)^2 / q(z | x)."""
    x, means, mu = _linear()
    off, wide = means - (x + mu) / 2, 2 * VARIANCE - 0.5
    ratio = VARIANCE / math.sqrt(0.5 * wide) * np.exp(off**2 / wide)
    return np.asarray(ratio.prod(1))


def gradient_of_evidence() -> Array:
    """Return d/dmu of the sum of log p(x)."""
    x, _, mu = _linear()
    return np.asarray(((x - mu) / 2).sum(0))


def bound_of(count: float, gradient: Literal["inference", "generative"] = "inference") -> Objective:
    """Return the objective that the closed forms belong to."""
    return rainforth(int(count), gradient=gradient, **TOY)


def scaled_slopes() -> Array:
    """Return -1/2 d E[w^2] / p^2 / d (mean of q)."""
    x, means, mu = _linear()
    rate = 2 * (means - (x + mu) / 2) / (2 * VARIANCE - 0.5)
    return np.asarray(-0.5 * second_moments()[:, None] * rate)


# Two particles in one dimension: estimates averaged by a product Gauss-Hermite rule.
PAIR: dict[str, Any] = {"items": 1, "dimensions": 1, "perturbation": 0.4, "seed": 2}


def mean_of_pairs(doubly: bool) -> Array:
    """Return E sum_k of wt_k (w_k' / w_k - h_k), or of wt_k^2 w_k' / w_k, in the mean of q."""
    (x,), (mean,), mu = _linear(**PAIR)
    nodes, weights = hermegauss(64)
    chance = np.outer(weights, weights) / weights.sum() ** 2
    eps = np.stack(np.meshgrid(nodes, nodes, indexing="ij"))  # [2, 64, 64]
    z = mean + math.sqrt(VARIANCE) * eps
    score = eps / math.sqrt(VARIANCE)
    w = np.exp(-0.5 * (z - mu) ** 2 - 0.5 * (x - z) ** 2 + 0.5 * eps**2)
    share = w / w.sum(0)
    slope = (mu - z) + (x - z) + score  # of log w_k in z_k, q's parameters held
    each = share**2 * slope if doubly else share * (slope - score)
    return np.array([(chance * each.sum(0)).sum()])


def exact_pair() -> Array:
    """Return dL_2 / dm by Frullani's integral."""
    return rainforth(2, **PAIR).exact_gradient().numpy()
