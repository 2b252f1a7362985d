"""Laws of growth fitted to timings: a power of a size, and so much a cell plus so much a draw."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchbed.analysis.intervals import Interval, around, of_log_mean, of_mean
from benchbed.records import Array

DRAWS = "draws"  # what ``along`` says of timings that get a straight line
LEAST = 3  # sizes that a law takes
ITERATIONS = 20  # of the weights of a straight line; they settle in three or four
LINE = ["along", "problem", "estimator", "way"]  # what tells one line of timings from another
ENDS = ("", "_low", "_high")


class Power(NamedTuple):
    """Seconds like size^slope.

    Attributes:
        slope: of the logarithms.
        fitted: [sizes] seconds on the line.
        off: the largest distance of a size's geometric mean from the line, as a share of the line.
    """

    slope: Interval
    fitted: Array
    off: float


class Line(NamedTuple):
    """Seconds like fixed + each * draws.

    Attributes:
        fixed: seconds whatever the draws.
        each: seconds a draw.
        off: the largest distance from the line of the mean of the timings of one number of draws,
            as a share of the line.
    """

    fixed: Interval
    each: Interval
    off: float

    def at(self, draws: Array) -> Array:
        """Return the seconds of the line."""
        return np.asarray(self.fixed.value + self.each.value * draws, dtype=np.float64)


def power_law(sizes: Array, seconds: Array) -> Power:
    """Fit log seconds = constant + slope log size by least squares.

    Args:
        sizes: [n] positive, at least three.
        seconds: [rounds, n] positive: every size timed once in each round. Rounds are independent;
            what slows a whole round down falls out of its slope.

    Returns:
        The mean of the rounds' slopes. Its interval is that of Student's t over the rounds or, if
        that is wider, that of the scatter about the line: a cost need not follow any power.
    """
    place = np.log(sizes) - np.log(sizes).mean()
    level = np.log(seconds)
    moment = float(place @ place)
    by_round = of_mean(level @ place / moment)
    fitted = level.mean() + by_round.value * place
    off = level.mean(0) - fitted
    scatter = math.sqrt(float(off @ off) / (len(sizes) - 2) / moment)
    by_scatter = around(by_round.value, scatter, len(sizes) - 2)
    narrower = by_round.high - by_round.low < by_scatter.high - by_scatter.low
    slope = by_scatter if narrower or math.isnan(by_round.low) else by_round
    return Power(slope, np.exp(fitted), float(np.abs(np.expm1(off)).max()))


def straight_line(draws: Array, seconds: Array) -> Line:
    """Fit seconds = fixed + each * draws by weighted least squares.

    A timing is off by a share of itself, so the weights are the inverse squares of the line. (Of
    the timings themselves they would favour those that happen to be low.)

    Args:
        draws: [n] of each timing: at least three timings, of two numbers of draws or more.
        seconds: [n] positive.
    """
    largest = float(draws.max())
    design = np.stack([np.ones_like(draws), draws / largest], 1)  # [n, 2]
    line = seconds
    for _ in range(ITERATIONS):
        found, *_ = np.linalg.lstsq(design / line[:, None], seconds / line, rcond=None)
        # A line through noise may dip below 0 where the draws are few: it has no share there.
        line = np.maximum(design @ found, seconds / 10)
    shares = design / line[:, None]
    freedom = len(draws) - 2
    rest = seconds / line - 1
    covariance = np.linalg.inv(shares.T @ shares) * float(rest @ rest) / freedom
    fixed, each = (
        around(float(found[i]), math.sqrt(float(covariance[i, i])), freedom) for i in (0, 1)
    )
    off = max(abs(float(rest[draws == number].mean())) for number in np.unique(draws))
    return Line(fixed, each.scaled(1 / largest), off)


def laws(timings: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each line and size: its seconds, their spread and the law fitted to them.

    Args:
        timings: columns along, problem, estimator, way, size, round, seconds (CPU seconds of one
            estimate), fitted (whether the size takes part in the law), and any others.

    Returns:
        Those columns but the round, ``seconds`` the geometric mean over the rounds, ``low`` and
        ``high`` the least and the most of them; ``law`` the seconds of the law, NaN where it was
        not fitted, and ``off`` its largest distance from the timings, as a share; and the law's
        numbers, with _low and _high, NaN without one: ``slope``, or along draws ``fixed`` (seconds
        a cell) and ``each`` (seconds a draw).
    """
    found = [
        row for _, line in timings.groupby(LINE, sort=False) for row in _of_line(line)
    ]  # fmt: skip
    return pd.DataFrame(found)


def _of_line(line: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of one line, the smallest size first."""
    used = line[line["fitted"]].sort_values(["round", "size"])
    numbers: dict[str, float] = {}
    law: dict[float, float] = {}
    sizes = np.unique(used["size"].to_numpy(dtype=np.float64))
    if len(sizes) >= LEAST and line["along"].iloc[0] == DRAWS:
        draws = used["size"].to_numpy(dtype=np.float64)
        straight = straight_line(draws, draws * used["seconds"].to_numpy())
        law = dict(zip(sizes, straight.at(sizes) / sizes, strict=True))
        numbers = _named("fixed", straight.fixed) | _named("each", straight.each)
        numbers["off"] = straight.off
    elif len(sizes) >= LEAST:
        power = power_law(sizes, used["seconds"].to_numpy().reshape(-1, len(sizes)))
        law = dict(zip(sizes, power.fitted, strict=True))
        numbers = _named("slope", power.slope) | {"off": power.off}
    rows = []
    for size, timed in line.groupby("size"):
        seconds = timed["seconds"].to_numpy(dtype=np.float64)
        rows.append(
            {str(name): value for name, value in timed.iloc[-1].items() if name != "round"}
            | {
                "seconds": of_log_mean(seconds).value,
                "low": float(seconds.min()),
                "high": float(seconds.max()),
                "law": law.get(float(str(size)), math.nan),
            }
            | dict.fromkeys(("off", *_NUMBERS), math.nan)
            | numbers
        )
    return rows


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}{end}": value for end, value in zip(ENDS, interval, strict=True)}


_NUMBERS = [f"{name}{end}" for name in ("slope", "fixed", "each") for end in ENDS]
