"""The marks: a dot with its intervals, an upper limit, a zero on the edge, and log axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Transform, blended_transform_factory

from benchbed.report.figures.style import INK, SMALL, Look
from benchbed.report.numbers import number, power_of_ten
from benchbed.report.readings import LIMIT, VALUE, ZERO

EDGE = 0.03  # where a zero sits, as a share of the axis

_HEAD = ((-0.68, 0.2), (-1.0, 0.0), (-0.68, -0.2))
_ARROW, _PEN = ((0.0, 0.0), (-1.0, 0.0), *_HEAD), (1, 2, 1, 2, 2)
_LEFT = Path(_ARROW, _PEN)
_DOWN = Path([(y, x) for x, y in _ARROW], _PEN)


class Reading(NamedTuple):
    """A number on one axis: where it is, its interval, and how it is drawn."""

    value: float
    low: float = math.nan
    high: float = math.nan
    drawn: str = VALUE

    @property
    def at(self) -> float:
        """Where the dot goes: the high end of an upper limit, the edge for a zero."""
        return {ZERO: EDGE, LIMIT: self.high}.get(self.drawn, self.value)

    @property
    def shown(self) -> bool:
        """Whether a log axis can show it."""
        return self.drawn == ZERO or (self.drawn in (VALUE, LIMIT) and self.at > 0)


def reading(row: pd.Series, name: str, drawn: str) -> Reading:
    """Read the three columns of ``name`` and how it is drawn off a row of the frame."""
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return Reading(value, low, high, str(row[drawn]))


def dot(ax: Axes, x: Reading, y: Reading, look: Look, size: float, alpha: float = 1.0) -> bool:
    """Draw one dot with its intervals; return whether there was anything to draw."""
    if not (x.shown and y.shown):
        return False
    place = blended_transform_factory(_side(ax, x), _side(ax, y))
    style: dict[str, Any] = {"transform": place, "alpha": alpha, "zorder": 3}
    line = {"color": look.colour, "lw": 1.2} | style
    if x.drawn == VALUE and x.low < x.high:
        ax.plot([max(x.low, 1e-300), x.high], [y.at, y.at], **line)
    if y.drawn == VALUE and y.low < y.high:
        ax.plot([x.at, x.at], [max(y.low, 1e-300), y.high], **line)
    for axis, arrow in ((x, _LEFT), (y, _DOWN)):
        if axis.drawn == LIMIT:
            length = min(26.0, 8 + 3.4 * size)
            ax.plot([x.at], [y.at], marker=arrow, ms=length, mew=1.0, fillstyle="none", **line)
    hollow = LIMIT in (x.drawn, y.drawn)
    ax.plot(
        [x.at],
        [y.at],
        marker=look.marker,
        ms=look.size(size),
        mew=1.0 if hollow else 0.5,
        mec=look.colour if hollow else "white",
        mfc="white" if hollow else look.colour,
        ls="none",
        **(style | {"zorder": 4}),
    )
    if ZERO in (x.drawn, y.drawn):
        aside = x.drawn == ZERO  # else above, clear of the interval in x
        ax.annotate(
            "0", (x.at, y.at), xycoords=place, textcoords="offset points",
            fontsize=SMALL, color=INK,
            xytext=(size / 2 + 2, 0) if aside else (0, size / 2 + 1),
            va="center" if aside else "bottom", ha="left" if aside else "center",
        )  # fmt: skip
    return True


def _side(ax: Axes, axis: Reading) -> Transform:
    return ax.transAxes if axis.drawn == ZERO else ax.transData


def log_axis(
    ax: Axes, which: Literal["x", "y"], numbers: Iterable[Reading | float], start: float = 0.1
) -> None:
    """Make an axis logarithmic, with room at its start for zeros and arrows.

    Args:
        ax: the panel.
        which: axis.
        numbers: what it must hold; what a log axis cannot show is passed over.
        start: share of the axis left free before the smallest number.
    """
    held = [1.0]
    found = [x for item in numbers for x in _extent(item) if x > 0 and math.isfinite(x)]
    if found:
        held = found
    low, high = math.log10(min(held)), math.log10(max(held))
    span = max(high - low, 0.7)
    middle = (low + high) / 2
    low, high = middle - span / 2, middle + span / 2
    limits = 10 ** (low - span * start / (1 - start)), 10 ** (high + 0.06 * span)
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    (ax.set_xlim if which == "x" else ax.set_ylim)(*limits)
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=_subdivisions(span), numticks=7))
    axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_formatter(NullFormatter())


def value_axis(ax: Axes, values: Iterable[float]) -> None:
    """Make the x axis logarithmic with a tick at each of the few ``values`` that were measured."""
    ticks = sorted(set(values))
    ax.set_xscale("log")
    margin = max((ticks[-1] / ticks[0]) ** 0.11, 1.1)
    ax.set_xlim(ticks[0] / margin, ticks[-1] * margin)
    while len(ticks) > 8:
        ticks = ticks[::2]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _subdivisions(decades: float) -> tuple[float, ...]:
    if decades < 1.0:
        return (1.0, 2.0, 5.0)
    return (1.0, 3.0) if decades < 2.0 else (1.0,)


def _extent(item: Reading | float) -> tuple[float, ...]:
    if not isinstance(item, Reading):
        return (item,)
    if item.drawn == ZERO or not item.shown:
        return ()
    return (item.at,) if item.drawn == LIMIT else (item.value, item.low, item.high)


def _tick(x: float, _: object = None) -> str:
    if x <= 0:
        return ""
    exponent = math.floor(math.log10(x) + 1e-9)
    if -3 <= exponent <= 3:
        return number(x, 1).replace(",", "")
    lead = round(x / 10.0**exponent)
    return power_of_ten(exponent) if lead == 1 else f"{lead}×{power_of_ten(exponent)}"
