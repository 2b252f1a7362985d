"""A name -> the function it stands for: the tables', ``module:name`` or ``path/file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from benchbed.errors import UnknownName, nearest, one_line, unknown_name


def find(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
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
            f"{kind} '{name}' cannot be imported from {place}: {one_line(error)}"
        ) from error
