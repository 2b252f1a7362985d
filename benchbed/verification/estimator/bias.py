"""The bias of an estimator over the panel: every cell measured, and all judged at once.

A cell is an objective, a variant of the estimator, and what its mean is held against. Cells that
could not see a shrink of 5 % on the first draws get as many as that takes, up to a limit: precision
decides how long to draw, never what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from benchbed.analysis.bias import never_varied, visible_shrink
from benchbed.analysis.intervals import NOTHING
from benchbed.analysis.summary import summarize
from benchbed.analysis.verdict import CONFIRM_FACTOR, SCREEN_LEVEL, SHRINK, WHY, Verdict, judge
from benchbed.contracts import Objective
from benchbed.measurement.cell import measure_cell
from benchbed.measurement.exact_moments import exact_moments
from benchbed.records import Blocks
from benchbed.verification.estimator.cells import OWN_MEAN, Cell, Finding, furthest, said
from benchbed.verification.estimator.contract import subject
from benchbed.verification.estimator.means import known_mean
from benchbed.verification.estimator.panel import Place
from benchbed.verification.estimator.variants import Variant

MOST_FACTOR = 64  # times the first draws, for a cell that is insensitive
MOST_CALLS = 2**22  # of J in one screening cell
# Of J in one confirming cell. From MOST_CALLS on that is four times the draws, not sixteen: a bias
# that the screen saw at four standard errors then stands at eight.
MOST_CONFIRMING = 2**24
CONFIRM_SEED = 1_000  # further along: the confirming run's own noise


def cells_of(
    variants: Sequence[Variant], places: Sequence[Place], promised: bool
) -> tuple[list[Cell], list[Finding]]:
    """Return the cells of some variants at some places, and those that could not be tuned.

    A biased estimator whose own mean is known gets a second cell there, which is a promise.
    """
    cells, failed = [], []
    for variant in variants:
        for place in places:
            target = variant.estimator.target
            cell = Cell(place, variant, target, promised, variant.estimator)
            try:
                ready = subject(place, variant.estimator).estimator
                own = known_mean(variant.estimator, place.objective)
            except Exception as error:
                failed.append(Finding(cell, "failed", message=said(error)))
                continue
            cells.append(replace(cell, estimator=ready))
            if own is not None:
                centred = replace(ready, target_gradient=partial(_given, own))
                cells.append(Cell(place, variant, OWN_MEAN, True, centred))
    return cells, failed


def _given(mean: Tensor, _: Objective) -> Tensor:
    return mean


def judged(
    cells: Sequence[Cell], draws: int, seed: int, watch: Callable[[int, int], None]
) -> list[Finding]:
    """Measure and judge the cells, and return what was found, in their order.

    Args:
        cells: all of them: error rates hold over them together.
        draws: of each at first.
        seed: of the noise; the confirming runs have another.
        watch: is told how many cells of how many are measured.
    """
    found: dict[str, Finding] = {}
    blocks: dict[str, Blocks] = {}
    by_name = {cell.label: cell for cell in cells}
    level = SCREEN_LEVEL / max(len(by_name), 1)
    for number, (name, cell) in enumerate(by_name.items()):
        watch(number, len(by_name))
        try:
            measured = _screened(cell, draws, seed, level)
        except Exception as error:
            found[name] = Finding(cell, "failed", message=said(error))
            continue
        if measured.nonfinite.sum():
            found[name] = _nonfinite(cell, measured)
            continue
        blocks[name] = measured

    fresh: dict[str, Blocks] = {}

    def remeasure(name: str) -> Blocks:
        watch(len(by_name), len(by_name))
        cell = by_name[name]
        more = _confirming_draws(cell, int(blocks[name].count.sum()))
        again = _measured(cell, more, seed + CONFIRM_SEED, "float64")
        if again.nonfinite.sum():  # said so below, whatever the first draws say of its bias
            found[name] = _nonfinite(cell, again)
            return blocks[name]
        fresh[name] = again
        return again

    certain = {name for name in blocks if _certain(by_name[name], blocks[name])}
    for name, verdict in judge(blocks, remeasure, certain=certain, seed=seed).items():
        if name not in found:
            found[name] = _finding(by_name[name], verdict, fresh.get(name, blocks[name]))
    return [found[name] for name in by_name]


def _confirming_draws(cell: Cell, draws: int) -> int:
    most = MOST_CONFIRMING // _calls(cell)
    return min(CONFIRM_FACTOR * draws, max(4 * draws, most))


def _calls(cell: Cell) -> int:
    """Return the calls of J in one estimate."""
    return max(1, cell.estimator.evaluations_on(cell.place.objective))


def _nonfinite(cell: Cell, blocks: Blocks) -> Finding:
    lost = int(blocks.nonfinite.sum())
    message = f"{lost:,} of {int(blocks.count.sum()) + lost:,} draws are not finite"
    return Finding(cell, "nonfinite", message=message)


def _screened(cell: Cell, draws: int, seed: int, level: float) -> Blocks:
    """Measure, once more with four times the draws or a power of that where 5 % needs them."""
    blocks = _measured(cell, draws, seed, "float32")
    if blocks.nonfinite.sum():
        return blocks
    needed = 1.25 * (visible_shrink(blocks, level) / SHRINK) ** 2
    if needed <= 1.25:
        return blocks
    factor = 4 ** math.ceil(math.log(min(needed, 1e9), 4))
    if factor > MOST_FACTOR or factor * draws * _calls(cell) > MOST_CALLS:
        return blocks
    return _measured(cell, factor * draws, seed, "float32")


def _measured(cell: Cell, draws: int, seed: int, dtype: str) -> Blocks:
    return measure_cell(
        cell.place.objective,
        cell.estimator,
        draws=draws,
        seed=seed,
        address=("verify", cell.place.label),
        dtype=dtype,
        timing=0,
    ).blocks


def _certain(cell: Cell, blocks: Blocks) -> bool:
    """Say whether the estimator has no randomness there, and not only shown none."""
    if cell.estimator.constant:
        return True
    if not never_varied(blocks):
        return False
    found = exact_moments(cell.place.objective, cell.estimator)
    return found is not None and bool(found.variance.sum() <= 1e-20 * np.square(found.mean).sum())


def _finding(cell: Cell, verdict: Verdict, blocks: Blocks) -> Finding:
    summary = summarize(blocks)
    tuned = cell.variant.estimator.tune is not None
    coordinate, off = furthest(blocks, cell.place.objective)
    return Finding(
        cell,
        verdict.outcome,
        bias=verdict.bias,
        visible=verdict.visible,
        coordinate=coordinate,
        off=off,
        variance=NOTHING if tuned else summary.variance,
        draws=summary.draws,
        draws_needed=verdict.draws_needed,
        message=WHY[verdict.reason],
    )
