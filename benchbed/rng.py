"""Randomness with an address: a number depends on where it is used and on nothing else.

torch's CPU generator keeps 32 bits of its seed, so hashed seeds collide (two of 100,000 cells
share a stream with probability 69 %). Draws here come from numpy's SFC64, keyed by a 128-bit
hash of the address, and are handed to torch without a copy. On CUDA the device's own Philox is
seeded with 63 bits of the same hash: other numbers, equally reproducible.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from benchbed.elementwise import log_
from benchbed.errors import BenchbedError
from benchbed.layout import draws_first, draws_last

# The smallest uniform: half a step of its grid, so that no logarithm is ever infinite.
SMALLEST = {torch.float32: 2.0**-24, torch.float64: 2.0**-54}
ONE = 0x3F800000  # the bits of 1 in float32; the 23 below them are its fraction


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
            self._bits = np.random.SFC64(int.from_bytes(self._key, "little"))
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
        self.drawn += math.prod(shape)
        return draws_first(self._fill((*shape[1:], shape[0])))

    def exponential(self, *shape: int) -> Tensor:
        """Draw from Exp(1); never 0, never infinite."""
        return log_(self.uniform(*shape)).neg_()

    def gumbel(self, *shape: int) -> Tensor:
        """Draw from the standard Gumbel law, ``-log(-log u)``."""
        return log_(self.exponential(*shape)).neg_()

    def logistic(self, *shape: int) -> Tensor:
        """Draw from the standard logistic law, ``logit(u)``."""
        return log_(self.odds(*shape))

    def odds(self, *shape: int) -> Tensor:
        """Draw u / (1 - u), the exponential of a logistic number."""
        u = self.uniform(*shape)
        return u / (1 - u)

    def normal(self, *shape: int) -> Tensor:
        """Draw from N(0, 1) by the inverse CDF."""
        return self.uniform(*shape).mul_(2).sub_(1).erfinv_().mul_(math.sqrt(2))

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers from 0 to ``high - 1``, int64."""
        return (self.uniform(*shape) * high).long().clamp_(max=high - 1)

    def _fill(self, shape: tuple[int, ...]) -> Tensor:
        """Return uniforms, contiguous.

        A float32 is made of half a 64-bit word, 23 bits of it, and lies on (k + 1/2) / 2^23: never
        0 or 1, as likely as its distance from 1, and made faster than the generator's own floats.
        """
        if self.device.type != "cpu":
            u = torch.rand(shape, generator=self._native, dtype=self.dtype, device=self.device)
            return u.clamp_(min=SMALLEST[self.dtype])
        count = math.prod(shape)
        if self.dtype == torch.float64:
            doubles = (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53
            return torch.from_numpy(doubles).clamp_(min=SMALLEST[self.dtype]).view(shape)
        halves = self._bits.random_raw((count + 1) // 2).view(np.uint32)
        halves >>= 9
        halves |= ONE  # 1 + k / 2^23
        found = torch.from_numpy(halves.view(np.float32)[:count])
        return found.sub_(1 - SMALLEST[torch.float32]).view(shape)

    def _seeded(self, device: torch.device) -> torch.Generator:
        key = int.from_bytes(self._key[:8], "little") >> 1
        return torch.Generator(device).manual_seed(key)


class OneStreamNeeded(BenchbedError):
    """Raised by streams side by side when asked for what only one stream can give."""


class SideBySide(Noise):
    """Several streams drawn together: each fills its own equal share of the draws, in order.

    What a share holds does not depend on its neighbours, so blocks too short to be worth a call
    of their own can be drawn in one. ``drawn`` counts the numbers of ONE stream.
    """

    def __init__(self, streams: Sequence[Noise]) -> None:
        self.streams = streams
        self.dtype, self.device = streams[0].dtype, streams[0].device

    @property
    def drawn(self) -> int:
        """Random numbers that each stream has handed out."""
        return self.streams[0].drawn

    @drawn.setter
    def drawn(self, count: int) -> None:
        for stream in self.streams:
            stream.drawn = count

    def child(self, *path: str | int) -> SideBySide:
        """Return the streams one level below these."""
        return SideBySide([stream.child(*path) for stream in self.streams])

    def uniform(self, *shape: int) -> Tensor:
        """Draw from U(0, 1), both ends excluded; the first axis is shared out."""
        share, rest = divmod(shape[0], len(self.streams))
        if rest:
            raise OneStreamNeeded(f"{shape[0]} draws cannot be shared by {len(self.streams)}")
        parts = [stream.uniform(share, *shape[1:]) for stream in self.streams]
        return draws_first(torch.cat([draws_last(part) for part in parts], -1))

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what a single stream has: its seed, its path, its generators."""
        raise OneStreamNeeded(f"'{name}' belongs to one stream, and these are several")

    def torch_generator(self) -> NoReturn:
        """Refuse: a torch generator is one stream."""
        raise OneStreamNeeded("a torch generator is one stream, and these are several")
