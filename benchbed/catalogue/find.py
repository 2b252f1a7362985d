"""A name -> the function it stands for.

A name is one of the tables', or one that an installed package offers under the entry-point group
``benchbed.estimators`` or ``benchbed.objectives``, or ``module:name`` or ``path/to/file.py:name``.
Nothing else is ever imported.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from benchbed.contracts import Estimator, Objective
from benchbed.errors import UnknownName, nearest, one_line, unknown_name


def find(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the function that ``name`` stands for.

    Args:
        kind: ``estimator`` or ``objective``.
        name: see the head of this file.
        table: of the kind.

    Raises:
        UnknownName: there is none, or it cannot be imported.
    """
    if not isinstance(name, str):
        raise UnknownName(
            f"{kind} {name!r} is no name; write build_{kind}(NAME, **settings), or **entry for a "
            "dict with its name and settings"
        )
    if name in table:
        return table[name]
    if ":" not in name:
        offered = plugins(kind)
        if name in offered:
            return _loaded(kind, offered[name])
        advice = f"'benchbed list {kind}s' shows them all"
        if name.endswith(".py"):
            advice = f"for a function of your own write {name}:ITS_NAME"
        raise unknown_name(kind, name, [*table, *offered], advice)
    place, _, attribute = name.rpartition(":")
    module = _module(kind, name, place)
    found = getattr(module, attribute, None)
    if isinstance(found, Objective | Estimator):
        raise UnknownName(
            f"{name} is {kind} data, not a function that returns it; write "
            f"'def {attribute.lower()}(): return ...' so that it can have settings"
        )
    if not callable(found):
        raise UnknownName(
            f"unknown {kind} '{name}'{nearest(attribute, dir(module))}; "
            f"{place} has no function {attribute}"
        )
    function: Callable[..., Any] = found
    return function


def module_of(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> str:
    """Return the module that a name of a table or of a package lives in, empty for others."""
    return "" if ":" in name else find(kind, name, table).__module__


def plugins(kind: str) -> dict[str, EntryPoint]:
    """Return what installed packages offer, by name; the tables' names come first."""
    return {point.name: point for point in entry_points(group=f"benchbed.{kind}s")}


def _loaded(kind: str, point: EntryPoint) -> Callable[..., Any]:
    try:
        function: Callable[..., Any] = point.load()
        if not callable(function):
            raise TypeError(f"a {type(function).__name__} is no function")
    except Exception as error:
        package = point.dist.name if point.dist else "an installed package"
        raise UnknownName(
            f"{kind} '{point.name}' of {package} cannot be imported from {point.value}: "
            f"{one_line(error)}"
        ) from error
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
            f"{kind} '{name}' cannot be imported from {place}: {one_line(error)}"
        ) from error
