"""Whether all values of a discrete variable can be listed: asked before any of them is held."""

from __future__ import annotations

import math

from benchbed.enumeration import written
from benchbed.errors import BadArgument

MOST_STATES = 4096
MOST_DIGITS = 30  # of a power that is worked out


def count_states(
    name: str,
    what: str,
    values: int,
    variables: int,
    fewer: str = "dimensions or categories",
    most: int = MOST_STATES,
) -> int:
    """Return values^variables, or say that they are more than ``most``.

    Args:
        name: of the objective.
        what: is listed or held, with its verb.
        values: of each variable, 2 or more.
        variables: at least 1.
        fewer: settings that bring the number down.
        most: that can be listed.
    """
    digits = variables * math.log10(values)
    count = values**variables if digits <= MOST_DIGITS else 0
    if 0 < count <= most:
        return count
    shown = written(count) if count else f"{values:,}^{variables:,}"
    raise BadArgument(f"{name} {what} and {shown} are more than {most:,}; use fewer {fewer}")
