"""A mixture prior, p(z) = sum_c p(z | c) p(c), with the component c as one more latent variable.

Jiang et al. 2017, "Variational Deep Embedding" (arXiv 1611.05148): q(z, c | x) = q(z | x) q(c | x)
and x depends on z alone, so the KL divergence splits into one over c and one over z given c,

    KL(q(z, c | x) || p(z, c)) = KL(q(c | x) || p(c)) + E_{q(c | x)} KL(q(z | x) || p(z | c)),

both in closed form. This is NOT the bound with log sum_c p(z | c) p(c) inside, which is tighter by
E_{q(z | x)} KL(q(c | x) || p(c | z)). Here z and c are categorical with equally many categories,
so they are one row of logits each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.layout import draws_first, draws_last, linear
from benchbed.objectives._affordable import affordable
from benchbed.objectives._at_the_posterior import zero_at
from benchbed.objectives._digits_model import PIXELS, binary_digits, digits_model
from benchbed.objectives._listable import count_states
from benchbed.objectives._points import gradient_of
from benchbed.objectives._prior_model import (
    LISTS,
    Decoder,
    LogLikelihood,
    apart,
    check_sizes,
    decoder_of,
    digits_likelihood,
    drawn,
    every_state,
    table_of,
)
from benchbed.rng import Noise

CITATION = "Jiang et al. 2017"
FITTING = 20  # steps of EM: KL(q_Z || p) falls to 0.0009 nats; it is 0.10 to a uniform prior
PSEUDO_COUNT = 1e-3  # of every entry of a fitted component, so that none is 0
Data = Literal["toy", "digits"]
Terms = Literal["sampled", "component", "exact"]


class Mixture(NamedTuple):
    """log p(c) and log p(z_i = k | c) of independent z_i."""

    log_weights: Tensor  # [components]
    log_components: Tensor  # [dimensions, categories, components]

    def log_joint(self, z: Tensor) -> Tensor:
        """Return log p(z, c) of one-hot (or mean) z [draws, ..., d, K] at every c, [..., C]."""
        rows = self.log_components.flatten(0, 1).T  # [C, d K]
        inner = draws_last(linear(rows, z.flatten(-2)))
        return draws_first(inner + self.log_weights.to(z)[:, None])


def mixture_prior(
    data: Data = "toy",
    terms: Terms = "sampled",
    items: int = 4,
    dimensions: int | None = None,
    categories: int | None = None,
    separation: float | None = None,
    distance: float | None = None,
    training_steps: int = 40,
    seed: int = 0,
) -> Objective:
    """Cost: the mean negative ELBO, in nats a data point, of a model with a mixture prior.

    params are logits ``[items, dimensions + 1, categories]``, c the last variable of each data
    point; to be lowered. Row S31 of benchbed.facts.coverage.

    Args:
        data: ``toy``, 5 binary pixels of a small random model, or ``digits``, the images and the
            trained decoder of digits_vae (2 variables of 10 categories) with 10 components, fitted
            to the digits' codes by 20 steps of EM. Gradients are then by the weights of the
            encoder, followed by those of a linear head of 10 x 64 weights and 10 biases for
            q(c | x), with seeded values.
        terms: what of KL(q(z, c | x) || p(z, c)) is in the cost: ``sampled`` (log q - log p at z
            and c), ``component`` (c sampled, the divergence over z in closed form) or ``exact``
            (all in closed form: c then is in no term of the cost). One gradient, three variances.
            As in ``elbo``, what is all in closed form is counted from its value at the point, so
            that the score multiplies nothing of it: with exact E[J] is the bound less a number.
        items: data points, each with its own q; of the digits taken evenly through the data.
        dimensions: latent variables of one data point of the toy beside c; by default 2.
        categories: of each variable of the toy and of c; by default 3.
        separation: of the toy's components, standard deviation of their logits; at 0 they are the
            same and, with 1 dimension, the bound can reach log p(x). By default 1.
        distance: of the toy's q from the product law closest to the posterior in KL(p || q): its
            logits move by distance / 2 times seeded normal numbers. By default 1.
        training_steps: of digits_vae's model.
        seed: of the toy's model, data and step, or of the digits' head.
    """
    if terms not in ("sampled", "component", "exact"):
        raise BadArgument(f"mixture_prior needs terms: sampled, component or exact, got '{terms}'")
    check_sizes(
        "mixture_prior",
        *(data, items),
        dimensions=dimensions,
        categories=categories,
        separation=separation,
        distance=distance,
    )
    separation, distance = (1.0 if given is None else given for given in (separation, distance))
    if data == "digits":
        mixture, log_likelihood, params, jacobian = _digits(items, training_steps, seed)
    else:
        shape = (2 if dimensions is None else dimensions, 3 if categories is None else categories)
        mixture, decoder, params = toy(items, *shape, separation, distance, seed)
        log_likelihood, jacobian = decoder.log_likelihood, None
    every = every_state(CATEGORICAL, params[0, :-1])
    table = table_of(log_likelihood, every, items)  # [items, states]

    level = divergence(mixture, params) if terms == "exact" else torch.zeros(items).to(params)
    reached = data == "toy" and separation == distance == 0 and len(every[0]) == 1

    def value(params: Tensor) -> Tensor:
        log_q = CATEGORICAL.log_prob(params[:, None, :-1], every)
        reconstruction = (log_q.exp() * table).sum(-1)
        return (divergence(mixture, params) - level - reconstruction).mean()

    return Objective(
        "mixture_prior",
        CATEGORICAL,
        params,
        _cost(mixture, log_likelihood, terms, level),
        value,
        zero_at(params, gradient_of(value)) if reached else gradient_of(value),
        direct=True,
        jacobian=jacobian,
        citation=CITATION if data == "toy" else f"{CITATION}; Alpaydin and Kaynak 1998",
    )


def divergence(mixture: Mixture, params: Tensor) -> Tensor:
    """Return KL(q(z, c | x) || p(z, c)) of logits [..., items, d + 1, K] in closed form."""
    log_q = params.log_softmax(-1)
    by_component, q_c = _given_component(mixture, log_q), log_q[..., -1, :].exp()
    return (q_c * (log_q[..., -1, :] + by_component)).sum(-1)


def _given_component(mixture: Mixture, log_q: Tensor) -> Tensor:
    """Return KL(q(z | x) || p(z | c)) - log p(c) at every c, [..., items, C]."""
    inside = log_q[..., :-1, :]
    negative_entropy = (inside.exp() * inside).sum((-2, -1))
    return negative_entropy[..., None] - mixture.log_joint(inside.exp())


def _cost(
    mixture: Mixture, log_likelihood: LogLikelihood, terms: Terms, level: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """``level`` [items] is taken off the divergence in closed form."""
    items = len(level)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        inside, component = z[..., :-1, :], z[..., -1, :]
        reconstruction = log_likelihood(inside.flatten(-2))
        if terms == "exact":
            return (divergence(mixture, params) - level.to(params) - reconstruction) / items
        if terms == "component":
            log_q = params.log_softmax(-1)
            at_c = log_q[..., -1, :] + _given_component(mixture, log_q)
            return ((component * at_c).sum(-1) - reconstruction) / items
        log_p = (component * mixture.log_joint(inside)).sum(-1)
        return (CATEGORICAL.log_prob(params, z) - log_p - reconstruction) / items

    return cost


def toy(
    items: int, dimensions: int, categories: int, separation: float, distance: float, seed: int
) -> tuple[Mixture, Decoder, Tensor]:
    """Return the toy's prior, its decoder with the data, and q's logits [items, d + 1, K]."""
    at_least("mixture_prior", "dimensions", dimensions, 1)
    at_least("mixture_prior", "categories", categories, 2)
    states = count_states("mixture_prior", LISTS, categories, dimensions)
    largest = items * states * categories
    affordable("mixture_prior", largest, "use fewer items, dimensions or categories")
    finite_number("mixture_prior", "separation", separation)
    at_least("mixture_prior", "seed", seed, 0)
    noise = Noise(seed, "mixture_prior", dtype=torch.float64)
    weights = (0.5 * noise.normal(categories)).contiguous()
    components = separation * noise.normal(dimensions, categories, categories).contiguous()
    mixture = Mixture(weights.log_softmax(0), components.log_softmax(1))
    c = drawn(CATEGORICAL, weights.expand(items, 1, -1), noise)[:, 0]  # [items, C]
    truth = drawn(CATEGORICAL, torch.einsum("dkc,ic->idk", components, c), noise)
    decoder = decoder_of(truth.flatten(1), noise)
    every = every_state(CATEGORICAL, components[:, :, 0])
    prior = mixture.log_joint(every[:, None])[:, 0]  # [states, C]
    joint = table_of(decoder.log_likelihood, every, items)[..., None] + prior
    posterior = joint.flatten(1).softmax(-1).reshape(joint.shape)  # [items, states, C]
    closest = torch.cat(
        (torch.einsum("isc,sdk->idk", posterior, every), posterior.sum(1, keepdim=True)), 1
    ).log()
    return mixture, decoder, apart("mixture_prior", closest, distance, noise)


def _digits(
    items: int, training_steps: int, seed: int
) -> tuple[Mixture, LogLikelihood, Tensor, Tensor]:
    """Return the prior, log p(x | z), the logits and their Jacobian by encoder and head."""
    at_least("mixture_prior", "training_steps", training_steps, 0)
    at_least("mixture_prior", "seed", seed, 0)
    model = digits_model("categorical", training_steps)
    batch = model.minibatch(items)
    categories = model.event[-1]
    noise = Noise(seed, "mixture_prior", "digits", dtype=torch.float64)
    weights = noise.normal(categories, PIXELS).contiguous() / PIXELS**0.5
    centred = 2 * batch - 1
    head = centred @ weights.T  # and biases of 0
    params = torch.cat((model.encode(model.encoder, batch), head[:, None]), 1)
    encoder = model.jacobian(batch)  # [items, d, K, encoder weights]
    inputs = torch.cat((centred, torch.ones(items, 1).to(centred)), 1)  # the biases' last
    eye = torch.eye(categories).to(centred)
    by_head = torch.einsum("cb,ip->icbp", eye, inputs).flatten(2)  # [items, C, 10 x 65]
    jacobian = params.new_zeros(*params.shape, encoder.shape[-1] + by_head.shape[-1])
    jacobian[:, :-1, :, : encoder.shape[-1]] = encoder
    jacobian[:, -1, :, encoder.shape[-1] :] = by_head
    codes = model.encode(model.encoder, binary_digits()).softmax(-1)  # [images, 2, K]
    joint = torch.einsum("nj,nk->jk", codes[:, 0], codes[:, 1]) / len(codes)
    return fitted(joint, categories, noise), digits_likelihood(model, batch), params, jacobian


def fitted(joint: Tensor, components: int, noise: Noise) -> Mixture:
    """Return a mixture of products fitted to the law ``joint`` [K, K] of two variables, by EM."""
    weights = joint.new_full((components,), 1 / components)
    rows = noise.normal(2, len(joint), components).contiguous().softmax(1)  # [2, K, C]
    for _ in range(FITTING):
        together = torch.einsum("jc,kc,c->jkc", rows[0], rows[1], weights)
        share = joint[..., None] * together / together.sum(-1, keepdim=True)
        weights = share.sum((0, 1))
        rows = torch.stack((share.sum(1), share.sum(0))) + PSEUDO_COUNT * weights
        rows = rows / rows.sum(1, keepdim=True)
    return Mixture(weights.log(), rows.log())
