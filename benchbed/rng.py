"""Randomness with an address: a number depends on where it is used and on nothing else.

torch's CPU generator keeps 32 bits of its seed, so hashed seeds collide (two of 100,000 cells
share a stream with probability 69 %). Draws here come from numpy's SFC64, keyed by a 128-bit
hash of the address, and are handed to torch without a copy. On CUDA the device's own Philox is
seeded with 63 bits of the same hash: other numbers, equally reproducible.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from benchbed.layout import draws_first

# The smallest float32 uniform is 0 and log(0) is -inf; half a step of the grid takes its place.
SMALLEST = {torch.float32: 2.0**-25, torch.float64: 2.0**-54}


def address(seed: int, *path: str | int) -> bytes:
    """Return the 128-bit key fixed by ``seed`` and ``path``, and by nothing else."""
    text = "\x1f".join(str(part) for part in (seed, *path))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Noise:
    """A stream of random numbers in the draws-last layout.

    Every method takes the logical shape, first axis draws: ``noise.uniform(draws, d)``.

    Args:
        seed: any integer.
        path: names that tell this stream from every other one.
        dtype: float32 or float64.
        device: where the numbers are wanted.
    """

    def __init__(
        self,
        seed: int,
        *path: str | int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.seed, self.path, self.dtype, self.device = seed, path, dtype, torch.device(device)
        self.drawn = 0  # random numbers handed out so far
        self._key = address(seed, *path)
        if self.device.type == "cpu":
            self._host = np.random.Generator(np.random.SFC64(int.from_bytes(self._key, "little")))
        else:
            self._native = self._seeded(self.device)

    def child(self, *path: str | int) -> Noise:
        """Return the stream one level below this one; it does not depend on what was drawn."""
        return Noise(self.seed, *self.path, *path, dtype=self.dtype, device=self.device)

    def torch_generator(self) -> torch.Generator:
        """Return a torch generator at this address, for code that wants one."""
        return self._seeded(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draw from U(0, 1), both ends excluded."""
        physical = (*shape[1:], shape[0])
        self.drawn += math.prod(shape)
        if self.device.type == "cpu":
            kind = np.float32 if self.dtype == torch.float32 else np.float64
            values = torch.from_numpy(self._host.random(physical, dtype=kind))
        else:
            values = torch.rand(
                physical, generator=self._native, dtype=self.dtype, device=self.device
            )
        return draws_first(values.clamp_(min=SMALLEST[self.dtype]))

    def exponential(self, *shape: int) -> Tensor:
        """Draw from Exp(1); never 0, never infinite."""
        return self.uniform(*shape).log_().neg_()

    def gumbel(self, *shape: int) -> Tensor:
        """Draw from the standard Gumbel law, ``-log(-log u)``."""
        return self.exponential(*shape).log_().neg_()

    def logistic(self, *shape: int) -> Tensor:
        """Draw from the standard logistic law, ``logit(u)``."""
        u = self.uniform(*shape)
        return u.log() - u.neg_().log1p_()

    def normal(self, *shape: int) -> Tensor:
        """Draw from N(0, 1) by the inverse CDF."""
        return self.uniform(*shape).mul_(2).sub_(1).erfinv_().mul_(math.sqrt(2))

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers from 0 to ``high - 1``, int64."""
        return (self.uniform(*shape) * high).long().clamp_(max=high - 1)

    def _seeded(self, device: torch.device) -> torch.Generator:
        key = int.from_bytes(self._key[:8], "little") >> 1
        return torch.Generator(device).manual_seed(key)
