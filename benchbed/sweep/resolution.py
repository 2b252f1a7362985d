"""What a cell's noise lets a finished sweep see, foretold from few of its draws."""

from __future__ import annotations

import math

from scipy import stats

from benchbed.analysis.bias import POWER as BIAS_POWER
from benchbed.analysis.bias import visible_shrink
from benchbed.analysis.gate.gate import ALPHA, FAMILIES, VARIANCE_MARGIN
from benchbed.analysis.summary import summarize
from benchbed.analysis.table import LEVEL_OF_VISIBLE
from benchbed.analysis.variance_ratio import log_of
from benchbed.analysis.verdict import CONFIRM_FACTOR, SCREEN_LEVEL
from benchbed.records import Blocks

RATIO_POWER = 0.9  # of the variance ratio said to be seen


def shrink_seen(blocks: Blocks, draws: float, final: int) -> float:
    """Return the smallest shrink of the gradient that the finished sweep's screen would see.

    As ``bias_visible`` of its table: at level 0.001, with power 0.99. That is a minimum over
    coordinates of what ``final`` blocks make of their errors, which more blocks would put higher:
    those of the pilot are read in groups of so many, and the groups' logarithms averaged.

    Args:
        blocks: of the pilot, or the finished sweep itself.
        draws: of the finished sweep, all its seeds together.
        final: blocks that it has.
    """
    size = min(final, len(blocks.count))
    columns = len(blocks.exact) + 1
    freedom = _reach(columns, final) / _reach(columns, size)
    logs = []
    for start in range(0, len(blocks.count) - size + 1, size):
        group = some_blocks(blocks, start, start + size)
        found = visible_shrink(group, LEVEL_OF_VISIBLE)
        if not summarize(group).zero:  # rounding does not average out
            found *= freedom * math.sqrt(float(group.count.sum()) / draws)
        logs.append(math.log(found))
    return math.exp(sum(logs) / len(logs))


def some_blocks(blocks: Blocks, start: int, stop: int) -> Blocks:
    """Return some of the blocks; what is kept for the cell as a whole stays."""
    cut = slice(start, stop)
    whole = blocks.powers.shape[1] == 1  # thousands of coordinates
    return Blocks(
        count=blocks.count[cut],
        exact=blocks.exact,
        first=blocks.first[cut],
        powers=blocks.powers if whole else blocks.powers[:, cut],
        largest=blocks.largest if whole else blocks.largest[cut],
        distance=blocks.distance[:, cut],
        seconds=blocks.seconds[:, cut],
        nonfinite=blocks.nonfinite[cut],
    )


def ratio_seen(blocks: Blocks, draws: float, final: int, cells: int) -> float:
    """Return how many times a baseline's variance the gate sees with power 0.9.

    The baseline has as many draws; both stages must see it, with all ``cells`` in one family. For
    an estimator that is not tuned and has a variance. Other arguments as for ``shrink_seen``.
    """
    error = log_of(blocks).error * math.sqrt(float(blocks.count.sum()) / draws)
    sure = float(stats.norm.ppf(RATIO_POWER))
    stages = (
        (SCREEN_LEVEL / cells, math.sqrt(2)),
        (ALPHA / FAMILIES / cells, math.sqrt(1 + 1 / CONFIRM_FACTOR)),
    )
    reach = max((float(stats.t.isf(level, final - 1)) + sure) * by for level, by in stages)
    return VARIANCE_MARGIN * math.exp(reach * error)


def _reach(columns: int, blocks: int) -> float:
    """Return how many standard errors the screen sees, as ``visible_shrink`` counts them."""
    freedom = blocks - 1
    critical = float(stats.t.isf(LEVEL_OF_VISIBLE / (2 * columns), freedom))
    sure = float(stats.norm.ppf(BIAS_POWER))
    return critical + sure * math.sqrt(1 + critical**2 / (2 * freedom))
