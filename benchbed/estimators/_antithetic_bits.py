"""Antithetic pairs of Bernoulli samples: b = 1[u > 1 - p] and bt = 1[u < p] from the same u."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.elementwise import indicator
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last

CHUNK = 4096


def pair(params: Tensor, u: Tensor) -> Tensor:
    """Return both samples, [draws, 2 * pairs, *params]: all the b first, then all the bt."""
    inner = draws_last(u)  # [pairs, *params, draws]
    p, q = params.sigmoid()[..., None], torch.sigmoid(-params)[..., None]
    return draws_first(torch.cat((indicator(torch.gt, inner, q), indicator(torch.lt, inner, p))))


def pair_states(params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (probability [n, *items], u [n, 1, *params]) for the 3^d outcomes of one pair.

    With m = min(p, 1 - p) the line of u falls into [0, m], [m, 1 - m] and [1 - m, 1]: a pair that
    differs, one that agrees, one that differs the other way. Midpoints stand for the intervals.
    """
    dimensions = params.shape[-1]
    least = torch.minimum(params.sigmoid(), torch.sigmoid(-params))  # [*items, d]
    middle = torch.stack((least / 2, torch.full_like(least, 0.5), 1 - least / 2))
    width = torch.stack((least, 1 - 2 * least, least))  # [3, *items, d]
    radix = 3 ** torch.arange(dimensions, device=params.device)
    total = 3**dimensions
    for start in range(0, total, CHUNK):
        index = torch.arange(start, min(start + CHUNK, total), device=params.device)
        digits = index[:, None] // radix % 3  # [n, d]
        digits = digits.reshape(-1, *(1,) * (params.ndim - 1), dimensions)
        digits = digits.expand(-1, *params.shape)
        yield width.gather(0, digits).prod(-1), middle.gather(0, digits)[:, None]


def even_samples(name: str, samples: int) -> int:
    """Return the number of pairs in ``samples``, or say that pairs need an even number."""
    at_least(name, "samples", samples, 2, f"; {name} works in antithetic pairs")
    if samples % 2:
        raise BadArgument(f"{name} needs an even number of samples, got {samples}; it uses pairs")
    return samples // 2
