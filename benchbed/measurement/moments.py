"""One pass over a chunk of draws: the sums of powers that everything else is computed from."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from benchbed.layout import draws_last
from benchbed.records import MOST_DETAILED, Array


class BlockSums:
    """The running sums of one block; ``add`` takes chunks, nothing else grows with the draws.

    Powers are formed in the draws' own precision, on errors scaled by a power of two (which is
    exact) to about 1, and added up in float64.
    """

    def __init__(self, centre: Tensor) -> None:
        self.centre = centre  # [p], in the draws' dtype
        size = centre.shape[0]
        self.detailed = size <= MOST_DETAILED
        self.count = 0
        self.nonfinite = 0
        self.scale = 0.0  # set by the first chunk
        self.sums = torch.zeros(4, size, dtype=torch.float64, device=centre.device)
        self.largest = torch.zeros(size, dtype=torch.float64, device=centre.device)
        self.distance = torch.zeros(3, dtype=torch.float64, device=centre.device)

    def add(self, gradients: Tensor) -> None:
        """Add draws [draws, p]; draws with a NaN or an infinity are counted and left out."""
        error = draws_last(gradients) - self.centre[:, None]  # [p, draws], contiguous
        if not self.scale:
            self.scale = _power_of_two_near(error)
        error.mul_(self.scale)
        square = error * error
        distance = square.sum(0)
        total = distance.sum(dtype=torch.float64)
        if not torch.isfinite(total):
            self._add_carefully(gradients)
            return
        self.count += error.shape[1]
        self.sums[0] += error.sum(1)
        self.sums[1] += square.sum(1)
        self.sums[2] += (square * error).sum(1)
        self.sums[3] += square.square().sum(1)
        self.distance[0] += total
        self.distance[1] += distance.square().sum(dtype=torch.float64)
        if error.numel():
            self.largest = torch.maximum(self.largest, square.amax(1).double())
            self.distance[2] = torch.maximum(self.distance[2], distance.max().double())

    def _add_carefully(self, gradients: Tensor) -> None:
        """Leave out the draws that are not finite; add the others, in float64 if they are huge."""
        fine = torch.isfinite(gradients).all(1)
        self.nonfinite += int((~fine).sum())
        if gradients.dtype == torch.float64 and bool(fine.all()):
            self.nonfinite += len(gradients)  # their squares overflow even float64
            return
        self.centre = self.centre.double()
        self.add(gradients[fine].double())
        self.centre = self.centre.to(gradients.dtype)

    def arrays(self) -> tuple[Array, Array, Array]:
        """Return sums [4, p], largest |e| [p] and the distance sums [3], on the host, unscaled."""
        scale = self.scale or 1.0
        powers = np.array([[scale**k] for k in (1, 2, 3, 4)])
        distance = np.array([scale**2, scale**4, scale**2])
        return (
            _host(self.sums) / powers,
            np.sqrt(_host(self.largest)) / scale,
            _host(self.distance) / distance,
        )


def _power_of_two_near(error: Tensor) -> float:
    """Return 1 / (a typical error) rounded to a power of two, or 1 where there is none."""
    finite = error[torch.isfinite(error)].double()
    size = float(finite.square().mean().sqrt()) if finite.numel() else 0.0
    if not 0 < size < math.inf:
        return 1.0
    return float(2.0 ** -max(-100, min(100, round(math.log2(size)))))


def _host(x: Tensor) -> Array:
    return x.detach().cpu().numpy()
