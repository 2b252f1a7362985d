"""Priors richer than one fixed law: rows S31 and S32 here, S33 and S35 in _hierarchies.py.

Sides called "plain" are numpy over every value of the latents, from the arrays of the model: they
share with the objective its numbers and none of its code.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax, xlogy

from benchbed.enumeration import marginalize
from benchbed.facts._hierarchies import HIERARCHIES, likelihood
from benchbed.facts.fact import Fact
from benchbed.objectives import mixture_prior as mixture
from benchbed.objectives import vamp_prior as vamp

Array = NDArray[np.float64]
MIXTURE, MIXTURE_PLACE = (3, 2, 3, 1.3, 1.0, 5), "S section 3, mixture prior"
VAMP_PLACE = "S section 3, mixture prior from the variational posterior"
_ROWS = np.random.default_rng(32)
CODES: Array = softmax(_ROWS.normal(size=(5, 4)), 1)  # q(z | x) of five x on four z
OTHERS: Array = softmax(_ROWS.normal(size=(6, 4)), 1)  # six other priors
LABELS: Array = softmax(_ROWS.normal(size=(5, 3)), 1)  # q(c | x) of three components
WEIGHTS: Array = softmax(_ROWS.normal(size=3))  # p(c)
GIVEN_LABEL: Array = softmax(_ROWS.normal(size=(3, 4)), 1)  # p(z | c)


def _kl(q: Array, p: Array, axes: tuple[int, ...] = (-1,)) -> Array:
    found: Array = np.asarray(xlogy(q, q / p).sum(axes))
    return found


# A mixture prior


def _mixture_sums(terms: mixture.Terms) -> tuple[float, Array]:
    """Return the cost and its gradient, summed over every z."""
    items, dimensions, categories, separation, distance, seed = MIXTURE
    found = mixture.mixture_prior(
        "toy", terms, items, dimensions, categories, separation, distance, seed=seed
    )
    value, gradient = marginalize(found, found.params)
    return float(value), gradient.numpy()


def _mixture_plain() -> tuple[float, Array]:
    """Sum w = q(z, c) (log q(z, c) - log p(z, c) - log p(x | z)) over every (z, c), and its slope.

    The slope of q by its logits is q (onehot - pi), and that of log q has mean 0.
    """
    prior, decoder, params = mixture.toy(*MIXTURE)
    weights, components = prior.log_weights.numpy(), prior.log_components.numpy()
    total, slope = 0.0, np.zeros(params.shape)
    for item, law in enumerate(log_softmax(params.numpy(), -1)):
        for *z, c in itertools.product(range(3), repeat=3):
            log_q = sum(law[i, k] for i, k in enumerate((*z, c)))
            log_p = weights[c] + sum(components[i, k, c] for i, k in enumerate(z))
            reconstruction = likelihood(decoder, np.eye(3)[list(z)].ravel(), item)
            part = math.exp(log_q) * (log_q - log_p - reconstruction) / MIXTURE[0]
            total += part
            slope[item] += part * (np.eye(3)[[*z, c]] - np.exp(law))
    return total, slope


def _joint_kl() -> Array:
    """Return KL(q(z | x) q(c | x) || p(z, c)) of every x, over all pairs."""
    q = LABELS[:, :, None] * CODES[:, None, :]
    return _kl(q, WEIGHTS[:, None] * GIVEN_LABEL, (1, 2))


def _split_kl() -> Array:
    given = np.array([[_kl(code, law) for law in GIVEN_LABEL] for code in CODES])
    return np.asarray(_kl(LABELS, WEIGHTS) + (LABELS * given).sum(1))


def _looser_by() -> Array:
    joint = WEIGHTS[:, None] * GIVEN_LABEL
    responsibility = (joint / joint.sum(0)).T  # p(c | z), [z, c]
    each = np.array([[_kl(label, law) for law in responsibility] for label in LABELS])
    return np.asarray((CODES * each).sum(1))


# A mixture of posteriors as prior


def _information() -> float:
    """Return I(X, Z) by entropies, x uniform."""
    centre = CODES.mean(0)
    return float(xlogy(CODES, CODES).sum(1).mean() - xlogy(centre, centre).sum())


def _least_rate() -> float:
    """Return min over p of E_x KL(q(z | x) || p), found by a minimizer that knows no formula."""

    def rate(logits: Array) -> float:
        return float(_kl(CODES, softmax(logits)).mean())

    return float(minimize(rate, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).fun)


def _vamp_value(components: vamp.Components) -> float:
    found = vamp.vamp_prior("toy", components, items=3, dimensions=2, seed=4)
    return float(found.exact_value())


def _vamp_plain(components: vamp.Components) -> float:
    """The same by distortion and entropies, or with the two pseudo-inputs' mixture as prior."""
    decoder = vamp.toy(3, 2, 4)
    params = vamp.vamp_prior("toy", components, items=3, dimensions=2, seed=4).params
    logits = params.numpy().reshape(-1, 2)
    codes = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
    laws = np.exp(-np.log1p(np.exp(-(2 * codes - 1) * logits[:, None])).sum(2))  # [rows, codes]
    table = np.array([[likelihood(decoder, code, item) for code in codes] for item in range(3)])
    distortion = -(laws[:3] * table).sum(1).mean()
    if components == "pseudo":
        return float(distortion + _kl(laws[:3], laws[3:].mean(0)).mean())
    centre = laws.mean(0)
    information = xlogy(laws, laws).sum(1).mean() - xlogy(centre, centre).sum()
    return float(distortion + information)


FACTS: tuple[Fact, ...] = (
    Fact(
        "S31",
        "the KL divergence to a mixture prior splits",
        "KL(q(z, c | x) || p(z, c)) = KL(q(c | x) || p(c)) + E_q(c | x) KL(q(z | x) || p(z | c))",
        MIXTURE_PLACE,
        _joint_kl,
        _split_kl,
        slip="the section's opening has p_Z affect 'the decoder q(z | x)': that is the encoder",
    ),
    Fact(
        "S31",
        "one bound, two costs",
        "mixture_prior with c and z sampled, or c sampled alone, has one mean",
        MIXTURE_PLACE,
        lambda: [_mixture_sums(terms)[0] for terms in ("sampled", "component")],
        lambda: [_mixture_plain()[0]] * 2,
    ),
    Fact(
        "S31",
        "one bound, three costs with its gradient",
        "so do the gradients of these two and of the cost with all of the KL in closed form",
        MIXTURE_PLACE,
        lambda: [_mixture_sums(terms)[1] for terms in ("sampled", "component", "exact")],
        lambda: [_mixture_plain()[1]] * 3,
    ),
    Fact(
        "S31",
        "what a sampled component costs",
        "KL(q(z, c | x) || p(z, c)) - KL(q(z | x) || p(z)) = E_q(z | x) KL(q(c | x) || p(c | z))",
        MIXTURE_PLACE,
        lambda: _joint_kl() - _kl(CODES, WEIGHTS @ GIVEN_LABEL),
        _looser_by,
    ),
    Fact(
        "S32",
        "every data point a component",
        "with u_c = x_c for all c the negative ELBO is I(X, Z) - E log p(x | z)",
        VAMP_PLACE,
        lambda: _vamp_value("data"),
        lambda: _vamp_plain("data"),
        slip="it is said to share parameters with 'the decoder': q(z | x) is the encoder",
    ),
    Fact(
        "S32",
        "pseudo-inputs",
        "with pseudo-inputs it is E KL(q(z | x) || mean_c q(z | u_c)) - E log p(x | z)",
        VAMP_PLACE,
        lambda: _vamp_value("pseudo"),
        lambda: _vamp_plain("pseudo"),
    ),
    Fact(
        "S32",
        "no prior is cheaper than the mixture of posteriors",
        "min over p of E_x KL(q(z | x) || p) = I(X, Z), by a minimizer",
        VAMP_PLACE,
        _least_rate,
        _information,
    ),
    Fact(
        "S32",
        "what any other prior loses",
        "E_x KL(q(z | x) || p) - I(X, Z) = KL(q_Z || p), for six p",
        VAMP_PLACE,
        lambda: [float(_kl(CODES, p).mean()) - _information() for p in OTHERS],
        lambda: _kl(CODES.mean(0), OTHERS),
    ),
    *HIERARCHIES,
)
