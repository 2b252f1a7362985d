"""How many draws to advise: two digits of a number known no better."""

from __future__ import annotations

import math


def rounded_up(number: float) -> int:
    """Return ``number`` rounded up to two digits; at least 1."""
    unit = 10.0 ** max(0, math.floor(math.log10(max(number, 1.0))) - 1)
    return max(1, math.ceil(math.ceil(number / unit) * unit))
