"""What people import: measure one estimator, or compare several on common random numbers."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from benchbed.analysis.table import frame_of
from benchbed.arguments import at_least
from benchbed.catalogue import build_estimator, build_objective, estimator_from, takes_samples
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BadArgument
from benchbed.measurement.cell import measure_cell
from benchbed.records import Record

ObjectiveLike = str | Mapping[str, Any] | Objective
EstimatorLike = str | Mapping[str, Any] | Estimator | Callable[..., Any]


def measure(
    objective: ObjectiveLike,
    estimator: EstimatorLike,
    *,
    samples: int | None = None,
    draws: int = 65_536,
    seeds: int = 1,
    blocks: int = 64,
    dtype: str = "float32",
    device: str = "cpu",
    timing: int = 5,
    compile: bool = False,
) -> pd.DataFrame:
    """Measure one estimator on one objective.

    Args:
        objective: a name, ``{"name": ..., settings}``, or an Objective.
        estimator: a name, ``{"name": ..., settings}``, an Estimator, or a draw function
            ``(objective, params, draws, noise) -> [draws, *params.shape]``.
        samples: z in one estimate; None for the estimator's own default.
        draws: independent estimates for each seed.
        seeds: how many; a tuned estimator is tuned anew for each.
        blocks: independent streams the draws are split into; intervals come from their spread.
        dtype: of the draws, float32 or float64.
        device: where to draw.
        timing: alternations with the reference kernel; 0 for no ``cpu_ratio``.
        compile: compile the draws, which pays from some 10^7 of them; their last digits differ.

    Returns:
        A frame of one row; ``benchbed.analysis.table.table`` names the columns. Every number
        has ``_low`` and ``_high`` beside it, an interval at level 0.95.

    Raises:
        BenchbedError: a name, setting or pair that cannot work, in one line.
    """
    return compare(
        objective,
        [estimator],
        samples=samples,
        draws=draws,
        seeds=seeds,
        blocks=blocks,
        dtype=dtype,
        device=device,
        timing=timing,
        compile=compile,
    )


def compare(
    objective: ObjectiveLike,
    estimators: Iterable[EstimatorLike],
    *,
    samples: int | None = None,
    draws: int = 65_536,
    seeds: int = 1,
    blocks: int = 64,
    dtype: str = "float32",
    device: str = "cpu",
    timing: int = 5,
    compile: bool = False,
) -> pd.DataFrame:
    """Measure several estimators on one objective, sharing their noise.

    Args and errors as for ``measure``; returns one row for each estimator, in the order given.
    """
    if isinstance(estimators, (str, Mapping)):
        estimators = [estimators]
    at_least("compare", "seeds", seeds, 1)
    target, problem = objective_of(objective)
    groups, notices = [], set[str]()
    for number, like in enumerate(estimators):
        entry, estimator = estimator_of(like, samples, number)
        records = []
        for seed in range(seeds):
            found = measure_cell(
                problem,
                estimator,
                draws=draws,
                seed=seed,
                address=(fingerprint(problem),),
                blocks=blocks,
                dtype=dtype,
                device=device,
                timing=timing,
                compile=compile,
            )
            if why := found.facts.get("not_compiled"):
                notices.add(f"benchbed: compile: {why}; going on without it")
            lost = int(found.blocks.nonfinite.sum())
            records.append(
                Record(
                    cell="",
                    objective=target,
                    estimator=entry,
                    samples=estimator.samples,
                    seed=seed,
                    address={},
                    status="nonfinite" if lost else "ok",
                    message=f"{lost:,} draws were NaN or infinite" if lost else "",
                    facts=found.facts,
                    cpu_ratios=found.times.cpu_ratios,
                    seconds=found.times.seconds,
                    blocks=found.blocks,
                    exact=found.exact,
                )
            )
        groups.append(records)  # apart: two that look alike must not be pooled
    for notice in sorted(notices):
        print(notice, file=sys.stderr)
    if not groups:
        raise BadArgument("compare needs at least one estimator, got none")
    return frame_of(groups)


def objective_of(like: ObjectiveLike) -> tuple[dict[str, Any], Objective]:
    """Return the entry for tables, and the objective, of whatever people give."""
    if isinstance(like, Objective):
        return {"name": like.name}, like
    entry = _entry("objective", like)
    return entry, build_objective(**entry)


def estimator_of(
    like: EstimatorLike, samples: int | None, number: int
) -> tuple[dict[str, Any], Estimator]:
    """Return the entry for tables, and the estimator, of whatever people give."""
    if isinstance(like, Estimator):
        if samples not in (None, like.samples):
            raise BadArgument(
                f"{like.name} was built with samples {like.samples} and cannot be given {samples}; "
                "leave samples out, or name the estimator"
            )
        return {"name": like.name} | dict(like.settings), like
    if callable(like):
        name = getattr(like, "__name__", f"estimator {number}")
        given = {} if samples is None else {"samples": samples}
        return {"name": name}, estimator_from(name, like, **given)
    entry = _entry("estimator", like)
    wanted = entry
    if samples is not None and "samples" not in entry and takes_samples(entry):
        wanted = entry | {"samples": samples}
    return {key: value for key, value in entry.items() if key != "samples"}, build_estimator(
        **wanted
    )


def _entry(kind: str, like: object) -> dict[str, Any]:
    """Return name and settings, or say what can be given."""
    if isinstance(like, str):
        return {"name": like}
    if isinstance(like, Mapping) and isinstance(like.get("name"), str):
        return dict(like)
    raise BadArgument(
        f"{like!r} is no {kind}; give a name, a mapping such as {{'name': ..., settings}}, "
        f"or an {kind.capitalize()}"
    )


def fingerprint(objective: Objective) -> str:
    """Return a name for the point the gradient is taken at, to address the noise by."""
    values = objective.params.detach().cpu().double().numpy().tobytes()
    return f"{objective.name} {hashlib.sha256(values).hexdigest()[:16]}"
