"""One pass over a chunk of draws: power sums in float64, whatever the draws' own precision."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchbed.layout import draws_last
from benchbed.records import MOST_DETAILED, Array

NUMBERS_VERSION = 1  # bump when the same draws start to give other sums


class BlockSums:
    """The running sums of one block; ``add`` takes chunks, nothing else grows with the draws."""

    def __init__(self, centre: Tensor) -> None:
        self.centre = centre  # [p], in the draws' dtype
        size = centre.shape[0]
        self.detailed = size <= MOST_DETAILED
        self.count = 0
        self.nonfinite = 0
        self.sums = torch.zeros(4, size, dtype=torch.float64, device=centre.device)
        self.largest = torch.zeros(size, dtype=centre.dtype, device=centre.device)
        self.distance = torch.zeros(3, dtype=torch.float64, device=centre.device)

    def add(self, gradients: Tensor) -> None:
        """Add draws [draws, p]; draws with a NaN or an infinity are counted and left out."""
        error = draws_last(gradients) - self.centre[:, None]  # [p, draws], contiguous
        square = error * error
        distance = square.sum(0)
        total = distance.sum(dtype=torch.float64)
        if not torch.isfinite(total):
            fine = torch.isfinite(distance)
            lost = int((~fine).sum())
            if lost:
                self.nonfinite += lost
                self.add(gradients[fine])
                return
        self.count += error.shape[1]
        self.sums[0] += error.sum(1)
        self.sums[1] += square.sum(1)
        self.sums[2] += (square * error).sum(1)
        self.sums[3] += square.square().sum(1)
        self.largest = torch.maximum(
            self.largest, square.amax(1) if error.numel() else self.largest
        )
        self.distance[0] += total
        self.distance[1] += distance.square().sum(dtype=torch.float64)
        if error.numel():
            self.distance[2] = torch.maximum(self.distance[2], distance.max().double())

    def arrays(self) -> tuple[Array, Array, Array]:
        """Return sums [4, p], largest |e| [p] and the distance sums [3], on the host."""
        return (
            _host(self.sums),
            np.sqrt(_host(self.largest.double())),
            _host(self.distance),
        )


def _host(x: Tensor) -> Array:
    return x.detach().cpu().numpy()
