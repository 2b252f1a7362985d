"""A results folder as a frame, and a frame as Markdown."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchbed.analysis.intervals import Interval
from benchbed.analysis.summary import ROUNDING
from benchbed.analysis.table import table
from benchbed.errors import UnusableResults
from benchbed.store import Results

OBJECTIVE = "objective"  # the target of an estimator of the objective's own gradient
MAIN = {
    "bias": "bias (share of gradient)",
    "variance": "variance (one estimate)",
    "snr": "SNR",
    "variance_x_evaluations": "variance x evaluations",
    "cpu_us": "CPU us / estimate",
}


def read_table(folder: str | Path) -> tuple[pd.DataFrame, int]:
    """Return the frame of a results folder and how many of its cells are missing or damaged.

    Raises:
        UnusableResults: it is not a results folder, or holds no sound cell.
    """
    store = Results(folder)
    cells = store.sweep().get("cells", [])
    records, damaged = store.read(cells)
    if not records:
        why = f" ({damaged[0]})" if damaged else ""
        raise UnusableResults(f"{folder} holds no sound cell{why}; run its sweep again")
    return table(records.values()), len(cells) - len(records)


def worded(value: Interval, digits: int = 2) -> str:
    """Return ``0.523 [0.516, 0.530]``, rounded where the interval begins to be sure.

    Args:
        value: estimate and interval.
        digits: significant digits of the interval's half-width that are shown.
    """
    if math.isnan(value.value):
        return "-"
    width = (value.high - value.low) / 2
    if math.isnan(width) or width <= 1e-6 * abs(value.value):
        return f"{value.value:.4g}" + ("" if math.isnan(width) else " (exact)")
    places = max(0, digits - 1 - math.floor(math.log10(width)))
    if places > 5 or abs(value.high) >= 1e5:
        significant = max(2, digits + math.ceil(math.log10(max(abs(value.value), width) / width)))
        return " ".join(_bracketed(value, f".{significant}g"))
    return " ".join(_bracketed(value, f".{places}f"))


def _bracketed(value: Interval, form: str) -> tuple[str, str]:
    return f"{value.value:{form}}", f"[{value.low:{form}}, {value.high:{form}}]"


def interval_of(row: pd.Series, name: str) -> Interval:
    """Return the interval that ``name``, ``name_low`` and ``name_high`` hold in a row."""
    return Interval(*(float(row.get(f"{name}{end}", math.nan)) for end in ("", "_low", "_high")))


def target_of(row: Mapping[Hashable, Any] | pd.Series) -> str:
    """Return whose exact gradient a row's bias is held against; ``objective`` where unknown."""
    target = row.get("target", OBJECTIVE)
    return target if isinstance(target, str) else OBJECTIVE


def markdown(frame: pd.DataFrame) -> str:
    """Return the main columns as a Markdown table, a row per cell."""
    names = ["objective", "estimator", "samples", *MAIN.values()]
    heads = [*names, "exact variance", "evaluations", "status"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for _, row in frame.iterrows():
        numbers = [
            "zero"
            if row.get("zero") is True and name.startswith("variance")
            else worded(interval_of(row, name))
            for name in MAIN
        ]
        if row.get("zero") is True and row.get("bias_high", 1.0) < ROUNDING:
            numbers[0] = "zero"  # nothing but the rounding of float32
        if (target := target_of(row)) != OBJECTIVE:
            numbers[0] += f" against {target}"
        evaluations = row.get("evaluations")
        known = "-" if evaluations is None or pd.isna(evaluations) else f"{evaluations:.0f}"
        state = row["status"] if row["status"] == "ok" else f"{row['status']}: {row['message']}"
        floor = row.get("snr_floor", math.nan)
        if not pd.isna(floor) and numbers[2] != "-":
            numbers[2] += f" (floor {floor:.2g})"
        exact = row.get("exact_variance", math.nan)
        numbers.append("-" if pd.isna(exact) else f"{exact:.7g}")
        cells = [row["objective"], row["estimator"], str(row["samples"]), *numbers, known, state]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
