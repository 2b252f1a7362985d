"""What there is, for people and for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from benchbed.catalogue.build import build_estimator, build_objective, settings_of
from benchbed.catalogue.estimators import ESTIMATORS
from benchbed.catalogue.objectives import OBJECTIVES
from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import BadArgument, IncompatiblePair


def listing(kind: str, objective: str | None = None) -> list[dict[str, Any]]:
    """Return name, settings and summary of everything of a kind (``estimators``, ``objectives``).

    Args:
        kind: which table.
        objective: keep only the estimators that can be applied to this objective.
    """
    table: Mapping[str, Callable[..., Any]] = ESTIMATORS if kind == "estimators" else OBJECTIVES
    if objective is not None and kind != "estimators":
        raise BadArgument("--for narrows estimators; write 'benchbed list estimators --for NAME'")
    target = build_objective(objective) if objective is not None else None
    rows = []
    for name, factory in table.items():
        if target is not None and not _fits(target, build_estimator(name)):
            continue
        summary = (inspect.getdoc(factory) or "").partition("\n")[0]
        rows.append({"name": name, "settings": settings_of(factory), "summary": summary})
    return rows


def _fits(objective: Objective, estimator: Estimator) -> bool:
    try:
        check_pair(objective, estimator)
    except IncompatiblePair:
        return False
    return True
