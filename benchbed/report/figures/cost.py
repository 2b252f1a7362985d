"""What low variance costs in time, and who cannot be beaten in both."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchbed.report.figures.marks import dot, log_axis, reading
from benchbed.report.figures.panels import estimator_handles, panels, per_sheet, size_handles
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import MUTED, Look, sizes
from benchbed.report.readings import NOTHING, VALUE, objectives

NAME, TITLE = "cost", "Variance against CPU time"
CAPTION = (
    "Variance of one estimate, in squared units of the gradient, against the CPU microseconds it "
    "takes on one thread; down and left is better. Bars are 95 % intervals. The line is the Pareto "
    "front of the estimators that promise to be unbiased and have a variance: nothing on it is "
    "beaten in both by another of them. Faded dots make no such promise, or only in a limit, and "
    "are not on the front: their low variance is partly bought with bias. A dot marked 0 on the "
    "lower edge has no variance. Estimators that aim at something else than the objective's "
    "gradient are left out."
)
COLUMNS = [
    "objective", "estimator", "samples", "promise",
    "cpu_us", "cpu_us_low", "cpu_us_high",
    "variance", "variance_low", "variance_high", "variance_drawn", "on_front",
]  # fmt: skip
HEIGHT = 2.75


def sheets(frame: pd.DataFrame, looks: Mapping[str, Look]) -> list[Sheet]:
    """Return the sheets; none where no cell has both numbers."""
    drawable = frame[(frame["variance_drawn"] != NOTHING) & (frame["cpu_us"] > 0)]
    drawable = drawable.assign(cpu_drawn=VALUE, on_front=False)
    names = objectives(drawable)
    for objective in names:
        drawable.loc[front(drawable[drawable["objective"] == objective]), "on_front"] = True
    step = per_sheet(len(names), HEIGHT, 1)
    made = []
    for start in range(0, len(names), step):
        shown = names[start : start + step]
        part = drawable[drawable["objective"].isin(shown)]
        by_samples = sizes(frame["samples"])
        present = {k: v for k, v in looks.items() if k in set(part["estimator_name"])}
        line = Line2D([], [], color=MUTED, lw=1.0, label="Pareto front, unbiased only")
        handles = [*estimator_handles(present), *size_handles(by_samples), line]
        figure, stacks = panels(shown, handles, HEIGHT)
        for (axes,), objective in zip(stacks, shown, strict=True):
            _fill(axes, part[part["objective"] == objective], looks, by_samples)
        name = NAME if start == 0 else f"{NAME}-{start // step + 1}"
        made.append(Sheet(name, TITLE, CAPTION, figure, part[COLUMNS]))
    return made


def front(part: pd.DataFrame) -> list[int]:
    """Return the rows on one objective's Pareto front, from cheap to dear."""
    rivals = part[(part["promise"] == "unbiased") & (part["variance_drawn"] == VALUE)]
    best, kept = float("inf"), []
    for index, row in rivals.sort_values(["cpu_us", "variance"]).iterrows():
        if row["variance"] < best:
            best = row["variance"]
            kept.append(int(str(index)))
    return kept


def _fill(
    axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look], by_samples: Mapping[int, float]
) -> None:
    xs = [reading(row, "cpu_us", "cpu_drawn") for _, row in part.iterrows()]
    ys = [reading(row, "variance", "variance_drawn") for _, row in part.iterrows()]
    log_axis(axes, "x", xs, start=0.06)
    log_axis(axes, "y", ys)
    axes.set_xlabel("CPU time of one estimate (µs)")
    axes.set_ylabel("variance of one estimate")
    steps = part[part["on_front"]].sort_values("cpu_us")
    if len(steps):
        (_, right), (_, top) = axes.get_xlim(), axes.get_ylim()
        x, y = steps["cpu_us"].tolist(), steps["variance"].tolist()
        axes.step([x[0], *x, right], [top, *y, y[-1]], where="post", color=MUTED, lw=1.0, zorder=2)
    for (_, row), along, up in zip(part.iterrows(), xs, ys, strict=True):
        alpha = 1.0 if row["promise"] == "unbiased" else 0.4
        look = looks[str(row["estimator_name"])]
        dot(axes, along, up, look, by_samples[int(row["samples"])], alpha)
