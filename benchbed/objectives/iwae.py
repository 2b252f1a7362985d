"""A small importance-weighted bound, L_K = E log (1/K) sum_k p(x, z_k) / q(z_k; params).

Burda, Grosse and Salakhutdinov 2016, "Importance Weighted Autoencoders" (arXiv 1509.00519). The
cost is J = log mean_k w_k, to be raised, not lowered: L_1 is the ELBO, L_K rises with K to
log p(x). q holds params, so J depends on them directly. The generative model has seeded random
weights: independent variables with a uniform prior and a logistic likelihood of binary pixels, or
one standard normal variable with a linear Gaussian likelihood, whose posterior is normal again.

Exact for every K without a tuple being listed: the multisets of discrete particles where they are
few (_multisets.py), one integral over the law of a single weight elsewhere (_log_mean_exp.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Family, Objective
from benchbed.errors import BadArgument
from benchbed.families import BERNOULLI, CATEGORICAL, NORMAL
from benchbed.families.particles import particles as particles_of
from benchbed.layout import draws_first, draws_last, linear
from benchbed.objectives._at_the_posterior import zero_at
from benchbed.objectives._log_mean_exp import expected_log_mean
from benchbed.objectives._multisets import expected_over_multisets, few_multisets
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

PIXELS = 5
CITATION = "Burda et al. 2016"
MOST_STATES = 4096  # of ONE particle's z
MOST_PARTICLES = 2**20
MOST_LISTED = 2**22  # values of one particle's z, of all items
REACH, NODES = 9.0, 1201  # the normal law's grid: +-9 standard deviations
Latents = Literal["bernoulli", "categorical", "normal"]


def iwae(
    latents: Latents = "bernoulli",
    particles: int = 2,
    items: int = 1,
    dimensions: int | None = None,
    categories: int = 3,
    distance: float = 1.0,
    seed: int = 0,
) -> Objective:
    """Cost log (1/K) sum_k p(x, z_k) / q(z_k), of a small random model, exact for every K.

    To be raised. Rows S26 and S27 of benchbed.facts.coverage.

    Args:
        latents: ``bernoulli``, ``categorical`` or ``normal``.
        particles: K.
        items: data points x, each with its own q; 1: no item axis.
        dimensions: latent variables of one item: by default 3 bits, or 2 variables of
            ``categories``; normal latents have 1.
        categories: values of a categorical variable.
        distance: of q from the product law that is closest to the posterior in KL(p || q); 0 is
            that law. Logits move by distance / 2 times seeded normal numbers; of a normal q the
            mean does, in standard deviations of the posterior, and the log-scale grows by
            distance / 2 times their size, so that weights are bounded. With normal latents, or
            one variable, 0 is the posterior itself, where every log w is log p(x): the gradient
            is 0, and sticking_the_landing and doubly_reparameterized are 0 up to rounding.
        seed: of the model's weights, of x and of the step.
    """
    if latents not in ("bernoulli", "categorical", "normal"):
        raise BadArgument(f"iwae needs latents: bernoulli, categorical or normal, got '{latents}'")
    at_least("iwae", "particles", particles, 1)
    at_least("iwae", "items", items, 1)
    at_least("iwae", "seed", seed, 0)
    if particles > MOST_PARTICLES:
        raise BadArgument(f"iwae has at most {MOST_PARTICLES:,} particles, got {particles:,}")
    if finite_number("iwae", "distance", distance) < 0:
        raise BadArgument(f"iwae needs a distance >= 0, got {distance}; 0 is the posterior")
    noise = Noise(seed, "iwae", latents, dtype=torch.float64)
    if latents == "normal":
        _listable(items, NODES)
        if dimensions not in (None, 1):
            raise BadArgument(
                f"iwae with normal latents has 1 dimension, got {dimensions}; leave it out, or "
                "use latents: bernoulli"
            )
        log_joint, closest, support = _linear_gaussian(items, noise)
    else:
        log_joint, closest, support = _logistic(latents, items, dimensions, categories, noise)
    base = {"bernoulli": BERNOULLI, "categorical": CATEGORICAL, "normal": NORMAL}[latents]
    step = 0.5 * distance * noise.child("step").normal(*closest.shape)
    if latents == "normal":
        step = torch.stack((step[:, 0] * closest[:, 1].exp(), step[:, 1].abs()), 1)
    params = closest + step
    if items == 1:
        params = params[0]
    value = _value(base, log_joint, support, particles)
    gradient = gradient_of(value)
    if distance == 0 and (latents == "normal" or closest.shape[1] == 1):
        gradient = zero_at(params, gradient)
    return Objective(
        "iwae",
        particles_of(base, particles),
        params.contiguous(),
        bound(base, log_joint),
        value,
        gradient,
        direct=True,
        log_joint=log_joint,
        citation=CITATION,
    )


LogJoint = Callable[[Tensor], Tensor]
# params [items, *parameter axes] -> z [1, items, n, *event] and the probability of each [items, n]
Support = Callable[[Tensor], tuple[Tensor, Tensor]]


def bound(base: Family, log_joint: LogJoint) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cost log mean_k exp(log p(x, z_k) - log q(z_k; params))."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        log_q = base.log_prob(params.unsqueeze(-base.params_axes - 1), z)
        log_weight = draws_last(log_joint(z) - log_q)  # [..., *items, K, draws]
        return draws_first(log_weight.logsumexp(-2) - math.log(log_weight.shape[-2]))

    return cost


def _value(
    base: Family, log_joint: LogJoint, support: Support, count: int
) -> Callable[[Tensor], Tensor]:
    def value(params: Tensor) -> Tensor:
        grouped = params if base.items(params) else params[None]
        z, probability = support(grouped)
        at = z if base.items(params) else z[:, 0]
        log_q = base.log_prob(params.unsqueeze(-base.params_axes - 1), at)
        log_weight = (log_joint(at) - log_q).reshape(probability.shape)
        if base.states is not None and few_multisets(probability.shape[-1], count):
            return expected_over_multisets(probability, log_weight, count).sum()
        laws = zip(probability, log_weight, strict=True)
        return torch.stack([expected_log_mean(*law, count) for law in laws]).sum()

    return value


def _linear_gaussian(items: int, noise: Noise) -> tuple[LogJoint, Tensor, Support]:
    """Return log p(x, z), the posterior [items, 2, 1] and q's grid: x | z ~ N(a z + b, 1)."""
    slope, start = noise.normal(PIXELS).contiguous(), noise.normal(PIXELS).contiguous()
    x = slope * noise.normal(items, 1) + start + noise.normal(items, PIXELS)
    x = x.contiguous() if items > 1 else x[0]
    precision = 1 + slope.square().sum()
    pull = ((x - start) * slope).sum(-1).reshape(-1)  # [items]
    posterior = torch.stack((pull / precision, -0.5 * precision.log().expand(items)), -1)
    # log p(x, z) = -precision z^2 / 2 + pull z + what does not depend on z.
    rest = -0.5 * ((x - start).square().sum(-1) + (PIXELS + 1) * math.log(2 * math.pi))

    def log_joint(z: Tensor) -> Tensor:
        at = z[..., 0]  # [..., *items, particles]
        linear_part = pull.reshape(*rest.shape, 1).to(z) * at
        return linear_part - 0.5 * float(precision) * at.square() + rest[..., None].to(z)

    eps = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    weight = (-0.5 * eps.square()).softmax(0)

    def support(params: Tensor) -> tuple[Tensor, Tensor]:
        z = params[:, :1, 0] + params[:, 1:, 0].exp() * eps.to(params)  # [items, n]
        return z[None, ..., None], weight.to(params).expand_as(z)

    return log_joint, posterior[..., None], support


def _listable(items: int, values: int) -> int:
    """Return ``values``, or say that so many of so many items are too many."""
    if items * values > MOST_LISTED:
        raise BadArgument(
            f"iwae lists {values:,} values of z for each item and {items:,} items have more than "
            f"{MOST_LISTED:,}; use at most {MOST_LISTED // values:,} items"
        )
    return values


def _logistic(
    latents: Latents, items: int, dimensions: int | None, categories: int, noise: Noise
) -> tuple[LogJoint, Tensor, Support]:
    """Return log p(x, z), the closest product's logits and the list of z."""
    base = BERNOULLI if latents == "bernoulli" else CATEGORICAL
    if dimensions is None:
        dimensions = 3 if base is BERNOULLI else 2
    variables = at_least("iwae", "dimensions", dimensions, 1)
    at_least("iwae", "categories", categories, 2)
    event = (variables,) if base is BERNOULLI else (variables, categories)
    # Before 2^d is computed: of a billion dimensions it has 300 million digits.
    values = 2 if base is BERNOULLI else categories
    if variables > math.log2(MOST_STATES) or values**variables > MOST_STATES:
        raise BadArgument(
            f"iwae lists the values of one particle's z and {values}^{variables} are more than "
            f"{MOST_STATES:,}; use fewer dimensions or categories"
        )
    states = _listable(items, values**variables)
    origin = torch.zeros(event, dtype=torch.float64)
    assert base.enumerate is not None
    matrix = (2 * noise.normal(PIXELS, origin.numel())).contiguous()
    start = noise.normal(PIXELS).contiguous()
    every = base.enumerate(origin, torch.arange(states))  # [states, *event]
    truth = every[noise.integers(states, items)].flatten(1)  # [items, inputs]
    seen = noise.uniform(items, PIXELS) < (truth @ matrix.T + start).sigmoid()
    x = seen.to(origin) if items > 1 else seen[0].to(origin)

    def log_joint(z: Tensor) -> Tensor:
        flat = z.flatten(-len(event)) if len(event) > 1 else z
        logits = draws_last(linear(matrix, flat)) + start.to(z)[:, None]  # [..., K, pixels, draws]
        likelihood = (logits * x.to(z)[..., None, :, None] - F.softplus(logits)).sum(-2)
        return draws_first(likelihood) - math.log(states)

    listed = every.expand(1, *x.shape[:-1], states, *event)
    posterior = log_joint(listed).reshape(items, states).softmax(-1)
    marginal = torch.einsum("is,se->ie", posterior, every.flatten(1)).reshape(items, *event)
    closest = marginal.logit() if base is BERNOULLI else marginal.log()

    def support(params: Tensor) -> tuple[Tensor, Tensor]:
        z = every.to(params).expand(1, params.shape[0], states, *event)
        return z, base.log_prob(params.unsqueeze(-base.params_axes - 1), z)[0].exp()

    return log_joint, closest, support
