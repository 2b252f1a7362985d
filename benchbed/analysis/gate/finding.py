"""What the gate says of one cell in one respect."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from benchbed.analysis.intervals import NOTHING, Interval
from benchbed.errors import ExitCode

Outcome = Literal[
    "pass",  # shown to be small
    "fail",  # shown to be large, and confirmed on fresh seeds
    "undecided",  # more draws would tell
    "insensitive",  # nothing seen, but too little could have been
    "zero",  # no variance before and none now
    "identical",  # the same numbers to the last bit
    "incomplete",  # missing, failed or not finite
    "not compared",  # and the message says why
]
Test = Literal["cell", "promise", "evaluations", "bias", "change of bias", "variance", "cpu"]


@dataclass(frozen=True)
class Finding:
    """One cell, one test.

    Attributes:
        cell: its name, ``estimator x samples on objective``; empty for the whole sweep.
        test: in what respect.
        outcome: see ``Outcome``.
        message: one line: how large, how sure, and what to do.
        value: what was measured, with its interval: |bias| and its change as a share of the exact
            gradient's length, variance and CPU time as a ratio to the baseline's.
        p_value: of the last run made for it; NaN where none was needed.
    """

    cell: str
    test: Test
    outcome: Outcome
    message: str = ""
    value: Interval = NOTHING
    p_value: float = math.nan


def exit_code(findings: Iterable[Finding], *, strict: bool = False) -> ExitCode:
    """Return the gate's exit code: a regression counts more than a missing cell."""
    outcomes = {finding.outcome for finding in findings}
    if "fail" in outcomes:
        return ExitCode.REGRESSION
    if "incomplete" in outcomes:
        return ExitCode.INCOMPLETE
    if strict and outcomes & {"undecided", "insensitive"}:
        return ExitCode.UNDECIDED
    return ExitCode.OK
