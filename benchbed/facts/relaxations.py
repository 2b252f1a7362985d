"""The Concrete law and the estimators made of it: rows G4, S49 and S4A.

Estimators are evaluated by their own ``draw``, at the nodes of a quadrature rule in place of random
numbers: their means have no sampling error. The other side is quadrature in other variables.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import expit, logit, roots_legendre
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.estimators.gumbel_softmax import gumbel_softmax
from benchbed.estimators.straight_through_gumbel_softmax import straight_through_gumbel_softmax
from benchbed.facts import _on_tables as toys
from benchbed.facts.fact import Fact, Limit
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.rng import Noise

Array = NDArray[np.float64]
LOGITS = np.array([0.5, -0.8, 0.2])
WARM = 0.7  # temperature
LOGIT = 0.6  # of one bit
POINTS = np.array([0.02, 0.2, 0.5, 0.85, 0.99])
A, B = 0.9, 1.1  # J(z) = A z + B z^3
V = float(expit(LOGIT) * expit(-LOGIT))
SIZES = [torch.zeros(d, 3, dtype=torch.float64) for d in range(1, 7)]  # logits, K = 3


def _concrete(away: Array, logits: Array, temperature: float) -> Array:
    """Return the density of K = 3 relaxed categories in y_k = log x_k / x_3, [..., 2].

    Of x it is 2 t^2 prod_k a_k x_k^(-t - 1) / (sum_k a_k x_k^-t)^3, a = exp(logits); the Jacobian
    of x in y is x_1 x_2 x_3.
    """
    y = np.concatenate((away, np.zeros_like(away[..., :1])), -1)
    log_x = y - np.log(np.exp(y).sum(-1, keepdims=True))
    top = (logits - (temperature + 1) * log_x).sum(-1)
    below = np.log(np.exp(logits - temperature * log_x).sum(-1))
    density = math.log(2) + 2 * math.log(temperature) + top - 3 * below
    return np.asarray(np.exp(density + log_x.sum(-1)))


def _total() -> float:
    """Integrate the density over the simplex: a trapezoid rule in y."""
    y = np.arange(-70.0, 70.0, 0.25)
    plane = np.stack(np.meshgrid(y, y, indexing="ij"), -1)
    return float(_concrete(plane, LOGITS, WARM).sum()) * 0.25**2


def _panels(low: float, high: float, count: int, order: int) -> tuple[Array, Array]:
    """Return nodes and weights of Gauss-Legendre on equal panels."""
    nodes, weights = roots_legendre(order)
    edges = np.linspace(low, high, count + 1)
    half = (edges[1] - edges[0]) / 2
    points = (edges[:-1, None] + half * (nodes + 1)).ravel()
    return points, np.tile(half * weights, count)


def _where_largest() -> Array:
    """Return the mass of the density where x_k is the largest: the others' logs below its own."""
    nodes, weights = _panels(-60.0, 0.0, 20, 12)
    plane = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1)
    mass = np.outer(weights, weights)
    orders = ([1, 2, 0], [0, 2, 1], [0, 1, 2])  # the k-th put last
    return np.array([(mass * _concrete(plane, LOGITS[order], WARM)).sum() for order in orders])


def _binary_density(x: float) -> float:
    """Return t a x^(-t - 1) (1 - x)^(-t - 1) / (a x^-t + (1 - x)^-t)^2."""
    weight, rest = math.exp(LOGIT) * x**-WARM, (1 - x) ** -WARM
    density: float = WARM * weight * rest / (x * (1 - x) * (weight + rest) ** 2)
    return density


def _mass_below(x: float) -> float:
    """Integrate that density over (0, x), through x = 1 / (1 + exp(-s))."""

    def in_logits(s: float) -> float:
        at = float(expit(s))
        return _binary_density(at) * at * float(expit(-s))

    edges = np.linspace(-60.0, float(logit(x)), 16)
    pieces = itertools.pairwise(edges)
    return math.fsum(quad(in_logits, *ends, epsabs=1e-16)[0] for ends in pieces)


class _Nodes(Noise):
    """Given numbers in place of uniforms."""

    def __init__(self, u: Array) -> None:
        super().__init__(0, "nodes", dtype=torch.float64)
        self.given = u

    def uniform(self, *shape: int) -> Tensor:
        """Return the given numbers."""
        return torch.from_numpy(self.given.copy()).reshape(shape)


def _relaxed_bits() -> tuple[Array, Array]:
    """Return relaxed bits of the software at 9 uniforms, and the uniforms."""
    u = np.linspace(0.05, 0.95, 9)
    params = torch.tensor([LOGIT], dtype=torch.float64)
    path = BERNOULLI.path(params, len(u), 1, WARM, _Nodes(u))
    return path.soft.numpy().ravel(), u


def _mean_of_draws(estimator: Estimator, temperature: float) -> float:
    """Return the mean of an estimator's rows, u = sigmoid(t v - logit); a panel ends at v = 0."""
    params = torch.tensor([LOGIT], dtype=torch.float64)
    problem = Objective("bit", BERNOULLI, params, lambda z, _: (A * z + B * z.pow(3)).sum(-1))
    nodes, weights = _panels(-45.0, 45.0, 48, 20)
    u = expit(temperature * nodes - LOGIT)
    rows = estimator.draw(problem, params, len(u), _Nodes(u)).numpy().ravel()
    return float((weights * temperature * u * (1 - u)) @ rows)


def _slope(z: float) -> float:
    return A + 3 * B * z * z


def _in_logistic_noise(temperature: float, hard: bool) -> float:
    """Return E[J' y (1 - y) / t] over logistic noise, J' at the bit or at the relaxed sample y."""

    def integrand(noise: float) -> float:
        y = float(expit((LOGIT + noise) / temperature))
        at = float(LOGIT + noise > 0) if hard else y
        density = float(expit(noise) * expit(-noise))
        return density * _slope(at) * y * (1 - y) / temperature

    edges = np.sort(np.append(np.linspace(-30.0, 30.0, 25), -LOGIT))
    pieces = itertools.pairwise(edges)
    return math.fsum(quad(integrand, *ends, epsabs=1e-16)[0] for ends in pieces)


def _derivative_of_relaxed() -> float:
    """Return d/dtheta of the integral of J(x) times the Concrete density, by an imaginary step."""
    s = np.arange(-90.0, 90.0, 0.125)  # logit x
    grown = np.exp(LOGIT + 1e-20j - WARM * s)
    density = WARM * grown / (1 + grown) ** 2
    x = expit(s)
    return float(((A * x + B * x**3) * density).sum().imag / 1e-20) * 0.125


FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        row="G4",
        name="total mass of the Concrete law",
        statement="the density over the simplex of three categories integrates to 1",
        place="G abstract",
        left=_total,
        right=lambda: 1.0,
    ),
    Fact(
        row="G4",
        name="largest entry of a Concrete sample",
        statement="P(x_k is the largest) = softmax(logits)_k at every temperature",
        place="G abstract",
        left=_where_largest,
        right=lambda: CATEGORICAL.mean(torch.from_numpy(LOGITS)[None]).numpy()[0],
    ),
    Fact(
        row="G4",
        name="distribution function of the binary Concrete law",
        statement="integral of the density up to x = sigmoid(t logit x - theta)",
        place="G abstract",
        left=lambda: [_mass_below(float(x)) for x in POINTS],
        right=lambda: expit(WARM * logit(POINTS) - LOGIT),
    ),
    Fact(
        row="G4",
        name="the software's relaxed bits",
        statement="the distribution function at a relaxed bit gives back its uniform",
        place="G abstract",
        left=lambda: expit(WARM * logit(_relaxed_bits()[0]) - LOGIT),
        right=lambda: _relaxed_bits()[1],
    ),
    Fact(
        row="S49",
        name="what Gumbel-Softmax differentiates",
        statement="the mean is d/dtheta of the integral of J times the Concrete density",
        place="S section 4.1, Gumbel-Softmax",
        left=lambda: _mean_of_draws(gumbel_softmax(temperature=WARM), WARM),
        right=_derivative_of_relaxed,
    ),
    Limit(
        row="S49",
        name="Gumbel-Softmax at a falling temperature",
        statement="its mean -> d/dtheta E[J(z)] = (J(1) - J(0)) p (1 - p) like 1/n, n = 1/t",
        place="S section 4.1, Gumbel-Softmax",
        at=(256.0, 1024.0, 4096.0),
        left=lambda n: _mean_of_draws(gumbel_softmax(temperature=1 / n), 1 / n),
        right=lambda: (A + B) * V,
        rate=1.0,
    ),
    Fact(
        row="S49",
        name="values of z in a sum over d categories",
        statement="marginalizing evaluates J at K^d values, K = 3, d = 1 to 6",
        place="S section 4.1, point 2",
        left=lambda: [toys.rows_summed(x, categorical=True) for x in SIZES],
        right=lambda: 3.0 ** np.arange(1, 7),
        ordered="rising",
    ),
    Fact(
        row="S49",
        name="random numbers in a relaxed sample of d categories",
        statement="a sample takes K d Gumbels, K = 3, d = 1 to 6",
        place="S section 4.1, point 2",
        left=lambda: [toys.numbers_drawn(x, categorical=True) for x in SIZES],
        right=lambda: 3.0 * np.arange(1, 7),
        ordered="rising",
    ),
    Fact(
        row="S4A",
        name="mean of straight-through Gumbel-Softmax",
        statement="E[dJ/dz at the SNAPPED sample times y (1 - y) / t], over logistic noise",
        place="S section 4.1, below point 2",
        left=lambda: _mean_of_draws(straight_through_gumbel_softmax(temperature=WARM), WARM),
        right=lambda: _in_logistic_noise(WARM, hard=True),
        slip="the right side is printed as d/dtheta of J at the relaxed sample, which is plain "
        "Gumbel-Softmax; what is called straight-through, and was meant by snapping in the forward "
        "pass, takes dJ/dz at the one-hot and the relaxed sample's Jacobian",
    ),
    Fact(
        row="S4A",
        name="the right side as printed is Gumbel-Softmax",
        statement="E[d/dtheta J(softmax((log f + eps)/t))] = E[dJ/dz at y times y (1 - y) / t]",
        place="S section 4.1, below point 2",
        left=lambda: _mean_of_draws(gumbel_softmax(temperature=WARM), WARM),
        right=lambda: _in_logistic_noise(WARM, hard=False),
    ),
    Limit(
        row="S4A",
        name="straight-through Gumbel-Softmax at a falling temperature",
        statement="its mean -> p (1 - p) (J'(0) + J'(1)) / 2, not the gradient, like 1/n, n = 1/t",
        place="S section 4.1, below point 2",
        at=(256.0, 1024.0, 4096.0),
        left=lambda n: _mean_of_draws(straight_through_gumbel_softmax(temperature=1 / n), 1 / n),
        right=lambda: V * (_slope(0.0) + _slope(1.0)) / 2,
        rate=1.0,
    ),
)
