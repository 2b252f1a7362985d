"""One cell of the bias test of an estimator, and what was found in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from benchbed.analysis.intervals import NOTHING, Interval, around
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BenchbedError, one_line
from benchbed.records import Blocks
from benchbed.verification.estimator.panel import Place
from benchbed.verification.estimator.variants import Variant

OWN_MEAN = "own mean"  # what a biased estimator's own mean is called


@dataclass(frozen=True)
class Cell:
    """What is measured.

    Attributes:
        place: the objective.
        variant: the estimator at some settings.
        target: what its mean is held against.
        promised: whether being off is a fault.
        estimator: tuned there.
    """

    place: Place
    variant: Variant
    target: str
    promised: bool
    estimator: Estimator

    @property
    def label(self) -> str:
        """Return a name of its own."""
        return " | ".join((self.place.label, self.variant.label, self.target))


@dataclass(frozen=True)
class Finding:
    """What was found in one cell. Intervals are at level 0.95.

    Attributes:
        cell: see there.
        outcome: of the bias test, or ``nonfinite`` or ``failed``.
        bias: |E g - target| / |target|.
        visible: the smallest shrink that would have shown, as a share of the gradient.
        coordinate: where the mean is furthest off in standard errors, such as ``params[1, 2]``.
        off: by how much there, in units of the gradient; its interval allows for all coordinates.
        variance: of ONE estimate, trace; NaN where tuning adds a variance that one run cannot show.
        draws: behind all this.
        draws_needed: that would decide, where these did not; None where that is not known.
        message: why it could not be measured or decided.
    """

    cell: Cell
    outcome: str
    bias: Interval = NOTHING
    visible: float = math.nan
    coordinate: str = ""
    off: Interval = NOTHING
    variance: Interval = NOTHING
    draws: int = 0
    draws_needed: int | None = None
    message: str = ""

    @property
    def wrong(self) -> bool:
        """Whether it is a fault."""
        return self.outcome == "biased" and self.cell.promised


def furthest(blocks: Blocks, objective: Objective) -> tuple[str, Interval]:
    """Return the coordinate furthest off in standard errors, and by how much.

    The interval is at level 0.95 for all coordinates together: this one was picked.
    """
    means = blocks.first / blocks.count[:, None]
    count = len(means)
    mean, error = means.mean(0), means.std(0, ddof=1) / math.sqrt(count)
    least = 1e-9 * (float(np.linalg.norm(blocks.exact)) or 1.0)
    worst = int((np.abs(mean) / np.maximum(error, least)).argmax())
    level = 1 - 0.05 / len(mean)
    off = around(float(mean[worst]), float(error[worst]), count - 1, level)
    return name_of_coordinate(worst, objective), off


def name_of_coordinate(number: int, objective: Objective) -> str:
    """Return ``params[1, 2]``, or ``weight 7`` of a network."""
    if objective.jacobian is not None or objective.pull is not None:
        return f"weight {number}"
    place = torch.unravel_index(torch.tensor(number), objective.params.shape)
    return f"params[{', '.join(str(int(axis)) for axis in place)}]"


def said(error: Exception) -> str:
    """Return an error as one line."""
    return str(error) if isinstance(error, BenchbedError) else one_line(error)
