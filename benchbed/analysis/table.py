"""Records -> one frame: a row per (objective, estimator, samples), intervals beside numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchbed.analysis.bias import screen, visible_shrink
from benchbed.analysis.intervals import NOTHING, of_log_mean, product
from benchbed.analysis.summary import Summary, over_seeds, pool, summarize
from benchbed.records import Blocks, Record

# Columns that come as value, value_low and value_high.
INTERVALS = (
    "bias",  # |E g - exact| / |exact|
    "variance",  # trace, of one estimate
    "mse",  # of one estimate
    "snr",  # |E g| / sqrt(variance)
    "cosine",  # of the mean of all draws
    "cpu_us",  # CPU microseconds an estimate, one thread; from the timing pass if there was one
    "wall_us",
    "cpu_ratio",  # CPU time of an estimate / of one row of the reference kernel
    "variance_x_evaluations",  # work-normalized by calls of J
    "variance_x_cpu_ratio",  # work-normalized by CPU time
)
CHECKS = (
    "draws",
    "gradient_norm",
    "snr_floor",
    "skewness",
    "kurtosis",
    "tail_share",
    "heavy",
    "zero",
)
COLUMNS = (
    *(f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")),
    *(
        "unbiased",
        "target",
        "evaluations",
        "slopes",
        "random_numbers",
        "parameters",
        "tuning_evaluations",
    ),
    *("exact_bias", "exact_variance", *CHECKS, "bias_p", "bias_visible"),
)
LEVEL_OF_VISIBLE = 0.001


def label(entry: Mapping[str, Any]) -> str:
    """Return ``name(setting=value, ...)`` for a spec's entry."""
    settings = ", ".join(f"{key}={value}" for key, value in entry.items() if key != "name")
    name = str(entry["name"])
    return f"{name}({settings})" if settings else name


def table(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per cell, its seeds pooled.

    Seeds of an untuned estimator are more blocks of one stream of draws. For a tuned one, each
    seed tunes anew: the intervals of variance, MSE and cost are over seeds then.

    Columns besides ``INTERVALS`` (each with _low and _high, level 0.95): ``objective``,
    ``estimator`` (labels), ``objective_name``, ``estimator_name``, a column for every setting
    (``objective.dimensions``, ``estimator.temperature`` ...), ``samples``, ``seeds``, ``draws``,
    ``status``, ``message``, ``unbiased`` (what it promises), ``target`` (whose exact gradient bias,
    MSE and cosine are held against: ``objective`` or what an estimator says instead),
    ``exact_bias`` and ``exact_variance`` (no sampling error; NaN where unknown), ``bias_p``
    (screen), ``bias_visible`` (smallest shrink seen with power 0.99), ``snr_floor``,
    ``gradient_norm``, ``zero``, ``heavy``, ``kurtosis``, ``skewness``, ``tail_share``,
    ``nonfinite``, ``evaluations``, ``slopes``, ``random_numbers``, ``tuning_evaluations``,
    ``parameters``.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        setting = {key: record.address.get(key) for key in ("draws", "blocks", "dtype", "device")}
        parts = [record.objective, record.estimator, record.samples, setting]
        key = json.dumps(parts, sort_keys=True)
        groups.setdefault(key, []).append(record)
    return frame_of(groups.values())


def frame_of(groups: Iterable[list[Record]]) -> pd.DataFrame:
    """Return one row per group of records, which differ in their seed alone."""
    frame = pd.DataFrame([_row(group) for group in groups])
    for column in COLUMNS:  # also where no cell has any numbers
        if column not in frame:
            frame[column] = math.nan
    return frame


def _row(records: list[Record]) -> dict[str, Any]:
    first = records[0]
    row: dict[str, Any] = {
        "objective": label(first.objective),
        "estimator": label(first.estimator),
        "objective_name": first.objective["name"],
        "estimator_name": first.estimator["name"],
        "samples": first.samples,
    }
    for kind, entry in (("objective", first.objective), ("estimator", first.estimator)):
        row |= {f"{kind}.{key}": value for key, value in entry.items() if key != "name"}
    row["seeds"] = len(records)
    bad = [record for record in records if record.status != "ok"]
    row["status"] = bad[0].status if bad else "ok"
    row["message"] = bad[0].message if bad else ""
    lost = [record.blocks.nonfinite.sum() for record in records if record.blocks is not None]
    row["nonfinite"] = int(sum(lost))
    measured = [record for record in records if record.status == "ok"]
    if len(measured) < len(records):
        return row  # draws that were not finite, or are missing, are never averaged away
    facts = measured[0].facts
    keep = ("unbiased", "target", "evaluations", "slopes", "random_numbers", "parameters")
    row |= {key: facts.get(key) for key in keep}
    row["tuning_evaluations"] = max(int(r.facts.get("tuning_evaluations", 0)) for r in measured)
    return row | _numbers(measured, bool(facts.get("tuned")))


def _numbers(records: list[Record], tuned: bool) -> dict[str, Any]:
    parts = [record.blocks for record in records if record.blocks is not None]
    whole = summarize(pool(parts))
    intervals = {
        name: getattr(whole, name) for name in ("bias", "variance", "mse", "snr", "cosine")
    }
    if tuned:
        each = [summarize(part) for part in parts]
        for name in ("variance", "mse", "snr"):
            intervals[name] = over_seeds([getattr(s, name) for s in each], log=True)
    ratios = [ratio for record in records for ratio in record.cpu_ratios]
    seconds = np.array([pair for record in records for pair in record.seconds])
    cpu, wall = map(of_log_mean, seconds.T) if len(seconds) else (whole.cpu, whole.wall)
    intervals["cpu_us"], intervals["wall_us"] = cpu.scaled(1e6), wall.scaled(1e6)
    intervals["cpu_ratio"] = of_log_mean(np.array(ratios, dtype=np.float64))
    evaluations = float(records[0].facts.get("evaluations", math.nan))
    intervals["variance_x_evaluations"] = intervals["variance"].scaled(evaluations)
    intervals["variance_x_cpu_ratio"] = (
        NOTHING if not ratios else product(intervals["variance"], intervals["cpu_ratio"])
    )
    row: dict[str, Any] = {}
    for name in INTERVALS:
        value = intervals[name]
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    return row | _exact(records, whole) | _checks(whole, pool(parts))


def _exact(records: list[Record], whole: Summary) -> dict[str, Any]:
    """Return the moments without sampling error, averaged over seeds (which may tune apart)."""
    found = [record.exact for record in records if record.exact is not None]
    if not found or len(found) < len(records):
        return {"exact_bias": math.nan, "exact_variance": math.nan}
    assert records[0].blocks is not None
    truth = records[0].blocks.exact
    bias = sum(float(((x.mean - truth) ** 2).sum() ** 0.5) for x in found) / len(found)
    return {
        "exact_bias": bias / whole.gradient_norm if whole.gradient_norm else math.nan,
        "exact_variance": sum(float(x.variance.sum()) for x in found) / len(found),
    }


def _checks(whole: Summary, blocks: Blocks) -> dict[str, Any]:
    row = {name: getattr(whole, name) for name in CHECKS}
    return row | {
        "bias_p": screen(blocks)[0],
        "bias_visible": visible_shrink(blocks, LEVEL_OF_VISIBLE),
    }
