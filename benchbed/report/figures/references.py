"""Horizontal lines for the estimators that a temperature figure is to be compared with."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from benchbed.report.figures.style import Look
from benchbed.report.readings import VALUE

MOST_UNBIASED, MOST_BIASED = 4, 2


def references(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a few estimators without a temperature: the same in every panel."""
    fixed = frame[frame["place"].isna() & (frame["variance_drawn"] == VALUE)]
    size = fixed.groupby("line")["variance_relative"].median()
    names = []
    for promise, most in (("unbiased", MOST_UNBIASED), ("biased", MOST_BIASED)):
        known = set(fixed[fixed["promise"] == promise]["line"])
        names += sorted(known, key=lambda line: (float(size[line]), line))[:most]
    return fixed[fixed["line"].isin(names)]


def draw_references(
    axes: Axes, rows: pd.DataFrame, metric: str, drawn: str, looks: Mapping[str, Look]
) -> None:
    """Draw a dotted line for each row with a visible value, its mark near the right end."""
    right = 0.985
    for _, row in rows[rows[drawn] == VALUE].iterrows():
        look = looks[str(row["estimator_name"])]
        axes.axhline(row[metric], color=look.colour, ls=":", lw=1.1, zorder=1.5)
        axes.plot(
            [right], [row[metric]], marker=look.marker, ms=look.size(5.4), mec="white", mew=0.5,
            color=look.colour, transform=axes.get_yaxis_transform(), zorder=3,
        )  # fmt: skip
        right -= 0.04
