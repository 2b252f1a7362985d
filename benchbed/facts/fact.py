"""A fact: an equation of the notes on a toy, both sides computed with no shared code path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Side = Callable[[], ArrayLike]


@dataclass(frozen=True)
class Fact:
    """An equation, its place in the notes, and how far apart its sides may be.

    Attributes:
        row: of the coverage table, such as ``S21``.
        name: a few words, unique.
        statement: the equation.
        place: where the notes have it.
        left: one side, a number or an array.
        right: the other side, by another route.
        bound: the largest allowed max |left - right| / max(|left|, |right|).
        ordered: what the left side must do along its last axis as well.
        slip: what the notes print there that does not hold, and what does.
    """

    row: str
    name: str
    statement: str
    place: str
    left: Side
    right: Side
    bound: float = 1e-10
    ordered: Literal["rising", "falling"] | None = None
    slip: str = ""


@dataclass(frozen=True)
class Limit:
    """A limit and the rate at which it is reached: |left(n) - right| ~ n^-rate.

    Attributes:
        row, name, statement, place, slip: as of a Fact.
        at: the n, rising by a constant factor, far enough for the rate to show.
        left: n -> the value there, a number or an array.
        right: the limit, by another route, never 0.
        rate: the exponent; the error's fall between every two neighbours in ``at`` must show it.
        bound: the largest allowed |observed rate - rate|.
    """

    row: str
    name: str
    statement: str
    place: str
    at: tuple[float, ...]
    left: Callable[[float], ArrayLike]
    right: Side
    rate: float
    bound: float = 0.05
    slip: str = ""


@dataclass(frozen=True)
class Outcome:
    """What evaluating a fact gave.

    Attributes:
        left: that side (of a Limit: at the last n).
        right: the other.
        residual: what ``bound`` bounds.
        errors: of a Limit, the error at every n; empty for a Fact.
        passed: the residual keeps its bound and the order, if any, holds.
    """

    left: Array
    right: Array
    residual: float
    errors: tuple[float, ...]
    passed: bool


def evaluate(fact: Fact | Limit) -> Outcome:
    """Compute both sides and compare them."""
    if isinstance(fact, Limit):
        return _limit(fact)
    left, right = _array(fact.left()), _array(fact.right())
    scale = max(float(np.abs(left).max()), float(np.abs(right).max()))
    apart = left.shape != right.shape
    residual = np.inf if apart else float(np.abs(left - right).max()) / scale if scale else 0.0
    passed = residual <= fact.bound  # False for a NaN
    if fact.ordered:
        steps = np.diff(left, axis=-1) * (1 if fact.ordered == "rising" else -1)
        passed = passed and bool((steps >= 0).all())
    return Outcome(left, right, residual, (), passed)


def _limit(fact: Limit) -> Outcome:
    right = _array(fact.right())
    values = [_array(fact.left(n)) for n in fact.at]
    errors = [float(np.abs(value - right).max()) for value in values]
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = -np.diff(np.log(errors)) / np.diff(np.log(fact.at))
    residual = float(np.abs(observed - fact.rate).max())
    return Outcome(values[-1], right, residual, tuple(errors), residual <= fact.bound)


def _array(side: ArrayLike) -> Array:
    return np.asarray(side, dtype=np.float64)
