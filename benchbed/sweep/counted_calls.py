"""How often a bare draw function calls J: it has no place to say so, and is watched doing it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from benchbed.analysis.table import label
from benchbed.catalogue import ESTIMATORS, build_estimator, build_objective
from benchbed.catalogue.build import is_draw
from benchbed.catalogue.find import find
from benchbed.contracts import Estimator, Objective
from benchbed.records import Record
from benchbed.rng import Noise
from benchbed.sweep.spec import Entry

DRAWS = 64


def with_counts(records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """Return records whose calls of J are true, and a line for each that had to be counted."""
    counts: dict[tuple[str, str], float] = {}
    made, lines = [], []
    for record in records:
        if record.status != "ok" or not _says_nothing(record.estimator):
            made.append(record)
            continue
        key = label(record.estimator), label(record.objective)
        if key not in counts:
            counts[key] = counted_evaluations(
                build_objective(**record.objective), build_estimator(**record.estimator)
            )
            lines.append(f"{key[0]} on {key[1]}: {counts[key]:g} calls of J an estimate, counted")
        facts = record.facts | {"evaluations": counts[key]}
        made.append(replace(record, facts=facts))
    return made, lines


def counted_evaluations(objective: Objective, estimator: Estimator) -> float:
    """Return at how many z one estimate evaluates J; calls made once for all draws cancel out."""
    counted = 0

    def cost(z: Tensor, params: Tensor) -> Tensor:
        nonlocal counted
        found = objective.cost(z, params)
        counted += found.numel() // max(1, math.prod(objective.family.items(objective.params)))
        return found

    watched, noise = replace(objective, cost=cost), Noise(0, "count", dtype=torch.float64)
    calls = []
    for draws in (DRAWS, 2 * DRAWS):
        before = counted
        with torch.no_grad():
            estimator.draw(watched, objective.params, draws, noise)
        calls.append(counted - before)
    return (calls[1] - calls[0]) / DRAWS


def _says_nothing(entry: Entry) -> bool:
    name = entry["name"]
    return ":" in name and "as" not in entry and is_draw(find("estimator", name, ESTIMATORS))
