"""Randomness moved into noise with a fixed law: G1, G2, S47, and what it does to variance: G3."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy.special import softmax
from scipy.stats import multivariate_normal, norm

from benchbed.estimators.reparameterization import reparameterization
from benchbed.facts._lotus import (
    POINT,
    bits_by_law,
    bits_by_noise,
    categories_by_law,
    categories_by_noise,
    normal_by_law,
    normal_by_noise,
    over_density,
)
from benchbed.facts._pathwise_variance import (
    PLACE,
    crossing,
    integrated_variances,
    ratio,
    variances,
)
from benchbed.facts._quadrature_noise import MEAN, SCALE, Array, Nodes, hermite, rows, spread
from benchbed.facts.fact import Fact
from benchbed.families import NORMAL
from benchbed.objectives._logistic_margins import expected_logistic_loss

K = 1.3
MANY_MEANS = np.array([0.5, -1.2, 0.3])
MANY_SCALES = np.array([0.4, 1.5, 0.8])
FREQUENCIES = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0])
LOTUS = "G section 1, equations 1 to 3"
NO_F = "equation 2 drops f, and calls g(eps) both the value and the variable: E f(g(eps)) = E f(z)"
EXCHANGE = "G section 1, equation 4"
NO_F_EITHER = (
    "equation 4 drops f(z) on the left and phi on the right: it is d f(g(eps, phi)) / dphi"
)
MEANS = "G section 1, equation 5"
NO_CHAIN = "equation 5 says MCMC: the eps_i are independent, there is no chain; f is dropped again"
CLAIM = "G section 1, last sentence"
NOT_ALWAYS = (
    "much less variance is claimed in general; for cos(k z) it is more once k sigma passes about 1"
)
GAUSSIAN = "S section 4"
NOT_ISOTROPIC = (
    "N(mu, diag(sigma^2)) is called isotropic; with a sigma for each coordinate it is not"
)


def _pathwise_mean() -> Array:
    eps, weight = hermite()
    return np.asarray(weight @ rows(reparameterization(), K, eps))


def _derivative_of_law() -> list[float]:
    """The integral of f(z) times the density's own derivative in the mean and the log-scale."""
    return [
        over_density(lambda z: math.cos(K * z) * (z - MEAN) / SCALE**2),
        over_density(lambda z: math.cos(K * z) * (((z - MEAN) / SCALE) ** 2 - 1)),
    ]


def _variance_of_two() -> Array:
    """Of the mean of two independent terms: a plane of nodes through the estimator itself."""
    eps, weight = hermite(50)
    plane = np.array(list(itertools.product(eps[:, 0], eps[:, 0])))
    return spread(rows(reparameterization(samples=2), K, plane), np.outer(weight, weight).ravel())


def _moments() -> Array:
    eps, weight = hermite()
    z = NORMAL.path(POINT, len(eps), 1, 1.0, Nodes(eps)).soft[:, 0, 0].numpy()
    return np.array([weight @ z**n for n in range(1, 7)])


def _fourth_by_path() -> Array:
    """E of d z^4 / d (mean, log-scale) along the path."""
    eps, weight = hermite()
    path = NORMAL.path(POINT, len(eps), 1, 1.0, Nodes(eps))
    return np.asarray(weight @ path.vjp(4 * path.soft**3)[:, 0, :, 0].numpy())


def _log_density() -> Array:
    params = torch.from_numpy(np.stack((MANY_MEANS, np.log(MANY_SCALES))))
    return np.asarray(NORMAL.log_prob(params, torch.from_numpy(_places())).numpy())


def _places() -> Array:
    return np.random.default_rng(3).normal(size=(5, 3))


def _loss_by_margin() -> float:
    """E log(1 + e^-m) of m = <x, z> from the one-dimensional law of m."""
    x = np.array([1.4, -2.3])
    mean, scale = x @ MANY_MEANS[:2], np.sqrt(x**2 @ MANY_SCALES[:2] ** 2)
    return float(expected_logistic_loss(*torch.tensor([mean, scale], dtype=torch.float64)))


def _loss_by_weights() -> float:
    """The same from both coordinates' noise, on a plane of nodes."""
    eps = np.linspace(-9, 9, 181)
    weight = softmax(-(eps**2) / 2)
    first, second = (MANY_MEANS[i] + MANY_SCALES[i] * eps for i in (0, 1))
    loss = np.logaddexp(0, -(1.4 * first[:, None] - 2.3 * second))
    return float(weight @ loss @ weight)


FACTS: tuple[Fact, ...] = (
    Fact(
        "G1",
        "LOTUS for a normal variable",
        "E_eps f(mu + sigma eps) = integral of f(z) N(z; mu, sigma^2)",
        LOTUS,
        normal_by_noise,
        normal_by_law,
        slip=NO_F,
    ),
    Fact(
        "G1",
        "LOTUS for a bit",
        "E_u f(1[u > 1 - p]) = sum over z of f(z) p(z), for two bits and uniforms u",
        LOTUS,
        bits_by_noise,
        bits_by_law,
        slip=NO_F,
    ),
    Fact(
        "G1",
        "LOTUS for a category",
        "E_G f(argmax(u + G)) = sum over z of f(z) softmax(u)_z, for Gumbel noise G",
        LOTUS,
        categories_by_noise,
        categories_by_law,
        slip=NO_F,
    ),
    Fact(
        "G2",
        "gradient and expectation exchanged",
        "E_eps[d f(g(eps, phi)) / dphi] = integral of f(z) dp(z; phi)/dphi",
        EXCHANGE,
        _pathwise_mean,
        _derivative_of_law,
        slip=NO_F_EITHER,
    ),
    Fact(
        "G2",
        "the mean of two terms",
        "(1/N) sum of N independent pathwise terms has 1/N of the variance of one; here N = 2",
        MEANS,
        _variance_of_two,
        lambda: variances(K)[0] / 2,
        slip=NO_CHAIN,
    ),
    Fact(
        "G3",
        "variances of two estimators of d E[cos(k z)]",
        "pathwise and score function, in mean and log-scale, at seven k: closed form = quadrature",
        CLAIM,
        lambda: np.array([variances(k) for k in FREQUENCIES]),
        lambda: np.array([integrated_variances(k) for k in FREQUENCIES]),
    ),
    Fact(
        "G3",
        "the pathwise gradient's disadvantage grows with k",
        "total variance of the pathwise gradient of E[cos(k z)] over that of the score function's",
        CLAIM,
        lambda: np.array([ratio(variances(k, PLACE)) for k in FREQUENCIES]),
        lambda: np.array([ratio(integrated_variances(k, PLACE)) for k in FREQUENCIES]),
        ordered="rising",
        slip=NOT_ALWAYS,
    ),
    Fact(
        "G3",
        "where the two variances cross",
        "the k sigma at which both estimators of d E[cos(k z)] have the same total variance",
        CLAIM,
        lambda: crossing(variances),
        lambda: crossing(integrated_variances),
        slip=NOT_ALWAYS,
    ),
    Fact(
        "S47",
        "moments of mu + sigma eps",
        "E (mu + sigma eps)^n for n from 1 to 6",
        GAUSSIAN,
        _moments,
        lambda: [norm(MEAN, SCALE).moment(n) for n in range(1, 7)],
    ),
    Fact(
        "S47",
        "the gradient along mu + sigma eps",
        "E 4 z^3 dz/d(mu, log sigma) = d (mu^4 + 6 mu^2 sigma^2 + 3 sigma^4)",
        GAUSSIAN,
        _fourth_by_path,
        lambda: [
            4 * MEAN**3 + 12 * MEAN * SCALE**2,
            12 * MEAN**2 * SCALE**2 + 12 * SCALE**4,
        ],
    ),
    Fact(
        "S47",
        "the density of mu + sigma eps",
        "log N(z; mu, diag(sigma^2)): sigma^2 is the variance, sigma multiplies the noise",
        GAUSSIAN,
        _log_density,
        lambda: multivariate_normal(MANY_MEANS, np.diag(MANY_SCALES**2)).logpdf(_places()),
        slip=NOT_ISOTROPIC,
    ),
    Fact(
        "S47",
        "the margin of normal weights",
        "E log(1 + e^-m), m = <x, mu + sigma eps> ~ N(<x, mu>, <x^2, sigma^2>)",
        GAUSSIAN,
        _loss_by_margin,
        _loss_by_weights,
    ),
)
