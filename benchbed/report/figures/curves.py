"""Bias and variance along an axis: temperature, samples, categories or dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchbed.report.figures.marks import Reading, dot, log_axis, reading, value_axis
from benchbed.report.figures.panels import panels, per_sheet
from benchbed.report.figures.references import draw_references, references
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import LINES, Look, wrapped
from benchbed.report.readings import LIMIT, VALUE, at_one_samples, label_without

HEIGHT = 1.95
DODGE = 0.1  # of the axis: the width over which lines are set side by side
INTERVALS = (
    "Bars are 95 % intervals. A hollow dot with an arrow is an upper limit: the interval of the "
    "bias includes 0; lines join what is more than that. A dot marked 0 on the lower edge is 0 up "
    "to rounding. Dots that share a place on the axis are drawn side by side."
)


class Along(NamedTuple):
    """One axis that bias and variance are shown along.

    Attributes:
        name: of the figure.
        column: of the frame.
        title: of the figure, for people.
        axis: label, with what is counted.
        variance: ``variance`` or, where the gradient changes along the axis, ``variance_relative``.
        note: what else the caption must say.
    """

    name: str
    column: str
    title: str
    axis: str
    variance: str
    note: str


ALONG = (
    Along(
        "temperature", "estimator.temperature", "Temperature", "temperature", "variance",
        "Dotted lines with a mark at the right end are estimators without a temperature: up to "
        "four that promise no bias, by least variance, and up to two biased ones.",
    ),
    Along("samples", "samples", "Samples", "samples in one estimate", "variance", ""),
    Along(
        "categories", "objective.categories", "Categories", "categories", "variance_relative",
        "The variance is over |∇|², as the gradient changes with the categories.",
    ),
    Along(
        "dimensions", "objective.dimensions", "Dimensions", "dimensions", "variance_relative",
        "The variance is over |∇|², as the gradient changes with the dimensions.",
    ),
    Along(
        "k", "objective.k", "Parameter of the cost", "k, of the cost", "variance_relative",
        "The variance is over |∇|², as the gradient changes with k.",
    ),
    Along(
        "scale", "objective.scale", "Scale of the noise", "scale, of the latent noise",
        "variance_relative", "The variance is over |∇|², as the gradient changes with the scale.",
    ),
    Along(
        "multiplier", "objective.multiplier", "Multiplier of the rate", "multiplier of the rate",
        "variance_relative", "The variance is over |∇|², as the gradient changes with it.",
    ),
    Along(
        "distance", "objective.distance", "Distance from the posterior",
        "distance from the posterior", "variance_relative",
        "The variance is over |∇|², as the gradient changes with the distance.",
    ),
)  # fmt: skip


def sheets(frame: pd.DataFrame, looks: Mapping[str, Look], along: Along) -> list[Sheet]:
    """Return the sheets of one axis; none where nothing takes two values on it."""
    if along.column not in frame:
        return []
    caption = (
        f"Upper: bias as a share of |∇|, the exact gradient's length. Lower: variance of one "
        f"estimate. Both along {along.axis}. {along.note} {INTERVALS}"
    )
    kept = frame
    if along.column != "samples":
        kept, common = at_one_samples(frame)
        caption += f" Shown at samples = {common}, or the nearest an estimator has."
    kept = kept.assign(place=pd.to_numeric(kept[along.column], errors="coerce").astype(float))
    kind, _, setting = along.column.rpartition(".")
    kept["line"] = [label_without(row, "estimator", setting) for _, row in kept.iterrows()]
    kept["panel"] = [
        label_without(row, "objective", setting) if kind == "objective" else str(row["objective"])
        for _, row in kept.iterrows()
    ]
    placed = kept[kept["place"] > 0]
    values = placed.groupby(["panel", "line"])["place"].transform("nunique")
    placed = placed[values >= 2]
    titles = list(dict.fromkeys(placed["panel"]))
    made = []
    step = per_sheet(len(titles), HEIGHT, 2)
    for start in range(0, len(titles), step):
        shown = titles[start : start + step]
        part = placed[placed["panel"].isin(shown)]
        name = along.name if start == 0 else f"{along.name}-{start // step + 1}"
        made.append(_sheet(name, caption, part, kept[kept["panel"].isin(shown)], looks, along))
    return made


def _sheet(
    name: str,
    caption: str,
    part: pd.DataFrame,
    everything: pd.DataFrame,
    looks: Mapping[str, Look],
    along: Along,
) -> Sheet:
    titles = list(dict.fromkeys(part["panel"]))
    others = references(everything) if along.name == "temperature" else everything.iloc[:0]
    styles = _styles(part, looks)
    names = dict.fromkeys([*styles.index, *others["line"]])
    owners = pd.concat([part, others]).drop_duplicates("line").set_index("line")["estimator_name"]
    handles: list[Artist] = [
        Line2D(
            [], [], color=looks[owners[line]].colour, marker=looks[owners[line]].marker,
            ms=looks[owners[line]].size(5),
            ls=styles.get(line, ":"), lw=1.2, label=wrapped(line, 50),
        )
        for line in names
    ]  # fmt: skip
    figure, stacks = panels(titles, handles, HEIGHT, 2)
    for stack, title in zip(stacks, titles, strict=True):
        here, there = part[part["panel"] == title], others[others["panel"] == title]
        value_axis(stack[0], here["place"])
        value_axis(stack[1], here["place"])
        stack[1].set_xlabel(along.axis)
        relative = along.variance == "variance_relative"
        labels = ("bias / |∇|", "variance / |∇|²" if relative else "variance of one estimate")
        for axes, metric, label in zip(stack, ("bias", along.variance), labels, strict=True):
            axes.set_ylabel(label)
            _fill(axes, here, there, metric, looks, styles)
    drawn = pd.concat([part.assign(drawn_as="line"), others.assign(drawn_as="reference")])
    quantities = [f"{q}{end}" for q in ("bias", along.variance) for end in ("", "_low", "_high")]
    columns = ["objective", "estimator", "samples", along.column, "drawn_as", *quantities]
    columns += ["bias_drawn", "variance_drawn"]
    return Sheet(name, along.title, caption, figure, drawn[list(dict.fromkeys(columns))])


def _styles(part: pd.DataFrame, looks: Mapping[str, Look]) -> pd.Series:
    """Give each line a style: lines of one colour, whoever's they are, do not share it."""
    lines = part.drop_duplicates("line")
    colours = [str(looks[name].colour) for name in lines["estimator_name"]]
    rank = lines.groupby(colours).cumcount() % len(LINES)
    return pd.Series([LINES[i] for i in rank], index=lines["line"], dtype=object)


def _fill(
    axes: Axes,
    here: pd.DataFrame,
    there: pd.DataFrame,
    metric: str,
    looks: Mapping[str, Look],
    styles: pd.Series,
) -> None:
    drawn = "bias_drawn" if metric == "bias" else "variance_drawn"
    shown = [reading(row, metric, drawn) for _, row in here.iterrows()]
    log_axis(axes, "y", [*shown, *there[metric].where(there[drawn] == VALUE)], start=0.12)
    low, high = axes.get_xlim()
    lines = list(dict.fromkeys(here["line"]))
    ticks = sorted(set(here["place"]))
    nearest = min(b / a for a, b in itertools.pairwise(ticks))
    room = min((high / low) ** DODGE, nearest**0.5) ** (1 / max(len(lines) - 1, 6))
    small = 5.4 if len(lines) <= 6 else 4.0  # limits, which no line joins, crowd each other
    for number, line in enumerate(lines):
        rows = here[here["line"] == line].sort_values("place")
        look = looks[str(rows["estimator_name"].iloc[0])]
        shift = room ** (number - (len(lines) - 1) / 2)
        heights = rows[metric].where(rows[drawn] == VALUE)
        style: Any = styles[line]
        axes.plot(rows["place"] * shift, heights, color=look.colour, ls=style, lw=1.1, zorder=2)
        for _, row in rows.iterrows():
            found = reading(row, metric, drawn)
            size, alpha = (small, 0.55) if found.drawn == LIMIT else (5.4, 1.0)
            dot(axes, Reading(row["place"] * shift), found, look, size, alpha)
    draw_references(axes, there, metric, drawn, looks)
