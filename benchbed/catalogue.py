"""The one explicit table of names: no decorators, no registration by import.

A name is one of the tables', or ``module:name`` or ``path/to/file.py:name`` for your own.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import (
    BadArgument,
    BenchbedError,
    IncompatiblePair,
    UnknownName,
    nearest,
    unknown_name,
)
from benchbed.estimators.arm import arm
from benchbed.estimators.constant_baseline import constant_baseline
from benchbed.estimators.disarm import disarm
from benchbed.estimators.exact import exact
from benchbed.estimators.gumbel_softmax import gumbel_softmax
from benchbed.estimators.leave_one_out import leave_one_out
from benchbed.estimators.rebar import rebar
from benchbed.estimators.reinmax import reinmax
from benchbed.estimators.reparameterization import reparameterization
from benchbed.estimators.score_function import score_function
from benchbed.estimators.straight_through import straight_through
from benchbed.estimators.straight_through_gumbel_softmax import straight_through_gumbel_softmax
from benchbed.objectives.coupled import coupled
from benchbed.objectives.digits_vae import digits_vae
from benchbed.objectives.golden_bits import golden_bits
from benchbed.objectives.normal_toys import normal_cosine, normal_exponential, normal_quadratic
from benchbed.objectives.polynomial import polynomial
from benchbed.objectives.quadratic import quadratic
from benchbed.objectives.smooth import smooth
from benchbed.objectives.table import table

ESTIMATORS: Mapping[str, Callable[..., Estimator]] = {
    "arm": arm,
    "constant_baseline": constant_baseline,
    "disarm": disarm,
    "exact": exact,
    "gumbel_softmax": gumbel_softmax,
    "leave_one_out": leave_one_out,
    "rebar": rebar,
    "reinmax": reinmax,
    "reparameterization": reparameterization,
    "score_function": score_function,
    "straight_through": straight_through,
    "straight_through_gumbel_softmax": straight_through_gumbel_softmax,
}

OBJECTIVES: Mapping[str, Callable[..., Objective]] = {
    "coupled": coupled,
    "digits_vae": digits_vae,
    "golden_bits": golden_bits,
    "normal_cosine": normal_cosine,
    "normal_exponential": normal_exponential,
    "normal_quadratic": normal_quadratic,
    "polynomial": polynomial,
    "quadratic": quadratic,
    "smooth": smooth,
    "table": table,
}


def build_estimator(name: str, **settings: Any) -> Estimator:
    """Return the estimator called ``name``, with its hyper-parameters bound.

    A function of your own is either a factory like those of the tables or, if its parameters are
    (objective, params, draws, noise), the draw function itself.
    """
    return estimator_from(name, _find("estimator", name, ESTIMATORS), **settings)


def estimator_from(name: str, function: Callable[..., Any], **settings: Any) -> Estimator:
    """Return the estimator that ``function`` makes, or is: a factory or a draw function."""
    if list(settings_of(function))[:4] == ["objective", "params", "draws", "noise"]:
        if set(settings) - {"samples"}:
            raise BadArgument(
                f"{name} is a draw function and takes no settings, got {', '.join(settings)}"
            )
        return Estimator(name, function, samples=int(settings.get("samples", 1)))
    built: Estimator = _build("estimator", name, function, settings, Estimator)
    return built


def build_objective(name: str, **settings: Any) -> Objective:
    """Return the objective called ``name``, at the point its settings give."""
    factory = _find("objective", name, OBJECTIVES)
    built: Objective = _build("objective", name, factory, settings, Objective)
    return built


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


def settings_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return a factory's settings and their defaults."""
    return {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
    }


def takes_samples(name: str) -> bool:
    """Say whether an estimator can be given ``samples``."""
    factory = _find("estimator", name, ESTIMATORS)
    return "samples" in settings_of(factory) or "draws" in settings_of(factory)


def _build(
    kind: str, name: str, factory: Callable[..., Any], settings: Mapping[str, Any], wanted: type
) -> Any:
    known = settings_of(factory)
    for key in settings:
        if key not in known:
            raise UnknownName(
                f"{kind} {name} has no setting '{key}'{nearest(key, known)}; "
                f"it takes {', '.join(known) or 'none'}"
            )
    try:
        built = factory(**settings)
    except BenchbedError:
        raise
    except Exception as error:
        _check_types(kind, name, factory, settings)
        given = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        raise BadArgument(f"{kind} {name}({given}) cannot be built: {_one_line(error)}") from error
    _check_types(kind, name, factory, settings)  # what a factory would stumble over only later
    if not isinstance(built, wanted):
        raise BadArgument(
            f"{kind} {name} returned a {type(built).__name__}; "
            f"it must return a benchbed.contracts.{wanted.__name__}"
        )
    return built


def _check_types(
    kind: str, name: str, factory: Callable[..., Any], settings: Mapping[str, Any]
) -> None:
    """Hold settings, which come from YAML, against the factory's annotations."""
    try:
        hints = get_type_hints(factory)
    except (NameError, TypeError):  # somebody's own factory, annotated in a way of its own
        return
    for key, value in settings.items():
        try:
            TypeAdapter(hints.get(key, Any)).validate_python(value, strict=True)
        except PydanticSchemaGenerationError:
            continue
        except ValidationError as error:
            why = error.errors()[0]["msg"].lower()
            raise BadArgument(f"{kind} {name} cannot take {key}: {value!r}; {why}") from None


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _find(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name in table:
        return table[name]
    if ":" not in name:
        advice = f"'benchbed list {kind}s' shows them all"
        if name.endswith(".py"):
            advice = f"for a function of your own write {name}:ITS_NAME"
        raise unknown_name(kind, name, table, advice)
    place, _, attribute = name.rpartition(":")
    module = _module(kind, name, place)
    found = getattr(module, attribute, None)
    if not callable(found):
        raise UnknownName(
            f"unknown {kind} '{name}'{nearest(attribute, dir(module))}; "
            f"{place} has no function {attribute}"
        )
    function: Callable[..., Any] = found
    return function


def _module(kind: str, name: str, place: str) -> ModuleType:
    if place.endswith(".py") and not Path(place).is_file():
        raise UnknownName(
            f"{kind} '{name}': there is no file {Path(place).resolve()}; "
            "paths are relative to where you run benchbed"
        )
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise UnknownName(
            f"{kind} '{name}' cannot be imported from {place}: {_one_line(error)}"
        ) from error
