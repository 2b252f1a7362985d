"""Time of an estimate, in seconds and in units of the reference kernel, the two alternated."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from benchbed.measurement.reference import ROWS, reference_kernel

BLOCK_SECONDS = 0.05  # each side runs at least so long before the other takes its turn


class Times(NamedTuple):
    """What timing gave, an entry for each alternation."""

    cpu_ratios: tuple[float, ...]  # CPU time of one estimate / of one row of the reference kernel
    seconds: tuple[tuple[float, float], ...]  # (CPU, wall) of one estimate


NOT_TIMED = Times((), ())


def time_draws(draw_chunk: Callable[[], object], chunk: int, repeats: int) -> Times:
    """Alternate chunks of draws with the reference kernel, in this process, ``repeats`` times.

    Args:
        draw_chunk: draws ``chunk`` estimates. A full chunk, whatever the size of the blocks: short
            blocks would time the calls and not the work.
        chunk: how many.
        repeats: alternations; a first pair warms both sides up and is not returned.
    """
    ratios, seconds = [], []
    for _ in range(repeats + 1):
        kernel, _ = _seconds_per_call(reference_kernel)
        cpu, wall = _seconds_per_call(draw_chunk)
        ratios.append(cpu / chunk / (kernel / ROWS))
        seconds.append((cpu / chunk, wall / chunk))
    return Times(tuple(ratios[1:]), tuple(seconds[1:]))


def _seconds_per_call(work: Callable[[], object]) -> tuple[float, float]:
    """Return CPU and wall seconds of one call, over at least ``BLOCK_SECONDS`` of CPU time."""
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while True:
        work()
        calls += 1
        spent = time.process_time() - cpu
        if spent >= BLOCK_SECONDS:
            return spent / calls, (time.perf_counter() - wall) / calls
