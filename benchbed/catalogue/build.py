"""A name and settings -> an estimator or objective, checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from benchbed.adapters import adapted
from benchbed.catalogue.estimators import ESTIMATORS
from benchbed.catalogue.find import find
from benchbed.catalogue.objectives import OBJECTIVES
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BadArgument, BenchbedError, UnknownName, nearest, one_line


def build_estimator(name: str, **settings: Any) -> Estimator:
    """Return the estimator called ``name``, with its hyper-parameters bound.

    A function of your own is either a factory like those of the tables or, if it must be given four
    arguments (objective, params, draws, noise), the draw function itself. With the setting ``as``,
    which is ``sampler`` or ``surrogate``, it is code that never heard of benchbed (adapters).
    """
    return estimator_from(name, find("estimator", name, ESTIMATORS), **settings)


def estimator_from(name: str, function: Callable[..., Any], **settings: Any) -> Estimator:
    """Return the estimator that ``function`` makes, or is: a factory or a draw function."""
    if "as" in settings:
        plain = {key: value for key, value in settings.items() if key != "as"}
        return adapted(settings["as"], name, function, plain)
    if is_draw(function):
        if settings:
            raise BadArgument(
                f"{name} is a draw function and takes no settings, got {', '.join(settings)}; "
                "write a factory that returns a benchbed.Estimator to have some"
            )
        return Estimator(name, function)
    missing = [key for key in _required(function) if key not in settings]
    if missing and len(_required(function)) in (1, 2):
        raise BadArgument(
            f"{name} is no factory of an estimator: it needs {' and '.join(missing)}; for "
            "f(logits, ...) -> z write as: sampler (from Python benchbed.from_sampler), for "
            "f(logits, cost, ...) -> loss as: surrogate (benchbed.from_surrogate)"
        )
    built: Estimator = _build("estimator", name, function, settings, Estimator)
    return built


def build_objective(name: str, **settings: Any) -> Objective:
    """Return the objective called ``name``, at the point its settings give."""
    factory = find("objective", name, OBJECTIVES)
    built: Objective = _build("objective", name, factory, settings, Objective)
    return built


def is_draw(function: Callable[..., Any]) -> bool:
    """Say whether a function is a draw function: it must be given four arguments, in order."""
    return len(_required(function)) == 4


def _required(function: Callable[..., Any]) -> list[str]:
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in by_position and parameter.default is parameter.empty
    ]


def settings_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return a factory's settings and their defaults."""
    return {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
    }


def takes_samples(entry: Mapping[str, Any]) -> bool:
    """Say whether an estimator, given as its name and settings, can be given ``samples``."""
    known = settings_of(find("estimator", entry["name"], ESTIMATORS))
    return entry.get("as") == "sampler" or "samples" in known


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
        raise BadArgument(f"{kind} {name}({given}) cannot be built: {one_line(error)}") from error
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
