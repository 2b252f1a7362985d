"""Biased or not: one procedure, with a stated chance of a false alarm over ALL cells together.

Screen: per cell the largest |t| over the coordinates' block means, Student's tail, Bonferroni over
coordinates; Benjamini-Hochberg at 0.1 over the cells. Confirm: the flagged cells alone, on fresh
seeds and 16 times the draws, by flipping the signs of whole blocks; Holm at 0.01. Simulated on
1,000 unbiased score-function cells the chance of any false failure was 0.005; a plain t test
failed something every time, because draws are skewed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from benchbed.analysis.advice import rounded_up
from benchbed.analysis.bias import (
    never_varied,
    nothing_seen,
    screen,
    sign_flip,
    unheard,
    visible_shrink,
)
from benchbed.analysis.intervals import Interval
from benchbed.analysis.summary import summarize
from benchbed.errors import BadArgument
from benchbed.records import Array, Blocks

SCREEN_LEVEL = 0.1  # Benjamini-Hochberg, over cells
CONFIRM_LEVEL = 0.01  # Holm, over the cells confirmed
CONFIRM_FACTOR = 16  # times the draws
SHRINK = 0.05  # a cell that could not see a gradient shrunk by so much shows nothing

LEAST_BLOCKS = 32  # fewer cannot reach the confirming level, nor hold the power promised

Outcome = Literal["unbiased", "biased", "insensitive", "undecided"]
Reason = Literal["", "tails", "unseen"]
WHY: Mapping[Reason, str] = {
    "": "",
    "tails": "tails; one draw holds much of the variance; no number of draws is sure to mend that",
    "unseen": "unseen; parts that hardly moved, events rarer than the draws, decide",
}


@dataclass(frozen=True)
class Verdict:
    """What the bias test says of one cell.

    Attributes:
        outcome: ``unbiased`` (a shrink of 5 % would have shown), ``biased`` (confirmed),
            ``insensitive`` (nothing seen, but 5 % could not have been) or ``undecided``.
        screen: p-value of the screen.
        confirm: p-value of the confirming run; NaN if it was not needed.
        visible: the smallest shrink, as a share of the gradient, seen with probability 0.99.
        bias: |bias| / |gradient|, from the confirming run where there was one.
        worst: the coordinate furthest off, in standard errors; -1 is the projection on the
            exact gradient.
        reason: why it is undecided: ``tails`` (one draw holds much of the variance) or ``unseen``
            (events rarer than the draws: nothing varied, or a coordinate did not).
        draws_needed: of an insensitive cell, about how many would show a shrink of 5 %; None where
            no number is known to.
    """

    outcome: Outcome
    screen: float
    confirm: float
    visible: float
    bias: Interval
    worst: int
    reason: Reason = ""
    draws_needed: int | None = None

    def one_line(self) -> str:
        """Say it in one line, with the smallest bias that could have been seen."""
        seen = f"a shrink of {100 * self.visible:.2g} % or more would have shown"
        if self.outcome == "biased":
            value, low, high = (f"{100 * x:.3g}" for x in self.bias)
            if not math.isfinite(self.bias.value):
                return "biased: the exact gradient is 0 and the mean is not"
            return f"biased: |bias| is {value} % of the gradient [{low}, {high}]"
        if self.outcome == "unbiased":
            return f"unbiased: {seen}"
        if self.outcome == "insensitive":
            if self.draws_needed is None:
                return (
                    "insensitive: the exact gradient is 0 wherever anything varied: no shrink shows"
                )
            return f"insensitive: only {seen}; draw {self.draws_needed:,} or more"
        return f"undecided: {WHY[self.reason]}"


def judge(
    cells: Mapping[str, Blocks],
    remeasure: Callable[[str], Blocks],
    *,
    certain: Collection[str] = (),
    exact_variance: Mapping[str, Array] | None = None,
    screen_level: float = SCREEN_LEVEL,
    confirm_level: float = CONFIRM_LEVEL,
    seed: int = 0,
) -> dict[str, Verdict]:
    """Judge every cell at once.

    Args:
        cells: blocks centred on what the estimator should be unbiased for, at least 32 each.
        remeasure: gives a flagged cell's blocks on fresh seeds, ``CONFIRM_FACTOR`` times the draws,
            best in float64, where what was float32 rounding is gone.
        certain: cells whose estimator has no randomness; elsewhere a coordinate that never varied
            has only not shown what it can do.
        exact_variance: of some cells, [p], of ONE estimate per coordinate. A coordinate that varied
            by less than half of it was not seen, and no test uses it.
        screen_level: false discovery rate of the screen.
        confirm_level: chance that any flagged unbiased cell is confirmed.
        seed: of the sign flips.

    Raises:
        BadArgument: a cell has too few blocks for the levels promised, or draws not finite.
    """
    if not cells:
        return {}
    for name, blocks in cells.items():
        _check_blocks(name, blocks)
    exact = exact_variance or {}
    screens = {name: screen(blocks, exact.get(name)) for name, blocks in cells.items()}
    adjusted = stats.false_discovery_control([p for p, _ in screens.values()])
    flagged = [name for name, q in zip(cells, adjusted, strict=True) if q <= screen_level]
    fresh = {name: remeasure(name) for name in flagged}
    for name, blocks in fresh.items():
        _check_blocks(name, blocks)
    flips = max(9_999, math.ceil(2 * max(len(flagged), 1) / confirm_level))
    p_values = {name: sign_flip(b, flips, seed, exact.get(name)) for name, b in fresh.items()}
    confirmed = holm(p_values, confirm_level)
    verdicts = {}
    for name, blocks in cells.items():
        source, variance = fresh.get(name, blocks), exact.get(name)
        visible = visible_shrink(source, screen_level / len(cells), variance)
        outcome: Outcome = "unbiased" if visible <= SHRINK else "insensitive"
        reason = _reason(source, variance, certain=name in certain)
        if reason:
            outcome = "undecided"
        elif name in confirmed:
            outcome = "biased"
        elif unheard(source, variance) > min(SHRINK, visible):
            outcome, reason = "undecided", "unseen"  # what stayed 0 must not pass as unbiased
        verdicts[name] = Verdict(
            outcome,
            screens[name][0],
            p_values.get(name, math.nan),
            visible,
            summarize(source).bias,
            screens[name][1],
            reason,
            draws_to_see(source, visible) if outcome == "insensitive" else None,
        )
    return verdicts


def draws_to_see(blocks: Blocks, visible: float, shrink: float = SHRINK) -> int | None:
    """Return about how many draws would show ``shrink``, of which two digits mean something.

    ``visible`` is the smallest that these draws show; it falls as the root of their number.
    """
    if not math.isfinite(visible):
        return None
    return rounded_up(float(blocks.count.sum()) * (visible / shrink) ** 2)


def _reason(blocks: Blocks, variance: Array | None, *, certain: bool) -> Reason:
    """Say why no test of these blocks would mean anything, empty if one would."""
    if summarize(blocks).heavy:
        return "tails"
    if variance is not None and nothing_seen(blocks, variance):
        return "unseen"
    return "unseen" if never_varied(blocks) and not certain else ""


def _check_blocks(name: str, blocks: Blocks) -> None:
    if len(blocks.count) < LEAST_BLOCKS:
        raise BadArgument(
            f"{name} has {len(blocks.count)} blocks and the bias test needs {LEAST_BLOCKS}: with "
            f"fewer its error rates do not hold; measure with blocks: {LEAST_BLOCKS} or more"
        )
    if blocks.nonfinite.sum():
        raise BadArgument(
            f"{name} has {int(blocks.nonfinite.sum()):,} draws that are not finite; "
            "mend the estimator before asking whether it is biased"
        )


def holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """Return the names whose p-values Holm's step-down procedure rejects at ``level``."""
    rejected: set[str] = set()
    for rank, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        if p_values[name] > level / (len(p_values) - rank):
            break
        rejected.add(name)
    return rejected
