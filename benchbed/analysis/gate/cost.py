"""The gate on cost: calls of J exactly, CPU time to within a margin and seen again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from benchbed.analysis.gate.baseline import Reading
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.intervals import LEVEL
from benchbed.analysis.variance_ratio import LogEstimate, exceeds, ratio

RERUNS = 2  # all of them must show what the sweep showed
LEAST_TIMED = 5  # alternations in a baseline: one alone may have caught a busy moment
LEVEL_OF_A_RERUN = 0.01
Pairs = Mapping[str, tuple[Reading, Reading]]


def judge_evaluations(pairs: Pairs) -> list[Finding]:
    """Return a finding for every cell: the calls of J, and its slopes, are exact counts."""
    findings = []
    for name, (now, then) in pairs.items():
        same = (now.evaluations, now.slopes) == (then.evaluations, then.slopes)
        message = f"{_calls(now)}, as before"
        if not same:
            message = f"{_calls(now)}, and {_calls(then)} in the baseline"
        findings.append(Finding(name, "evaluations", "pass" if same else "fail", message))
    return findings


def judge_cpu(
    pairs: Pairs, again: Callable[[str], LogEstimate | None], *, margin: float
) -> list[Finding]:
    """Return a finding for every cell that was timed now and in the baseline.

    Times are in units of the frozen reference kernel, alternated in one process, each reading the
    median of its alternations. A cell fails only if the sweep is past the margin and so is every
    re-run, by Welch's t on the alternations at 0.01. Slow minutes of a machine are no random
    sample: how rarely this fails without cause is measured, not computed.

    Args:
        pairs: now and in the baseline.
        again: times one cell anew, alone.
        margin: the largest ratio of times that is let through.
    """
    findings = []
    for name, (now, then) in pairs.items():
        if now.cpu is None or then.cpu is None:
            if now.cpu is not then.cpu:
                where = "in the baseline" if then.cpu is None else "now"
                why = f"not timed {where}; write timing: {LEAST_TIMED} in the sweep"
                findings.append(Finding(name, "cpu", "not compared", why))
            continue
        if now.reference != then.reference:
            why = f"timed with {now.reference} now and {then.reference} in the baseline"
            findings.append(Finding(name, "cpu", "not compared", why))
        elif then.cpu.freedom < LEAST_TIMED - 1:
            why = (
                f"timed {then.cpu.freedom + 1:g} times in the baseline, which a busy moment "
                f"spoils; save one with timing: {LEAST_TIMED} or more"
            )
            findings.append(Finding(name, "cpu", "not compared", why))
        else:
            told = _judged(partial(again, name), now.cpu, then.cpu, margin)
            findings.append(replace(told, cell=name))
    return findings


def _judged(
    again: Callable[[], LogEstimate | None], now: LogEstimate, then: LogEstimate, margin: float
) -> Finding:
    found = ratio(now, then)
    fails = found.value > math.log(margin)
    runs = 0
    while fails and runs < RERUNS:
        rerun = again()
        runs += 1
        if rerun is not None:
            found = ratio(rerun, then)
            fails = exceeds(found, margin) <= LEVEL_OF_A_RERUN
    value = found.interval(LEVEL)
    ends = f" [{value.low:.3g}, {value.high:.3g}]" if value.low == value.low else ", timed once"
    size = f"CPU time x {value.value:.3g}{ends}"
    if fails:
        message = f"{size} in the last of {runs} re-runs, the margin is {margin:g}"
        return Finding("", "cpu", "fail", message, value)
    seen = f" in re-run {runs}, not past the margin of {margin:g} for sure" if runs else ""
    return Finding("", "cpu", "pass", f"{size}{seen}", value)


def _calls(reading: Reading) -> str:
    slopes = f" + {reading.slopes:g} slopes" if reading.slopes else ""
    return f"{reading.evaluations:g} evaluations of J{slopes}"
