"""The models of the bounds' facts in plain numpy: every z in one list, nothing of benchbed's sums.

Only the numbers are taken over (images, prior, decoder). Probabilities are products written out by
loops, not sums of logarithms; gradients are complex steps, exact to rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_legendre

from benchbed.facts.fact import Array
from benchbed.objectives._discrete_model import discrete_model

Numbers = NDArray[Any]  # float64, or complex128 on a complex step
PIXELS = 5


class Listed(NamedTuple):
    """A model and every value of one image's z."""

    bits: bool
    prior: Numbers  # p_v(k), [d, K]
    states: list[tuple[int, ...]]
    likelihood: Array  # p(x_n | z), [N, S]

    def product(self, factors: Numbers) -> Numbers:
        """Return the product laws [..., S] of [..., d, K]."""
        picked = [[factors[..., v, k] for v, k in enumerate(z)] for z in self.states]
        return np.stack([np.prod(each, axis=0) for each in picked], -1)

    def factors(self, logits: Numbers) -> Numbers:
        """Return the probabilities [..., d, K] of logits [..., d] (bits) or [..., d, K]."""
        if self.bits:
            p = 1 / (1 + np.exp(-logits))
            return np.stack([1 - p, p], -1)
        weight = np.exp(logits)
        found: Numbers = weight / weight.sum(-1, keepdims=True)
        return found

    def encoder(self, params: Numbers) -> Numbers:
        """Return q(z | x_n) [N, S] of flat logits [N * d] or [N * d, K]."""
        images = len(self.likelihood)
        return self.product(self.factors(params.reshape(images, -1, *params.shape[1:])))

    @property
    def prior_table(self) -> Numbers:
        """Return p(z), [S]."""
        return self.product(self.prior)

    @property
    def evidence(self) -> Numbers:
        """Return p(x_n), [N]."""
        return self.likelihood @ self.prior_table

    @property
    def posterior(self) -> Numbers:
        """Return p(z | x_n), [N, S]."""
        return self.likelihood * self.prior_table / self.evidence[:, None]

    def marginals(self, table: Numbers) -> list[Numbers]:
        """Return each variable's law under a joint table [S]."""
        found = [np.zeros(len(factor), table.dtype) for factor in self.prior]
        for probability, z in zip(table, self.states, strict=True):
            for v, k in enumerate(z):
                found[v][k] += probability
        return found


@cache
def listed(
    latents: str, data: int, dimensions: int, categories: int, seed: int, every_image: bool = False
) -> Listed:
    """Return a model's tables, of its own images or of all there are."""
    model = discrete_model("a fact", latents, data, dimensions, categories, seed)
    values = 2 if latents == "bernoulli" else categories
    states = list(itertools.product(range(values), repeat=dimensions))
    weights, start = model.weights.numpy().reshape(PIXELS, dimensions, values), model.start.numpy()
    images = list(itertools.product((0, 1), repeat=PIXELS)) if every_image else model.x.tolist()
    table = np.ones((len(images), len(states)))
    for (n, x), (s, z) in itertools.product(enumerate(images), enumerate(states)):
        for pixel, on in enumerate(x):
            logit = start[pixel] + sum(weights[pixel, v, k] for v, k in enumerate(z))
            table[n, s] *= 1 / (1 + np.exp(-logit if on else logit))
    return Listed(latents == "bernoulli", np.exp(model.log_prior.numpy()), states, table)


def slopes(function: Callable[[Numbers], Any], at: Numbers) -> Array:
    """Return the gradient of a function of real numbers by complex steps."""
    found = np.empty(at.shape)
    for index in np.ndindex(*at.shape):
        moved = at.astype(complex)
        moved[index] += 1e-30j
        found[index] = function(moved).imag / 1e-30
    return found


def kl(q: Numbers, p: Numbers) -> Any:
    """Return KL(q || p) along the last axis."""
    return (q * np.log(q / p)).sum(-1)


def tempered(toy: Listed) -> Array:
    """Return log p(x_n) as the integral over t in [0, 1] of E_t[log p(x_n | z)].

    The law at t is that in proportion to p(z) p(x | z)^t: thermodynamic integration, 40 nodes.
    """
    nodes, weights = roots_legendre(40)
    found = []
    for likelihood in toy.likelihood:
        law = toy.prior_table * likelihood ** (nodes[:, None] / 2 + 0.5)
        found.append(weights / 2 @ ((law @ np.log(likelihood)) / law.sum(-1)))
    return np.array(found)


def five_forms(toy: Listed, params: Numbers) -> Numbers:
    """Return the negative bound in its five forms, as the note writes each, averaged: [5]."""
    q, prior = toy.encoder(params), toy.prior_table
    aggregate = q.mean(0)
    decoded = (q * np.log(toy.likelihood)).sum(-1)
    entropy = -(q * np.log(q)).sum(-1)
    forms = (
        np.log(toy.evidence) - kl(q, toy.posterior),
        (q * np.log(toy.likelihood * prior)).sum(-1) + entropy,
        decoded - kl(q, prior),
        decoded - kl(q, aggregate) - kl(aggregate, prior),
        decoded + entropy + aggregate @ np.log(prior),
    )
    return np.array([-form.mean() for form in forms])


def five_slopes(toy: Listed, params: Array) -> Array:
    """Return the gradients of the five forms, [5, *params.shape]."""

    def form(number: int) -> Callable[[Numbers], Any]:
        return lambda at: five_forms(toy, at)[number]

    return np.array([slopes(form(number), params) for number in range(5)])


def mixture_likelihood(x: Array, params: Numbers, components: int) -> Any:
    """Return the mean log p(x) of a mixture with logits [components], then [components, pixels]."""
    weight = np.exp(params[:components])
    p = 1 / (1 + np.exp(-params[components:].reshape(components, PIXELS)))
    return np.log(mixture_joint(x, weight / weight.sum(), p).sum(-1)).mean()


def mixture_joint(x: Array, mixing: Numbers, means: Numbers) -> Numbers:
    """Return p(x_n, component k), [N, components], by products over pixels."""
    joint: Numbers = mixing * np.where(x[:, None] == 1, means, 1 - means).prod(-1)
    return joint


def em_by_hand(x: Array, mixing: Array, means: Array, steps: int) -> Array:
    """Return the mean log-likelihood before each step of EM and after the last."""
    mixing, means, trace = mixing.copy(), means.copy(), []
    for left in range(steps, -1, -1):
        joint = mixture_joint(x, mixing, means)
        trace.append(sum(np.log(sum(row)) for row in joint) / len(x))
        for k in range(len(mixing)) if left else ():
            share = [row[k] / sum(row) for row in joint]
            mixing[k] = sum(share) / len(x)
            means[k] = sum(r * image for r, image in zip(share, x, strict=True)) / sum(share)
            means[k] = np.minimum(means[k], 1)  # not 1 + 1e-16
    return np.array(trace)


def blahut(toy: Listed, multiplier: float, iterations: int = 2000) -> tuple[Array, Array]:
    """Return the optimal q(z | x_n) [N, S] and the normalizers [N] at a multiplier of the rate."""
    boltzmann = toy.likelihood ** (1 / multiplier)
    prior = np.full(len(toy.states), 1 / len(toy.states))
    for _ in range(iterations):
        q = boltzmann * prior / (boltzmann @ prior)[:, None]
        prior = q.mean(0)
    return q, boltzmann @ prior


def decomposed(toy: Listed, q: Array) -> Array:
    """Return the total correlation of q_Z, the variables' KLs, and KL(q_Z || p)."""
    aggregate = q.mean(0)
    own = toy.marginals(aggregate)
    correlation = (aggregate * np.log(aggregate)).sum() - sum((p * np.log(p)).sum() for p in own)
    apart = sum(kl(p, prior) for p, prior in zip(own, toy.prior, strict=True))
    return np.array([correlation, apart, kl(aggregate, toy.prior_table)])


def share_at_collapse(toy: Listed) -> Array:
    """Return the limit of I / KL for logits prior + (1/n) step: the share of the steps' variance.

    Both are half the Fisher form of the steps there, of their spread over images and of all.
    """
    bits = np.array(toy.states)
    on = toy.posterior @ bits  # [N, d]
    step = np.log(on / (1 - on)) - np.log(toy.prior[:, 1] / toy.prior[:, 0])
    fisher = toy.prior[:, 1] * toy.prior[:, 0]
    return np.array(fisher @ step.var(0) / (fisher @ (step**2).mean(0)))
