"""The frame as the figures draw it: each number with what its dot must look like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from benchbed.analysis.sheet import OBJECTIVE, target_of
from benchbed.analysis.summary import ROUNDING
from benchbed.analysis.table import INTERVALS

# How a number is drawn.
VALUE = "value"  # a dot and its interval
LIMIT = "upper limit"  # the interval reaches 0: only its high end says something
ZERO = "zero"  # no more than rounding: on the axis edge, as a log axis has no 0
NOTHING = "nothing"  # not measured, or not defined

_NUMBERS = (
    *(f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")),
    "exact_bias", "exact_variance", "bias_p", "bias_visible", "snr_floor", "gradient_norm",
    "draws", "nonfinite", "evaluations", "slopes", "random_numbers", "tuning_evaluations",
    "parameters",
)  # fmt: skip
_PROMISES = {"True": "unbiased", "False": "biased", "limit": "limit"}


def readings(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` with every column there, and with the columns that figures draw.

    Columns added: ``promise`` (unbiased, biased, limit or empty); ``bias_squared`` and
    ``variance_relative`` (over the squared length of the exact gradient), with their intervals;
    ``bias_drawn`` and ``variance_drawn`` (VALUE, LIMIT, ZERO or NOTHING). The label of an estimator
    that is held against something else than the objective's gradient says so.
    """
    missing = {name: math.nan for name in _NUMBERS if name not in frame}
    full = frame.assign(**missing)
    for name in _NUMBERS:
        full[name] = pd.to_numeric(full[name], errors="coerce").astype(float)
    for name in ("zero", "heavy"):
        full[name] = full[name].eq(True) if name in full else False
    promised = full["unbiased"] if "unbiased" in full else pd.Series("", index=full.index)
    full["promise"] = [_PROMISES.get(str(value), "") for value in promised]
    full["target"] = [target_of(row) for row in full.to_dict("records")]
    aims = full["target"].where(full["target"] != OBJECTIVE)
    full["estimator"] = full["estimator"].where(
        aims.isna(), full["estimator"] + " against " + aims.fillna("")
    )
    squared = full["gradient_norm"].where(full["gradient_norm"] > 0) ** 2
    for end in ("", "_low", "_high"):
        full[f"bias_squared{end}"] = full[f"bias{end}"] ** 2
        full[f"variance_relative{end}"] = full[f"variance{end}"] / squared
    full["bias_drawn"] = _bias_drawn(full)
    full["variance_drawn"] = np.select(
        [full["zero"], full["variance"] > 0], [ZERO, VALUE], default=NOTHING
    )
    return full.reset_index(drop=True)


def of_the_objective(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the estimators of the objective's own gradient: only they can share an axis."""
    return frame[frame["target"] == OBJECTIVE]


def _bias_drawn(full: pd.DataFrame) -> np.ndarray[Any, Any]:
    value, low, high = full["bias"], full["bias_low"], full["bias_high"]
    return np.select(
        [value.isna(), high < ROUNDING, low <= 0, value > 0],
        [NOTHING, ZERO, LIMIT, VALUE],
        default=NOTHING,
    )


def objectives(frame: pd.DataFrame) -> list[str]:
    """Return the objectives in the sweep's order."""
    return list(dict.fromkeys(frame["objective"]))


def label_without(row: pd.Series, kind: str, setting: str) -> str:
    """Return the label of the row's objective or estimator, one setting left out."""
    settings = []
    for column, value in row.items():
        name = str(column).removeprefix(f"{kind}.")
        if name in (str(column), setting) or (isinstance(value, float) and math.isnan(value)):
            continue
        settings.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
    name = str(row[f"{kind}_name"])
    return f"{name}({', '.join(settings)})" if settings else name


def at_one_samples(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Keep one ``samples`` for each estimator, the commonest where it has it; return that one."""
    counts = frame["samples"].value_counts()
    common = int(min(counts[counts == counts.max()].index))
    distance = (frame["samples"] - common).abs()
    nearest = distance.groupby([frame["objective"], frame["estimator"]]).transform("min")
    kept = frame[distance == nearest]
    return kept.drop_duplicates(["objective", "estimator"]), common
