"""Two samples of vectors against each other: every difference that could be told, with its p-value.

Under one law the two samples are exchangeable. What is chosen by looking at the pooled sample (its
mean, its quantiles, its commonest values) is therefore fair to both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchbed.records import Array
from benchbed.report.numbers import p_value

Counts = NDArray[np.int64]

ONE_VALUE = 1e-9  # standard deviations: closer values are one
FAR = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.97, 0.99, 0.997, 0.999, 0.9999)  # pooled quantiles
COMMONEST = 8  # values whose frequency is held against each other
LEAST_COMMON = 1e-4  # of the pooled draws


class Difference(NamedTuple):
    """One statistic of the two samples.

    Attributes:
        kind: ``mean``, ``second moment``, ``distribution``, ``mass`` or ``frequency``.
        what: of which number, in words.
        values: what it is in the first and in the second sample.
        error: standard error of their difference, as far as there is one.
        p: two-sided p-value under one law.
    """

    kind: str
    what: str
    values: tuple[float, float]
    error: float
    p: float

    def worded(self, one: str, other: str, level: float) -> str:
        """Say it in one line, with an interval at ``1 - level`` of the difference."""
        left, right = self.values
        gap = left - right
        half = float(stats.norm.isf(level / 2)) * self.error
        return (
            f"{self.what}: {left:.5g} in {one}, {right:.5g} in {other}, a difference of "
            f"{gap:.3g} [{gap - half:.3g}, {gap + half:.3g}] ({p_value(self.p)})"
        )


class Pair(NamedTuple):
    """How many draws of each sample are in one set."""

    kind: str
    what: str
    left: int
    right: int


class Differences(NamedTuple):
    """All that was compared.

    Attributes:
        tests: how many p-values there were.
        largest: the most significant of each kind.
    """

    tests: int
    largest: list[Difference]


def differences(
    first: Array, second: Array, directions: Array, names: Sequence[str]
) -> Differences:
    """Compare two samples of one size.

    Args:
        first: [n, p].
        second: [n, p].
        directions: [k, p] of the projections, in units of each coordinate's standard deviation.
        names: of the first so many coordinates, which are looked at one by one.
    """
    n = len(first)
    found: list[Difference] = []
    pairs: list[Pair] = []
    for what, x, y in _columns(first, second, directions, names):
        found += _moments(what, x, y)
        value, left, right = _counts(x, y)
        if len(value) > 1:
            found.append(_furthest_apart(what, value, left, right, n))
            pairs += _pairs(what, value, left, right, n)
    found += _frequencies(pairs, n)
    best: dict[str, Difference] = {}
    for each in found:
        if each.kind not in best or each.p < best[each.kind].p:
            best[each.kind] = each
    return Differences(len(found), sorted(best.values(), key=lambda each: each.p))


def _columns(
    first: Array, second: Array, directions: Array, names: Sequence[str]
) -> Iterator[tuple[str, Array, Array]]:
    """Yield name and values of the coordinates, the projections and the length."""
    for number, name in enumerate(names):
        yield name, first[:, number], second[:, number]
    centre, scale = _scale(first, second)
    scale = np.where(scale > 0, scale, 1.0)
    left, right = (first - centre) / scale, (second - centre) / scale
    if first.shape[1] > 1:
        for number, direction in enumerate(directions):
            unit = direction / np.linalg.norm(direction)
            yield f"random projection {number}, in standard deviations,", left @ unit, right @ unit
        yield (
            "the length, in standard deviations,",
            np.linalg.norm(left, axis=1),
            np.linalg.norm(right, axis=1),
        )


def _scale(first: Array, second: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the pooled sample; 0 for what is only rounding."""
    centre = (first.mean(0) + second.mean(0)) / 2
    spread = np.sqrt((np.square(first - centre).mean(0) + np.square(second - centre).mean(0)) / 2)
    return centre, np.where(spread > ONE_VALUE * np.abs(centre), spread, 0.0)


def _moments(what: str, x: Array, y: Array) -> Iterator[Difference]:
    """Yield the comparison of the means and of the second moments about the pooled mean."""
    centre, scale = (float(z[0]) for z in _scale(x[:, None], y[:, None]))
    yield _welch("mean", f"the mean of {what}", x, y, scale)
    if scale > 0:
        squares = np.square(x - centre), np.square(y - centre)
        yield _welch("second moment", f"the second moment of {what}", *squares, scale**2)


def _welch(kind: str, what: str, x: Array, y: Array, scale: float) -> Difference:
    values = float(x.mean()), float(y.mean())
    error = math.sqrt((x.var(ddof=1) + y.var(ddof=1)) / len(x))
    gap = abs(values[0] - values[1])
    if error <= ONE_VALUE * scale or scale == 0:  # nothing varies: equal or not, to rounding
        same = gap <= ONE_VALUE * max(abs(values[0]), abs(values[1]), scale)
        return Difference(kind, what, values, 0.0, 1.0 if same else 0.0)
    p = 2 * float(stats.t.sf(gap / error, len(x) - 1))  # the smaller freedom: not too bold
    return Difference(kind, what, values, error, p)


def _furthest_apart(what: str, value: Array, left: Counts, right: Counts, n: int) -> Difference:
    """Compare the distribution functions where they differ most: Kolmogorov and Smirnov."""
    below, above = np.cumsum(left), np.cumsum(right)
    place = int(np.abs(below - above).argmax())
    gap = abs(int(below[place]) - int(above[place])) / n
    return Difference(
        "distribution",
        f"the share of {what} up to {value[place]:.4g}",
        (below[place] / n, above[place] / n),
        _share_error(below[place] + above[place], n),
        float(stats.kstwobign.sf(gap * math.sqrt(n / 2))),
    )


def _pairs(what: str, value: Array, left: Counts, right: Counts, n: int) -> Iterator[Pair]:
    """Yield the counts up to quantiles far out, and of the commonest values."""
    below, above = np.cumsum(left), np.cumsum(right)
    for place in np.unique(np.searchsorted(below + above, np.array(FAR) * 2 * n)):
        if place < len(value) - 1:
            said = f"the share of {what} up to {value[place]:.4g}"
            yield Pair("mass", said, int(below[place]), int(above[place]))
    both = left + right
    for place in np.argsort(-both, kind="stable")[:COMMONEST]:
        if both[place] >= max(LEAST_COMMON * 2 * n, 10):
            said = f"the share of {what} equal to {value[place]:.4g}"
            yield Pair("frequency", said, int(left[place]), int(right[place]))


def _counts(x: Array, y: Array) -> tuple[Array, Counts, Counts]:
    """Return the distinct values of both samples, in order, and how often each has them."""
    pooled = np.concatenate([x, y])
    order = np.argsort(pooled, kind="stable")
    ordered = pooled[order]
    _, scale = _scale(x[:, None], y[:, None])
    one = ONE_VALUE * float(scale[0]) or math.inf
    new = np.diff(ordered) > one
    group = np.concatenate([[0], np.cumsum(new)])
    mine = order < len(x)
    size = int(group[-1]) + 1
    left = np.bincount(group[mine], minlength=size)
    right = np.bincount(group[~mine], minlength=size)
    starts = np.concatenate([[True], new])
    values = ordered[starts]
    return np.where(np.abs(values) > one, values, 0.0), left, right


def _frequencies(pairs: Sequence[Pair], n: int) -> Iterator[Difference]:
    """Compare pairs of counts out of n each: hypergeometric, given their sum."""
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (2, 3))
    law = stats.hypergeom(2 * n, n, left + right)
    p_values = np.minimum(1.0, 2 * np.minimum(law.cdf(left), law.sf(left - 1)))
    for pair, p in zip(pairs, p_values, strict=True):
        error = _share_error(pair.left + pair.right, n)
        yield Difference(pair.kind, pair.what, (pair.left / n, pair.right / n), error, float(p))


def _share_error(total: float, n: int) -> float:
    """Return the standard error of the difference of two shares out of n each."""
    mean = total / (2 * n)
    return math.sqrt(2 * mean * (1 - mean) / n)
