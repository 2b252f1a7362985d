"""The gate's report as GitHub's Markdown: a summary, and a table of what is not a pass."""

from __future__ import annotations

import string

from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.gate.report import Report

PLAIN = set(string.ascii_letters + string.digits + " .,;%()=+-'")  # all else is an entity
MARKS = {"fail": "❌", "incomplete": "❌", "undecided": "❔", "insensitive": "❔"}


def markdown(report: Report, *, most: int = 200) -> str:
    """Return the report; names and messages are text, whatever characters they hold.

    Args:
        report: of the gate.
        most: rows of the table; GitHub takes a megabyte.
    """
    mark = "✅" if report.exit_code == 0 else "❌"
    lines = [f"### {mark} benchbed: {escaped(report.summary())}", ""]
    lines += [f"- {escaped(note)}" for note in report.notes]
    if report.notes:
        lines.append("")
    shown = report.notable[:most]
    if shown:
        lines += ["| | cell | test | what |", "|---|---|---|---|", *map(_row, shown), ""]
    if len(report.notable) > most:
        lines += [f"and {len(report.notable) - most} more", ""]
    lines.append(
        f"A cell that is as it was fails with a chance of at most {report.alpha:g} for the whole "
        "sweep; CPU times are not in it."
    )
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return ``text`` so that Markdown and HTML show it and do nothing with it."""
    flat = " ".join(text.split())
    return "".join(letter if letter in PLAIN else f"&#{ord(letter)};" for letter in flat)


def _row(finding: Finding) -> str:
    mark = f"{MARKS.get(finding.outcome, '')} {finding.outcome}".strip()
    cell = escaped(finding.cell or "the sweep")
    return f"| {mark} | {cell} | {finding.test} | {escaped(finding.message)} |"
