"""What lies under a results folder, sweep by sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchbed.errors import UnusableResults
from benchbed.store.folder import MARK, Results


@dataclass(frozen=True)
class Line:
    """One sweep's state; ``problem`` says why the folder itself cannot be used."""

    path: Path
    cells: int = 0
    ok: int = 0
    failed: int = 0
    nonfinite: int = 0
    damaged: int = 0
    stale: int = 0  # cells of an earlier spec or an edited estimator
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Every cell is there and sound."""
        return not self.problem and self.ok == self.cells

    def one_line(self) -> str:
        """Say it in one line."""
        if self.problem:
            return self.problem
        parts = [f"{self.ok} of {self.cells} cells"]
        for count, word in (
            (self.failed, "failed"),
            (self.nonfinite, "not finite"),
            (self.damaged, "damaged"),
            (self.cells - self.ok - self.failed - self.nonfinite - self.damaged, "to do"),
            (self.stale, "of an earlier spec or source"),
        ):
            if count:
                parts.append(f"{count} {word}")
        return f"{self.path}: {', '.join(parts)}"


def inventory(results: Path) -> list[Line]:
    """Return a line for every sweep under ``results``; other folders are passed over."""
    if not results.is_dir():
        return []
    return [state(path) for path in sorted(results.iterdir()) if (path / MARK).exists()]


def state(path: Path) -> Line:
    """Return what one sweep's folder holds."""
    store = Results(path)
    try:
        cells = store.sweep()["cells"]
    except UnusableResults as error:
        return Line(path, problem=str(error))
    except KeyError:
        return Line(path, problem=f"{path / MARK} lists no cells; run the sweep again to mend it")
    found, damaged = store.states(cells)
    states = list(found.values())
    return Line(
        path,
        cells=len(cells),
        ok=states.count("ok"),
        failed=states.count("failed"),
        nonfinite=states.count("nonfinite"),
        damaged=len(damaged),
        stale=len(store.ids() - set(cells)),
    )
