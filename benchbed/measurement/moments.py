"""One pass over a chunk of draws: the sums of powers that everything else is computed from."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchbed.layout import draws_last
from benchbed.records import MOST_DETAILED, Array

MOST_LOOKED_AT = 4096  # errors that the scale is found from


class Shares(NamedTuple):
    """What one chunk adds to G blocks, float64, of errors in units of 1 / scale."""

    powers: Tensor  # [4, p, G]: sums of e, e^2, e^3, e^4
    largest: Tensor  # [p, G]: largest e^2
    distance: Tensor  # [3, G]: sum of r = |e|^2, sum of r^2, largest r


class BlockSums:
    """The running sums of some blocks; ``add`` takes chunks, nothing else grows with the draws.

    Powers are formed in the draws' own precision, on errors scaled by a power of two (which is
    exact) to about 1, and added up in float64.

    Args:
        centre: what errors are taken from, [p], in the draws' dtype.
        blocks: G; a chunk holds equally many draws of each, the first block's first.
    """

    def __init__(self, centre: Tensor, blocks: int = 1) -> None:
        self.centre, self.blocks = centre, blocks
        size = centre.shape[0]
        self.detailed = size <= MOST_DETAILED
        self.count = np.zeros(blocks, dtype=np.int64)
        self.nonfinite = np.zeros(blocks, dtype=np.int64)
        self.scale = 0.0  # set by the first chunk
        kind = centre.new_zeros((), dtype=torch.float64)
        self.total = Shares(
            kind.new_zeros(4, size, blocks),
            kind.new_zeros(size, blocks),
            kind.new_zeros(3, blocks),
        )

    def add(self, gradients: Tensor) -> None:
        """Add draws [G * n, p]; draws with a NaN or an infinity are counted and left out."""
        if not self.scale:
            self.scale = _power_of_two_near(gradients, self.centre)
        shares = self._shares(gradients, self.blocks)
        if _in_range(shares):
            self._keep(slice(None), len(gradients) // self.blocks, shares)
            return
        for block, draws in enumerate(gradients.chunk(self.blocks)):
            self._add_carefully(block, draws)

    def _add_carefully(self, block: int, draws: Tensor) -> None:
        """Leave out the draws that are not finite; add the others in float64: some may be huge."""
        fine = draws[torch.isfinite(draws).all(1)].double()
        shares = self._shares(fine, 1)
        if _in_range(shares):
            self._keep(slice(block, block + 1), len(fine), shares)
            self.nonfinite[block] += len(draws) - len(fine)
        else:  # their squares overflow even float64
            self.nonfinite[block] += len(draws)

    def _keep(self, where: slice, count: int, shares: Shares) -> None:
        self.count[where] += count
        powers, largest, distance = (part[..., where] for part in self.total)
        powers += shares.powers
        torch.maximum(largest, shares.largest, out=largest)
        distance[:2] += shares.distance[:2]
        torch.maximum(distance[2], shares.distance[2], out=distance[2])

    def _shares(self, gradients: Tensor, blocks: int) -> Shares:
        # The scale is a power of two, so there is one rounding: that of the difference.
        shift = (-self.scale * self.centre.to(gradients))[:, None]
        flat = torch.add(shift, draws_last(gradients), alpha=self.scale)  # [p, G * n]
        error = flat.reshape(len(flat), blocks, len(gradients) // blocks)
        square = error * error
        far = (square.new_ones(1, len(square)) @ square.flatten(1)).view(square.shape[1:])
        if error.numel():
            largest, furthest = square.amax(-1), far.amax(-1)
        else:
            largest, furthest = square.new_zeros(square.shape[:2]), far.new_zeros(blocks)
        distance = (far.sum(-1, dtype=torch.float64), far.square().sum(-1, dtype=torch.float64))
        powers = [error.sum(-1), square.sum(-1)]
        powers += [error.mul_(square).sum(-1), square.square_().sum(-1)]
        return Shares(
            torch.stack(powers).double(),
            largest.double(),
            torch.stack((*distance, furthest.double())),
        )

    def arrays(self) -> tuple[Array, Array, Array]:
        """Return powers [4, p, G], largest |e| [p, G] and distance sums [3, G], unscaled."""
        scale = self.scale or 1.0
        powers = np.array([[[scale**k]] for k in (1, 2, 3, 4)])
        distance = np.array([[scale**2], [scale**4], [scale**2]])
        return (
            _host(self.total.powers) / powers,
            np.sqrt(_host(self.total.largest)) / scale,
            _host(self.total.distance) / distance,
        )


def _in_range(shares: Shares) -> bool:
    return bool(torch.isfinite(shares.distance).all() & torch.isfinite(shares.powers).all())


def _power_of_two_near(gradients: Tensor, centre: Tensor) -> float:
    """Return 1 / (a typical error) rounded to a power of two, or 1 where there is none.

    Typical is the median of those that are not 0, among some: one huge draw may not hide the rest.
    """
    errors = draws_last(gradients) - centre[:, None]
    some = errors[:, :: max(1, errors.numel() // MOST_LOOKED_AT)].flatten()
    some = some.abs().double()
    some = some[torch.isfinite(some) & (some > 0)]
    size = float(some.median()) if len(some) else 0.0
    if not 0 < size < math.inf:
        return 1.0
    return float(2.0 ** -max(-100, min(100, round(math.log2(size)))))


def _host(x: Tensor) -> Array:
    return x.detach().cpu().numpy()
