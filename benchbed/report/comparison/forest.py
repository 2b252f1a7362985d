"""Every ratio with its interval: a row a baseline, objective by objective, a panel a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchbed.analysis.comparison.comparison import TIE, Comparison, Row
from benchbed.analysis.comparison.words import TITLES, places, shortened, verdict_of
from benchbed.report.figures.marks import log_axis
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import INK, MUTED, SMALL, WARNING, Look, wrapped

NAME, TITLE = "forest", "The candidate against each baseline"
CAPTION = (
    "Ratios candidate / baseline on a logarithmic axis; left of the line at 1 the candidate is "
    "better. Bars are simultaneous 95 % intervals: all of the figure hold together with that "
    "probability. The blue band is where two are no more than 5 % apart: a bar inside it is a tie. "
    "Filled dots are decided (wins, loses, tie), hollow ones undecided. Where an objective or a "
    "baseline is marked biased, the screen of the bias test flags its estimates there, and less "
    "variance is no win. Variance and MSE are of one estimate; 'x J evaluations' and 'x CPU time' "
    "charge it for its work."
)
PITCH = 0.17  # inches from row to row
PANEL, BETWEEN, SIDE = 1.78, 0.2, 0.12
LETTER, SMALLER = 0.063, 0.056  # inches, of objectives' and baselines' names at most
HEAD, FOOT, TALLEST, LEAST_ROOM = 0.42, 0.5, 9.5, 0.92
BAND = "#cfe2f3"
LONGEST = 48  # letters of a baseline's name: it has one line
SHORT = {  # for the small room beside a panel's line
    "tails": "undecided: tails", "zero": "no variance", "failed": "failed",
    "undecided": "too few seeds", "undefined": "",
}  # fmt: skip


class Group(NamedTuple):
    """One objective at one number of samples: its label, its baselines and where they stand."""

    key: tuple[str, int]
    text: str
    biased: bool
    baselines: list[tuple[str, str, float]]  # label, text, place in rows from the top
    top: float
    room: float


def sheets(found: Comparison, looks: Mapping[str, Look]) -> list[Sheet]:
    """Return as many sheets as it takes; ``looks`` has one for each baseline's label."""
    where = places(found.rows)
    pages: list[list[tuple[str, int]]] = [[]]
    for key in where:
        filled = _groups(found, [*pages[-1], key], where)
        if pages[-1] and HEAD + FOOT + _rows(filled) * PITCH > TALLEST:
            pages.append([])
        pages[-1].append(key)
    made = []
    for number, page in enumerate(pages, 1):
        name = NAME if number == 1 else f"{NAME}-{number}"
        shown = [row for row in found.rows if (row.objective, row.samples) in page]
        figure = _draw(found, _groups(found, page, where), looks)
        made.append(Sheet(name, TITLE, CAPTION, figure, _data(shown)))
    return made


def _draw(found: Comparison, groups: list[Group], looks: Mapping[str, Look]) -> Figure:
    metrics, rows = found.metrics, _rows(groups)
    baselines = 0.2 + SMALLER * max(len(text) for g in groups for _, text, _ in g.baselines)
    objectives = 0.1 + LETTER * max(len(line) for g in groups for line in g.text.split("\n"))
    left = objectives + baselines
    width = left + len(metrics) * (PANEL + BETWEEN) + SIDE
    height = HEAD + rows * PITCH + FOOT
    figure = Figure(figsize=(width, height))
    for number, metric in enumerate(metrics):
        x = left + number * (PANEL + BETWEEN)
        corner = x / width, FOOT / height
        axes = figure.add_axes((*corner, PANEL / width, rows * PITCH / height))
        axes.set_title(TITLES[metric], loc="left", fontweight="bold", color=INK, fontsize=8.5)
        shown = [row for row in found.rows if row.metric == metric]
        _frame(axes, groups, rows, 0.0 if number else baselines)
        _fill(axes, shown, groups, looks)
        axes.set_xlabel("candidate / baseline")
    return figure


def _frame(axes: Axes, groups: list[Group], rows: float, names_room: float) -> None:
    """Draw bands for the objectives, and names left of the first panel, which has room for them."""
    axes.set_ylim(rows, 0)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([place for group in groups for _, _, place in group.baselines])
    names = [text for group in groups for _, text, _ in group.baselines]
    axes.set_yticklabels(names if names_room else ["" for _ in names])
    axes.tick_params(axis="y", length=0, labelsize=6.5, labelcolor=MUTED, pad=3)
    for number, group in enumerate(groups):
        if number % 2 == 0:
            axes.axhspan(group.top, group.top + group.room, color="#f4f4f4", lw=0, zorder=0)
        if names_room:
            axes.annotate(
                group.text, (0, group.top + group.room / 2), xycoords=axes.get_yaxis_transform(),
                xytext=(-72 * names_room, 0), textcoords="offset points", ha="right", va="center",
                fontsize=SMALL, color=WARNING if group.biased else INK, linespacing=1.15,
            )  # fmt: skip


def _fill(axes: Axes, rows: Sequence[Row], groups: list[Group], looks: Mapping[str, Look]) -> None:
    spots = {(*group.key, name): at for group in groups for name, _, at in group.baselines}
    here = {(row.objective, row.samples, row.baseline): row for row in rows}
    drawn = {spot: here[spot] for spot in spots if spot in here}
    ends = [end for row in drawn.values() for end in row.ratio if end > 0]
    log_axis(axes, "x", [*ends, 1 / 1.2, 1.2], start=0.06)
    axes.axvspan(1 / TIE, TIE, color=BAND, lw=0, zorder=1)
    axes.axvline(1, color=INK, lw=0.8, zorder=2)
    for spot, row in drawn.items():
        look, place = looks[row.baseline], spots[spot]
        if not row.ratio.value > 0:
            axes.annotate(
                SHORT.get(row.outcome, row.outcome), (0.03, place), va="center", fontsize=6.5,
                xycoords=axes.get_yaxis_transform(), color=WARNING, zorder=5,
            )  # fmt: skip
            continue
        axes.plot([row.ratio.low, row.ratio.high], [place] * 2, color=look.colour, lw=1.3, zorder=3)
        hollow = row.outcome == "undecided"
        axes.plot(
            [row.ratio.value], [place], marker=look.marker, ms=look.size(5.2), ls="none",
            mfc="white" if hollow else look.colour, mec=look.colour if hollow else "white",
            mew=1.0 if hollow else 0.5, zorder=4,
        )  # fmt: skip


def _groups(
    found: Comparison, keys: Sequence[tuple[str, int]], where: Mapping[tuple[str, int], str]
) -> list[Group]:
    short = shortened(found.baselines)
    groups, top = [], 0.0
    for key in keys:
        rows = [row for row in found.rows if (row.objective, row.samples) == key]
        there = [row for row in rows if row.metric == "variance" and row.baseline_samples]
        biased = any(row.biased for row in rows)
        text = wrapped(where[key], 26, 3) + ("\ncandidate biased" if biased else "")
        lines = text.count("\n") + 1
        room = max(float(len(there)), LEAST_ROOM * lines) + 0.4
        first = top + room / 2 - (len(there) - 1) / 2
        named = [
            (row.baseline, _named(short[row.baseline], row), first + i)
            for i, row in enumerate(there)
        ]
        groups.append(Group(key, text, biased, named, top, room))
        top += room
    return groups


def _named(name: str, row: Row) -> str:
    own = "" if row.samples == row.baseline_samples else f", samples {row.baseline_samples}"
    text = f"{name}{own}"
    line = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return f"{line}, biased" if row.baseline_biased else line


def _rows(groups: list[Group]) -> float:
    return groups[-1].top + groups[-1].room


def _data(rows: Sequence[Row]) -> pd.DataFrame:
    """Return exactly what is drawn."""
    return pd.DataFrame(
        [
            {
                "objective": row.objective, "samples": row.samples, "baseline": row.baseline,
                "baseline_samples": row.baseline_samples, "metric": row.metric,
                "ratio": row.ratio.value, "ratio_low": row.ratio.low, "ratio_high": row.ratio.high,
                "outcome": row.outcome, "verdict": verdict_of(row), "how": row.how, "why": row.why,
                "more": str(row.more or ""), "biased": row.biased,
                "baseline_biased": row.baseline_biased,
            }
            for row in rows
        ]
    )  # fmt: skip
