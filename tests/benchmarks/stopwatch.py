"""CPU time of several ways to do one thing, alternated in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], object]
SLICE = 0.015  # CPU seconds that each side works before the next has its turn
GRAIN = 2e-4  # CPU seconds that are timed in one piece, at least
MOST_CALLS = 1024


def seconds(work: Work, at_least: float = SLICE) -> float:
    """Return CPU seconds of one call: the lower quartile over calls, short ones by the handful.

    Other work on the machine only ever adds to it; the least of all would be the one time that the
    clock stood still.
    """
    calls, found, start = 1, [], time.process_time()
    while True:
        before = time.process_time()
        for _ in range(calls):
            work()
        now = time.process_time()
        if now - before < GRAIN and calls < MOST_CALLS:
            calls *= 2
        elif now > before:
            found.append((now - before) / calls)
        if found and now - start >= at_least:
            return sorted(found)[len(found) // 4]


def alternated(
    sides: Mapping[str, tuple[Work, int]], rounds: int, at_least: float = SLICE
) -> dict[str, list[float]]:
    """Return CPU seconds of one gradient for each (work, its gradients), ``rounds`` of each."""
    for work, _ in sides.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (work, gradients) in sides.items():
            times[name].append(seconds(work, at_least) / gradients)
    return times


def best_rows(make: Callable[[int], object], sizes: Sequence[int]) -> int:
    """Return the batch size at which ``make(rows)`` takes least time a row."""

    def cost(rows: int) -> float:
        return seconds(lambda: make(rows), at_least=0.002) / rows

    if len(sizes) > 1:
        make(sizes[0])
    return min(sizes, key=cost)


@dataclass(frozen=True)
class Spread:
    """A ratio of times over the alternations."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Write the median and the range."""
        return f"{self.median:.3g} ({self.least:.3g}-{self.most:.3g})"


def ratio(times: Sequence[float], reference: Sequence[float]) -> Spread:
    """Return times / reference, alternation by alternation."""
    found = [a / b for a, b in zip(times, reference, strict=True)]
    return Spread(statistics.median(found), min(found), max(found))


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, NaN of nothing."""
    return statistics.geometric_mean(values) if values else float("nan")
