"""One comparison, and the two points at which an objective is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.errors import BenchbedError, BrokenContract, one_line
from benchbed.rng import Noise

EXACT = 1e-6  # of the length of what is compared
MOST_STATES = 2**16  # summed a second time
SAMPLES = 20_000  # of z, where they cannot all be listed
FALSE_ALARM = 1e-4  # the chance that what is right fails a comparison with samples
MOVE = 0.3  # the second point is so many standard normal steps away
Result = TypeVar("Result")


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        name: what was checked.
        against: with what it was compared.
        error: the relative difference, unless ``against`` names a statistic.
        bound: the largest that passes.
        advice: what to look at, where it did not pass.
    """

    name: str
    against: str
    error: float
    bound: float
    advice: str = ""

    @property
    def passed(self) -> bool:
        """Say whether the error keeps its bound; a NaN does not."""
        return self.error <= self.bound


def beside(objective: Objective) -> Tensor:
    """Return the second point, a seeded step away."""
    noise = Noise(1, "verify", objective.name, dtype=torch.float64)
    return objective.params + MOVE * noise.normal(*objective.params.shape, 1)[..., 0]


def broken(name: str, error: Exception | str) -> Check:
    """Return the check that fails because something could not be called, in one line."""
    if isinstance(error, Exception):
        error = str(error) if isinstance(error, BenchbedError) else one_line(error)
    return Check(name, "its contract", math.inf, 0.0, error)


def called(what: str, work: Callable[[], Result]) -> Result:
    """Return what ``work`` does, or say in one line that ``what`` failed."""
    try:
        return work()
    except BenchbedError:
        raise
    except Exception as error:
        raise BrokenContract(f"{what} failed: {one_line(error)}") from error
