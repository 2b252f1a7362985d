"""CPU time of an estimate in units of the reference kernel, the two alternated in one process."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchbed.measurement.reference import ROWS, reference_kernel

BLOCK_SECONDS = 0.05  # each side runs at least so long before the other takes its turn


def cpu_ratios(draw_chunk: Callable[[], object], chunk: int, repeats: int) -> tuple[float, ...]:
    """Return ``repeats`` ratios: CPU seconds of one estimate / of one row of the reference kernel.

    Args:
        draw_chunk: draws ``chunk`` estimates.
        chunk: how many.
        repeats: alternations; the first pair warms both sides up and is not returned.
    """
    ratios = []
    for _ in range(repeats + 1):
        kernel = _seconds_per_call(reference_kernel)
        ratios.append(_seconds_per_call(draw_chunk) / chunk / (kernel / ROWS))
    return tuple(ratios[1:])


def _seconds_per_call(work: Callable[[], object]) -> float:
    calls, start = 0, time.process_time()
    while True:
        work()
        calls += 1
        spent = time.process_time() - start
        if spent >= BLOCK_SECONDS:
            return spent / calls
