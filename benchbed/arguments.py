"""Checks of hyper-parameters that many factories share, each one line to the person."""

from __future__ import annotations

import numbers
import sys

from benchbed.errors import BadArgument

COLDEST, HOTTEST = 1e-6, 1e6


def positive_temperature(name: str, temperature: float) -> float:
    """Return ``temperature``, or say why it cannot be used."""
    if not _is_real(temperature):
        raise BadArgument(f"{name} needs temperature: a number, got {temperature!r}")
    if not temperature > 0:  # NaN included
        raise BadArgument(
            f"{name} needs temperature > 0, got {temperature}; "
            "the limit at 0 has no relaxed sample, try 0.1"
        )
    if not COLDEST <= temperature <= HOTTEST:
        raise BadArgument(
            f"{name} needs a temperature from {COLDEST:g} to {HOTTEST:g}, got {temperature}; "
            "beyond them nothing is left of the relaxed sample in float32"
        )
    return float(temperature)


def finite_number(name: str, what: str, given: float) -> float:
    """Return ``given`` as a float, or say that ``what`` must be a finite number."""
    if not _is_real(given) or not abs(given) <= sys.float_info.max:  # NaN included
        raise BadArgument(f"{name} needs {what}: a finite number, got {given!r:.40}")
    return float(given)


def at_least(name: str, what: str, given: int, least: int, advice: str = "") -> int:
    """Return ``given``, or say that ``name`` needs ``what`` >= ``least``."""
    whole = isinstance(given, numbers.Integral) and not isinstance(given, bool)
    if not whole or given < least:
        raise BadArgument(f"{name} needs a whole {what} >= {least}, got {given!r}{advice}")
    return int(given)


def flag(name: str, what: str, given: bool) -> bool:
    """Return ``given``, or say that ``what`` must be true or false."""
    if not isinstance(given, bool):
        raise BadArgument(f"{name} needs {what}: true or false, got {given!r}")
    return given


def _is_real(given: object) -> bool:
    return isinstance(given, numbers.Real) and not isinstance(given, bool)
