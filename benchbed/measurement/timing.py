"""Time of an estimate, in seconds and in units of the reference kernel, the two alternated.

On a CPU it is CPU time. On a GPU it is the device's: from the start of the first operation to the
end of the last, as its own clock tells, waits for Python in between included. Each is divided by
the time of a kernel that does the same fixed work on the same processor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from benchbed.measurement import reference, reference_cuda

BLOCK_SECONDS = 0.05  # each side runs at least so long before the other takes its turn
MOST_GROWTH = 16  # of the calls in flight at once, from one try to the next


class Times(NamedTuple):
    """What timing gave, an entry for each alternation."""

    cpu_ratios: tuple[float, ...]  # time of one estimate / of one row of the reference kernel
    seconds: tuple[tuple[float, float], ...]  # (CPU or GPU, wall) of one estimate


NOT_TIMED = Times((), ())


def reference_version(device: str | torch.device) -> str:
    """Return which kernel ratios on ``device`` are to; those of two versions do not compare."""
    on_gpu = torch.device(device).type == "cuda"
    return reference_cuda.VERSION if on_gpu else reference.VERSION


def time_draws(
    draw_chunk: Callable[[], object],
    chunk: int,
    repeats: int,
    device: str | torch.device = "cpu",
) -> Times:
    """Alternate chunks of draws with the reference kernel, in this process, ``repeats`` times.

    Args:
        draw_chunk: draws ``chunk`` estimates. A full chunk, whatever the size of the blocks: short
            blocks would time the calls and not the work.
        chunk: how many.
        repeats: alternations, after one call of each side to warm up.
        device: where they are drawn, and the kernel runs.
    """
    place = torch.device(device)
    per_call: Callable[[Callable[[], object]], tuple[float, float]] = _on_cpu
    kernel: Callable[[], object] = reference.reference_kernel
    rows = reference.ROWS
    if place.type == "cuda":
        per_call = partial(_on_gpu, place)
        kernel = partial(reference_cuda.reference_kernel, place)
        rows = reference_cuda.ROWS
    kernel()
    draw_chunk()
    ratios, seconds = [], []
    for _ in range(repeats):
        unit, _ = per_call(kernel)
        spent, wall = per_call(draw_chunk)
        ratios.append(spent / chunk / (unit / rows))
        seconds.append((spent / chunk, wall / chunk))
    return Times(tuple(ratios), tuple(seconds))


def _on_cpu(work: Callable[[], object]) -> tuple[float, float]:
    """Return CPU and wall seconds of one call, over at least ``BLOCK_SECONDS`` of CPU time."""
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while True:
        work()
        calls += 1
        spent = time.process_time() - cpu
        if spent >= BLOCK_SECONDS:
            return spent / calls, (time.perf_counter() - wall) / calls


def _on_gpu(device: torch.device, work: Callable[[], object]) -> tuple[float, float]:
    """Return GPU and wall seconds of one call, over at least ``BLOCK_SECONDS`` of GPU time.

    Calls follow one another without waiting, so their number is found first, by growing tries.
    """
    calls = 1
    while True:
        spent, wall = _together(device, work, calls)
        if spent >= BLOCK_SECONDS:
            return spent / calls, wall / calls
        wanted = math.ceil(1.2 * calls * BLOCK_SECONDS / spent) if spent > 0 else math.inf
        calls = int(min(MOST_GROWTH * calls, max(wanted, calls + 1)))


def _together(device: torch.device, work: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return GPU and wall seconds of some calls, one after another."""
    event: Callable[..., Any] = torch.cuda.Event  # torch leaves it untyped
    with torch.cuda.device(device):
        start, end = (event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        wall = time.perf_counter()
        start.record()
        for _ in range(calls):
            work()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3, time.perf_counter() - wall
