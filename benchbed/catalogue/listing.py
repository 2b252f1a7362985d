"""What there is, for people and for programs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from benchbed.catalogue.build import build_estimator, build_objective, settings_of
from benchbed.catalogue.estimators import ESTIMATORS
from benchbed.catalogue.find import find, plugins
from benchbed.catalogue.objectives import OBJECTIVES
from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.errors import BadArgument, BenchbedError, UnknownName

# An objective of each kind of latents: who fits it, and how often an estimator calls J there.
YARDSTICKS: Mapping[str, dict[str, Any]] = {
    "bernoulli": {"name": "coupled", "dimensions": 8},
    "categorical": {"name": "smooth", "dimensions": 8, "categories": 10},
    "normal": {"name": "normal_quadratic", "dimensions": 8},
    "gamma": {"name": "gamma_quadratic", "dimensions": 8},
    "beta": {"name": "beta_quadratic", "dimensions": 8},
    "dirichlet": {"name": "dirichlet_quadratic", "dimensions": 2},
    "poisson": {"name": "poisson_quadratic", "dimensions": 8},
    "quantized": {"name": "quantized"},
    "learned_codebook": {"name": "vector_quantized"},
    "step": {"name": "step"},
    "snap": {"name": "snap"},
    "markov_chain": {"name": "markov_chain", "steps": 5},
    "binary_tree": {"name": "binary_tree", "leaves": 4},
    "gaussian_chain": {"name": "hierarchical_prior", "latents": "normal"},
    "nested": {"name": "nested"},
    "particles": {"name": "iwae", "particles": 2},
    "normal particles": {"name": "iwae", "latents": "normal", "particles": 2},
}
SIZES = {"bernoulli": "d=8 bits", "categorical": "d=8 K=10", "normal": "d=8 normal"}
SIZES |= {"poisson": "d=8 Poisson", "particles": "2 particles"}


def listing(kind: str, objective: str | None = None) -> list[dict[str, Any]]:
    """Return everything of a kind (``estimators``, ``objectives``), one mapping each.

    All have name, settings (with their defaults) and summary; an objective also has its latents
    there, an estimator what its record promises there: families, unbiased, target, needs, tuned,
    citation, slopes and evaluations: a number or, where it depends on the sizes, a number for each
    of some sizes.

    Args:
        kind: which table.
        objective: keep only the estimators that can be applied to this objective, or to one of
            this kind of latents (``bernoulli``, ``categorical`` ...); evaluations are those there.
    """
    if objective is not None and kind != "estimators":
        raise BadArgument("--for narrows estimators; write 'benchbed list estimators --for NAME'")
    target = _target(objective) if objective is not None else None
    one = kind.removesuffix("s")
    table: Mapping[str, Callable[..., Any]] = ESTIMATORS if one == "estimator" else OBJECTIVES
    rows = []
    for name in (*table, *(name for name in plugins(one) if name not in table)):
        try:
            factory = find(one, name, table)
        except UnknownName as error:  # a broken plugin must not hide the rest
            rows.append({"name": name, "settings": {}, "summary": str(error), "citation": ""})
            continue
        row = {"name": name, "settings": settings_of(factory), "summary": _summary(factory)}
        if one == "objective":
            rows.append(row | {"latents": _latents(name)})
            continue
        estimator = build_estimator(name)
        if target is None or not obstacle(target, estimator):
            rows.append(row | _promises(estimator, target))
    return rows


def _target(name: str) -> Objective:
    if name in YARDSTICKS and name not in OBJECTIVES:  # snap is a family and an objective on it
        return _yardstick(name)
    return build_objective(name)


def _latents(name: str) -> str:
    try:
        return build_objective(name).family.name
    except BenchbedError:  # a plugin's, without defaults of its own
        return "?"


def _summary(factory: Callable[..., Any]) -> str:
    return (inspect.getdoc(factory) or "").partition("\n")[0].replace("``", "")


def _promises(estimator: Estimator, target: Objective | None) -> dict[str, Any]:
    evaluations: Any = estimator.evaluations
    fitting = [kind for kind in YARDSTICKS if not obstacle(_yardstick(kind), estimator)]
    if target is not None:
        evaluations = estimator.evaluations_on(target)
    elif callable(estimator.evaluations):
        evaluations = {
            size: estimator.evaluations_on(_yardstick(kind))
            for kind, size in SIZES.items()
            if kind in fitting
        }
    return {
        "families": fitting,
        "unbiased": estimator.unbiased,
        "target": estimator.target,
        "evaluations": evaluations,
        "slopes": estimator.slopes,
        "needs": sorted(estimator.needs),
        "tuned": estimator.tune is not None,
        "citation": estimator.citation,
    }


@functools.cache
def _yardstick(kind: str) -> Objective:
    return build_objective(**YARDSTICKS[kind])
