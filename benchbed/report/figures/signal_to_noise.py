"""The signal-to-noise ratio along the particles of a bound, and the slopes on log-log axes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchbed.analysis.slope import ALONG, LEAST, MEASURED, SIGNAL, SLOPE, signal_to_noise
from benchbed.report.figures.marks import Reading, dot, log_axis, reading, value_axis
from benchbed.report.figures.panels import TALLEST
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import INK, MUTED, Look, wrapped
from benchbed.report.numbers import with_interval
from benchbed.report.readings import LIMIT, VALUE, at_one_samples, label_without

NAME, TITLE = "signal_to_noise", "Signal-to-noise ratio"
CAPTION = (
    "Length of the expected gradient over the standard deviation of one estimate (root of its "
    "variance summed over the parameters), along the particles of the bound. Of an estimator that "
    "promises no bias the expected gradient is the exact one, so that its ratio has no floor. Of "
    "the others, marked 'measured', it is the mean of the draws less what noise adds to its "
    "length, and below the dotted line, 1 / √draws, nothing can be read: a hollow dot with an "
    "arrow is an upper limit. Bars are 95 % intervals, often narrower than the dot. Lines are "
    "fitted to the upper half of the particles (at least three values), and their slopes, with "
    "95 % intervals, are those of the logarithms: -0.5 falls, and 0.5 grows, like √particles."
)
COLUMNS = [
    "objective", "estimator", "samples", ALONG, *SIGNAL, "signal_from", "signal_drawn",
    "snr_floor", *SLOPE, "signal_points", "signal_fitted",
]  # fmt: skip
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.2, 1.5)))  # of lines of one colour
LEFT, PANEL, ASIDE, HEIGHT = 0.78, 4.9, 3.3, 3.8  # inches
HEAD, FOOT = 0.4, 0.6


def sheets(frame: pd.DataFrame, looks: Mapping[str, Look]) -> list[Sheet]:
    """Return the sheets; none where no objective takes three numbers of particles."""
    if ALONG not in frame:
        return []
    kept, common = at_one_samples(signal_to_noise(frame))
    place = pd.to_numeric(kept[ALONG], errors="coerce").astype(float)
    kept = kept.assign(place=place)[(place > 0) & (kept["signal_high"] > 0)]
    kept["signal_drawn"] = [VALUE if low > 0 else LIMIT for low in kept["signal_low"]]
    kept["panel"] = [label_without(row, "objective", "particles") for _, row in kept.iterrows()]
    values = kept.groupby(["panel", "estimator"])["place"].transform("nunique")
    kept = kept[values >= LEAST]
    titles = list(dict.fromkeys(kept["panel"]))
    step = max(1, int(TALLEST / (HEAD + HEIGHT + FOOT)))
    made = []
    for start in range(0, len(titles), step):
        shown = titles[start : start + step]
        part = kept[kept["panel"].isin(shown)]
        name = NAME if start == 0 else f"{NAME}-{start // step + 1}"
        caption = f"{CAPTION} Shown at samples = {common}, or the nearest an estimator has."
        made.append(Sheet(name, TITLE, caption, _draw(part, shown, looks), part[COLUMNS]))
    return made


def _draw(part: pd.DataFrame, titles: list[str], looks: Mapping[str, Look]) -> Figure:
    """Draw one panel below the other, each with its legend at its right side."""
    width, row = LEFT + PANEL + ASIDE, HEAD + HEIGHT + FOOT
    height = len(titles) * row
    figure = Figure(figsize=(width, height))
    for number, title in enumerate(titles):
        bottom = height - number * row - HEAD - HEIGHT
        corner = (LEFT / width, bottom / height)
        axes = figure.add_axes((*corner, PANEL / width, HEIGHT / height))
        axes.set_title(wrapped(title, 100, 1), loc="left", pad=4, color=INK, fontweight="bold")
        handles = _fill(axes, part[part["panel"] == title], looks)
        axes.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False,
            handlelength=3.0, labelspacing=0.75, borderaxespad=0,
        )  # fmt: skip
    return figure


def _fill(axes: Axes, here: pd.DataFrame, looks: Mapping[str, Look]) -> list[Artist]:
    """Draw one panel and return the entries of its legend, the highest line first."""
    shown = [reading(row, "signal", "signal_drawn") for _, row in here.iterrows()]
    log_axis(axes, "y", [*shown, *here["snr_floor"]], start=0.06)
    value_axis(axes, here["place"])
    axes.set_xlabel("particles")
    axes.set_ylabel("|E g| / standard deviation of g")
    floor = here.groupby("place")["snr_floor"].max()
    axes.plot(floor.index, floor, color=MUTED, ls=":", lw=1.2, zorder=1.5)
    handles: list[tuple[float, Artist]] = []
    alike: Counter[str] = Counter()  # lines of a colour so far
    for estimator, rows in here.sort_values("place").groupby("estimator", sort=False):
        look = looks[str(rows["estimator_name"].iloc[0])]
        style = DASHES[alike[str(look.colour)] % len(DASHES)]
        alike[str(look.colour)] += 1
        fitted = rows[rows["signal_fitted"] > 0]
        axes.plot(
            fitted["place"], fitted["signal_fitted"], color=look.colour, ls=style, lw=1.1, zorder=2
        )
        for _, row in rows.iterrows():
            dot(axes, Reading(row["place"]), reading(row, "signal", "signal_drawn"), look, 4.8)
        top = float(rows["signal_high"].iloc[-1])
        handles.append((top, _entry(str(estimator), rows.iloc[0], look, style)))
    handles.sort(key=lambda pair: -pair[0])
    line = Line2D([], [], color=MUTED, ls=":", lw=1.2, label="floor of a measured mean, 1 / √draws")
    return [*(artist for _, artist in handles), line]


def _entry(estimator: str, row: pd.Series, look: Look, style: Any) -> Artist:
    """Return the legend entry of one line: its name and its slope."""
    numbers = [float(row[name]) for name in SLOPE]
    told = "no slope" if math.isnan(numbers[0]) else "slope " + " ".join(with_interval(*numbers))
    aside = ", measured" if row["signal_from"] == MEASURED else ""
    return Line2D(
        [], [], color=look.colour, marker=look.marker, ms=look.size(5.4), lw=1.1, ls=style,
        label=f"{wrapped(estimator, 36)}\n{told}{aside}",
    )  # fmt: skip
