"""What an estimate costs as one thing grows, with the laws fitted to it, on log-log axes."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from benchbed.report.figures.marks import Reading, dot, log_axis
from benchbed.report.figures.panels import TALLEST
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import INK, LINES, MUTED, Look, house_style, looks, wrapped
from benchbed.report.numbers import with_interval
from benchbed.report.readings import VALUE

NAME, TITLE = "growth", "The cost of an estimate as one thing grows"
DRAWS = "draws"
CAPTION = (
    "CPU seconds of one estimate, drawn and measured (its moments added up), one thread: geometric "
    "mean of the rounds, bars from the least to the most. Full lines are laws seconds = constant x "
    "size^slope, fitted by least squares to the filled marks; slopes with 95 % intervals. Hollow "
    "ones are left out: there the calls cost more than the numbers they work on. The dotted line "
    "is proportional to the size. local_expectation evaluates J once for every value of every "
    "variable, so that its slope is 2 by design."
)
IN_DRAWS = (
    "CPU seconds of a whole cell, one thread, against its draws: geometric mean of the repeats, "
    "bars from the least to the most. Lines are seconds = a + b x draws, fitted by least squares "
    "with weights 1 / line^2; 95 % intervals. Memory is the most its process ever held."
)
LEFT, PANEL, ASIDE, HEIGHT, HEAD, FOOT = 0.78, 4.9, 3.3, 2.6, 0.35, 0.6  # inches


def sheets(frame: pd.DataFrame, way: str, name: str = NAME) -> list[Sheet]:
    """Return the figures of what ``benchbed.analysis.growth.laws`` found.

    Args:
        frame: a row for each line and size.
        way: which of the ways in the frame is drawn.
        name: of the figure along everything but draws.
    """
    kept = frame[frame["way"] == way]
    made = []
    for title, caption, part in (
        (name, CAPTION, kept[kept["along"] != DRAWS]),
        (f"{NAME}-{DRAWS}", IN_DRAWS, kept[kept["along"] == DRAWS]),
    ):
        pairs = list(zip(part["along"], part["problem"], strict=True))
        panels = list(dict.fromkeys(pairs))
        step = int(TALLEST / (HEAD + HEIGHT + FOOT))
        for start in range(0, len(panels), step):
            chosen = panels[start : start + step]
            here = part[[pair in chosen for pair in pairs]]
            number = f"-{start // step + 1}" if start else ""
            made.append(Sheet(f"{title}{number}", TITLE, caption, _draw(here, chosen), here))
    return made


def _draw(part: pd.DataFrame, panels: list[tuple[str, str]]) -> Figure:
    """Draw one panel below the other, each with its legend at its right side."""
    width, row = LEFT + PANEL + ASIDE, HEAD + HEIGHT + FOOT
    height = len(panels) * row
    names = list(dict.fromkeys(part["estimator"]))
    look = looks(names)
    styles = {name: (look[name], LINES[i % len(LINES)]) for i, name in enumerate(names)}
    with house_style():
        figure = Figure(figsize=(width, height))
        for number, (along, problem) in enumerate(panels):
            bottom = height - number * row - HEAD - HEIGHT
            corner = (LEFT / width, bottom / height)
            axes = figure.add_axes((*corner, PANEL / width, HEIGHT / height))
            axes.set_title(problem, loc="left", pad=4, color=INK, fontweight="bold")
            here = part[(part["along"] == along) & (part["problem"] == problem)]
            axes.legend(
                handles=_fill(axes, here, along, styles), loc="upper left", frameon=False,
                bbox_to_anchor=(1.02, 1.04), handlelength=2.6, labelspacing=0.5, borderaxespad=0,
                fontsize=7.5,
            )  # fmt: skip
    return figure


def _fill(
    axes: Axes, here: pd.DataFrame, along: str, styles: dict[str, tuple[Look, LineStyleType]]
) -> list[Artist]:
    """Draw one panel and return the entries of its legend, the dearest estimator first."""
    # Along draws the whole cell, else one estimate.
    scale = here["size"] if along == DRAWS else pd.Series(1.0, index=here.index)
    shown = here.assign(**{name: here[name] * scale for name in ("seconds", "low", "high", "law")})
    log_axis(axes, "y", [*shown["low"], *shown["high"]], start=0.04)
    log_axis(axes, "x", shown["size"].astype(float), start=0.04)
    axes.set_xlabel(along)
    axes.set_ylabel(f"CPU seconds of {'a cell' if along == DRAWS else 'one estimate'}")
    first = shown.sort_values(["size", "seconds"])
    _proportional(axes, first[first["fitted"]])
    handles: list[tuple[float, Artist]] = []
    for name, rows in shown.groupby("estimator", sort=False):
        look, style = styles[str(name)]
        axes.plot(rows["size"], rows["law"], color=look.colour, ls=style, lw=1.1, zorder=2)
        for _, row in rows.iterrows():
            if row["fitted"]:
                y = Reading(row["seconds"], row["low"], row["high"], VALUE)
                dot(axes, Reading(row["size"]), y, look, 4.6)
            else:
                axes.plot(
                    [row["size"]], [row["seconds"]], marker=look.marker, ms=look.size(4.0),
                    mfc="white", mec=look.colour, mew=0.9, ls="none", zorder=3,
                )  # fmt: skip
        entry = Line2D(
            [], [], color=look.colour, marker=look.marker, ms=look.size(5.0), lw=1.1, ls=style,
            label=f"{wrapped(str(name), 36)}\n{_told(rows)}",
        )  # fmt: skip
        handles.append((float(rows["seconds"].iloc[-1] / rows["size"].iloc[-1]), entry))
    handles.sort(key=lambda pair: -pair[0])
    below = [Line2D([], [], color=MUTED, ls=":", lw=1.2, label="proportional")]
    if not shown["fitted"].all():
        hollow = Line2D([], [], ls="none", marker="o", mfc="white", mec=MUTED, label="not fitted")
        below.append(hollow)
    return [*(artist for _, artist in handles), *below]


def _proportional(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a guide below the cheapest line."""
    if rows.empty:
        return
    ends = [float(rows["size"].min()), float(rows["size"].max())]
    least = 0.7 * float((rows["low"] / rows["size"]).min())
    limits = axes.get_ylim()
    axes.plot(ends, [least * end for end in ends], color=MUTED, ls=":", lw=1.2, zorder=1.5)
    axes.set_ylim(limits)


def _told(rows: pd.DataFrame) -> str:
    """Return the law of one line in words."""
    row = rows.iloc[-1]
    if math.isfinite(row["slope"]):
        return "slope " + _with(row, "slope", 1.0)
    if not math.isfinite(row["each"]):
        return "no law: too few sizes"
    memory = rows["peak"]
    held = (
        f"\nmemory {memory.iloc[0]:.0f} to {memory.iloc[-1]:.0f} MiB"
        if memory.notna().any()
        else ""
    )
    return f"a {_with(row, 'fixed', 1e3)} ms\nb {_with(row, 'each', 1e9)} ns{held}"


def _with(row: pd.Series, name: str, factor: float) -> str:
    return " ".join(with_interval(*(factor * row[f"{name}{end}"] for end in ("", "_low", "_high"))))
