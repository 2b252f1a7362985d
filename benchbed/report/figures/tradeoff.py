"""What variance costs in bias: one against the other, with lines of equal mean squared error."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchbed.report.figures.marks import dot, log_axis, reading
from benchbed.report.figures.panels import estimator_handles, panels, per_sheet, size_handles
from benchbed.report.figures.sheet import Sheet
from benchbed.report.figures.style import FAINT, Look, sizes
from benchbed.report.readings import NOTHING, VALUE, objectives

NAME, TITLE = "tradeoff", "Bias against variance"
CAPTION = (
    "Squared bias against the variance of one estimate, both in units of |∇|², the squared length "
    "of the exact gradient. On a dashed grey line the mean squared error of one estimate is the "
    "same, ten times that of the next one; down and left is better. Bars are 95 % intervals. A "
    "hollow dot with an arrow is an upper limit: the interval of its bias includes 0. A dot marked "
    "0 on an edge has no bias or no variance beyond rounding. Thin lines join the settings of one "
    "estimator. Estimators that aim at something else than the objective's gradient are left out."
)
COLUMNS = [
    "objective", "estimator", "samples",
    "bias_squared", "bias_squared_low", "bias_squared_high", "bias_drawn",
    "variance_relative", "variance_relative_low", "variance_relative_high", "variance_drawn",
]  # fmt: skip
HEIGHT = 2.75


def sheets(frame: pd.DataFrame, looks: Mapping[str, Look]) -> list[Sheet]:
    """Return the sheets; none where no cell has both numbers."""
    drawable = frame[
        (frame["bias_drawn"] != NOTHING)
        & (frame["variance_drawn"] != NOTHING)
        & (frame["gradient_norm"] > 0)
    ]
    names = objectives(drawable)
    step = per_sheet(len(names), HEIGHT, 1)
    made = []
    for start in range(0, len(names), step):
        shown = names[start : start + step]
        part = drawable[drawable["objective"].isin(shown)]
        by_samples = sizes(frame["samples"])
        present = {k: v for k, v in looks.items() if k in set(part["estimator_name"])}
        handles = [*estimator_handles(present), *size_handles(by_samples)]
        figure, stacks = panels(shown, handles, HEIGHT)
        for (axes,), objective in zip(stacks, shown, strict=True):
            _fill(axes, part[part["objective"] == objective], looks, by_samples)
        name = NAME if start == 0 else f"{NAME}-{start // step + 1}"
        made.append(Sheet(name, TITLE, CAPTION, figure, part[COLUMNS]))
    return made


def _fill(
    axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look], by_samples: Mapping[int, float]
) -> None:
    xs = [reading(row, "bias_squared", "bias_drawn") for _, row in part.iterrows()]
    ys = [reading(row, "variance_relative", "variance_drawn") for _, row in part.iterrows()]
    log_axis(axes, "x", xs, start=0.12)
    log_axis(axes, "y", ys)
    axes.set_xlabel("bias² / |∇|²")
    axes.set_ylabel("variance / |∇|²")
    _equal_error(axes)
    for (_, row), x, y in zip(part.iterrows(), xs, ys, strict=True):
        look = looks[str(row["estimator_name"])]
        dot(axes, x, y, look, by_samples[int(row["samples"])], 0.9)
    for (name, _), rows in part.groupby(["estimator_name", "samples"], sort=False):
        joined = rows[(rows["bias_drawn"] == VALUE) & (rows["variance_drawn"] == VALUE)]
        axes.plot(
            joined["bias_squared"], joined["variance_relative"], lw=0.8, alpha=0.5,
            color=looks[str(name)].colour, zorder=2,
        )  # fmt: skip


def _equal_error(axes: Axes) -> None:
    """Draw bias² + variance = 10^n for every n in sight."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.grid(visible=False)
    lowest = int(np.floor(np.log10(max(left, bottom))))
    highest = int(np.ceil(np.log10(right + top)))
    for power in range(lowest, highest + 1):
        error = 10.0**power
        # Along x up to half the error, then down along y: even steps on both arms of the bend.
        x = np.geomspace(min(left, error) / 2, error / 2, 200)
        y = np.geomspace(error / 2, min(bottom, error) / 2, 200)
        xs, ys = np.concatenate([x, error - y]), np.concatenate([error - x, y])
        axes.plot(xs, ys, color=FAINT, lw=0.9, ls=(0, (6, 3)), zorder=1)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
