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

    A function of your own is either a factory like those of the tables or, if its parameters are
    (objective, params, draws, noise), the draw function itself. With the setting ``as``, which is
    ``sampler`` or ``surrogate``, it is code that never heard of benchbed (adapters.py).
    """
    return estimator_from(name, find("estimator", name, ESTIMATORS), **settings)


def estimator_from(name: str, function: Callable[..., Any], **settings: Any) -> Estimator:
    """Return the estimator that ``function`` makes, or is: a factory or a draw function."""
    if "as" in settings:
        plain = {key: value for key, value in settings.items() if key != "as"}
        return adapted(settings["as"], name, function, plain)
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
    factory = find("objective", name, OBJECTIVES)
    built: Objective = _build("objective", name, factory, settings, Objective)
    return built


def settings_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return a factory's settings and their defaults."""
    return {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
    }


def takes_samples(entry: Mapping[str, Any]) -> bool:
    """Say whether an estimator, given as its name and settings, can be given ``samples``."""
    if "as" in entry:
        return True
    known = settings_of(find("estimator", entry["name"], ESTIMATORS))
    return "samples" in known or "draws" in known


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
