"""A results folder: cells/ID.json is the acknowledgement, cells/ID.npz the arrays behind it.

Each file is written under a temporary name, flushed to disk and renamed; the arrays come first.
Killed at any moment, a folder holds whole cells only. Resuming is listing it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchbed.errors import UnusableResults
from benchbed.records import Record
from benchbed.store.codec import decode, encode

MARK = "benchbed.json"


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
            if self.path.is_dir() and any(self.path.iterdir()) and not mark.exists():
                raise UnusableResults(
                    f"{self.path} is not empty and was not made by benchbed; "
                    "name another folder with --results"
                )
            self.cells.mkdir(parents=True, exist_ok=True)
            write(mark, json.dumps({"benchbed": 1} | sweep, indent=1).encode())
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
            raise UnusableResults(f"{self.path} does not exist; 'benchbed run SPEC' makes results")
        try:
            found = json.loads((self.path / MARK).read_text())
            found.pop("benchbed")
        except FileNotFoundError:
            raise UnusableResults(
                f"{self.path} was not made by benchbed: it has no {MARK}; name a results folder"
            ) from None
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UnusableResults(
                f"{self.path / MARK} is damaged ({error}); run the sweep again to mend it"
            ) from None
        return found  # type: ignore[no-any-return]

    def put(self, record: Record) -> None:
        """Add one cell; when this returns it is on disk."""
        text, blob = encode(record)
        try:
            if blob is not None:
                write(self.cells / f"{record.cell}.npz", blob)
            write(self.cells / f"{record.cell}.json", text.encode())
        except OSError as error:
            raise UnusableResults(
                f"{self.cells} cannot be written ({error.strerror}); what was measured before is "
                "kept, and the same command goes on from there"
            ) from None

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
            raise UnusableResults(f"{path} cannot be read ({error})") from None
        return decode(text, blob, str(path))

    def ids(self) -> set[str]:
        """Return the cells that are there."""
        return {path.stem for path in self.cells.glob("*.json")} if self.cells.is_dir() else set()

    def read(self, cells: Iterable[str]) -> tuple[dict[str, Record], list[str]]:
        """Return the sound records among ``cells`` and a line for each damaged one."""
        here, records, damaged = self.ids(), {}, []
        for cell in cells:
            if cell not in here:
                continue
            try:
                records[cell] = self.get(cell)
            except UnusableResults as error:
                damaged.append(str(error))
        return records, damaged

    def put_provenance(self, key: str, surroundings: dict[str, object]) -> None:
        """Keep the surroundings that records refer to by ``key``."""
        path = self.path / f"provenance-{key}.json"
        if not path.exists():
            write(path, json.dumps(surroundings, indent=1, sort_keys=True).encode())

    def provenance(self, key: str) -> dict[str, Any]:
        """Return the surroundings kept under ``key``; empty if they are lost."""
        try:
            found = json.loads((self.path / f"provenance-{key}.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
