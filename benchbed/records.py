"""What a measurement leaves behind: block sums and one record a cell. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Above this many coordinates a block keeps its mean only; sums of powers are kept for the cell.
MOST_DETAILED = 256


@dataclass(frozen=True)
class Blocks:
    """Sums over B independent blocks of gradient draws, all centred on the exact gradient.

    With e = g - exact for one draw g of p coordinates, and r = |e|^2 its squared distance:

    Attributes:
        count: [B] draws in each block.
        exact: [p] the exact gradient.
        first: [B, p] sum of e.
        powers: [3, B, p] sums of e^2, e^3, e^4; [3, 1, p], summed over blocks, where p is large.
        largest: [B, p] (or [1, p]) the largest |e|.
        distance: [3, B] sum of r, sum of r^2, largest r.
        seconds: [2, B] CPU and wall seconds spent drawing.
        nonfinite: [B] draws that were not finite; they are in no sum.
    """

    count: Array
    exact: Array
    first: Array
    powers: Array
    largest: Array
    distance: Array
    seconds: Array
    nonfinite: Array

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Exact:
    """The moments of one estimate with no sampling error: the estimator itself marginalized.

    Attributes:
        mean: [p] its expectation.
        variance: [p] the variance of ONE estimate, per coordinate.
    """

    mean: Array
    variance: Array


@dataclass(frozen=True)
class Record:
    """One cell: what was asked, what it cost, and the blocks it left.

    Attributes:
        cell: id, the hash of everything that decides the numbers.
        objective: name and settings.
        estimator: name and settings, as asked for.
        samples: z in one estimate.
        seed: of this cell.
        address: all else that decides the numbers (draws, blocks, dtype, device, source, ...).
        status: ``ok``, ``nonfinite`` or ``failed``.
        message: why it is not ok.
        facts: exact counts and constants (evaluations, slopes, random numbers, promises, tuning).
        cpu_ratios: repeated ratios of CPU time per estimate to one row of the reference kernel.
        seconds: with each of them, CPU and wall seconds of one estimate.
        blocks: the sums; None for a failed cell.
        exact: moments without sampling error, where the estimator's randomness is finite.
        provenance: hash of the surroundings the cell was measured in.
    """

    cell: str
    objective: dict[str, Any]
    estimator: dict[str, Any]
    samples: int
    seed: int
    address: dict[str, Any]
    status: str
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    cpu_ratios: tuple[float, ...] = ()
    seconds: tuple[tuple[float, float], ...] = ()
    blocks: Blocks | None = None
    exact: Exact | None = None
    provenance: str = ""
