"""What a later run is held against: some twenty numbers of each cell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchbed.analysis.gate.mean_change import MeanSketch, sketch, sketch_over_tunings
from benchbed.analysis.summary import pool, summarize
from benchbed.analysis.table import label
from benchbed.analysis.tails import variance_is_uncertain
from benchbed.analysis.variance_ratio import LogEstimate, log_of, over_tunings
from benchbed.records import Array, Blocks, Record

SETTINGS = ("dtype", "device", "compile")  # cells that differ in them do not compare
MEDIAN_ERROR = 1.2533  # of a median over that of a mean, for normal numbers: sqrt(pi / 2)
LEAST_TUNINGS = 2  # seeds of an estimator that each seed tunes anew


@dataclass(frozen=True)
class Reading:
    """What one cell (its seeds pooled) says; a baseline keeps it, a check makes it anew.

    Attributes:
        unbiased: what the estimator promises.
        target: whose gradient its bias is held against.
        tuned: each seed tunes anew, and errors are over seeds.
        evaluations: of J in one estimate.
        slopes: how many of them also take dJ/dz.
        draws: in all.
        gradient_norm: of the exact gradient.
        parameters: of the objective.
        zero: no variance beyond rounding.
        certain: no variance at all, as marginalizing the estimator shows.
        heavy: tails, or events too rare, that leave the variance's standard error unknown.
        variance: of one estimate, its trace; None where zero, or tuned once only.
        mean: its bias along some directions; None where tuned once only.
        cpu: time of an estimate in rows of the reference kernel; None where it was not timed.
        reference: which kernel.
        digest: of every sum; equal where the numbers are the same to the last bit.
        block_variances: each block's own variance of one estimate; not kept in a file.
    """

    unbiased: bool | str
    target: str
    tuned: bool
    evaluations: float
    slopes: float
    draws: int
    gradient_norm: float
    parameters: int
    zero: bool
    certain: bool
    heavy: bool
    variance: LogEstimate | None
    mean: MeanSketch | None
    cpu: LogEstimate | None
    reference: str
    digest: str
    block_variances: tuple[float, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """The readings of one sweep.

    Attributes:
        sweep: its name.
        settings: dtype, device ... of its cells.
        surroundings: commit, processor and versions it was measured with.
        cells: a reading for each, by ``name_of``.
    """

    sweep: str
    settings: Mapping[str, Any]
    surroundings: Mapping[str, Any]
    cells: Mapping[str, Reading]


def name_of(record: Record) -> str:
    """Name a cell for people, and for matching it with the baseline's."""
    return f"{label(record.estimator)} x {record.samples} on {label(record.objective)}"


def grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the records of each cell, its seeds together."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(name_of(record), []).append(record)
    return groups


def settings_of(record: Record) -> dict[str, Any]:
    """Return the settings under which cells compare."""
    return {key: record.address.get(key, False) for key in SETTINGS}


def read_cell(records: Sequence[Record]) -> Reading:
    """Return what the records of one cell say; all of them must be ok."""
    parts = [record.blocks for record in records if record.blocks is not None]
    blocks, facts = pool(parts), records[0].facts
    whole, tuned = summarize(blocks), bool(facts.get("tuned"))
    known = not tuned or len(parts) >= LEAST_TUNINGS
    variance, heavy = None, whole.heavy or variance_is_uncertain(blocks)
    if known and not whole.zero:
        with np.errstate(divide="ignore", invalid="ignore"):  # a block of equal draws: told below
            variance = over_tunings(parts) if tuned else log_of(blocks)
        if not all(map(math.isfinite, variance)):
            variance, heavy = None, True
    mean = None
    if known:
        mean = sketch_over_tunings(parts) if tuned else sketch(blocks)
    return Reading(
        unbiased=facts.get("unbiased", False),
        target=str(facts.get("target", "objective")),
        tuned=tuned,
        evaluations=float(facts.get("evaluations", math.nan)),
        slopes=float(facts.get("slopes", math.nan)),
        draws=whole.draws,
        gradient_norm=whole.gradient_norm,
        parameters=len(blocks.exact),
        zero=whole.zero,
        certain=has_no_variance(records[0]),
        heavy=heavy and not whole.zero,
        variance=variance,
        mean=mean,
        cpu=cpu_of(records),
        reference=str(facts.get("reference", "")),
        digest=_digest(parts),
        block_variances=tuple(block_variances(blocks).tolist()),
    )


def has_no_variance(record: Record) -> bool:
    """Say whether marginalizing the estimator showed that it has no variance at all."""
    found = record.exact
    if record.estimator["name"] == "exact":
        return True
    return found is not None and bool(found.variance.sum() <= 1e-20 * (found.mean**2).sum())


def block_variances(blocks: Blocks) -> Array:
    """Return each block's own variance of one estimate, its trace, [B]."""
    spread = blocks.distance[0] - np.square(blocks.first).sum(1) / blocks.count
    found: Array = np.maximum(spread, 0) / (blocks.count - 1)
    return found


def cpu_of(records: Sequence[Record]) -> LogEstimate | None:
    """Return the CPU time of an estimate, in rows of the reference kernel, if it was timed."""
    ratios = np.array([ratio for record in records for ratio in record.cpu_ratios])
    if not len(ratios):
        return None
    logs = np.log(ratios)
    # The median: another program on the processor spoils some alternations, this side's or that.
    spread = float(logs.std(ddof=1)) if len(logs) > 1 else math.nan
    error = MEDIAN_ERROR * spread / math.sqrt(len(logs))
    return LogEstimate(float(np.median(logs)), error, len(logs) - 1)


def _digest(parts: Sequence[Blocks]) -> str:
    """Hash every sum of every seed; not the seconds they took."""
    digest = hashlib.sha256()
    for blocks in parts:
        for name, array in blocks.arrays().items():
            if name != "seconds":
                digest.update(array.tobytes())
    return digest.hexdigest()[:16]
