"""The spans of n leaves, numbered by width and then by their first leaf, and what they split into.

Width w has n - w + 1 spans; the n leaves come first, the span of all leaves last.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import torch
from torch import Tensor

CPU = torch.device("cpu")


class Spans(NamedTuple):
    """Numbers of spans, int64; ``first`` is on the CPU."""

    leaves: int  # n
    number: int  # of all spans, n (n + 1) / 2
    first: Tensor  # [n + 1]: the number of the first span of every width; at 0 there is none
    left: tuple[Tensor, ...]  # of width w, at w - 2: the left part, [w - 1 splits, n - w + 1 spans]
    right: tuple[Tensor, ...]  # the right part of each of these

    def of_width(self, width: int) -> slice:
        """Return where the spans of a width are."""
        start = int(self.first[width])
        return slice(start, start + self.leaves - width + 1)


@functools.cache
def spans(leaves: int, device: torch.device = CPU) -> Spans:
    """Return the spans of ``leaves`` leaves, to be used on ``device``."""
    counts = [0, *range(leaves, 0, -1)]  # spans of width 0, 1, ... n
    first = torch.tensor([0, *itertools.accumulate(counts[:-1])])
    left, right = [], []
    for width in range(2, leaves + 1):
        split = torch.arange(1, width)[:, None]  # width of the left part
        start = torch.arange(leaves - width + 1)
        left.append(first[split] + start)
        right.append(first[width - split] + start + split)
    placed = [tuple(each.to(device) for each in parts) for parts in (left, right)]
    return Spans(leaves, sum(counts), first, *placed)


@functools.cache
def bracketings(leaves: int) -> Tensor:
    """Return every binary bracketing as the numbers of its spans, [Catalan(n - 1), 2 n - 1]."""
    first = spans(leaves).first.tolist()

    @functools.cache
    def below(start: int, width: int) -> list[tuple[int, ...]]:
        own = (first[width] + start,)
        if width == 1:
            return [own]
        return [
            own + left + right
            for split in range(1, width)
            for left in below(start, split)
            for right in below(start + split, width - split)
        ]

    return torch.tensor([sorted(each) for each in below(0, leaves)])
