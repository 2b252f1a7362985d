"""Numbers as text: as many digits as their interval supports, and no more."""

from __future__ import annotations

import math

MOST_DIGITS = 6
WIDE = 4.0  # times from low to high; past that each end has digits of its own
PLAIN = range(-3, 6)  # powers of ten written out; others get a factor such as 10⁻⁵
NONE = "–"  # an en dash: nothing to show

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """Return ``10⁻³`` and the like."""
    return "10" + str(exponent).translate(_RAISED)


def number(value: float, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` significant digits; a dash for NaN."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    # Rounding may carry: 9.999 is 10.0 with three digits, one power of ten further.
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return _scaled(value, exponent, digits - 1 - exponent) + _factor(exponent)


def with_interval(value: float, low: float, high: float) -> tuple[str, str]:
    """Return the value and ``[low, high]``, both to two digits of the interval's half-width.

    The second text is empty where there is no interval.
    """
    if math.isnan(value):
        return NONE, ""
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(value)):
        return number(value), ""
    largest = max(abs(value), abs(low), abs(high))
    if largest == 0:
        return "0", "[0, 0]"
    if low > 0 and high > WIDE * low:
        return number(value, 2), f"[{number(low, 2)}, {number(high, 2)}]"
    exponent = math.floor(math.log10(largest))
    half = (high - low) / 2
    decimals = MOST_DIGITS - 1 - exponent
    if half > 0:
        decimals = min(decimals, max(1 - math.floor(math.log10(half)), 1 - exponent))
    middle, left, right = (_scaled(x, exponent, decimals) for x in (value, low, high))
    factor = _factor(exponent)
    return middle + (factor if value else ""), f"[{left}, {right}]{factor}"


def share(value: float) -> str:
    """Return a fraction as a percentage with two digits."""
    if math.isnan(value):
        return NONE
    if value >= 10:
        return "> 1000 %"
    if value and value < 1e-5:
        return "< 0.001 %"
    return f"{number(100 * value, 2)} %"


def p_value(value: float) -> str:
    """Return ``p = 0.35`` and the like, or ``p < 10⁻¹⁵``."""
    if math.isnan(value):
        return "not tested"
    return f"p < {power_of_ten(-15)}" if value < 1e-15 else f"p = {number(value, 2)}"


def count(value: float) -> str:
    """Return a count: whole where it is whole."""
    if math.isnan(value):
        return NONE
    return f"{int(value):,}" if float(value).is_integer() else number(value)


def _factor(exponent: int) -> str:
    """Return the power of ten that goes behind a number, where it is far from 1."""
    return "" if exponent in PLAIN else f"×{power_of_ten(exponent)}"


def _scaled(value: float, exponent: int, decimals: int) -> str:
    """Write ``value`` with ``decimals`` decimals, in units of ``_factor(exponent)``."""
    if value == 0:
        return "0"
    if exponent not in PLAIN:
        value, decimals = value / 10.0**exponent, decimals + exponent
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text
