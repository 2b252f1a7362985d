"""Facts of discrete-continuous hybrids: nested sampling, and a style beside a label.

One side is benchbed's objective, or numpy by one route; the other is numpy by another. Quadrature
here is Gauss-Hermite or a plain trapezoidal sum, whichever the other side does not use.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from benchbed.contracts import Objective
from benchbed.facts import _style_and_label as style
from benchbed.facts.fact import Array, Fact, Limit
from benchbed.objectives.nested import nested, terms_of

K, D, SEED = 3, 2, 4  # of the nested toy


@cache
def _nested() -> Objective:
    return nested(categories=K, dimensions=D, seed=SEED)


class _Law(NamedTuple):
    """The nested toy in numpy: probabilities [K], means and standard deviations [K, D]."""

    pi: Array
    mean: Array
    scale: Array


def _law() -> _Law:
    params = _nested().params.numpy()
    pi = np.exp(params[:, 0]) / np.exp(params[:, 0]).sum()
    return _Law(pi, params[:, 1 : 1 + D], np.exp(params[:, 1 + D :]))


def _terms() -> tuple[Array, ...]:
    return tuple(part.numpy() for part in terms_of(K, D, SEED))


def _by_gauss_hermite() -> Array:
    """The objective's value, then its gradient in logits, means and log-scales."""
    problem = _nested()
    gradient = problem.exact_gradient()
    return np.concatenate(([float(problem.exact_value())], gradient.flatten().numpy()))


def _in_closed_form() -> Array:
    """The same by the normal law's moments, cosine and exponential, differentiated by hand."""
    w, a, b, c, e, g = _terms()
    pi, mean, scale = _law()
    wave = np.exp(-0.5 * (c * scale) ** 2)
    growth = np.exp((g * mean + 0.5 * (g * scale) ** 2).sum(1))[:, None]  # [K, 1]
    alone = a * mean + b * (mean**2 + scale**2) + wave * np.cos(c * mean + e)
    value = w + alone.sum(1) + growth[:, 0]  # E[J | z]
    total = pi @ value
    by_mean = a + 2 * b * mean - wave * c * np.sin(c * mean + e) + growth * g
    by_scale = 2 * b * scale - c**2 * scale * wave * np.cos(c * mean + e) + growth * g**2 * scale
    rows = np.column_stack(
        (pi * (value - total), pi[:, None] * by_mean, pi[:, None] * by_scale * scale)
    )
    return np.concatenate(([total], rows.ravel()))


def _cost(k: int, x: Array) -> Array:
    """Return J at category k and z' [..., D]."""
    w, a, b, c, e, g = _terms()
    return np.asarray(w[k] + (a * x + b * x**2 + np.cos(c * x + e)).sum(-1) + np.exp(x @ g))


def _outer_first() -> Array:
    """E[E[J | z]]: of each category, a Gauss-Hermite rule of z'."""
    pi, mean, scale = _law()
    eps, weight = hermegauss(40)
    weight = weight / weight.sum()
    x = np.stack(np.meshgrid(*[eps] * D, indexing="ij"), -1)
    share = np.multiply.outer(weight, weight)
    return np.array(
        [p * (share * _cost(k, mean[k] + scale[k] * x)).sum() for k, p in enumerate(pi)]
    )


def _inner_first() -> Array:
    """E[E[J | z']]: the marginal of z' on an even grid, and the posterior of z there."""
    pi, mean, scale = _law()
    sides = [
        np.arange((mean - 10 * scale)[:, i].min(), (mean + 10 * scale)[:, i].max(), 0.04)
        for i in range(D)
    ]
    x = np.stack(np.meshgrid(*sides, indexing="ij"), -1)[..., None, :]  # [n, n, 1, D]
    normal = np.exp(-0.5 * ((x - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    joint = pi * normal.prod(-1)  # [n, n, K]
    marginal = joint.sum(-1) * 0.04**D
    posterior = joint / np.maximum(joint.sum(-1, keepdims=True), 1e-300)
    costs = np.stack([_cost(k, x[..., 0, :]) for k in range(K)], -1)
    return np.array(
        [float((marginal[..., None] * posterior * costs)[..., k].sum()) for k in range(K)]
    )


# Gumbel-Softmax: the relaxed z of two categories is sigmoid((logit gap + logistic noise) / tau).


@cache
def _pair() -> Objective:
    return nested(categories=2, dimensions=1, seed=2)


def _relaxed_gradient(coldness: float) -> Array:
    """The gradient of E[J(z_tau, mean(z_tau) + scale(z_tau) eps)] at tau = 1 / coldness."""
    problem = _pair()
    point = problem.params.clone().requires_grad_()
    near, share = leggauss(16)
    edges = np.concatenate(([0.0], 2.0 ** np.arange(0, 14) / coldness))
    edges = edges[edges < 45]
    widths = np.diff(np.append(edges, 45.0))
    half = (edges[:, None] + widths[:, None] * (near + 1) / 2).ravel()
    weight = (widths[:, None] * share / 2).ravel()
    x = torch.from_numpy(np.concatenate((-half[::-1], half)))
    weights = torch.from_numpy(np.concatenate((weight[::-1], weight)))
    eps, mass = (torch.from_numpy(part) for part in hermegauss(30))
    with torch.enable_grad():
        noise = x - (point[0, 0] - point[1, 0])  # logistic
        density = torch.sigmoid(noise) * torch.sigmoid(-noise) * weights
        soft = torch.sigmoid(x * coldness)
        pairs = torch.cartesian_prod(soft, eps)  # [x * eps, 2]
        z = torch.stack((pairs[:, 0], 1 - pairs[:, 0], pairs[:, 1]), -1)[:, None]
        cost = problem.cost(z, point).reshape(len(x), len(eps))
        total = density @ cost @ (mass / mass.sum())
        (found,) = torch.autograd.grad(total, point)
    return np.asarray(found.numpy())


NESTED_PLACE = "S section 4.1, point 1"
STYLE_PLACE = "S section 3, compartmentalized prior"

FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        "S4C",
        "nested expectation by K rules",
        "E_z E_z'|z J and its gradient: K Gauss-Hermite sums are the normal law's closed forms",
        NESTED_PLACE,
        _by_gauss_hermite,
        _in_closed_form,
        1e-11,
    ),
    Fact(
        "S4C",
        "law of total expectation",
        "pi_z E[J | z], from z first, is E_z'[p(z | z') J(z, z')], from z' first, for every z",
        NESTED_PLACE,
        _outer_first,
        _inner_first,
        1e-10,
    ),
    Limit(
        "S4C",
        "Gumbel-Softmax of a nested expectation",
        "the gradient of E J(z_tau, mean(z_tau) + scale(z_tau) eps) is exact as tau -> 0",
        NESTED_PLACE,
        (256.0, 512.0, 1024.0, 2048.0),
        _relaxed_gradient,
        lambda: _pair().exact_gradient().numpy(),
        1.0,
    ),
    Fact(
        "S34",
        "unlabelled bound of labelled ones",
        "ELBO of log p(x) = sum_y q(y|x) ELBO of log p(x, y) + H(q(y|x))",
        STYLE_PLACE + "; Kingma et al. 2014, equation 7",
        style.unlabelled_bounds,
        style.kingma,
    ),
    Fact(
        "S34",
        "semi-supervised objective",
        "mean of the unlabelled and labelled bounds and -alpha log q(y|x), half of labels known",
        STYLE_PLACE + "; Kingma et al. 2014, equation 9",
        lambda: style.objective(style.IMAGES // 2, style.ALPHA),
        style.semi_supervised,
    ),
    Fact(
        "S34",
        "gaps of both bounds",
        "log p(x) - ELBO = KL(q(y, s|x) || p(y, s|x)); log p(x, y) - ELBO = KL of the style alone",
        STYLE_PLACE,
        style.gaps,
        style.divergences,
        slip="S section 3 twice calls q(z|x) the decoder; it is the encoder",
    ),
)
