"""Independent blocks of draws, each from a stream of its own, summed as they come.

A block as long as a chunk or longer is drawn chunk by chunk. Shorter ones are drawn together, as
many as fill a chunk, each from its own stream still: one call then serves them all.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.errors import BrokenContract
from benchbed.measurement.moments import BlockSums
from benchbed.records import Array, Blocks
from benchbed.rng import Noise, OneStreamNeeded, SideBySide


@dataclass(frozen=True)
class Drawn:
    """Some blocks of one size.

    Attributes:
        sums: of their draws.
        cpu: seconds spent drawing ONE of them.
        wall: likewise.
        random_numbers: in one estimate.
    """

    sums: BlockSums
    cpu: float
    wall: float
    random_numbers: float


@dataclass(frozen=True)
class BlockDrawer:
    """What draws blocks of one cell.

    Attributes:
        objective: with its pullback to what is measured.
        estimator: tuned.
        params: the point, in the dtype and on the device of the draws.
        centre: what errors are taken from, [coordinates].
        chunk: draws in one call.
        root: its children ("block", number) are the blocks' streams.
    """

    objective: Objective
    estimator: Estimator
    params: Tensor
    centre: Tensor
    chunk: int
    root: Noise

    def draw(self, sizes: list[int]) -> list[Drawn]:
        """Draw block 0, 1, ... of these sizes."""
        found: list[Drawn] = []
        together = True
        for size, numbers in _groups(sizes, self.chunk):
            streams = [self.root.child("block", number) for number in numbers]
            if together and len(streams) > 1:
                try:
                    found.append(self._blocks(size, SideBySide(streams), len(streams)))
                    continue
                except OneStreamNeeded:  # its noise cannot be shared out: one after another
                    together = False
                    streams = [self.root.child("block", number) for number in numbers]
            found += [self._blocks(size, stream, 1) for stream in streams]
        return found

    def _blocks(self, size: int, noise: Noise, blocks: int) -> Drawn:
        sums, cpu, wall = BlockSums(self.centre, blocks), 0.0, 0.0
        for start in range(0, size, self.chunk):
            count = min(self.chunk, size - start) * blocks
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            gradients = self.estimator.draw(self.objective, self.params, count, noise)
            if self.params.device.type == "cuda":
                torch.cuda.synchronize(self.params.device)
            cpu += time.process_time() - cpu_start
            wall += time.perf_counter() - wall_start
            self._check(gradients, count)
            sums.add(self.objective.pullback(gradients))
        return Drawn(sums, cpu / blocks, wall / blocks, noise.drawn / size)

    def _check(self, gradients: object, draws: int) -> None:
        """Raise BrokenContract unless ``gradients`` is [draws, *params.shape] in params' dtype."""
        name, params = self.estimator.name, self.params
        if not isinstance(gradients, Tensor):
            raise BrokenContract(
                f"{name} returned a {type(gradients).__name__}; "
                "its draw must return a tensor [draws, *params.shape]"
            )
        wanted = (draws, *params.shape)
        if tuple(gradients.shape) != wanted:
            raise BrokenContract(
                f"{name} returned shape {list(gradients.shape)} for {draws} draws of params "
                f"{list(params.shape)}; its draw must return {list(wanted)}, one row per estimate"
            )
        if gradients.dtype != params.dtype:
            raise BrokenContract(
                f"{name} returned {gradients.dtype} for params in {params.dtype}; "
                "keep the dtype of params"
            )


def even_sizes(draws: int, blocks: int) -> list[int]:
    """Split ``draws`` over ``blocks`` as evenly as whole numbers allow, the larger first."""
    return [draws // blocks + (number < draws % blocks) for number in range(blocks)]


def _groups(sizes: list[int], chunk: int) -> list[tuple[int, list[int]]]:
    """Return (size, numbers) of blocks to be drawn together: of one size, a chunk in all."""
    groups = []
    for size, numbers in itertools.groupby(range(len(sizes)), key=sizes.__getitem__):
        same, most = list(numbers), max(1, chunk // size)
        groups += [(size, same[start : start + most]) for start in range(0, len(same), most)]
    return groups


def stacked(found: list[Drawn], exact_gradient: Tensor) -> Blocks:
    """Put all blocks into one record of sums."""
    arrays = [each.sums.arrays() for each in found]
    powers, largest, distance = (
        np.concatenate([np.moveaxis(part[k], -1, 0) for part in arrays]) for k in range(3)
    )  # [B, 4, p], [B, p], [B, 3]
    higher = powers[:, 1:].swapaxes(0, 1)
    if not found[0].sums.detailed:
        higher, largest = higher.sum(1, keepdims=True), largest.max(0, keepdims=True)
    seconds = [[each.cpu, each.wall] for each in found for _ in range(each.sums.blocks)]
    return Blocks(
        count=_joined([each.sums.count for each in found]),
        exact=exact_gradient.detach().cpu().double().numpy(),
        first=np.ascontiguousarray(powers[:, 0]),
        powers=np.ascontiguousarray(higher),
        largest=largest,
        distance=np.ascontiguousarray(distance.T),
        seconds=np.array(seconds).T.copy(),
        nonfinite=_joined([each.sums.nonfinite for each in found]),
    )


def _joined(counts: list[NDArray[np.int64]]) -> Array:
    return np.concatenate(counts).astype(np.float64)
