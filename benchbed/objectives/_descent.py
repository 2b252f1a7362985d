"""Adam on an exact loss, on one thread: sums must come out the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

FIRST, SECOND = 0.9, 0.999  # how much of its moments Adam keeps a step
LEAST = 1e-8  # beside the root of the second moment


def descend(
    leaves: Iterable[Tensor], loss: Callable[[int], Tensor], steps: int, rate: float
) -> None:
    """Lower ``loss`` (of the number of the step) by ``steps`` of Adam, changing ``leaves``.

    Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1; bit for bit what ``torch.optim.Adam`` does,
    without torch's compiler, which that loads first.
    """
    moving = [(leaf.requires_grad_(), *torch.zeros(2, *leaf.shape).to(leaf)) for leaf in leaves]
    with _one_thread():
        for step in range(steps):
            with torch.enable_grad():
                slopes = torch.autograd.grad(loss(step), [leaf for leaf, _, _ in moving])
            bias = 1 - FIRST ** (step + 1), 1 - SECOND ** (step + 1)
            with torch.no_grad():
                for (leaf, mean, square), slope in zip(moving, slopes, strict=True):
                    mean.lerp_(slope, 1 - FIRST)
                    square.mul_(SECOND).addcmul_(slope, slope, value=1 - SECOND)
                    scale = (square.sqrt() / bias[1] ** 0.5).add_(LEAST)
                    leaf.addcdiv_(mean, scale, value=-rate / bias[0])


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
