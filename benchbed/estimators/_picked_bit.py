"""One bit of each item, picked uniformly at random."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.elementwise import indicator
from benchbed.layout import draws_last
from benchbed.rng import Noise


def pick(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Return one bit for each sample and item, [draws, samples, *items], off a stream apart."""
    apart = noise.child("bit", noise.drawn)
    picked = apart.integers(params.shape[-1], draws, samples, *params.shape[:-1])
    noise.drawn += apart.drawn
    return picked


def one_hot(picked: Tensor, dimensions: int, dtype: torch.dtype) -> Tensor:
    """Return the bits picked as one-hots, draws last: [samples, *items, d, draws]."""
    numbers = torch.arange(dimensions, dtype=dtype, device=picked.device)[:, None]
    return indicator(torch.eq, draws_last(picked).unsqueeze(-2).to(dtype), numbers)
