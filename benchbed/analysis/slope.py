"""How the signal-to-noise ratio grows with the particles of a bound: slopes on log-log axes.

Of an estimator that promises no bias the mean is the exact gradient, so its ratio
|exact gradient| / sqrt(variance) has no floor: it can be read where |mean of the draws| would be
all noise. Of any other it is |mean of the draws|, less what noise alone adds, over sqrt(variance).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchbed.analysis.intervals import LEVEL, NOTHING, Interval
from benchbed.records import Array

ALONG = "objective.particles"
LEAST = 3  # values of the setting that a slope takes
EXACT, MEASURED = "exact gradient", "mean of the draws"
SIGNAL = ("signal", "signal_low", "signal_high")
SLOPE = ("signal_slope", "signal_slope_low", "signal_slope_high")
Values = Mapping[Hashable, Any]


def log_log_slope(x: Array, y: Sequence[Interval]) -> tuple[Interval, Array]:
    """Fit log y = a + slope log x to independent readings by weighted least squares.

    Args:
        x: [n] positive, at least two of them different.
        y: [n] positive, with intervals that are symmetric in the logarithm; their squared widths
            are the inverse weights.

    Returns:
        The slope and the fitted y, [n]. The interval combines those of y, and is widened where the
        points scatter about the line by more than their intervals explain: the law may be no line.
    """
    place = np.log(x)
    level = np.log([reading.value for reading in y])
    half = np.log([reading.high / reading.low for reading in y]) / 2
    weight = half**-2 / (half**-2).sum()
    centre = float(weight @ place)
    pull = weight * (place - centre)
    pull = pull / float(pull @ place)  # of every point on the slope
    slope = float(pull @ level)
    fitted = float(weight @ level) + slope * (place - centre)
    width = math.sqrt(float(np.square(pull * half).sum()))
    if len(x) > 2:
        deviation = half / float(stats.norm.ppf((1 + LEVEL) / 2))
        scatter = float(np.square((level - fitted) / deviation).sum()) / (len(x) - 2)
        width *= max(1.0, math.sqrt(scatter))
    return Interval(slope, slope - width, slope + width), np.exp(fitted)


def signal_to_noise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``benchbed.analysis.table.table`` with the signal-to-noise ratio and its slope.

    Columns added: ``signal`` (with _low and _high), ``signal_from`` (EXACT or MEASURED),
    ``signal_slope`` (with _low and _high, NaN where there is none) against the objective's
    ``particles``, all else being equal, ``signal_fitted`` (on the line, NaN off it) and
    ``signal_points`` (cells that were fitted). The laws hold for many particles, so the line is
    fitted to the upper half of them, on a log axis, and to three values at least. Where noise
    alone could give the reading ``signal_low`` is 0, and the cell is not fitted.
    """
    full = frame.reset_index(drop=True)
    exact = [value is True for value in full.get("unbiased", [])]
    found = [
        _of_exact(row) if known else _of_draws(row)
        for known, row in zip(exact, full.to_dict("records"), strict=True)
    ]
    full[list(SIGNAL)] = np.array(found, dtype=np.float64).reshape(-1, 3)
    full["signal_from"] = [EXACT if known else MEASURED for known in exact]
    full = full.assign(**dict.fromkeys((*SLOPE, "signal_fitted"), math.nan), signal_points=0)
    if ALONG not in full:
        return full
    usable = full[(full["signal_low"] > 0) & (full["signal_high"] > full["signal_low"])]
    usable = usable[pd.to_numeric(usable[ALONG], errors="coerce") > 0]
    names = [str(name) for name in full]
    others = [name for name in names if name.startswith("objective.") and name != ALONG]
    keys = ["objective_name", *others, "estimator", "samples"]
    for _, rows in usable.groupby(keys, dropna=False, sort=False):
        values = sorted({float(value) for value in rows[ALONG]})
        if len(values) < LEAST:
            continue
        start = min(math.sqrt(values[0] * values[-1]), values[-LEAST])
        upper = rows[rows[ALONG].astype(float) >= start]
        place = upper[ALONG].to_numpy(dtype=np.float64)
        readings = [Interval(*numbers) for numbers in upper[list(SIGNAL)].to_numpy()]
        slope, fitted = log_log_slope(place, readings)
        full.loc[rows.index, list(SLOPE)] = np.tile(slope, (len(rows), 1))
        full.loc[upper.index, "signal_fitted"] = fitted
        full.loc[rows.index, "signal_points"] = len(upper)
    return full


def _of_exact(row: Values) -> Interval:
    """Return |exact gradient| / sqrt(variance)."""
    if not (row["gradient_norm"] > 0 and row["variance_low"] > 0):
        return NOTHING
    value, low, high = (row[f"variance{end}"] for end in ("", "_low", "_high"))
    return Interval(*(row["gradient_norm"] / math.sqrt(x) for x in (value, high, low)))


def _of_draws(row: Values) -> Interval:
    """Return |E g| / sqrt(variance) as the draws show it, from the summary."""
    value, low, high = (row[f"snr{end}"] for end in ("", "_low", "_high"))
    return NOTHING if math.isnan(value) else Interval(value, low, high)
