"""Biased or not: one test, with a stated chance of a false alarm over ALL cells together.

Screen: per cell the largest |t| over the coordinates' block means, Student's tail, Bonferroni over
coordinates; Benjamini-Hochberg at 0.1 over the cells. Confirm: the flagged cells alone, on fresh
seeds and 16 times the draws, by flipping the signs of whole blocks; Holm at 0.01. Simulated on
1,000 unbiased score-function cells the chance of any false failure was 0.005; a plain t test
failed something every time, because draws are skewed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from benchbed.analysis.intervals import Interval
from benchbed.analysis.summary import ROUNDING, summarize
from benchbed.records import Array, Blocks

SCREEN_LEVEL = 0.1  # Benjamini-Hochberg, over cells
CONFIRM_LEVEL = 0.01  # Holm, over the cells confirmed
CONFIRM_FACTOR = 16  # times the draws
POWER = 0.99  # of the smallest bias said to be visible
SHRINK = 0.05  # a cell that could not see a gradient shrunk by so much shows nothing

Outcome = Literal["unbiased", "biased", "insensitive", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """What the bias test says of one cell.

    Attributes:
        outcome: ``unbiased`` (a shrink of 5 % would have shown), ``biased`` (confirmed),
            ``insensitive`` (nothing seen, but 5 % could not have been) or ``undecided`` (the
            largest draw holds so much of the variance that no test is trusted).
        screen: p-value of the screen.
        confirm: p-value of the confirming run; NaN if it was not needed.
        visible: the smallest shrink, as a share of the gradient, seen with probability 0.99.
        bias: |bias| / |gradient|, from the confirming run where there was one.
        worst: the coordinate furthest off, in standard errors; -1 is the projection on the
            exact gradient.
    """

    outcome: Outcome
    screen: float
    confirm: float
    visible: float
    bias: Interval
    worst: int

    def one_line(self) -> str:
        """Say it in one line, with the smallest bias that could have been seen."""
        seen = f"a shrink of {100 * self.visible:.2g} % or more would have shown"
        if self.outcome == "biased":
            value, low, high = (f"{100 * x:.3g}" for x in self.bias)
            return f"biased: |bias| is {value} % of the gradient [{low}, {high}]"
        if self.outcome == "unbiased":
            return f"unbiased: {seen}"
        if self.outcome == "insensitive":
            return f"insensitive: only {seen}; draw more"
        return "undecided: tails; one draw holds too much of the variance"


def judge(
    cells: Mapping[str, Blocks],
    remeasure: Callable[[str], Blocks],
    *,
    screen_level: float = SCREEN_LEVEL,
    confirm_level: float = CONFIRM_LEVEL,
    seed: int = 0,
) -> dict[str, Verdict]:
    """Judge every cell at once.

    Args:
        cells: blocks centred on what the estimator should be unbiased for.
        remeasure: gives a flagged cell's blocks on fresh seeds, ``CONFIRM_FACTOR`` times the draws.
        screen_level: false discovery rate of the screen.
        confirm_level: chance that any flagged unbiased cell is confirmed.
        seed: of the sign flips.
    """
    if not cells:
        return {}
    screens = {name: screen(blocks) for name, blocks in cells.items()}
    adjusted = stats.false_discovery_control([p for p, _ in screens.values()])
    flagged = [name for name, q in zip(cells, adjusted, strict=True) if q <= screen_level]
    fresh = {name: remeasure(name) for name in flagged}
    flips = max(9_999, math.ceil(2 * max(len(flagged), 1) / confirm_level))
    p_values = {name: sign_flip(blocks, flips, seed) for name, blocks in fresh.items()}
    confirmed = holm(p_values, confirm_level)
    verdicts = {}
    for name, blocks in cells.items():
        source = fresh.get(name, blocks)
        summary = summarize(source)
        visible = visible_shrink(source, screen_level / len(cells))
        outcome: Outcome = "unbiased" if visible <= SHRINK else "insensitive"
        if summary.heavy:
            outcome = "undecided"
        elif name in confirmed:
            outcome = "biased"
        verdicts[name] = Verdict(
            outcome,
            screens[name][0],
            p_values.get(name, math.nan),
            visible,
            summary.bias,
            screens[name][1],
        )
    return verdicts


def screen(blocks: Blocks) -> tuple[float, int]:
    """Return the screen's p-value and the coordinate furthest off (-1: the projection)."""
    mean, error = _means(blocks)
    t = np.abs(mean) / error
    worst = int(t.argmax())
    tail = float(stats.t.sf(t[worst], len(blocks.count) - 1))
    return min(1.0, 2 * len(t) * tail), -1 if worst == len(t) - 1 else worst


def sign_flip(blocks: Blocks, flips: int, seed: int) -> float:
    """Return the p-value of max |t| when every block's sign is flipped at random.

    Under no bias a block's mean is as likely above as below: exact for symmetric block means,
    which they are nearly, each being the mean of many draws.
    """
    values = _with_projection(blocks.first / blocks.count[:, None], blocks.exact)
    mean, error = _means(blocks)
    observed = float((np.abs(mean) / error).max())
    rng = np.random.default_rng(seed)
    count, reached, second = len(values), 0, np.square(values).sum(0)
    floor = np.square(_rounding(blocks))
    for start in range(0, flips, 2_000):
        signs = rng.choice((-1.0, 1.0), size=(min(2_000, flips - start), count))
        means = signs @ values / count
        spread = np.maximum(second / count - means**2, 0) / (count - 1) + floor
        largest = (np.abs(means) / np.sqrt(spread)).max(1)
        reached += int((largest >= observed * (1 - 1e-12)).sum())
    return (reached + 1) / (flips + 1)


def visible_shrink(blocks: Blocks, level: float) -> float:
    """Return the smallest shrink of the whole gradient that the screen sees with power 0.99.

    A shrink by a share s moves coordinate j by s |exact_j| and the projection by s |exact|; the
    best of them decides. The screen alone is counted at ``level``: the confirming run has sixteen
    times the draws.
    """
    _, error = _means(blocks)
    sizes = np.abs(_with_projection(blocks.exact[None], blocks.exact)[0])
    freedom = len(blocks.count) - 1
    critical = stats.t.isf(level / (2 * len(error)), freedom) + stats.t.isf(1 - POWER, freedom)
    with np.errstate(divide="ignore"):
        return float((critical * error / sizes).min())


def predicted_power(blocks: Blocks, shrink: float, level: float) -> float:
    """Return the chance that the screen at ``level`` sees a gradient shrunk by ``shrink``."""
    _, error = _means(blocks)
    sizes = np.abs(_with_projection(blocks.exact[None], blocks.exact)[0])
    freedom = len(blocks.count) - 1
    critical = stats.t.isf(level / (2 * len(error)), freedom)
    return float(stats.t.sf(critical - shrink * (sizes / error).max(), freedom))


def holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """Return the names whose p-values Holm's step-down procedure rejects at ``level``."""
    rejected: set[str] = set()
    for rank, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        if p_values[name] > level / (len(p_values) - rank):
            break
        rejected.add(name)
    return rejected


def _means(blocks: Blocks) -> tuple[Array, Array]:
    """Return the mean error and its standard error for every coordinate and the projection."""
    values = _with_projection(blocks.first / blocks.count[:, None], blocks.exact)
    count = len(values)
    error = values.std(0, ddof=1) / math.sqrt(count)
    return values.mean(0), np.hypot(error, _rounding(blocks))


def _with_projection(values: Array, exact: Array) -> Array:
    """Append the projection on the exact gradient, where a shrink shows best: [B, p + 1]."""
    norm = float(np.linalg.norm(exact)) or 1.0
    return np.concatenate([values, (values @ exact / norm)[:, None]], 1)


def _rounding(blocks: Blocks) -> float:
    """Return a standard error that stands for the rounding of float32 draws."""
    size = float(np.linalg.norm(blocks.exact))
    typical = math.sqrt(float(blocks.distance[0].sum() / blocks.count.sum()))
    return ROUNDING * 0.1 * (size or typical or 1.0)
