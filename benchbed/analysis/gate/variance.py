"""The gate on variance: has it grown past a margin?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from scipy import stats

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
        then = pairs[name][1]
        if _settled(fresh[name], then) is not None:
            return 1.0
        latest[name] = _ratio(fresh[name], then)
        return _p_value(fresh[name], then, margin)

    first = {name: _p_value(*pair, margin) for name, pair in open_.items()}
    second, rejected = two_stage(first, p_again, level)
    findings = []
    for name, (now, then) in pairs.items():
        told = settled[name]
        if told is None:
            reading = fresh.get(name, now)
            told = _settled(reading, then) if name in fresh else None
        if told is None:
            p = second.get(name, first[name])
            told = _told(reading, then, latest[name], margin, p, name in rejected)
        findings.append(replace(told, cell=name))
    return findings


def _ratio(now: Reading, then: Reading) -> LogEstimate:
    assert then.variance is not None
    if now.variance is None:  # of heavy tails: never read
        return LogEstimate(math.nan, math.nan, math.nan)
    return ratio(now.variance, then.variance)


def _p_value(now: Reading, then: Reading, margin: float) -> float:
    """Return the one-sided p-value of "the variance has not grown past the margin".

    Tails that have become heavy leave the variance no standard error, and must not hide how much it
    has grown. A block's own variance of such a law is below the true one more often than above, so
    the number of blocks above the old variance, the margin and three of its standard errors is
    held to a fair coin's.
    """
    assert then.variance is not None
    if not now.heavy:
        return exceeds(_ratio(now, then), margin)
    most = margin * math.exp(then.variance.value + 3 * then.variance.error)
    above = sum(variance > most for variance in now.block_variances)
    return float(stats.binom.sf(above - 1, len(now.block_variances), 0.5))


def _settled(now: Reading, then: Reading) -> Finding | None:
    """Return the finding of a pair that needs no test, or None."""
    if now.digest == then.digest:
        return Finding("", "variance", "identical", "the same numbers", Interval(1.0, 1.0, 1.0))
    if now.zero and then.zero:
        return Finding("", "variance", "zero", "no variance, as before")
    if now.zero and now.certain:
        return Finding("", "variance", "pass", "it has no variance now; save the baseline again")
    if then.heavy or (then.zero and now.heavy and not then.certain):
        why = "tails: in the baseline the variance's own error may not exist, or no event was met"
        return Finding("", "variance", "undecided", f"{why}: no ratio can be tested")
    if now.zero:
        return Finding("", "variance", "fail", "every draw is one and the same now")
    if then.zero:
        return Finding("", "variance", "fail", "it had no variance, and has some now")
    if (now.variance is None and not now.heavy) or then.variance is None:
        where = "the baseline" if then.variance is None else "this sweep"
        why = f"each seed tunes anew and {where} has one; run it with seeds: 3 or more"
        return Finding("", "variance", "undecided", why)
    return None


def _told(
    now: Reading, then: Reading, found: LogEstimate, margin: float, p: float, fails: bool
) -> Finding:
    if now.heavy and fails:
        why = f"tails have become heavy, and most blocks' variance is past x {margin:g}"
        return Finding("", "variance", "fail", f"{why}; p = {p:.1g}", p_value=p)
    if now.heavy:
        why = "tails: the variance's own error may not exist, so no ratio can be tested"
        return Finding("", "variance", "undecided", why, p_value=p)
    draws = min(now.draws, then.draws)
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
