"""The encoder and decoder of digits_vae, trained by the exact gradient and cached on disk."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.objectives._descent import descend
from benchbed.objectives._jacobian import jacobian_of
from benchbed.objectives._shipped_data import digits
from benchbed.objectives._trained import Weights, trained
from benchbed.rng import Noise

PIXELS, ENCODER_HIDDEN, DECODER_HIDDEN = 64, 16, 32
RATE = 0.02  # of Adam
EVENT = {"bernoulli": (8,), "categorical": (2, 10)}


@dataclass(frozen=True)
class DigitsModel:
    """Weights as two flat float64 vectors, and the maps they define."""

    event: tuple[int, ...]
    encoder: Tensor  # [weights]
    decoder: Tensor  # [weights]

    @property
    def size(self) -> int:
        """Numbers in one z (and in one image's logits)."""
        return int(np.prod(self.event))

    def minibatch(self, images: int) -> Tensor:
        """Return ``images`` binary images taken evenly through the data, [items, 64]."""
        data = binary_digits()
        return data[torch.linspace(0, len(data) - 1, images).long()]

    def encode(self, weights: Tensor, batch: Tensor) -> Tensor:
        """Map images [items, 64] to logits [items, *event], as a function of all the weights."""
        first, bias, second, last = _split(weights, PIXELS, ENCODER_HIDDEN, self.size)
        hidden = torch.tanh((2 * batch - 1) @ first.T + bias)
        return (hidden @ second.T + last).reshape(len(batch), *self.event)

    def decode(self, z: Tensor) -> Tensor:
        """Map z [..., latents, n] to pixel logits [..., 64, n]."""
        return _decode(self.decoder.to(z), z, self.size)

    def log_likelihood(self, batch: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the map of z [..., items, latents, n] to log p(x | z) [..., items, n].

        Of x = ``batch``, binary images [items, 64]. A pixel adds log sigma((2 x - 1) logit), and
        tanh(a) is 2 sigma(2 a) - 1, which torch finds ten times as fast: signs and constants go
        into the weights.
        """
        first, bias, second, last = _split(self.decoder, self.size, DECODER_HIDDEN, PIXELS)
        inner, offset = 4 * first, 2 * (bias - first.sum(1))[:, None]
        sign = (2 * batch - 1)[..., None]
        outer, level = sign * (2 * second), sign * (last - second.sum(1))[:, None]

        def log_likelihood(z: Tensor) -> Tensor:
            hidden = (inner.to(z) @ z).add_(offset.to(z)).sigmoid()
            pixels = (outer.to(z) @ hidden).add_(level.to(z))  # [..., items, 64, n]
            return F.logsigmoid(pixels).sum(-2)

        return log_likelihood

    def jacobian(self, batch: Tensor) -> Tensor:
        """Return d logits / d encoder weights, [items, *event, weights], an image at a time."""

        def of_one(image: Tensor) -> Tensor:
            return jacobian_of(lambda weights: self.encode(weights, image[None])[0], self.encoder)

        return torch.stack([of_one(image) for image in batch])

    def pull(self, batch: Tensor) -> Callable[[Tensor], Tensor]:
        """Return g [items, *event, n] -> its product with ``jacobian``, [weights, n].

        Backpropagation, layer by layer, for n gradients at once: a seventh of the matrix's work.
        """
        first, bias, second, _ = _split(self.encoder, PIXELS, ENCODER_HIDDEN, self.size)
        inputs = 2 * batch - 1  # [items, pixels]
        hidden = torch.tanh(inputs @ first.T + bias)  # [items, hidden]
        through = (1 - hidden.square())[:, None] * second  # [items, logits, hidden]

        def pulled(gradient: Tensor) -> Tensor:
            g = gradient.reshape(len(batch), self.size, -1)
            delta = (through.to(g).mT @ g).transpose(0, 1)  # [hidden, items, n]
            parts = (
                inputs.T.to(g) @ delta,
                delta.sum(1),
                hidden.T.to(g) @ g.transpose(0, 1),
                g.sum(0),
            )
            return torch.cat([part.reshape(-1, g.shape[-1]) for part in parts])

        return pulled


def _decode(weights: Tensor, z: Tensor, size: int) -> Tensor:
    first, bias, second, last = _split(weights, size, DECODER_HIDDEN, PIXELS)
    hidden = torch.tanh(first @ (2 * z - 1) + bias[:, None])
    return second @ hidden + last[:, None]


def _split(weights: Tensor, inputs: int, hidden: int, outputs: int) -> tuple[Tensor, ...]:
    """Cut a flat vector into a two-layer network: matrix, bias, matrix, bias."""
    sizes = [hidden * inputs, hidden, outputs * hidden, outputs]
    first, bias, second, last = torch.split(weights, sizes)
    return first.view(hidden, inputs), bias, second.view(outputs, hidden), last


@functools.cache
def binary_digits() -> Tensor:
    """Return the digits with pixels of 8 and more (of 16) set, [1797, 64] float64."""
    return torch.from_numpy((digits().data >= 8).astype(np.float64))


@functools.cache
def digits_model(latents: str, steps: int) -> DigitsModel:
    """Return the model after ``steps`` of training; trained ones are cached on disk."""
    start = _initial(latents)
    if steps == 0:
        return start
    source = Path(__file__).read_text()  # an edited recipe is another recipe
    recipe = f"{source} {latents} {steps}"

    def train(_: Weights) -> Weights:
        return _weights(_train(start, latents, steps))

    return DigitsModel(start.event, **trained("digits", recipe, _weights(start), train))


def _weights(model: DigitsModel) -> Weights:
    return {"encoder": model.encoder, "decoder": model.decoder}


def _initial(latents: str) -> DigitsModel:
    event = EVENT[latents]
    noise = Noise(0, "digits_vae", latents, dtype=torch.float64)
    size = int(np.prod(event))

    def network(inputs: int, hidden: int, outputs: int) -> Tensor:
        first = noise.normal(hidden * inputs, 1)[:, 0] / inputs**0.5
        second = noise.normal(outputs * hidden, 1)[:, 0] / hidden**0.5
        zeros = torch.zeros(hidden, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64)
        return torch.cat([first, zeros[0], second, zeros[1]])

    return DigitsModel(
        event, network(PIXELS, ENCODER_HIDDEN, size), network(size, DECODER_HIDDEN, PIXELS)
    )


def _train(start: DigitsModel, latents: str, steps: int) -> DigitsModel:
    """Minimize the exact negative ELBO of all images: every state of z is summed over."""
    family = BERNOULLI if latents == "bernoulli" else CATEGORICAL
    assert family.states is not None
    assert family.enumerate is not None
    data = binary_digits()
    shape = torch.zeros(1, *start.event, dtype=torch.float64)
    z = family.enumerate(shape, torch.arange(family.states(shape)))  # [states, *event]
    encoder, decoder = start.encoder.clone(), start.decoder.clone()

    def loss(_: int) -> Tensor:
        log_q = family.log_prob(start.encode(encoder, data)[:, None], z)  # [images, states]
        logits = _decode(decoder, z.flatten(1).T, start.size)  # [64, states]
        log_p = data @ logits - F.softplus(logits).sum(0)
        return (log_q.exp() * (log_q - log_p)).sum(1).mean()

    descend([encoder, decoder], loss, steps, RATE)
    return DigitsModel(start.event, encoder.detach(), decoder.detach())
