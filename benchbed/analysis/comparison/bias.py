"""Whether low variance was bought with bias: the screen of the bias test, over all cells at once.

The screen alone: what it flags is not confirmed on fresh draws here (analysis/verdict.py does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from benchbed.analysis.bias import never_varied, screen, unheard, visible_shrink
from benchbed.analysis.comparison.sides import Side
from benchbed.analysis.intervals import Interval
from benchbed.analysis.table import label
from benchbed.analysis.verdict import CONFIRM_LEVEL, SCREEN_LEVEL, SHRINK, holm

Word = Literal["biased", "suspect", "unbiased", "insensitive", "undecided"]


@dataclass(frozen=True)
class Standing:
    """What the screen says of one side's bias.

    Attributes:
        objective: label.
        estimator: label.
        samples: in one estimate.
        target: whose exact gradient the bias is held against.
        word: ``biased`` (Holm at 0.01 over all sides), ``suspect`` (flagged by Benjamini-Hochberg
            at 0.1), ``unbiased`` (a shrink of 5 % would have shown), ``insensitive`` (it would
            not) or ``undecided`` (tails, or draws that never varied).
        bias: |E g - exact| / |exact|, interval at 95 %, this side alone.
        p: of the screen.
        visible: the smallest shrink of the gradient that the screen sees with probability 0.99.
    """

    objective: str
    estimator: str
    samples: int
    target: str
    word: Word
    bias: Interval
    p: float
    visible: float

    @property
    def flagged(self) -> bool:
        """Whether low variance is no win here.

        One in ten of those that Benjamini-Hochberg flags may be sound: a suspect keeps its wins.
        """
        return self.word == "biased"


def standings(sides: Sequence[Side]) -> dict[tuple[str, str, int], Standing]:
    """Return the standing of every side that has numbers, by objective, estimator and samples."""
    sound = {_key(side): side for side in sides if not side.failure}
    if not sound:
        return {}
    p_values = {key: screen(side.blocks)[0] for key, side in sound.items()}
    adjusted = stats.false_discovery_control(list(p_values.values()))
    suspects = {key for key, q in zip(p_values, adjusted, strict=True) if q <= SCREEN_LEVEL}
    names = {"\0".join(map(str, key)): key for key in sound}
    sure = {names[name] for name in holm({n: p_values[k] for n, k in names.items()}, CONFIRM_LEVEL)}
    made = {}
    for key, side in sound.items():
        visible = visible_shrink(side.blocks, SCREEN_LEVEL / len(sound))
        word: Word = "unbiased" if visible <= SHRINK else "insensitive"
        if side.summary.heavy or (never_varied(side.blocks) and not side.no_error):
            word = "undecided"
        elif key in sure:
            word = "biased"
        elif key in suspects:
            word = "suspect"
        elif unheard(side.blocks) > min(SHRINK, visible):
            word = "undecided"
        made[key] = Standing(*key, side.target, word, side.summary.bias, p_values[key], visible)
    return made


def _key(side: Side) -> tuple[str, str, int]:
    return side.objective, label(side.first.estimator), side.samples
