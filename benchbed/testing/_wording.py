"""Sentences about coordinates, sizes and seeds, for the messages of failed tests."""

from __future__ import annotations

import numpy as np

from benchbed.analysis.intervals import Interval, of_mean
from benchbed.analysis.sheet import worded
from benchbed.contracts import Objective
from benchbed.records import Blocks


def place_of(objective: Objective, coordinate: int) -> str:
    """Return ``params[1, 2]`` for a coordinate of what is measured."""
    if objective.jacobian is not None or objective.pull is not None:
        return f"weight {coordinate} of the network"
    shape = objective.params.shape
    where = np.unravel_index(coordinate, tuple(shape)) if len(shape) else ()
    return f"params[{', '.join(str(int(i)) for i in where)}]" if len(where) else "params"


def off_at(objective: Objective, blocks: Blocks, coordinate: int) -> str:
    """Say what the mean gradient is at one coordinate and what it should be.

    Args:
        objective: names the coordinate.
        blocks: of all draws.
        coordinate: -1 for the projection on the exact gradient.
    """
    means = blocks.first / blocks.count[:, None]  # [B, p], of the errors
    if coordinate < 0:
        size = float(blocks.exact @ blocks.exact) or 1.0
        along = of_mean(1 + means @ blocks.exact / size)
        return f"worst along the exact gradient, of which its mean is {worded(along)}"
    exact = float(blocks.exact[coordinate])
    mean = of_mean(exact + means[:, coordinate])
    place = place_of(objective, coordinate)
    return f"worst at {place}, where its mean is {worded(mean)} and the exact gradient {exact:.4g}"


def percent(interval: Interval) -> str:
    """Return a share and its interval in per cent."""
    return worded(interval.scaled(100.0)).replace(" [", " % [", 1)


def of_seeds(false_alarm: float, seed: int, kind: str = "A correct estimator fails") -> str:
    """Say what a false alarm is worth here."""
    return (
        f"{kind} this test on at most {100 * false_alarm:.3g} % of seeds; "
        f"seed={seed} gives this outcome every time."
    )
