"""The gate on cost: calls of J exactly, CPU time to within a margin and seen again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from benchbed.analysis.gate.baseline import Reading
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.intervals import LEVEL
from benchbed.analysis.variance_ratio import LogEstimate, ratio

RERUNS = 2  # all of them must show what the sweep showed
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

    Times are in units of the frozen reference kernel, alternated in one process. No p-value is
    given: slow minutes of a machine are no random sample. A cell fails only if the sweep and every
    re-run, each a median of alternations, are past the margin.

    Args:
        pairs: now and in the baseline.
        again: times one cell anew, alone.
        margin: the largest ratio of times that is let through.
    """
    findings = []
    for name, (now, then) in pairs.items():
        if now.cpu is None or then.cpu is None:
            continue
        if now.reference != then.reference:
            why = f"timed with {now.reference} now and {then.reference} in the baseline"
            findings.append(Finding(name, "cpu", "not compared", why))
            continue
        findings.append(replace(_judged(name, now.cpu, then.cpu, again, margin), cell=name))
    return findings


def _judged(
    name: str,
    now: LogEstimate,
    then: LogEstimate,
    again: Callable[[str], LogEstimate | None],
    margin: float,
) -> Finding:
    least = ratio(now, then)
    for _ in range(RERUNS):
        if least.value <= math.log(margin):
            break
        rerun = again(name)
        if rerun is not None:
            least = min(least, ratio(rerun, then))
    value = least.interval(LEVEL)
    ends = f" [{value.low:.3g}, {value.high:.3g}]" if value.low == value.low else ", timed once"
    size = f"CPU time x {value.value:.3g}{ends}"
    if least.value <= math.log(margin):
        return Finding("", "cpu", "pass", size, value)
    return Finding("", "cpu", "fail", f"{size} in every run, the margin is {margin:g}", value)


def _calls(reading: Reading) -> str:
    slopes = f" + {reading.slopes:g} slopes" if reading.slopes else ""
    return f"{reading.evaluations:g} evaluations of J{slopes}"
