"""The encoder and decoder of compartmentalized on labelled digits, trained and kept on disk.

The 1,797 images of scikit-learn (Alpaydin and Kaynak 1998) with their labels. The encoder, 64 -> 16
-> 10 (1 + 2 d), gives the logits of q(y|x) and, for every label, mean and log-scale of q(s|x, y);
the decoder, label and style -> 32 -> 64, the pixels' logits. Both are tanh.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchbed.objectives import _semi_supervised
from benchbed.objectives._descent import descend
from benchbed.objectives._digits_model import binary_digits
from benchbed.objectives._jacobian import jacobian_of
from benchbed.objectives._semi_supervised import Decoder, Problem, gauss_hermite, value_of
from benchbed.objectives._shipped_data import digits
from benchbed.objectives._trained import Weights, trained
from benchbed.rng import Noise

LABELS, PIXELS, ENCODER_HIDDEN, DECODER_HIDDEN = 10, 64, 16, 32
LOG_PRIOR = torch.full((LABELS,), -float(np.log(LABELS)), dtype=torch.float64)
BATCHES = 12  # a step of training sees every 12th image, the next step the ones after them
TRAINING_NODES = {1: 6, 2: 3}  # of the style's rule while training, in each coordinate
RATE = 0.02


@functools.cache
def labels() -> Tensor:
    """Return the digit of every image, [1797] int64."""
    return torch.from_numpy(digits().target.astype(np.int64))


def encode(weights: Tensor, images: Tensor, dimensions: int) -> Tensor:
    """Map images [items, 64] to params [items, 10, 1 + 2 d], as a function of all the weights."""
    outputs = LABELS * (1 + 2 * dimensions)
    first, bias, second, last = _split(weights, PIXELS, ENCODER_HIDDEN, outputs)
    hidden = torch.tanh((2 * images - 1) @ first.T + bias)
    return (hidden @ second.T + last).reshape(len(images), LABELS, -1)


def jacobian(weights: Tensor, images: Tensor, dimensions: int) -> Tensor:
    """Return d params / d weights, [items, 10, 1 + 2 d, weights], an image at a time."""

    def of_one(image: Tensor) -> Tensor:
        return jacobian_of(lambda w: encode(w, image[None], dimensions)[0], weights)

    return torch.stack([of_one(image) for image in images])


def decoder(weights: Tensor, dimensions: int) -> Decoder:
    """Return the map from label and style to the pixels' logits."""
    parts = _split(weights, LABELS + dimensions, DECODER_HIDDEN, PIXELS)

    def decode(label: Tensor, style: Tensor) -> Tensor:
        first, bias, second, last = (part.to(style) for part in parts)
        of_label, of_style = first[:, :LABELS] @ label, first[:, LABELS:] @ style
        return second @ torch.tanh(of_label + of_style + bias[:, None]) + last[:, None]

    return decode


@functools.cache
def weights_after(steps: int, dimensions: int, classification: float) -> Weights:
    """Return ``encoder`` and ``decoder`` after ``steps`` of training, half of the labels known."""
    start = _start(dimensions)
    if steps == 0:
        return start
    sources = Path(__file__).read_text() + Path(_semi_supervised.__file__).read_text()
    recipe = f"{sources} {steps} {dimensions} {classification!r}"
    return trained(
        "labelled-digits", recipe, start, lambda at: _train(at, steps, dimensions, classification)
    )


def _train(start: Weights, steps: int, dimensions: int, classification: float) -> Weights:
    """Lower the exact objective by Adam; of the images of a step every other one has its label."""
    weights = {name: tensor.clone() for name, tensor in start.items()}
    rule = gauss_hermite(TRAINING_NODES[dimensions], dimensions)

    def loss(step: int) -> Tensor:
        chosen = slice(step % BATCHES, None, BATCHES)
        images, known = binary_digits()[chosen], labels()[chosen].clone()
        known[1::2] = -1
        decode = decoder(weights["decoder"], dimensions)
        problem = Problem(images, known, LOG_PRIOR, decode, classification)
        return value_of(problem, rule)(encode(weights["encoder"], images, dimensions))

    descend(weights.values(), loss, steps, RATE)
    return weights


def _start(dimensions: int) -> Weights:
    noise = Noise(0, "labelled digits", dimensions, dtype=torch.float64)

    def network(inputs: int, hidden: int, outputs: int, last: float) -> Tensor:
        first = noise.normal(hidden * inputs, 1)[:, 0] / inputs**0.5
        second = last * noise.normal(outputs * hidden, 1)[:, 0] / hidden**0.5
        zeros = torch.zeros(hidden, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64)
        return torch.cat([first, zeros[0], second, zeros[1]])

    return {
        "encoder": network(PIXELS, ENCODER_HIDDEN, LABELS * (1 + 2 * dimensions), 0.3),
        "decoder": network(LABELS + dimensions, DECODER_HIDDEN, PIXELS, 1.0),
    }


def _split(weights: Tensor, inputs: int, hidden: int, outputs: int) -> tuple[Tensor, ...]:
    """Cut a flat vector into a two-layer network: matrix, bias, matrix, bias."""
    sizes = [hidden * inputs, hidden, outputs * hidden, outputs]
    first, bias, second, last = torch.split(weights, sizes)
    return first.view(hidden, inputs), bias, second.view(outputs, hidden), last
