"""The Gumbel law, the Gumbel-max trick and its relaxation: rows SA1, SA2, SA4 and SA5.

The maxima that the law is the limit of, SA3, SA6 and SA7, are in facts/maxima.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, softmax
from scipy.stats import gumbel_r, logistic

from benchbed.facts.fact import Fact, Limit
from benchbed.rng import Noise

Array = NDArray[np.float64]
MU, BETA = np.array([[0.0, 1.0], [1.3, 0.4], [-0.7, 2.5]]).T  # three laws
POINTS = np.linspace(-1.5, 4.0, 12)  # in units of beta from mu
EULER = 0.5772156649015329  # the Euler-Mascheroni constant
SHIFT, STRETCH = 0.6, 1.7  # a map x -> SHIFT + STRETCH x
UTILITIES = np.array([0.3, -0.8, 1.1, 0.2])
BETAS = np.array([0.3, 1.0, 2.5])
FIXED_NOISE = np.array([0.4, 2.7, -0.7, -0.6])  # u + noise: 0.7, 1.9, 0.4, -0.4
GAP = 1.2  # between the largest of u + noise and the next


def _density(x: float, mu: float, beta: float) -> float:
    """Return the density as S prints it, at an x where it does not underflow."""
    scaled = (x - mu) / beta
    return math.exp(-scaled - math.exp(-scaled)) / beta


def _integral(function: Callable[[float], float], low: float, high: float) -> float:
    """Integrate in pieces of length 1, each by adaptive Gauss-Kronrod."""
    edges = np.linspace(low, high, max(2, math.ceil(high - low) + 1))
    pieces = itertools.pairwise(edges)
    return math.fsum(quad(function, a, b, epsabs=1e-16, epsrel=1e-12)[0] for a, b in pieces)


def _mean_of(function: Callable[[float], float], mu: float, beta: float) -> float:
    """Return E[function(x)], x ~ Gumbel(mu, beta); beyond the ends is less than 1e-17 of it."""

    def term(steps: float) -> float:
        x = mu + beta * steps
        return function(x) * _density(x, mu, beta) * beta

    return _integral(term, -4.0, 42.0)


def _mass_below(x: float, mu: float, beta: float) -> float:
    return _integral(lambda s: _density(s, mu, beta), mu - 4 * beta, max(x, mu - 4 * beta))


def _printed_cdf(x: Array, mu: float, beta: float) -> Array:
    return np.exp(-np.exp(-(x - mu) / beta))


def _derivative(mu: float, beta: float) -> Array:
    """Differentiate the distribution function by an imaginary step, which loses no digits."""
    steps = (mu + beta * POINTS + 1e-20j - mu) / beta
    found: Array = np.exp(-np.exp(-steps)).imag / 1e-20
    return found


def _variance(mu: float, beta: float) -> float:
    centre = _mean_of(lambda x: x, mu, beta)
    return _mean_of(lambda x: (x - centre) ** 2, mu, beta)


def _median(mu: float, beta: float) -> float:
    found: float = brentq(lambda x: _mass_below(x, mu, beta) - 0.5, mu, mu + beta, xtol=1e-15)
    return found


def _each(function: Callable[[float, float], float | Array]) -> Array:
    return np.array([function(mu, beta) for mu, beta in zip(MU, BETA, strict=True)])


def _mapped(mu: float, beta: float) -> Array:
    """Return Pr(SHIFT + STRETCH x <= point), x ~ Gumbel(mu, beta), by quadrature over x."""
    places = (_mapped_points(mu, beta) - SHIFT) / STRETCH
    return np.array([_mass_below(x, mu, beta) for x in places])


def _mapped_points(mu: float, beta: float) -> Array:
    return SHIFT + STRETCH * (mu + beta * POINTS)


def _difference(mu: float, beta: float) -> Array:
    """Return Pr(z - z' <= point), z ~ Gumbel(mu, beta), z' ~ Gumbel(0.5, beta): a convolution."""

    def chance(point: float) -> float:
        return _mean_of(lambda z: math.exp(-math.exp(-(point + z - mu) / beta)), 0.5, beta)

    return np.array([chance(point) for point in POINTS])


def _largest(utilities: Array, beta: float) -> Array:
    """Return Pr(argmax of u + eps = k), eps ~ Gumbel(0, beta), by quadrature over eps_k."""

    def chance(k: int) -> float:
        gaps = np.delete(utilities, k) - utilities[k]
        return _mean_of(
            lambda e: math.prod(math.exp(-math.exp((gap - e) / beta)) for gap in gaps), 0.0, beta
        )

    return np.array([chance(k) for k in range(len(utilities))])


def _scaled_distance(inverse_temperature: float) -> float:
    """Return E[1 - largest entry of softmax((u + eps) / tau)] / tau for two categories.

    The smaller entry is sigmoid(-|gap| / tau), the gap of u + eps is logistic: with
    gap = tau s the integrand is smooth on either side of 0.
    """

    def term(s: float) -> float:
        density: float = logistic.pdf(s / inverse_temperature, loc=UTILITIES[0] - UTILITIES[1])
        return float(expit(-abs(s))) * density

    return _integral(term, -40.0, 0.0) + _integral(term, 0.0, 40.0)


def _noise() -> Noise:
    return Noise(11, "facts", "gumbel", dtype=torch.float64)


FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        row="SA1",
        name="density of a Gumbel",
        statement="d/dx exp(-exp(-(x - mu)/beta)) = exp(-(x - mu)/beta - exp(-(x - mu)/beta))/beta",
        place="S appendix A, PDF",
        left=lambda: _each(_derivative),
        right=lambda: _each(
            lambda mu, beta: np.array([_density(x, mu, beta) for x in mu + beta * POINTS])
        ),
    ),
    Fact(
        row="SA1",
        name="distribution function of a Gumbel",
        statement="integral of the density up to x = exp(-exp(-(x - mu)/beta))",
        place="S appendix A, CDF",
        left=lambda: _each(
            lambda mu, beta: np.array([_mass_below(x, mu, beta) for x in mu + beta * POINTS])
        ),
        right=lambda: _each(lambda mu, beta: _printed_cdf(mu + beta * POINTS, mu, beta)),
    ),
    Fact(
        row="SA1",
        name="mean of a Gumbel",
        statement="E[x] = mu + gamma beta, gamma = 0.5772... of Euler and Mascheroni",
        place="S appendix A, footnote 6",
        left=lambda: _each(lambda mu, beta: _mean_of(lambda x: x, mu, beta)),
        right=lambda: MU + EULER * BETA,
    ),
    Fact(
        row="SA1",
        name="variance of a Gumbel",
        statement="Var[x] = pi^2 beta^2 / 6",
        place="S appendix A, footnote 6",
        left=lambda: _each(_variance),
        right=lambda: math.pi**2 * BETA**2 / 6,
    ),
    Fact(
        row="SA1",
        name="median of a Gumbel",
        statement="the density has half its mass below mu - beta log log 2",
        place="S appendix A, after the limit of maxima",
        left=lambda: _each(_median),
        right=lambda: MU - BETA * math.log(math.log(2)),
    ),
    Fact(
        row="SA1",
        name="the software's Gumbel noise",
        statement="scipy's distribution function at -log(-log u), as drawn, gives back its uniform",
        place="S appendix A, CDF",
        left=lambda: gumbel_r.cdf(_noise().gumbel(64).numpy()),
        right=lambda: _noise().uniform(64).numpy(),
    ),
    Fact(
        row="SA2",
        name="a shifted and stretched Gumbel",
        statement="a + b x ~ Gumbel(a + b mu, b beta) for x ~ Gumbel(mu, beta)",
        place="S appendix A, footnote 7",
        left=lambda: _each(_mapped),
        right=lambda: _each(
            lambda mu, beta: gumbel_r.cdf(
                _mapped_points(mu, beta), loc=SHIFT + STRETCH * mu, scale=STRETCH * beta
            )
        ),
    ),
    Fact(
        row="SA2",
        name="the difference of two Gumbels",
        statement="z - z' ~ Logistic(mu - mu', beta)",
        place="S appendix A, before the limit of maxima",
        left=lambda: _each(_difference),
        right=lambda: _each(lambda mu, beta: logistic.cdf(POINTS, loc=mu - 0.5, scale=beta)),
    ),
    Fact(
        row="SA4",
        name="the Gumbel-max trick at every scale",
        statement="Pr(argmax_k u_k + eps_k = k) = softmax(u / beta)_k, eps_k ~ Gumbel(0, beta)",
        place="S appendix A.1, theorem A.1",
        left=lambda: np.array([_largest(UTILITIES, beta) for beta in BETAS]),
        right=lambda: softmax(UTILITIES / BETAS[:, None], axis=-1),
        slip="the proof's line after the product of the CDFs has -eps_1/beta twice in the inner "
        "exponent, inside the fraction and behind it, and so has the next; it stands there once, "
        "and the integral, as the one after that has it, and the theorem hold",
    ),
    Fact(
        row="SA4",
        name="the Gumbel-max trick with two categories",
        statement="Pr(u_1 + eps_1 >= u_2 + eps_2) = sigmoid(u_1 - u_2)",
        place="S appendix A.1, footnote 9",
        left=lambda: _largest(UTILITIES[:2], 1.0),
        right=lambda: expit(np.array([1.1, -1.1])),
    ),
    Limit(
        row="SA5",
        name="softmax at a falling temperature",
        statement="softmax((u + eps)/tau) -> one-hot of the argmax like n^-gap, n = exp(1/tau)",
        place="S appendix A.1, Gumbel-Softmax",
        at=(1e5, 1e6, 1e7, 1e8),
        left=lambda n: softmax((UTILITIES + FIXED_NOISE) * math.log(n)),
        right=lambda: np.eye(len(UTILITIES))[np.argmax(UTILITIES + FIXED_NOISE)],
        rate=GAP,
    ),
    Limit(
        row="SA5",
        name="mean distance of a relaxed sample from its corner",
        statement="E[1 - max softmax((u + eps)/tau)]/tau -> log 2 (1 - sum_k p_k^2), n = 1/tau",
        place="S appendix A.1, Gumbel-Softmax",
        at=(32.0, 128.0, 512.0),
        left=_scaled_distance,
        right=lambda: math.log(2) * (1 - (softmax(UTILITIES[:2]) ** 2).sum()),
        rate=2.0,
    ),
)
