"""Adam on an exact loss, on one thread: sums must come out the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def descend(
    leaves: Iterable[Tensor], loss: Callable[[int], Tensor], steps: int, rate: float
) -> None:
    """Lower ``loss`` (of the number of the step) by ``steps`` of Adam, changing ``leaves``."""
    optimizer = torch.optim.Adam([leaf.requires_grad_() for leaf in leaves], lr=rate)
    with _one_thread(), torch.enable_grad():
        for step in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(loss(step))
            optimizer.step()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
