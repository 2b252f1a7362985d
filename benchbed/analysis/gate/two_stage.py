"""Screen every cell, measure the flagged ones again, and believe only what shows again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scipy import stats

from benchbed.analysis.verdict import SCREEN_LEVEL, holm


def two_stage(
    first: Mapping[str, float], again: Callable[[str], float], level: float
) -> tuple[dict[str, float], set[str]]:
    """Return the p-values of the cells measured again, and the cells that are rejected.

    Against a baseline the second p-value is not independent of the first, as the baseline's own
    luck is in both. It is therefore held to Holm's bound over ALL cells, which is sound whatever
    flagged it: the chance that any true hypothesis is rejected is at most ``level``.

    Args:
        first: the screen's p-value of every cell tested.
        again: measures a cell again, on fresh seeds, and returns its p-value.
        level: chance of any false rejection over the cells.
    """
    if not first:
        return {}, set()
    adjusted = stats.false_discovery_control(list(first.values()))
    flagged = [name for name, q in zip(first, adjusted, strict=True) if q <= SCREEN_LEVEL]
    second = {name: again(name) for name in flagged}
    return second, holm(dict.fromkeys(first, 1.0) | second, level)
