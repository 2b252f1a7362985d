"""Settings whose exact gradient would not fit, refused in one line before anything is made."""

from __future__ import annotations

from benchbed.enumeration import written
from benchbed.errors import BadArgument

MOST_NUMBERS = 20_000_000  # 160 MB in float64; differentiating keeps some ten such arrays
MOST_STEPS = 10_000  # of a recursion: a few seconds


def affordable(name: str, numbers: int, advice: str) -> None:
    """Raise BadArgument if the largest array of an exact gradient has too many ``numbers``."""
    if numbers > MOST_NUMBERS:
        raise BadArgument(
            f"{name} would fill an array of {written(numbers)} numbers for its exact gradient, "
            f"more than {MOST_NUMBERS:,}; {advice}"
        )


def affordable_chain(name: str, steps: int, categories: int) -> None:
    """Raise BadArgument if the recursion over a chain takes too long or its tables do not fit."""
    if steps > MOST_STEPS:
        raise BadArgument(
            f"{name} sums over its steps one after another, got steps {written(steps)}; "
            f"use {MOST_STEPS:,} or fewer"
        )
    affordable(name, steps * categories**2, "use fewer steps or categories")


def affordable_tree(name: str, leaves: int, labels: int) -> None:
    """Raise BadArgument if the n^3 / 6 splits of all spans, labelled, do not fit."""
    affordable(
        name, (leaves + 1) * leaves * (leaves - 1) // 6 * labels**3, "use fewer leaves or labels"
    )
