"""Is one estimator better than others? Ratios with simultaneous intervals, and who wins where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from scipy import stats

from benchbed.analysis.advice import rounded_up
from benchbed.analysis.comparison.bias import Standing, standings
from benchbed.analysis.comparison.ratio import METRICS, Found, Metric, found_ratio
from benchbed.analysis.comparison.sides import Pair, Side, pairs, sides
from benchbed.analysis.intervals import LEVEL, NOTHING, Interval
from benchbed.analysis.table import label
from benchbed.analysis.variance_ratio import LogEstimate
from benchbed.records import Record

TIE = 1.05  # an interval within [1 / TIE, TIE] shows that there is no more between the two
SURE = 0.9  # chance that the draws said to decide do, if the ratio is what it looks like

Outcome = Literal["wins", "loses", "tie", "undecided", "tails", "zero", "undefined", "failed"]


class More(NamedTuple):
    """About how much more would decide: ``draws`` or ``seeds`` in all, or repeats of ``timing``."""

    kind: Literal["draws", "seeds", "timing"]
    number: int

    def __str__(self) -> str:
        return "needs steadier timing" if self.kind == "timing" else f"~{self.number:,} {self.kind}"


@dataclass(frozen=True)
class Row:
    """The candidate against one baseline in one metric on one objective.

    Attributes:
        objective: label.
        samples: of the candidate's estimate.
        baseline: label.
        baseline_samples: of the baseline's estimate; 0 where it was not measured.
        metric: see ``comparison_ratio.found_ratio``.
        ratio: candidate / baseline with its simultaneous interval; NaN where there is none.
        outcome: ``wins`` (interval below 1), ``loses`` (above), ``tie`` (no more than 5 % apart, or
            identical), ``undecided``, ``tails`` (a moment may not exist), ``zero`` (no variance),
            ``undefined`` or ``failed``.
        how: ``paired``, ``apart``, ``over seeds`` or ``identical``.
        why: there is no ratio.
        more: what would decide; None unless ``undecided`` with a ratio.
        biased: the candidate's bias is flagged here: less variance is no win.
        baseline_biased: likewise the baseline's.
    """

    objective: str
    samples: int
    baseline: str
    baseline_samples: int
    metric: Metric
    ratio: Interval
    outcome: Outcome
    how: str = ""
    why: str = ""
    more: More | None = None
    biased: bool = False
    baseline_biased: bool = False


@dataclass(frozen=True)
class Comparison:
    """One candidate against its baselines.

    Attributes:
        candidate: label.
        baselines: labels, in the order they were given.
        rows: objective by objective, baseline by baseline, metric by metric.
        standings: what the screen says of the bias of each side.
        evaluations: calls of J in one estimate of each side, by objective, estimator and samples.
        intervals: how many ratios have an interval; all hold together with probability 0.95.
        level: of each alone (Bonferroni).
    """

    candidate: str
    baselines: list[str]
    rows: list[Row]
    standings: dict[tuple[str, str, int], Standing]
    evaluations: dict[tuple[str, str, int], float]
    intervals: int
    level: float

    def standing(self, row: Row) -> Standing | None:
        """Return the candidate's standing where ``row`` was measured."""
        return self.standings.get((row.objective, self.candidate, row.samples))

    @property
    def metrics(self) -> list[Metric]:
        """Those of which anything is known."""
        return [m for m in METRICS if any(r.metric == m and _known(r) for r in self.rows)]


def compare_records(records: Iterable[Record], candidate: Mapping[str, Any]) -> Comparison:
    """Compare one estimator with all others in ``records``.

    Args:
        records: a record for every objective, estimator, samples and seed.
        candidate: name and settings of the one, as its records hold them.
    """
    found = sides(records)
    standing = standings(found)
    matched = list(pairs(found, candidate))
    planned = [(pair, metric, _found(pair, metric)) for pair in matched for metric in METRICS]
    # Counted before any outcome is looked at: what is gated or zero was planned as well.
    count = sum(
        made.outcome not in ("undefined", "failed") or made.log is not None
        for _, _, made in planned
    )
    level = 1 - (1 - LEVEL) / max(count, 1)
    # A store may return settings in another order than they were given: one label for both.
    name = label(matched[0].new.first.estimator if matched else candidate)
    rows = []
    for pair, metric, made in planned:
        flags = [
            standing[key].flagged if key in standing else False
            for key in (_key(pair.new), _key(pair.old) if pair.old else ("", "", 0))
        ]
        rows.append(_row(pair, metric, made, level, flags[0], flags[1]))
    return Comparison(
        name,
        list(dict.fromkeys(pair.baseline for pair in matched)),
        rows,
        standing,
        {_key(side): side.evaluations for side in found if not side.failure},
        count,
        level,
    )


def _found(pair: Pair, metric: Metric) -> Found:
    if pair.old is None:
        return Found(None, why=f"{pair.baseline} was not measured here")
    return found_ratio(pair.new, pair.old, metric, pair.baseline)


def _row(
    pair: Pair, metric: Metric, made: Found, level: float, biased: bool, baseline_biased: bool
) -> Row:
    ratio = NOTHING if made.log is None else made.log.interval(level)
    outcome = made.outcome if made.log is None else outcome_of(ratio, made.how)
    more = None
    if made.log is not None and outcome == "undecided":
        more = _more(pair, made.log, made, level)
    return Row(
        pair.new.objective, pair.new.samples, pair.baseline, pair.old.samples if pair.old else 0,
        metric, ratio, outcome, made.how, made.why, more, biased, baseline_biased,
    )  # fmt: skip


def outcome_of(ratio: Interval, how: str = "") -> Outcome:
    """Return what the interval of a ratio candidate / baseline says; less is better.

    A tie comes first: an interval from 0.96 to 0.99 shows a difference, and that it is too small to
    matter.
    """
    if how == "identical" or (ratio.low >= 1 / TIE and ratio.high <= TIE):
        return "tie"
    if ratio.high < 1:
        return "wins"
    return "loses" if ratio.low > 1 else "undecided"


def _more(pair: Pair, log: LogEstimate, made: Found, level: float) -> More:
    """Return about how much would decide, nine times in ten, if the ratio is what it looks like.

    The interval must end on one side of 1, or lie within the band of ties: the easier of the two.
    """
    room = max(abs(log.value), math.log(TIE) - abs(log.value))
    needed = room / (float(stats.t.ppf((1 + level) / 2, log.freedom)) + stats.norm.ppf(SURE))
    from_draws = needed**2 - made.timing**2
    sampled = max(log.error**2 - made.timing**2, 0.0)
    if from_draws <= 0 or sampled == 0:
        return More("timing", 0)
    factor = sampled / from_draws
    if made.how == "over seeds":
        return More("seeds", rounded_up(len(pair.new.parts) * factor))
    draws = float(pair.new.first.address.get("draws", pair.new.parts[0].count.sum()))
    return More("draws", rounded_up(draws * factor))


def _known(row: Row) -> bool:
    return row.outcome != "undefined"


def _key(side: Side) -> tuple[str, str, int]:
    return side.objective, label(side.first.estimator), side.samples
