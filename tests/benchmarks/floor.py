"""The floor: an estimator's own random numbers and one write of its gradients, nothing else.

The numbers are float32 uniforms in (0, 1), draws-last like benchbed's, as many as one estimate
takes, from the fastest of the generators below for that many, in pieces that the cache holds;
gradients are written to memory that is there already.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jobs import Job
from stopwatch import Work, seconds
from torch import Tensor

from benchbed.contracts import Estimator
from benchbed.measurement.cell import chunk_draws
from benchbed.rng import Noise

PIECE = 2**18
ONE = 0x3F800000  # the bits of 1 in float32; the 23 below them are its fraction
Generator = Callable[[int], Tensor]  # count -> uniforms [count]


def generators() -> dict[str, Generator]:
    """Return the generators tried: all of numpy's SFC64, and benchbed's own."""
    source = np.random.SFC64(71)
    host, noise = np.random.Generator(source), Noise(71)

    def floats(words: np.ndarray, count: int) -> Tensor:
        halves = words.view(np.uint32)
        halves >>= 9
        halves |= ONE  # 1 + k / 2^23
        return torch.from_numpy(halves.view(np.float32)[:count]).sub_(1 - 2.0**-24)

    def integers(count: int) -> Tensor:
        words = host.integers(0, 2**64 - 1, (count + 1) // 2, dtype=np.uint64, endpoint=True)
        return floats(words, count)

    def raw(count: int) -> Tensor:
        return floats(source.random_raw((count + 1) // 2), count)

    def own(count: int) -> Tensor:
        return noise.uniform(count)

    return {"64-bit integers split in two": integers, "raw words split in two": raw, "Noise": own}


def numbers_of(job: Job, estimator: Estimator) -> int:
    """Return the random numbers in one estimate."""
    chunk, counter = chunk_draws(job.objective, estimator), Noise(71, "count")
    with torch.no_grad():
        estimator.draw(job.objective, job.params, chunk, counter)
    return counter.drawn // chunk


def floor(job: Job, numbers: int, chunk: int) -> Work:
    """Return the work that no estimator of so many random numbers can do without."""
    count, rows = numbers * chunk, torch.empty(*job.params.shape, chunk)
    if not count:
        return lambda: rows.fill_(0.5)
    sizes = [PIECE] * (count // PIECE) + [count % PIECE] * bool(count % PIECE)
    tried = generators()
    for generator in tried.values():
        generator(sizes[0])
    fastest = min(tried.values(), key=lambda one: seconds(lambda: one(sizes[0]), 0.002))

    def work() -> None:
        for size in sizes:
            fastest(size)
        rows.fill_(0.5)

    return work
