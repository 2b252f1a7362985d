"""The gate on the mean of estimators that are biased anyway: has it moved?"""

from __future__ import annotations

from dataclasses import replace

from benchbed.analysis.advice import rounded_up
from benchbed.analysis.gate.baseline import Reading
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.gate.mean_change import (
    MeanSketch,
    change_p_value,
    largest_move,
    visible_change,
)
from benchbed.analysis.gate.two_stage import two_stage
from benchbed.analysis.gate.variance import Again, Pairs
from benchbed.analysis.intervals import LEVEL, Interval, around
from benchbed.analysis.verdict import SHRINK

NOTHING_LEFT = 1e-12  # an exact gradient this short is 0: moves are told as they are


def judge_means(pairs: Pairs, again: Again, *, level: float) -> list[Finding]:
    """Return a finding for every cell.

    Args:
        pairs: now and in the baseline.
        again: measures one cell anew, on fresh seeds and more draws.
        level: chance that any cell whose mean has not moved fails.
    """
    settled = {name: _settled(now, then) for name, (now, then) in pairs.items()}
    open_ = {name: pairs[name] for name, finding in settled.items() if finding is None}
    latest = {name: now for name, (now, _) in open_.items()}

    def p_again(name: str) -> float:
        fresh, then = again(name), pairs[name][1]
        if _settled(fresh, then) is not None:
            return 1.0
        latest[name] = fresh
        return change_p_value(*_means(fresh, then))

    first = {name: change_p_value(*_means(*pair)) for name, pair in open_.items()}
    second, rejected = two_stage(first, p_again, level)
    findings = []
    for name, told in settled.items():
        if told is None:
            p = second.get(name, first[name])
            told = _told(latest[name], pairs[name][1], p, name in rejected, level / len(open_))
        findings.append(replace(told, cell=name))
    return findings


def _means(now: Reading, then: Reading) -> tuple[MeanSketch, MeanSketch]:
    assert now.mean is not None
    assert then.mean is not None
    return now.mean, then.mean


def _settled(now: Reading, then: Reading) -> Finding | None:
    if now.digest == then.digest:
        return Finding("", "change of bias", "identical", "the same numbers", Interval(0, 0, 0))
    if now.heavy or then.heavy:
        where = "now" if now.heavy else "in the baseline"
        why = f"tails: {where} events rarer than the draws decide; a mean has no error bar then"
        return Finding("", "change of bias", "undecided", why)
    if now.mean is None or then.mean is None:
        where = "this sweep" if now.mean is None else "the baseline"
        why = f"each seed tunes anew and {where} has one; run it with seeds: 3 or more"
        return Finding("", "change of bias", "undecided", why)
    if len(now.mean.along) != len(then.mean.along):
        why = f"{len(now.mean.along)} directions now, {len(then.mean.along)} in the baseline"
        return Finding("", "change of bias", "fail", f"its parameters are others: {why}")
    return None


def _told(now: Reading, then: Reading, p: float, fails: bool, level: float) -> Finding:
    means = _means(now, then)
    norm = now.gradient_norm if now.gradient_norm > NOTHING_LEFT else 1.0
    move, error = largest_move(*means)
    value = around(move, error, min(mean.freedom for mean in means), LEVEL).scaled(1 / norm)
    size = f"its mean moved by {100 * value.value:.2g} % of the exact gradient's length"
    ends = f"[{100 * value.low:.2g}, {100 * value.high:.2g}]"
    if fails:
        return Finding("", "change of bias", "fail", f"{size} {ends}; p = {p:.1g}", value, p)
    visible = visible_change(*means, level) / norm
    seen = f"a move of {100 * visible:.2g} % along the gradient would have shown"
    if visible <= SHRINK:
        return Finding("", "change of bias", "pass", seen, value, p)
    needed = rounded_up(min(now.draws, then.draws) * (visible / SHRINK) ** 2)
    advice = f"only {seen}; draws: {needed:,}, here and in the baseline, would show 5 %"
    return Finding("", "change of bias", "insensitive", advice, value, p)
