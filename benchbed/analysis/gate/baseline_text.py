"""A baseline as a text file: one line a cell, so that a review shows which cells moved.

The first line says how many lines follow: a file cut short is refused, never half used.
"""

from __future__ import annotations

import json
import math
from typing import Any

from benchbed.analysis.gate.baseline import Baseline, Reading
from benchbed.analysis.gate.mean_change import MeanSketch
from benchbed.analysis.variance_ratio import LogEstimate
from benchbed.errors import UnusableResults

FORMAT = 1
DIGITS = 7  # of every number in the file
USUAL = {"target": "objective", "slopes": 0.0}
USUAL |= dict.fromkeys(("tuned", "zero", "certain", "heavy"), False)
KEPT = [name for name in Reading.__dataclass_fields__ if name != "block_variances"]


def to_text(baseline: Baseline) -> str:
    """Return the file: a header, then a line a cell."""
    header = {
        "benchbed_baseline": FORMAT,
        "sweep": baseline.sweep,
        "cells": len(baseline.cells),
        "settings": dict(baseline.settings),
        "surroundings": dict(baseline.surroundings),
    }
    lines = [header] + [{"cell": n, **_plain(r)} for n, r in sorted(baseline.cells.items())]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def from_text(text: str, path: str) -> Baseline:
    """Read a baseline back.

    Raises:
        UnusableResults: it is no baseline, cut short, or damaged.
    """
    advice = "save it again: benchbed baseline save RESULTS --to FILE"
    try:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        header = lines[0]
        if header["benchbed_baseline"] != FORMAT:
            raise UnusableResults(f"{path} is of another version of benchbed; {advice}")
        cells = {line.pop("cell"): _checked(_reading(line)) for line in lines[1:]}
        if not isinstance(header["settings"], dict) or not isinstance(header["surroundings"], dict):
            raise ValueError("its header has no settings or surroundings")
        if len(cells) != header["cells"]:
            raise UnusableResults(
                f"{path} is cut short: it names {header['cells']} cells and holds {len(cells)}; "
                f"{advice}"
            )
        return Baseline(header["sweep"], header["settings"], header["surroundings"], cells)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise UnusableResults(f"{path} is no baseline, or damaged ({why}); {advice}") from None


def _plain(reading: Reading) -> dict[str, Any]:
    """Return a reading without what is usual: a line should show what matters."""
    shown = {name: _short(getattr(reading, name)) for name in KEPT}
    return {name: value for name, value in shown.items() if USUAL.get(name, ...) != value}


def _checked(reading: Reading) -> Reading:
    """Return a reading whose numbers can be used, or raise ValueError."""
    numbers = [*(reading.variance or ()), reading.gradient_norm, reading.draws]
    if reading.mean is not None:
        numbers += [*reading.mean.along, *reading.mean.errors, reading.mean.freedom]
        if len(reading.mean.along) != len(reading.mean.errors):
            raise ValueError("a mean has more directions than errors")
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a number is not finite")
    return reading


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_short(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _reading(line: dict[str, Any]) -> Reading:
    line = {key: _numbers(value) for key, value in (USUAL | line).items()}
    for name in ("variance", "cpu"):
        line[name] = LogEstimate(*line[name]) if isinstance(line[name], tuple) else None
    line["mean"] = MeanSketch(*line["mean"]) if isinstance(line["mean"], tuple) else None
    return Reading(**line)


def _numbers(value: Any) -> Any:
    """Undo ``_short``."""
    if isinstance(value, list):
        return tuple(_numbers(part) for part in value)
    return math.nan if value is None else value
