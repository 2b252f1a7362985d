"""The joint law of independent variables, listed outcome by outcome."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 4096  # outcomes at a time


def joint_outcomes(mass: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (probability [n, *items], number of each variable's outcome [n, d]) in chunks.

    Args:
        mass: [*items, d, outcomes], the law of each variable.
    """
    dimensions, outcomes = mass.shape[-2:]
    radix = outcomes ** torch.arange(dimensions, device=mass.device)
    law = mass.movedim(-1, 0)  # [outcomes, *items, d]
    total = outcomes**dimensions
    for start in range(0, total, CHUNK):
        index = torch.arange(start, min(start + CHUNK, total), device=mass.device)
        numbers = index[:, None] // radix % outcomes  # [n, d]
        spread = numbers.reshape(-1, *(1,) * (law.ndim - 2), dimensions)
        yield law.gather(0, spread.expand(-1, *law.shape[1:])).prod(-1), numbers
