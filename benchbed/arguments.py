"""Checks of hyper-parameters that many factories share, each one line to the person."""

from __future__ import annotations

from benchbed.errors import BadArgument


def positive_temperature(name: str, temperature: float) -> float:
    """Return ``temperature``, or say why it cannot be used."""
    if not temperature > 0:
        raise BadArgument(
            f"{name} needs temperature > 0, got {temperature}; "
            "the limit at 0 has no relaxed sample, try 0.1"
        )
    return float(temperature)


def at_least(name: str, what: str, given: int, least: int, advice: str = "") -> int:
    """Return ``given``, or say that ``name`` needs ``what`` >= ``least``."""
    if isinstance(given, bool) or int(given) != given or given < least:
        raise BadArgument(f"{name} needs a whole {what} >= {least}, got {given}{advice}")
    return int(given)
