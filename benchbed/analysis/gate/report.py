"""All findings of one sweep, and the one exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchbed.analysis.gate.finding import Finding, exit_code
from benchbed.errors import ExitCode

QUIET = ("pass", "identical", "zero")  # outcomes that need no line of their own


@dataclass(frozen=True)
class Report:
    """What the gate says of one sweep.

    Attributes:
        sweep: its name.
        baseline: where the baseline was read from.
        findings: of every cell and test.
        alpha: chance that anything fails that is as it was; CPU time is not in it.
        notes: what a reader should know of the whole.
        strict: whether what draws did not decide counts against it.
    """

    sweep: str
    baseline: str
    findings: Sequence[Finding]
    alpha: float
    notes: Sequence[str] = ()
    strict: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """Return OK, REGRESSION, INCOMPLETE or, where strict, UNDECIDED."""
        return exit_code(self.findings, strict=self.strict)

    @property
    def notable(self) -> list[Finding]:
        """What is not a pass, failures first."""
        rank = ("fail", "incomplete", "undecided", "insensitive", "not compared")
        loud = [finding for finding in self.findings if finding.outcome not in QUIET]
        return sorted(loud, key=lambda finding: rank.index(finding.outcome))

    @property
    def counts(self) -> dict[str, int]:
        """How many findings have each outcome."""
        return dict(Counter(finding.outcome for finding in self.findings))

    def summary(self) -> str:
        """Say it in one line."""
        cells = len({finding.cell for finding in self.findings if finding.cell})
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.counts.items()))
        words = {0: "passes", 1: "REGRESSED", 3: "is INCOMPLETE", 4: "is UNDECIDED"}
        word = words[int(self.exit_code)]
        return f"{self.sweep} {word}: {cells} cells against {self.baseline}: {counts}"

    def lines(self) -> list[str]:
        """Return a line for each notable finding, then the notes and the summary."""
        told = [
            printable(
                f"{finding.outcome}: {finding.cell or self.sweep}: {finding.test}: "
                f"{finding.message}"
            )
            for finding in self.notable
        ]
        return [*told, *map(printable, self.notes), printable(self.summary())]


def printable(text: str) -> str:
    """Return ``text`` in one line, without what a terminal or a log would obey."""
    flat = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "?" for letter in flat)
