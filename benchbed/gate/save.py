"""A baseline file: from a sweep's folder, and back."""

from __future__ import annotations

from pathlib import Path

from benchbed.analysis.gate.baseline import Baseline, read_cell
from benchbed.analysis.gate.baseline_text import from_text, to_text
from benchbed.errors import UnusableResults
from benchbed.gate.load import load_sweep
from benchbed.store.folder import write


def save_baseline(results: Path, file: Path) -> Baseline:
    """Write the readings of a whole, sound sweep to ``file``.

    Raises:
        UnusableResults: a cell is missing, failed or not finite, or the file cannot be written.
    """
    sweep = load_sweep(results)
    if sweep.findings:
        first = sweep.findings[0]
        raise UnusableResults(
            f"{results} cannot be a baseline: {first.cell or 'sweep'}: {first.message}"
        )
    cells = {name: read_cell(records) for name, records in sweep.groups.items()}
    baseline = Baseline(sweep.name, sweep.settings, sweep.surroundings, cells)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, to_text(baseline).encode())
    except OSError as error:
        raise UnusableResults(
            f"{file} cannot be written ({error.strerror}); name another with --to"
        ) from None
    return baseline


def read_baseline(file: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        UnusableResults: it cannot be read, is no baseline, cut short or damaged.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UnusableResults(
            f"{file} cannot be read ({why}); name a file that 'benchbed baseline save' wrote"
        ) from None
    return from_text(text, str(file))
