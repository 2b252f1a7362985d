"""The committed page of what the long proofs found: results/proof/calibration.md."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from scipy import stats

from benchbed.store.provenance import provenance

PAGE = Path(__file__).resolve().parents[1] / "results" / "proof" / "calibration.md"
TITLE = "# How often are the tests and intervals wrong?"


def write_section(title: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Put a section on the page, in place of the one of that title if there is one."""
    surroundings = provenance()
    dated = (
        f"{datetime.date.today().isoformat()}, commit {str(surroundings['commit'])[:12]}"
        f"{' and uncommitted changes' if surroundings['dirty'] else ''}, "
        f"{surroundings['processor']}, one thread. Made by `make prove`."
    )
    text = page.read_text() if page.exists() else TITLE + "\n"
    head, *sections = text.rstrip("\n").split("\n## ")
    kept = [section for section in sections if section.split("\n", 1)[0] != title]
    kept.append("\n".join([title, "", dated, "", *lines]))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n## ".join([head.rstrip("\n"), *(s.strip("\n") for s in kept)]) + "\n")


def share(count: int, number: int, digits: int = 2) -> str:
    """Return a share in per cent with its 95 % Clopper-Pearson interval."""
    if not number:
        return "-"
    found = stats.binomtest(count, number).proportion_ci(0.95, "exact")
    low, high = (f"{100 * x:.{digits}g}" for x in (found.low, found.high))
    return f"{100 * count / number:.{digits}g} [{low}, {high}]"
