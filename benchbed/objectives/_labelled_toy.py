"""A seeded tiny model of a style and a label: tables of weights for decoder and encoder alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.rng import Noise

PIXELS = 5


@dataclass(frozen=True)
class Toy:
    """The numbers of the model, float64.

    Attributes:
        log_prior: log p(y), [L].
        offsets: of a pixel's logit given a label, [pixels, L].
        slopes: of a pixel's logit in each coordinate of the style, given a label, [d, pixels, L].
        images: drawn from the model, [items, pixels].
        truth: the labels that they were drawn with, [items].
        params: of q, [items, L, 1 + 2 d].
    """

    log_prior: Tensor
    offsets: Tensor
    slopes: Tensor
    images: Tensor
    truth: Tensor
    params: Tensor

    def decode(self, label: Tensor, style: Tensor) -> Tensor:
        """Map label [..., L, n] and style [..., d, n] to pixel logits [..., pixels, n]."""
        logits = self.offsets.to(style) @ label
        for i, slope in enumerate(self.slopes.to(style)):
            logits = logits + style[..., i : i + 1, :] * (slope @ label)
        return logits


def toy(items: int, labels: int, dimensions: int, seed: int) -> Toy:
    """Return a model, ``items`` images of it, and a q that is not the posterior."""
    noise = Noise(seed, "compartmentalized", dtype=torch.float64)
    log_prior = (0.5 * noise.normal(labels)).log_softmax(0)
    offsets = 1.5 * noise.normal(PIXELS, labels)
    slopes = 1.5 * noise.normal(dimensions, PIXELS, labels)
    above = noise.uniform(items, 1) >= log_prior.exp().cumsum(0)[:-1]
    truth = above.sum(1)
    drawn = F.one_hot(truth, labels).double()
    model = Toy(log_prior, offsets, slopes, torch.empty(0), truth, torch.empty(0))
    logits = model.decode(drawn.T, noise.normal(items, dimensions).T)  # [pixels, items]
    images = (noise.uniform(items, PIXELS) < logits.T.sigmoid()).double()
    belief = 0.7 * noise.normal(items, labels, 1)
    mean = 0.5 * noise.normal(items, labels, dimensions)
    log_scale = 0.2 * noise.normal(items, labels, dimensions) - 0.3
    params = torch.cat((belief, mean, log_scale), -1).contiguous()
    return Toy(log_prior, offsets, slopes, images.contiguous(), truth, params)
