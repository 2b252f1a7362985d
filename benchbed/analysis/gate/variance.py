"""The gate on variance: has it grown past a margin?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from benchbed.analysis.advice import rounded_up
from benchbed.analysis.gate.baseline import Reading
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.gate.two_stage import two_stage
from benchbed.analysis.intervals import LEVEL, Interval
from benchbed.analysis.variance_ratio import LogEstimate, exceeds, ratio

Pairs = Mapping[str, tuple[Reading, Reading]]  # (now, baseline)
Again = Callable[[str], Reading]  # on fresh seeds, with more draws
SURE = 1.645  # standard errors: the one-sided bound of a pass


def judge_variances(pairs: Pairs, again: Again, *, margin: float, level: float) -> list[Finding]:
    """Return a finding for every cell.

    Args:
        pairs: now and in the baseline.
        again: measures one cell anew.
        margin: the largest ratio of variances that is let through.
        level: chance that any cell whose variance has not grown past ``margin`` fails.
    """
    settled = {name: _settled(now, then) for name, (now, then) in pairs.items()}
    open_ = {name: pairs[name] for name, finding in settled.items() if finding is None}
    ratios = {name: _ratio(now, then) for name, (now, then) in open_.items()}
    latest = dict(ratios)
    fresh: dict[str, Reading] = {}

    def p_again(name: str) -> float:
        fresh[name] = again(name)
        if fresh[name].variance is None or fresh[name].heavy:
            return 1.0
        latest[name] = _ratio(fresh[name], pairs[name][1])
        return exceeds(latest[name], margin)

    first = {name: exceeds(found, margin) for name, found in ratios.items()}
    second, rejected = two_stage(first, p_again, level)
    findings = []
    for name, (now, then) in pairs.items():
        told = settled[name]
        if told is None:
            reading = fresh.get(name, now)
            told = _settled(reading, then) if name in fresh else None
        if told is None:
            p = second.get(name, first[name])
            told = _told(latest[name], margin, p, name in rejected, min(now.draws, then.draws))
        findings.append(replace(told, cell=name))
    return findings


def _ratio(now: Reading, then: Reading) -> LogEstimate:
    assert now.variance is not None
    assert then.variance is not None
    return ratio(now.variance, then.variance)


def _settled(now: Reading, then: Reading) -> Finding | None:
    """Return the finding of a pair that needs no test, or None."""
    if now.digest == then.digest:
        return Finding("", "variance", "identical", "the same numbers", Interval(1.0, 1.0, 1.0))
    if now.zero and then.zero:
        return Finding("", "variance", "zero", "no variance, as before")
    if now.zero:
        return Finding("", "variance", "pass", "its variance has gone; save the baseline again")
    if then.zero:
        return Finding("", "variance", "fail", "it had no variance, and has some now")
    if now.heavy or then.heavy:
        where = "now" if now.heavy else "in the baseline"
        why = f"tails: {where} the variance's own error may not exist, so no ratio can be tested"
        return Finding("", "variance", "undecided", why)
    if now.variance is None or then.variance is None:
        where = "this sweep" if now.variance is None else "the baseline"
        why = f"each seed tunes anew and {where} has one; run it with seeds: 3 or more"
        return Finding("", "variance", "undecided", why)
    return None


def _told(found: LogEstimate, margin: float, p: float, fails: bool, draws: int) -> Finding:
    value = found.interval(LEVEL)
    size = f"variance x {value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"
    bound = f"the margin is {margin:g}"
    if fails:
        return Finding("", "variance", "fail", f"{size}, {bound}; p = {p:.1g}", value, p)
    room = math.log(margin) - found.value
    if SURE * found.error <= room:
        better = " and better" if value.high < 1 / margin else ""
        return Finding("", "variance", "pass", f"{size}{better}", value, p)
    if room > 0:
        needed = draws * (SURE * found.error / room) ** 2
        advice = f"draws: {rounded_up(needed):,}, here and in the baseline, would tell"
    else:
        advice = f"more than draws: {rounded_up(4 * draws):,}, here and in the baseline, would tell"
    return Finding("", "variance", "undecided", f"{size}, {bound}; {advice}", value, p)
