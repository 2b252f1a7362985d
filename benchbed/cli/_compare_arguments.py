"""Estimators as they are written on the command line: ``name(setting=value, ...)``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchbed.errors import BadArgument

OPENING, CLOSING = "([{", ")]}"


def split_outside(text: str, mark: str = ",") -> list[str]:
    """Split ``text`` at each ``mark`` that is in no bracket; blank parts are left out."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def entry_of(text: str) -> dict[str, Any]:
    """Return name and settings of ``name`` or ``name(setting=value, ...)``."""
    name, bracket, inside = text.strip().partition("(")
    if not name or (bracket and not inside.endswith(")")):
        raise BadArgument(
            f"'{text}' is no estimator; write name or name(setting=value), such as "
            "leave_one_out(samples=4)"
        )
    settings = split_outside(inside[:-1]) if bracket else []
    return {"name": name.strip()} | read_settings(settings, f"{name} takes name(setting=value)")


def read_settings(settings: Iterable[str], usage: str) -> dict[str, Any]:
    """Read KEY=VALUE as a sweep file would: numbers are numbers, true is true."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader = YAML(typ="safe")
    found: dict[str, Any] = {}
    for given in settings:
        key, equals, value = (part.strip() for part in given.partition("="))
        if not equals or not key or not value:
            raise BadArgument(f"{usage}, got '{given}'; such as samples=4")
        try:
            found[key] = reader.load(value)
        except YAMLError:
            found[key] = value
        if key == "name" or isinstance(found[key], list | dict):
            raise BadArgument(f"{usage} with one value each, got '{given}'; such as samples=4")
    return found
