"""What verifying an estimator found, in the words that a person reads first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchbed.analysis.intervals import Interval
from benchbed.errors import ExitCode
from benchbed.verification.check import Check
from benchbed.verification.estimator.cells import OWN_MEAN, Finding

FINITE = "finite"  # the check of that name
FALSE_ALARM = 0.01  # Holm's level in the confirming run, over all cells together


@dataclass(frozen=True)
class EstimatorReport:
    """All that verifying one estimator found.

    Attributes:
        name: as it was asked for.
        promise: what it says of its bias: ``unbiased``, ``biased``, ``limit`` or ``none``.
        target: what it says it is unbiased for.
        checks: of the contract.
        findings: of the bias test, and cells that could not be measured.
        notes: what was left out, and why.
    """

    name: str
    promise: str
    target: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if not check.passed]

    @property
    def wrong(self) -> list[Finding]:
        """The cells that are biased and must not be, the worst first."""
        found = [finding for finding in self.findings if finding.wrong]
        return sorted(found, key=_badness)

    @property
    def lost(self) -> list[Finding]:
        """The cells that gave no number."""
        return [x for x in self.findings if x.outcome in ("failed", "nonfinite")]

    @property
    def open(self) -> list[Finding]:
        """The cells that decided nothing."""
        return [x for x in self.findings if x.outcome in ("undecided", "insensitive")]

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """Return 1 for a broken promise, 3 for lost cells, 4 for open ones under ``strict``.

        Draws that are not finite are lost, not broken.
        """
        if self.wrong or any(check.name != FINITE for check in self.broken):
            return ExitCode.REGRESSION
        if self.lost or not self.findings:
            return ExitCode.INCOMPLETE
        return ExitCode.UNDECIDED if strict and self.open else ExitCode.OK

    def conclusion(self) -> str:
        """Return one paragraph: what is wrong, where it is worst, and what is left open."""
        said = [*self._contract(), *self._bias(), *self._rest()]
        return f"{self.name}: " + " ".join(said)

    def _contract(self) -> list[str]:
        if not self.checks:
            return []
        if not self.broken:
            return [f"{len(self.checks)} checks of the contract hold."]
        names = ", ".join(check.name for check in self.broken)
        return [f"{len(self.broken)} of {len(self.checks)} checks of the contract fail ({names})."]

    def _bias(self) -> list[str]:
        measured = [x for x in self.findings if x.outcome not in ("failed", "nonfinite")]
        if self.wrong:
            promise = "" if self.promise == "unbiased" else ", which nothing it says allows"
            if self.wrong[0].cell.target == OWN_MEAN:
                promise = ""
            held = sum(found.cell.promised for found in measured)
            return [
                f"BIASED in {len(self.wrong)} of the {held} cells it is held to{promise}; worst on "
                f"{_described(self.wrong[0])}."
            ]
        said = []
        own = [x for x in measured if x.cell.target == OWN_MEAN]
        measured = [x for x in measured if x.cell.target != OWN_MEAN]
        if own:
            kept = sum(x.outcome == "unbiased" for x in own)
            name = own[0].cell.variant.estimator.name
            said.append(f"Its mean is that of a {name} in {kept} of {len(own)} cells.")
        shown = [x for x in measured if x.outcome == "unbiased"]
        if shown:
            least = max(x.visible for x in shown)
            said.append(
                f"No bias in {len(shown)} of {len(measured)} cells: a shrink of the gradient by "
                f"{_percent(least)} would have shown in each."
            )
        biased = sorted((x for x in measured if x.outcome == "biased"), key=_badness)
        if biased:
            count = f"{len(biased)} of {len(measured)} cells"
            said.append(f"Biased, as it may be, in {count}; most on {_described(biased[0])}.")
        return said

    def _rest(self) -> list[str]:
        said = []
        if self.target != "objective":
            said.append(f"It is held against its own target, {self.target}, not the objective.")
        if self.lost:
            first = self.lost[0]
            where = f"{first.cell.place.label}: {first.message}"
            said.append(f"{len(self.lost)} cells gave no number, such as {where}.")
        if self.open:
            needed = [x.draws_needed for x in self.open if x.draws_needed]
            draws = f"; some {max(needed):,} draws would decide the slowest" if needed else ""
            said.append(f"{len(self.open)} cells are undecided or insensitive{draws}.")
        if len(self.lost) < len(self.findings):
            said.append(f"(A right estimator fails with a chance of at most {FALSE_ALARM}.)")
        return said


def as_data(report: EstimatorReport, *, strict: bool) -> dict[str, Any]:
    """Return the report as plain data; a number that does not exist is None."""
    return {
        "estimator": report.name,
        "promise": report.promise,
        "target": report.target,
        "checks": [
            {
                "check": check.name, "against": check.against, "error": _number(check.error),
                "bound": check.bound, "passed": check.passed,
                "advice": "" if check.passed else check.advice,
            }
            for check in report.checks
        ],
        "cells": [_cell(finding) for finding in report.findings],
        "notes": list(report.notes),
        "conclusion": report.conclusion(),
        "exit_code": int(report.exit_code(strict=strict)),
    }  # fmt: skip


def _cell(found: Finding) -> dict[str, Any]:
    intervals = {"bias": found.bias, "off": found.off, "variance": found.variance}
    return {
        "objective": found.cell.place.label,
        "latents": found.cell.place.latents,
        "setting": found.cell.variant.label,
        "temperature": _number(found.cell.variant.temperature),
        "samples": found.cell.variant.estimator.samples,
        "against": found.cell.target,
        "promised": found.cell.promised,
        "verdict": found.outcome,
        "visible": _number(found.visible),
        "coordinate": found.coordinate,
        **{
            f"{name}{end}": _number(value)
            for name, interval in intervals.items()
            for end, value in zip(("", "_low", "_high"), interval, strict=True)
        },
        "draws": found.draws,
        "draws_needed": found.draws_needed,
        "message": found.message,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _badness(found: Finding) -> float:
    return -found.bias.low if math.isfinite(found.bias.low) else 0.0


def _described(found: Finding) -> str:
    cell, own_mean = found.cell, found.cell.target == OWN_MEAN
    setting = f" at {cell.variant.label}" if cell.variant.label else ""
    method = cell.variant.estimator.name
    own = f"the mean that a {method} has"
    against = "" if cell.target == "objective" else f" from {own if own_mean else cell.target}"
    return (
        f"{cell.place.label}{setting}: the mean is {percent_interval(found.bias)} of the gradient "
        f"off{against}, most at {found.coordinate} (by {interval_in_words(found.off)})"
    )


def percent_interval(bias: Interval) -> str:
    """Return ``12.3 % [12.1, 12.5]``; an interval that begins at 0 is an upper limit."""
    if math.isnan(bias.low):
        return "an unknown share"
    low, high = (f"{100 * x:.3g}" for x in bias[1:])
    return f"under {high} %" if bias.low == 0 else f"{100 * bias.value:.3g} % [{low}, {high}]"


def bias_in_words(found: Finding) -> str:
    """Return the bias as a share of the gradient, empty where there is none to tell."""
    return "" if math.isnan(found.bias.low) else percent_interval(found.bias)


def seen_in_words(found: Finding) -> str:
    """Return the smallest shrink that would have shown."""
    return _percent(found.visible) if math.isfinite(found.visible) else ""


def interval_in_words(interval: Interval) -> str:
    """Return ``0.123 [0.12, 0.126]``, empty where there is none."""
    if math.isnan(interval.low):
        return ""
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
