"""``assert_unbiased``: an estimator's mean against exact gradients, with a stated error rate."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchbed.analysis.advice import rounded_up
from benchbed.analysis.bias import never_varied, screen, unheard, visible_shrink
from benchbed.analysis.summary import summarize
from benchbed.analysis.verdict import CONFIRM_FACTOR, SCREEN_LEVEL, Verdict, judge
from benchbed.api import EstimatorLike
from benchbed.measurement.cell import Measured
from benchbed.records import Array, Blocks
from benchbed.testing._given import (
    Case,
    Objectives,
    cases,
    check_finite,
    most_draws,
    share,
)
from benchbed.testing._wording import of_seeds, off_at, percent

GROWTH = 4  # times the draws where the last were too few
MOST_GROWTH = 16  # times the draws asked for, where no other limit is given
NO_VARIANCE = 1e-20  # of the squared mean: rounding


def assert_unbiased(
    estimator: EstimatorLike,
    objective: Objectives | None = None,
    *,
    samples: int | None = None,
    draws: int = 65_536,
    seed: int = 0,
    false_alarm: float = 0.01,
    sensitivity: float = 0.05,
    max_draws: int | None = None,
) -> None:
    """Fail unless the mean of ``estimator`` is the exact gradient, as far as draws can show it.

    The bias test of ``benchbed.analysis.verdict.judge``, over all objectives at once: a screen,
    then a confirming run of flagged ones alone, on noise of its own, with 16 times the draws in
    float64. A pass says that a gradient ``sensitivity`` too short would have been seen by the
    screen with probability 0.99 on every objective. Where ``draws`` are too few for that, more are
    drawn first; how many depends on the spread of the draws, never on their mean.

    Args:
        estimator: a name, ``{"name": ..., settings}``, an Estimator, or a draw function
            ``(objective, params, draws, noise) -> [draws, *params.shape]``. One with a
            ``target_gradient`` is held against that.
        objective: a name, a mapping, an Objective, or a list of them; None for every small
            objective of a fixed panel that the estimator can be applied to.
        samples: z in one estimate; None for the estimator's own default.
        draws: independent estimates of each objective to begin with, in 64 blocks.
        seed: fixes every number; the same seed gives the same outcome.
        false_alarm: an estimator that is unbiased everywhere is called biased on at most this
            share of seeds, over all objectives together. (On about a tenth of it, since screen
            and confirming run must both be wrong.)
        sensitivity: the shrink of the gradient, as a share of it, that must have been visible.
        max_draws: where to stop drawing more; None for 16 times ``draws``.

    Raises:
        AssertionError: ``biased``, with size, interval and worst coordinate; or ``undecided``,
            where ``max_draws`` cannot show ``sensitivity`` or rare events hold much of the
            variance. The second is not counted in ``false_alarm``: it says that nothing is known.
        BenchbedError: a name, setting or pair that cannot work.
    """
    __tracebackhide__ = True
    share("false_alarm", false_alarm)
    share("sensitivity", sensitivity, math.inf)
    most = most_draws(draws, max_draws, MOST_GROWTH)
    tried = {case.name: case for case in cases(estimator, objective, samples)}
    level = SCREEN_LEVEL / len(tried)
    measured = {
        name: _enough(case, draws, most, seed, sensitivity, level) for name, case in tried.items()
    }
    cells = {name: found.blocks for name, found in measured.items()}
    known = {
        name: variance
        for name, found in measured.items()
        if (variance := _known_variance(tried[name], found)) is not None
    }
    fresh: dict[str, Blocks] = {}

    def remeasure(name: str) -> Blocks:
        many = CONFIRM_FACTOR * int(cells[name].count.sum())
        fresh[name] = tried[name].measure(many, seed, "confirm", dtype="float64").blocks
        check_finite(tried[name], fresh[name])
        return fresh[name]

    verdicts = judge(
        cells,
        remeasure,
        certain={name for name, found in measured.items() if _certain(tried[name], found)},
        exact_variance=known,
        confirm_level=false_alarm,
        seed=seed,
    )
    last = cells | fresh
    lines = _biased(tried, verdicts, last)
    if lines:
        lines.append(of_seeds(false_alarm, seed))
    else:
        lines = _undecided(tried, verdicts, cells, sensitivity, most)
    if lines:
        raise AssertionError("\n".join(lines))


def _enough(
    case: Case, draws: int, most: int, seed: int, sensitivity: float, level: float
) -> Measured:
    """Draw until a shrink of ``sensitivity`` would show, looking at the spread alone."""
    while True:
        found = case.measure(draws, seed)
        check_finite(case, found.blocks)
        if draws >= most or not _too_few(case, found, sensitivity, level):
            return found
        draws = min(most, GROWTH * draws)


def _too_few(case: Case, found: Measured, sensitivity: float, level: float) -> bool:
    """Say whether more draws could tell more: the gauge is the spread, or what was never seen."""
    blocks, known = found.blocks, _known_variance(case, found)
    unseen = summarize(blocks).heavy or never_varied(blocks) or unheard(blocks, known) > sensitivity
    return unseen or visible_shrink(blocks, level, known) > sensitivity


def _known_variance(case: Case, found: Measured) -> Array | None:
    """Return the variance of one estimate without sampling error: it tells what was not seen."""
    if found.exact is None or case.estimator.tune is not None:  # the next tuning has another
        return None
    return found.exact.variance


def _certain(case: Case, found: Measured) -> bool:
    """Say whether the estimator has no randomness on an objective."""
    if case.estimator.constant:
        return True
    if found.exact is None:
        return False
    size = float((found.exact.mean**2).sum())
    return bool(found.exact.variance.sum() <= NO_VARIANCE * size)


def _biased(
    tried: Mapping[str, Case], verdicts: Mapping[str, Verdict], blocks: Mapping[str, Blocks]
) -> list[str]:
    """Return a headline and a line for each objective on which bias was confirmed, worst first."""
    found = [name for name, verdict in verdicts.items() if verdict.outcome == "biased"]
    if not found:
        return []
    method = tried[found[0]].estimator
    many = f"{len(found)} of the {len(tried)} objectives" if len(tried) > 1 else found[0]
    against = "" if method.target == "objective" else f" (held against {method.target})"
    lines = [f"{method.name} is biased on {many}{against}"]
    for name in sorted(found, key=lambda name: -verdicts[name].bias.value):
        worst = screen(blocks[name])[1]
        lines.append(
            f"  {name}: |bias| is {percent(verdicts[name].bias)} of the gradient; "
            f"{off_at(tried[name].objective, blocks[name], worst)}"
        )
    return lines


def _undecided(
    tried: Mapping[str, Case],
    verdicts: Mapping[str, Verdict],
    cells: Mapping[str, Blocks],
    sensitivity: float,
    most: int,
) -> list[str]:
    """Return a headline and a line for each objective on which nothing can be said."""
    lines, needed = [], 0
    for name, verdict in verdicts.items():
        if verdict.outcome == "undecided":
            why = "rare events hold much of the variance"
            if verdict.reason == "unseen":
                why = "part of the gradient comes from events that never happened"
            lines.append(f"  {name}: {why} in {int(cells[name].count.sum()):,} draws")
            needed = max(needed, rounded_up(GROWTH * most))
        elif not verdict.visible <= sensitivity:
            draws = cells[name].count.sum()
            lines.append(
                f"  {name}: {int(draws):,} draws see a gradient {100 * verdict.visible:.3g} % too "
                f"short, not {100 * sensitivity:.3g} %"
            )
            if math.isfinite(verdict.visible):
                needed = max(needed, rounded_up(draws * (verdict.visible / sensitivity) ** 2))
    if not lines:
        return []
    method = next(iter(tried.values())).estimator
    advice = f"pass draws={needed}" if needed else "the gradient is 0 there: take another objective"
    said = f"undecided: no bias of {method.name} was seen, nor could it have been; {advice}"
    return [said, *lines]
