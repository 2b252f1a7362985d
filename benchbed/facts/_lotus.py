"""Means of functions of z, by the noise behind z and by the law of z."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import norm

from benchbed.facts._quadrature_noise import MEAN, SCALE, Array, Nodes, hermite
from benchbed.families import BERNOULLI, NORMAL

POINT = torch.tensor([[MEAN], [math.log(SCALE)]], dtype=torch.float64)
SIXTEENTHS = (3, 11)  # of the probability of each of two bits
UTILITIES = np.array([0.3, -0.8, 1.1, 0.2])
VALUES = np.array([1.0, -2.0, 0.5, 4.0])


def _smooth(z: Array) -> Array:
    return np.asarray(np.exp(0.3 * z) * np.cos(2 * z) + z**3)


def over_density(function: Callable[[float], float]) -> float:
    """The integral of function times the density of z, one piece for every unit."""
    edges = np.linspace(MEAN - 10 * SCALE, MEAN + 10 * SCALE, 15)
    law = norm(MEAN, SCALE)

    def term(z: float) -> float:
        return float(function(z) * law.pdf(z))

    parts = (quad(term, a, b, epsabs=1e-15, epsrel=1e-13)[0] for a, b in itertools.pairwise(edges))
    return math.fsum(parts)


def normal_by_noise() -> float:
    """E f(mu + sigma eps), with the family's own path."""
    eps, weight = hermite()
    z = NORMAL.path(POINT, len(eps), 1, 1.0, Nodes(eps)).soft[:, 0, 0].numpy()
    return float(weight @ _smooth(z))


def normal_by_law() -> float:
    """The same by the density of z."""
    return over_density(lambda z: float(_smooth(np.array(z))))


def _bits(z: Array) -> Array:
    return np.asarray(np.exp(0.7 * z[:, 0] - 0.4 * z[:, 1]) + 2 * z[:, 0] * z[:, 1])


def bits_by_noise() -> float:
    """The mean over the middles of 16 x 16 squares: z is constant on each of them."""
    middles = (np.arange(16) + 0.5) / 16
    u = np.array(list(itertools.product(middles, middles)))
    share = torch.tensor(SIXTEENTHS, dtype=torch.float64) / 16
    assert BERNOULLI.quantile is not None
    z = BERNOULLI.quantile(share.logit(), torch.from_numpy(u)[:, None])[:, 0].numpy()
    return float(_bits(z).mean())


def bits_by_law() -> float:
    """The same by the four probabilities."""
    p, q = (n / 16 for n in SIXTEENTHS)
    z = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return float(np.array([(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q]) @ _bits(z))


def categories_by_noise() -> float:
    """E f(argmax(u + G)): over each winner's own noise, times the chance that the rest is below."""
    edges = np.linspace(-5, 45, 26)
    total = 0.0
    for k, value in enumerate(VALUES):

        def term(g: float, k: int = k) -> float:
            below = np.delete(g + UTILITIES[k] - UTILITIES, k)
            return float(np.exp(-g - np.exp(-g)) * np.exp(-np.exp(-below).sum()))

        parts = (quad(term, a, b, epsabs=1e-16)[0] for a, b in itertools.pairwise(edges))
        total += value * math.fsum(parts)
    return total


def categories_by_law() -> float:
    """The same by the probabilities."""
    return float(softmax(UTILITIES) @ VALUES)
