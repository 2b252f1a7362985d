"""The figures, in the order of the page. Each is made only where its data are there."""

from __future__ import annotations

import pandas as pd

from benchbed.report.figures import bias_variance, cost, curves, signal_to_noise, tradeoff
from benchbed.report.figures.sheet import Sheet, inline
from benchbed.report.figures.style import house_style, looks
from benchbed.report.readings import of_the_objective, readings

__all__ = ["NAMES", "Sheet", "draw_all", "inline"]

NAMES = (
    bias_variance.NAME,
    tradeoff.NAME,
    *(along.name for along in curves.ALONG),
    signal_to_noise.NAME,
    cost.NAME,
)


def draw_all(frame: pd.DataFrame) -> list[tuple[Sheet, dict[str, bytes]]]:
    """Draw every figure the table has data for.

    Args:
        frame: of ``benchbed.analysis.table.table``.

    Returns:
        Each sheet with the contents of its files by name.
    """
    full = readings(frame)
    style = looks(full["estimator_name"])
    with house_style():
        alike = of_the_objective(full)
        sheets = bias_variance.sheets(full, style) + tradeoff.sheets(alike, style)
        for along in curves.ALONG:
            sheets += curves.sheets(alike, style, along)
        sheets += signal_to_noise.sheets(alike, style)
        sheets += cost.sheets(alike, style)
        return [(sheet, sheet.files()) for sheet in sheets]
