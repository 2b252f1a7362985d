"""A results folder: cells/ID.json is the acknowledgement, cells/ID.npz the arrays behind it.

Each file is written under a temporary name, flushed to disk and renamed; the arrays come first.
Killed at any moment, a folder holds whole cells only. Resuming is listing it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchbed.errors import UnusableResults
from benchbed.records import Record
from benchbed.store.codec import decode, encode

MARK = "benchbed.json"
PENDING = ".new-"  # how the name of a file begins that is not whole yet


class Results:
    """One sweep's folder under ``results/``.

    Args:
        path: the folder; it may not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.cells = self.path / "cells"

    def create(self, sweep: dict[str, Any]) -> None:
        """Make the folder for ``sweep`` (name, question, spec), or take it over if it is ours.

        Raises:
            UnusableResults: it holds something else, or cannot be written.
        """
        mark = self.path / MARK
        try:
            if self.path.exists() and not self.path.is_dir():
                raise UnusableResults(f"{self.path} is a file; name another folder with --results")
            if self.path.is_dir() and _foreign(self.path):
                raise UnusableResults(
                    f"{self.path} is not empty and was not made by benchbed; "
                    "name another folder with --results"
                )
            self.path.mkdir(parents=True, exist_ok=True)
            write(mark, json.dumps({"benchbed": 1} | sweep, indent=1).encode())
            self.cells.mkdir(exist_ok=True)
        except OSError as error:
            raise UnusableResults(
                f"{self.path} cannot be written ({error.strerror}); name another with --results"
            ) from None

    def sweep(self) -> dict[str, Any]:
        """Return what the folder was made for.

        Raises:
            UnusableResults: it is missing, foreign or damaged.
        """
        if not self.path.is_dir():
            what = "is a file" if self.path.exists() else "does not exist"
            raise UnusableResults(
                f"{self.path} {what}; name a sweep's folder, such as results/quick, "
                "which 'benchbed run SPEC' makes"
            )
        try:
            found: dict[str, Any] = json.loads((self.path / MARK).read_text())
            found.pop("benchbed")
            cells = found.get("cells", [])
            if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
                raise ValueError("its cells are not a list of names")
            lines = found.get("skipped", [])
            if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
                raise ValueError("what it skipped is not a list of lines")
        except FileNotFoundError:
            inside = sorted(str(mark.parent) for mark in self.path.glob(f"*/{MARK}"))
            if inside:
                advice = f"it holds sweeps; name one of {', '.join(inside)}"
            else:
                advice = "it was not made by benchbed; name a sweep's folder, such as results/quick"
            raise UnusableResults(f"{self.path} has no {MARK}: {advice}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnusableResults(
                f"{self.path / MARK} is damaged ({error}); run the sweep again to mend it"
            ) from None
        return found

    def put(self, record: Record) -> None:
        """Add one cell; once this returns, no kill can lose it.

        Raises:
            UnusableResults: the folder cannot be written.
        """
        text, blob = encode(record)
        try:
            if blob is not None:
                write(self.cells / f"{record.cell}.npz", blob)
            write(self.cells / f"{record.cell}.json", text.encode())
        except OSError as error:
            raise _unwritable(self.cells, error) from None

    def get(self, cell: str) -> Record:
        """Return one cell.

        Raises:
            UnusableResults: it is not there or damaged.
        """
        path = self.cells / f"{cell}.json"
        arrays = path.with_suffix(".npz")
        try:
            text = path.read_text()
            blob = arrays.read_bytes() if arrays.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise UnusableResults(
                f"{path} cannot be read ({error}); run the sweep again to mend it"
            ) from None
        record = decode(text, blob, str(path))
        if record.cell != cell:
            raise UnusableResults(
                f"{path} is damaged (it holds cell {record.cell}); run the sweep again to mend it"
            )
        return record

    def ids(self) -> set[str]:
        """Return the cells that are there."""
        return {path.stem for path in self.cells.glob("*.json")} if self.cells.is_dir() else set()

    def read(self, cells: Iterable[str]) -> tuple[dict[str, Record], list[str]]:
        """Return the sound records among ``cells`` and a line for each damaged one."""
        damaged: list[str] = []
        return {record.cell: record for record in self._sound(cells, damaged)}, damaged

    def states(self, cells: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Do as ``read`` does, keeping the status alone: one record is in memory at a time."""
        damaged: list[str] = []
        return {record.cell: record.status for record in self._sound(cells, damaged)}, damaged

    def _sound(self, cells: Iterable[str], damaged: list[str]) -> Iterator[Record]:
        here = self.ids()
        for cell in cells:
            if cell not in here:
                continue
            try:
                yield self.get(cell)
            except UnusableResults as error:
                damaged.append(str(error))

    def put_provenance(self, key: str, surroundings: dict[str, object]) -> None:
        """Keep the surroundings that records refer to by ``key``."""
        path = self.path / f"provenance-{key}.json"
        try:
            if not path.exists():
                write(path, json.dumps(surroundings, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def provenance(self, key: str) -> dict[str, Any]:
        """Return the surroundings kept under ``key``; empty if they are lost."""
        try:
            found = json.loads((self.path / f"provenance-{key}.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _foreign(folder: Path) -> bool:
    """Say whether a folder holds anything and does not say that it is ours.

    A mark cut short counts as ours, and so does a folder whose mark was never finished.
    """
    try:
        found = json.loads((folder / MARK).read_text())
    except FileNotFoundError:
        return any(not path.name.startswith(PENDING) for path in folder.iterdir())
    except ValueError:
        return False
    return not isinstance(found, dict) or "benchbed" not in found


def _unwritable(path: Path, error: OSError) -> UnusableResults:
    return UnusableResults(
        f"{path} cannot be written ({error.strerror}); what was measured before is kept: make "
        "room or name another folder with --results, and run the sweep again"
    )


def write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PENDING, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
