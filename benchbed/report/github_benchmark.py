"""A sweep as JSON for github-action-benchmark, which draws numbers over the commits of a project.

The format is that of its tool ``customSmallerIsBetter``: a list of objects with ``name``, ``unit``
and ``value``, and the texts ``range`` and ``extra``, which it shows beside a point.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from benchbed.analysis.intervals import LEVEL, Interval
from benchbed.analysis.sheet import OBJECTIVE, interval_of, target_of

LEVEL_SAID = f"interval at level {LEVEL:g}"


def to_github_benchmark(frame: pd.DataFrame) -> str:
    """Return the JSON text: up to three entries for each sound row of ``analysis.table.table``.

    The variance of one estimate; the upper end of the interval of |bias|, which falls as draws grow
    and never below 0; the CPU time of an estimate in rows of the reference kernel. What has no
    number (no gradient to share, no timing) and rows that are not ok have no entry: the format
    knows no missing value.
    """
    entries = [entry for _, row in frame.iterrows() for entry in _entries(row)]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def _entries(row: pd.Series) -> Iterator[dict[str, Any]]:
    if row["status"] != "ok":
        return
    cell = f"{row['estimator']} x {row['samples']} on {row['objective']}"
    seeds = f"{int(row['seeds'])} seed" + ("s" if row["seeds"] > 1 else "")
    about = f"{int(row['draws']):,} draws, {seeds}; {LEVEL_SAID}"
    variance, bias = interval_of(row, "variance"), interval_of(row, "bias")
    cost = interval_of(row, "cpu_ratio")
    if math.isfinite(variance.value):
        yield _entry(f"{cell}: variance", "of one estimate, trace", variance.value, variance, about)
    if math.isfinite(bias.high):
        against = target_of(row)
        held = about if against == OBJECTIVE else f"{about}; held against {against}"
        percent = bias.scaled(100.0)
        yield _entry(f"{cell}: |bias|, upper bound", "% of gradient", percent.high, percent, held)
    if math.isfinite(cost.value):
        yield _entry(f"{cell}: CPU time", "reference kernel rows", cost.value, cost, about)


def _entry(name: str, unit: str, value: float, shown: Interval, extra: str) -> dict[str, Any]:
    around = "no interval"
    if math.isfinite(shown.low) and math.isfinite(shown.high):
        around = f"{shown.value:.4g} [{shown.low:.4g}, {shown.high:.4g}]"
    return {"name": name, "unit": unit, "value": float(value), "range": around, "extra": extra}
