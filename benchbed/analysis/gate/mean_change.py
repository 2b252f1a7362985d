"""Did the mean of an estimator move? A few numbers of it that fit in a line, and their t test.

A baseline cannot keep the mean of every weight. It keeps its bias along the exact gradient, and
along each coordinate or, where these are many, along random signs of all coordinates: whatever
moves the mean moves most of those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchbed.analysis.bias import POWER, least_error
from benchbed.records import Array, Blocks

MOST_COORDINATES = 8  # kept one by one


class MeanSketch(NamedTuple):
    """The bias of a mean along some directions of length 1, in the gradient's units.

    Attributes:
        along: the bias along the exact gradient, then along the others.
        errors: standard error of each.
        freedom: degrees of freedom of the errors.
    """

    along: tuple[float, ...]
    errors: tuple[float, ...]
    freedom: float


def sketch(blocks: Blocks) -> MeanSketch:
    """Return the sketch of one cell's mean, its error from the spread of the block means."""
    values = (blocks.first / blocks.count[:, None]) @ _directions(blocks.exact)
    return _of(values, least_error(blocks))


def sketch_over_tunings(cells: Sequence[Blocks]) -> MeanSketch:
    """Return the sketch of the mean over cells that were each tuned anew; needs two or more."""
    means = [blocks.first.sum(0) / blocks.count.sum() for blocks in cells]
    return _of(np.array(means) @ _directions(cells[0].exact), max(map(least_error, cells)))


def change_p_value(new: MeanSketch, old: MeanSketch) -> float:
    """Return the p-value of "both have one mean": Welch's t, the largest over the directions."""
    smallest = 1.0
    for move, error, freedom in _moves(new, old):
        smallest = min(smallest, 2 * float(stats.t.sf(abs(move) / error, freedom)))
    return min(1.0, len(new.along) * smallest)


def largest_move(new: MeanSketch, old: MeanSketch) -> tuple[float, float]:
    """Return the most significant move of the mean and its standard error, in gradient units."""
    moves = _moves(new, old)
    move, error, _ = max(moves, key=lambda part: abs(part[0]) / part[1])
    return move, error


def visible_change(new: MeanSketch, old: MeanSketch, level: float) -> float:
    """Return the smallest change along the exact gradient that the test sees, in its units.

    At ``level`` and with power 0.99.
    """
    _, error, freedom = _moves(new, old)[0]
    critical = float(stats.t.isf(level / (2 * len(new.along)), freedom))
    # The error is itself estimated: the noncentral t, to first order.
    wider = math.sqrt(1 + critical**2 / (2 * freedom))
    return (critical + float(stats.norm.ppf(POWER)) * wider) * error


def _moves(new: MeanSketch, old: MeanSketch) -> list[tuple[float, float, float]]:
    """Return move, standard error and degrees of freedom for each direction."""
    found = []
    for a, b, s, t in zip(new.along, old.along, new.errors, old.errors, strict=True):
        total = s**2 + t**2
        freedom = total**2 / (s**4 / new.freedom + t**4 / old.freedom)
        found.append((a - b, math.sqrt(total), freedom))
    return found


def _of(values: Array, rounding: float) -> MeanSketch:
    errors = np.hypot(values.std(0, ddof=1) / math.sqrt(len(values)), rounding)
    return MeanSketch(tuple(values.mean(0).tolist()), tuple(errors.tolist()), len(values) - 1)


def _directions(exact: Array) -> Array:
    """Return directions of length 1, [p, k]: the exact gradient's first, the same every time."""
    size = len(exact)
    norm = float(np.linalg.norm(exact))
    along = exact / norm if norm > 0 else np.full(size, size**-0.5)
    if size <= MOST_COORDINATES:
        others: Array = np.eye(size)
    else:
        signs = np.random.default_rng(size).integers(0, 2, (size, MOST_COORDINATES))
        others = np.where(signs == 1, 1.0, -1.0) / math.sqrt(size)
    directions: Array = np.column_stack([along, others])
    return directions
