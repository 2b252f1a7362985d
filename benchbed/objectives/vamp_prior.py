"""A prior made of the encoder's own posteriors, p(z) = (1/C) sum_c q(z | u_c).

Tomczak and Welling 2018, "VAE with a VampPrior" (arXiv 1705.07120), equation 9. Where the u_c are
the N data points themselves, p is the aggregate posterior q_Z: the prior that no other beats for
this q, and KL(q_Z || p) = 0 (equation 6). Learned pseudo-inputs u_c are fewer. The prior moves with
the encoder, so the cost depends on params through it as well. At p = q_Z that direct term has mean
0, as at any optimum, and code that detaches the prior is unbiased; with fewer components or with
pseudo-inputs such code keeps the value and loses a part of the gradient. Notes that call q(z | x),
which the prior shares, "the decoder" mean the encoder.

The prior couples the data, so there is no item axis: z is the codes of all N data points. It still
is exact in O((N + C) 2^d), because the cost is a sum over data points of functions of one code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import BERNOULLI
from benchbed.families.extended import extended
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._affordable import affordable
from benchbed.objectives._digits_model import DigitsModel, binary_digits, digits_model
from benchbed.objectives._jacobian import jacobian_of
from benchbed.objectives._listable import count_states
from benchbed.objectives._points import gradient_of
from benchbed.objectives._prior_model import (
    LISTS,
    PIXELS,
    Decoder,
    LogLikelihood,
    check_sizes,
    decoder_of,
    digits_likelihood,
    drawn,
    every_state,
    table_of,
)
from benchbed.rng import Noise

CITATION = "Tomczak and Welling 2018"
Data = Literal["toy", "digits"]
Components = Literal["data", "pseudo"]


def vamp_prior(
    data: Data = "toy",
    components: Components = "data",
    count: int | None = None,
    items: int = 4,
    dimensions: int | None = None,
    training_steps: int = 40,
    seed: int = 0,
) -> Objective:
    """Cost: the mean negative ELBO, in nats a data point, under a mixture of posteriors as prior.

    params are flat, ``[items * dimensions]`` logits of q(z | x), each data point's bits together;
    with pseudo-inputs ``count * dimensions`` logits of q(z | u_c) follow, on which the law of z
    does not depend. z is ``[items * dimensions]`` bits; to be lowered. Row S32 of
    benchbed.facts.coverage.

    Args:
        data: ``toy``, 5 binary pixels of a small random model, or ``digits``, the images and the
            trained 8-bit model of digits_vae. Gradients are then by the encoder's weights and,
            with pseudo-inputs, by their pixels [count, 64] after them.
        components: ``data`` (the first ``count`` data points themselves) or ``pseudo`` (learned
            pseudo-inputs: of the toy free logits, of the digits images half way between a random
            digit and the mean one).
        count: of components; by default every data point, the optimal prior, or 2 pseudo-inputs.
        items: data points, N; of the digits taken evenly through the data.
        dimensions: bits of one data point of the toy; by default 3.
        training_steps: of digits_vae's model.
        seed: of the toy's model, data and point, or of the digits' pseudo-inputs.
    """
    if components not in ("data", "pseudo"):
        raise BadArgument(f"vamp_prior needs components: data or pseudo, got '{components}'")
    check_sizes("vamp_prior", data, items, dimensions=dimensions)
    at_least("vamp_prior", "seed", seed, 0)
    pseudo = components == "pseudo"
    if count is None:
        count = 2 if pseudo else items
    at_least("vamp_prior", "count", count, 1)
    if not pseudo and count > items:
        raise BadArgument(
            f"vamp_prior has {items} data points to take components from, got count {count}; "
            "use at most as many, or components: pseudo"
        )
    noise = Noise(seed, "vamp_prior", data, dtype=torch.float64)
    if data == "digits":
        at_least("vamp_prior", "training_steps", training_steps, 0)
        model = digits_model("bernoulli", training_steps)
        batch, bits = model.minibatch(items), model.size
        log_likelihood = digits_likelihood(model, batch)
        params, jacobian = _by_weights(model, batch, count if pseudo else 0, noise)
    else:
        bits = at_least("vamp_prior", "dimensions", 3 if dimensions is None else dimensions, 1)
        states = count_states("vamp_prior", LISTS, 2, bits, "dimensions")
        largest = max(items, count) * max(states, PIXELS)
        affordable("vamp_prior", largest, "use fewer items, components or dimensions")
        log_likelihood = toy(items, bits, seed).log_likelihood
        params = 1.5 * noise.normal(items * bits + pseudo * count * bits).contiguous()
        jacobian = None
    every = every_state(BERNOULLI, params[:bits])
    value = _value(table_of(log_likelihood, every, items), every, count, pseudo)
    return Objective(
        "vamp_prior",
        extended(BERNOULLI, (items * bits,), count * bits) if pseudo else BERNOULLI,
        params,
        _cost(log_likelihood, items, bits, count, pseudo),
        value,
        gradient_of(value),
        direct=True,
        jacobian=jacobian,
        citation=CITATION if data == "toy" else f"{CITATION}; Alpaydin and Kaynak 1998",
    )


def _split(
    params: Tensor, items: int, bits: int, count: int, pseudo: bool
) -> tuple[Tensor, Tensor]:
    """Return the logits of the data [..., N, d] and of the components [..., C, d]."""
    rows = torch.unflatten(params, -1, (-1, bits))
    return rows[..., :items, :], rows[..., items:, :] if pseudo else rows[..., :count, :]


def _cost(
    log_likelihood: LogLikelihood, items: int, bits: int, count: int, pseudo: bool
) -> Callable[[Tensor, Tensor], Tensor]:
    def cost(z: Tensor, params: Tensor) -> Tensor:
        codes = torch.unflatten(z, -1, (items, bits))  # [draws, samples, N, d]
        logits, prior = _split(params, items, bits, count, pseudo)
        log_q = BERNOULLI.log_prob(logits, codes)
        # Off the corners log q is <z, log pi>; here it is that of every code at every component.
        inner = draws_last(codes).unsqueeze(-3)  # [samples, N, 1, d, n]
        at = draws_last(prior)[..., None, :, :, :] if prior.ndim > 2 else prior[..., None]
        each = (inner * F.logsigmoid(at) + (1 - inner) * F.logsigmoid(-at)).sum(-2)
        log_p = draws_first(each.logsumexp(-2) - math.log(count))  # [draws, samples, N]
        return (log_q - log_p - log_likelihood(codes)).mean(-1)

    return cost


def _value(table: Tensor, every: Tensor, count: int, pseudo: bool) -> Callable[[Tensor], Tensor]:
    """Return the exact value from log p(x_i | z) [N, states]: one sum over the states of ONE z."""

    def value(params: Tensor) -> Tensor:
        logits, prior = _split(params, len(table), every.shape[1], count, pseudo)
        log_q = BERNOULLI.log_prob(logits[:, None], every)  # [N, states]
        log_p = BERNOULLI.log_prob(prior[:, None], every).logsumexp(0) - math.log(count)
        return (log_q.exp() * (log_q - log_p - table)).sum(-1).mean()

    return value


def toy(items: int, bits: int, seed: int) -> Decoder:
    """Return the toy's decoder, and the data that it drew at uniform codes."""
    noise = Noise(seed, "vamp_prior", "model", dtype=torch.float64)
    truth = drawn(BERNOULLI, torch.zeros(items, bits, dtype=torch.float64), noise)
    return decoder_of(truth, noise)


def _by_weights(
    model: DigitsModel, batch: Tensor, count: int, noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return flat logits of the batch and of ``count`` pseudo-inputs, and their Jacobian.

    Its coordinates are the encoder's weights, then the pixels of the pseudo-inputs.
    """
    logits, by_encoder = model.encode(model.encoder, batch), model.jacobian(batch)
    if not count:
        return logits.flatten(), by_encoder.flatten(0, 1)
    images = binary_digits()
    pixels = 0.5 * (images[noise.integers(len(images), count)] + images.mean(0))
    by_pixels = jacobian_of(lambda u: model.encode(model.encoder, u), pixels)
    params = torch.cat((logits, model.encode(model.encoder, pixels))).flatten()
    every = torch.cat((by_encoder, model.jacobian(pixels))).flatten(0, 1)  # [(N + C) 8, weights]
    beside = every.new_zeros(len(every), pixels.numel())
    beside[logits.numel() :] = by_pixels.flatten(2).flatten(0, 1)
    return params, torch.cat((every, beside), 1)
