"""Every estimator's bias and variance, a row each, objective by objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchbed.report.figures.marks import Reading, dot, log_axis, reading
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import INK, MUTED, SMALL, WARNING, Look, wrapped
from benchbed.report.readings import VALUE, objectives

NAME, TITLE = "bias_variance", "Bias and variance of every estimator"
CAPTION = (
    "Left: bias as a share of the exact gradient's length, |E g − ∇| / |∇|. Right: variance of one "
    "estimate, summed over the parameters, in squared units of the gradient. Small numbers are "
    "samples in one estimate. Bars are 95 % intervals, often narrower than the dot. A hollow dot "
    "with an arrow is an upper limit: the interval of the bias includes 0. A dot marked 0 on the "
    "left edge has none beyond rounding. A black line behind a dot is the value free of sampling "
    "error, where it can be computed. An estimator 'against' something aims at that, and its bias "
    "is held against the exact gradient of it. † marks a variance that may not exist."
)
COLUMNS = [
    "objective", "estimator", "samples", "status",
    "bias", "bias_low", "bias_high", "bias_drawn", "exact_bias",
    "variance", "variance_low", "variance_high", "variance_drawn", "exact_variance",
]  # fmt: skip

PITCH = 0.158  # inches from row to row
LABELS, PANEL, BETWEEN, SIDE = 2.45, 2.2, 0.38, 0.12
HEAD, FOOT, TALLEST = 0.45, 0.55, 9.5

NEARLY_NOTHING = 1e-12
_WORDS = {"failed": "failed", "nonfinite": "not finite"}

Group = tuple[str, list[tuple[int, float]]]  # estimator, [(samples, place in rows from the top)]


def sheets(frame: pd.DataFrame, looks: Mapping[str, Look]) -> list[Sheet]:
    """Return as many sheets as it takes, two objectives side by side."""
    order = {name: rank for rank, name in enumerate(dict.fromkeys(frame["estimator"]))}
    frame = frame.assign(rank=frame["estimator"].map(order))
    names = objectives(frame)
    pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
    pages: list[list[list[str]]] = [[]]
    filled = 0.0
    for pair in pairs:
        height = _height(frame, pair)
        if pages[-1] and filled + height > TALLEST:
            pages.append([])
            filled = 0.0
        pages[-1].append(pair)
        filled += height
    made = []
    for number, page in enumerate(pages, 1):
        name = NAME if number == 1 else f"{NAME}-{number}"
        shown = frame[frame["objective"].isin([name for pair in page for name in pair])]
        made.append(Sheet(name, TITLE, CAPTION, _draw(frame, page, looks), shown[COLUMNS]))
    return made


def _draw(frame: pd.DataFrame, page: list[list[str]], looks: Mapping[str, Look]) -> Figure:
    across = max(len(pair) for pair in page)
    width = LABELS + across * 2 * (PANEL + BETWEEN) + SIDE
    height = sum(_height(frame, pair) for pair in page)
    figure = Figure(figsize=(width, height))
    top = height
    for pair in page:
        groups, rows = _groups(frame[frame["objective"].isin(pair)])
        bottom = top - HEAD - rows * PITCH
        for place, objective in enumerate(pair):
            part = frame[frame["objective"] == objective]
            for side, metric in enumerate(("bias", "variance")):
                left = LABELS + (2 * place + side) * (PANEL + BETWEEN)
                axes = figure.add_axes(
                    (left / width, bottom / height, PANEL / width, rows * PITCH / height)
                )
                _frame_panel(axes, groups, rows, labelled=place == side == 0)
                _fill(axes, part, metric, groups, looks)
                if side == 0:
                    axes.set_title(
                        wrapped(objective, 59, 2), loc="left", fontweight="bold", linespacing=1.1
                    )
        top = bottom - FOOT
    return figure


def _height(frame: pd.DataFrame, pair: list[str]) -> float:
    return HEAD + FOOT + PITCH * _groups(frame[frame["objective"].isin(pair)])[1]


def _groups(part: pd.DataFrame) -> tuple[list[Group], float]:
    """Return each estimator with the places of its samples, and how many rows there are."""
    groups: list[Group] = []
    top = 0.0
    for estimator, rows in part.sort_values("rank").groupby("estimator", sort=False):
        samples = sorted({int(value) for value in rows["samples"]})
        lines = _label(str(estimator)).count("\n") + 1
        room = max(float(len(samples)), 0.85 * lines) + 0.3
        first = top + room / 2 - (len(samples) - 1) / 2
        groups.append((str(estimator), [(value, first + i) for i, value in enumerate(samples)]))
        top += room
    return groups, top


def _label(estimator: str) -> str:
    return wrapped(estimator, 34, 3)


def _frame_panel(axes: Axes, groups: list[Group], rows: float, *, labelled: bool) -> None:
    """Draw bands for the estimators, and their names left of the first panel."""
    axes.set_ylim(rows, 0)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([place for _, places in groups for _, place in places])
    axes.tick_params(axis="y", length=0, labelsize=6.5, labelcolor=MUTED, pad=2)
    axes.set_yticklabels(
        [str(samples) if labelled else "" for _, places in groups for samples, _ in places]
    )
    for number, (estimator, places) in enumerate(groups):
        middle = (places[0][1] + places[-1][1]) / 2
        half = max(len(places), 0.85 * (_label(estimator).count("\n") + 1)) / 2 + 0.15
        if number % 2 == 0:
            axes.axhspan(middle - half, middle + half, color="#f4f4f4", lw=0, zorder=0)
        if labelled:
            axes.annotate(
                _label(estimator), (0, middle), xycoords=axes.get_yaxis_transform(),
                xytext=(-20, 0), textcoords="offset points", ha="right", va="center",
                fontsize=SMALL, color=INK, linespacing=1.05,
            )  # fmt: skip


def _fill(
    axes: Axes, part: pd.DataFrame, metric: str, groups: list[Group], looks: Mapping[str, Look]
) -> None:
    shown = [reading(row, metric, f"{metric}_drawn") for _, row in part.iterrows()]
    exact = part[f"exact_{metric}"].where(part[f"{metric}_drawn"] == VALUE)
    exact = exact.where(exact > NEARLY_NOTHING)  # what double precision leaves of a 0
    log_axis(axes, "x", [*shown, *exact], start=0.14)
    axes.set_xlabel("bias / |∇|" if metric == "bias" else "variance of one estimate")
    places: dict[tuple[str, int], float] = {
        (estimator, samples): place for estimator, rows in groups for samples, place in rows
    }
    for (_, row), found, truth in zip(part.iterrows(), shown, exact, strict=True):
        place = places[str(row["estimator"]), int(row["samples"])]
        at: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "va": "center", "zorder": 5}
        if not dot(axes, found, Reading(place), looks[str(row["estimator_name"])], 5.6):
            text = _WORDS.get(str(row["status"]), "not defined")
            axes.annotate(text, (0.03, place), fontsize=SMALL, color=WARNING, **at)
        elif row["heavy"] and metric == "variance" and found.drawn == VALUE:
            axes.annotate(
                "†", (found.at, place), xytext=(5, 0), textcoords="offset points",
                fontsize=SMALL, color=WARNING, **(at | {"xycoords": "data"}),
            )  # fmt: skip
        if truth > 0:
            axes.plot([truth], [place], marker="|", ms=11, mew=1.0, color="black", zorder=2)
