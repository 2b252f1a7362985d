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
        ordered: what the left side must do along its last axis as well, strictly.
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
        rate: the exponent of max |left(n) - right|; every two neighbours in ``at`` must show it.
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
        residual: what ``bound`` bounds; NaN where a side is none, or nothing is compared.
        errors: of a Limit, the error at every n; empty for a Fact.
        rates: of a Limit, the observed exponent between neighbours in ``at``.
        passed: the residual keeps its bound and the order, if any, holds.
    """

    left: Array
    right: Array
    residual: float
    errors: tuple[float, ...]
    rates: tuple[float, ...]
    passed: bool


def evaluate(fact: Fact | Limit) -> Outcome:
    """Compute both sides and compare them."""
    if isinstance(fact, Limit):
        return _limit(fact)
    left, right = _array(fact.left()), _array(fact.right())
    residual = _distance(left, right)
    if residual > 0:
        residual /= float(max(np.abs(left).max(), np.abs(right).max()))
    elif not left.any():
        residual = np.nan  # 0 = 0 says nothing
    ordered = fact.ordered is None or _is(fact.ordered, left)
    return Outcome(left, right, residual, (), (), residual <= fact.bound and ordered)


def _limit(fact: Limit) -> Outcome:
    right = _array(fact.right())
    values = [_array(fact.left(n)) for n in fact.at]
    errors = [_distance(value, right) for value in values]
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = -np.diff(np.log(errors)) / np.diff(np.log(fact.at))
    residual = float(np.abs(rates - fact.rate).max())
    passed = residual <= fact.bound
    return Outcome(values[-1], right, residual, tuple(errors), tuple(rates.tolist()), passed)


def _distance(left: Array, right: Array) -> float:
    """Return max |left - right|, or NaN where they cannot be compared: then nothing passes."""
    if left.shape != right.shape or not left.size:
        return np.nan
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return np.nan
    return float(np.abs(left - right).max())


def _is(ordered: Literal["rising", "falling"], values: Array) -> bool:
    steps = np.diff(values, axis=-1) * (1 if ordered == "rising" else -1)
    return bool(steps.size and (steps > 0).all())


def _array(side: ArrayLike) -> Array:
    return np.asarray(side, dtype=np.float64)
