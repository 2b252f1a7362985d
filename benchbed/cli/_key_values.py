"""KEY=VALUE on the command line, read as a spec file would read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchbed.errors import BadArgument


def read_key_values(given: Sequence[str], such_as: str) -> dict[str, Any]:
    """Return settings: numbers are numbers, true is true, [0.1, 1.0] is a list.

    Args:
        given: what followed each ``--set``.
        such_as: an example for the message.

    Raises:
        BadArgument: one is no KEY=VALUE.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader = YAML(typ="safe")
    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise BadArgument(f"--set takes KEY=VALUE, got '{one}'; such as --set {such_as}")
        try:
            found[key] = reader.load(value)
        except YAMLError:
            found[key] = value
    return found
