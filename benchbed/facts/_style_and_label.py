"""Sides of the facts about a compartmentalized prior: a style and a label, semi-supervised."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp, softmax
from scipy.stats import entropy, norm
from torch import Tensor

from benchbed.facts.fact import Array
from benchbed.objectives._labelled_toy import Toy, toy
from benchbed.objectives._semi_supervised import Problem, trapezoidal, value_of
from benchbed.objectives.compartmentalized import compartmentalized

IMAGES, LABELS, ALPHA = 4, 3, 0.7


@cache
def _toy() -> Toy:
    return toy(IMAGES, LABELS, 1, 6)


def objective(labelled: int, classification: float) -> float:
    problem = compartmentalized(
        images=IMAGES, labelled=labelled, classification=classification, seed=6
    )
    return float(problem.exact_value())


class _Tables(NamedTuple):
    """Over images, labels and a Gauss-Hermite rule of the style: logs and q's weights."""

    log_joint: Array  # log p(x, y, s), [images, labels, nodes]
    log_style: Array  # log q(s | x, y)
    log_label: Array  # log q(y | x), [images, labels]
    weight: Array  # of a node under q(s | x, y), [nodes]


@cache
def _tables() -> _Tables:
    model = _toy()
    params, x = model.params.numpy(), model.images.numpy()
    eps, weight = hermegauss(150)
    mean, log_scale = params[..., 1, None], params[..., 2, None]
    style = mean + np.exp(log_scale) * eps
    logits = model.offsets.numpy().T[None, :, :, None] + np.einsum(
        "pl,ilk->ilpk", model.slopes[0].numpy(), style
    )
    signs = (2 * x - 1)[:, None, :, None]
    log_x = -np.logaddexp(0, -signs * logits).sum(2)
    log_s = -0.5 * style**2 - 0.5 * np.log(2 * np.pi)
    log_joint = log_x + log_s + model.log_prior.numpy()[None, :, None]
    log_style = -0.5 * eps**2 - 0.5 * np.log(2 * np.pi) - log_scale
    beliefs = params[..., 0]
    log_label = beliefs - np.log(np.exp(beliefs).sum(1, keepdims=True))
    return _Tables(
        log_joint, np.broadcast_to(log_style, log_joint.shape), log_label, weight / weight.sum()
    )


def unlabelled_bounds() -> Array:
    """-U(x) of each image: the joint expectation over label and style, as ELBO is defined."""
    log_joint, log_style, log_label, weight = _tables()
    log_ratio = log_joint - log_style - log_label[..., None]
    return np.asarray(np.einsum("il,ilk,k->i", np.exp(log_label), log_ratio, weight))


def kingma() -> Array:
    """sum_y q(y|x) (-L(x, y)) + H(q(y|x)), with L of benchbed at every label in turn."""
    model = _toy()
    rule = trapezoidal(1)
    bounds = np.empty((IMAGES, LABELS))
    for i in range(IMAGES):
        for y in range(LABELS):
            one = Problem(
                model.images[i : i + 1], torch.tensor([y]), model.log_prior, model.decode, 0.0
            )
            bounds[i, y] = -float(value_of(one, rule)(model.params[i : i + 1]))
    belief = softmax(model.params[..., 0].numpy(), axis=1)
    return np.asarray((belief * bounds).sum(1) + entropy(belief, axis=1))


def _labels() -> Tensor:
    """Which images have a label when half do: every other one, and -1 elsewhere."""
    known = torch.full((IMAGES,), -1)
    known[1::2] = _toy().truth[1::2]
    return known


def semi_supervised() -> float:
    """The whole objective in numpy, image by image."""
    log_joint, log_style, log_label, weight = _tables()
    total = 0.0
    for i, y in enumerate(_labels().tolist()):
        if y < 0:
            total -= float(unlabelled_bounds()[i])
        else:
            total -= float((log_joint[i, y] - log_style[i, y]) @ weight)
            total -= ALPHA * float(log_label[i, y])
    return total / IMAGES


def gaps() -> tuple[float, float]:
    """Mean log p(x), or log p(x, y), less what the objective says of no and of all labels."""
    evidence = _evidence()
    unlabelled = np.log(evidence.sum(1)).mean() + objective(0, 0.0)
    labelled = np.log(evidence[np.arange(IMAGES), _toy().truth]).mean() + objective(IMAGES, 0.0)
    return float(unlabelled), float(labelled)


STEP = 0.05  # of the even grid of the style


@cache
def _grid() -> tuple[Array, Array]:
    """Return log p(x, y, s) and log q(s | x, y) on an even grid of s, [images, labels, n]."""
    model = _toy()
    s = np.arange(-12, 12, STEP)
    offsets, slopes = model.offsets.numpy()[..., None], model.slopes[0].numpy()[..., None]
    logits = offsets + slopes * s  # [pixels, labels, n]
    x = model.images.numpy()[:, :, None, None]
    log_x = (x * logits - np.log1p(np.exp(logits))).sum(1)
    prior = model.log_prior.numpy()[:, None]
    params = model.params.numpy()[..., None]  # [images, labels, 3, 1]
    return log_x + prior + norm.logpdf(s), norm.logpdf(s, params[:, :, 1], np.exp(params[:, :, 2]))


def _evidence() -> Array:
    """Return p(x, y), [images, labels]."""
    return np.asarray(np.exp(_grid()[0]).sum(-1) * STEP)


def divergences() -> tuple[float, float]:
    """Mean KL(q(y, s|x) || p(y, s|x)) and mean KL(q(s|x, y) || p(s|x, y)) at the true labels."""
    log_joint, log_q = _grid()
    beliefs = _toy().params[..., 0].numpy()
    log_both = log_q + (beliefs - logsumexp(beliefs, axis=1, keepdims=True))[..., None]
    log_posterior = log_joint - logsumexp(log_joint, axis=(1, 2), keepdims=True) - np.log(STEP)
    log_style = log_joint - logsumexp(log_joint, axis=2, keepdims=True) - np.log(STEP)
    both = (np.exp(log_both) * (log_both - log_posterior)).sum((1, 2)) * STEP
    style = (np.exp(log_q) * (log_q - log_style)).sum(2) * STEP
    return float(both.mean()), float(style[np.arange(IMAGES), _toy().truth].mean())
