"""What a cell's numbers depend on in source and libraries, as hashes.

The syntax tree without comments and docstrings of an estimator's or objective's file, with every
file of the project, or beside your own, that it imports; of the measurement; and the versions of
torch and numpy, and of an installed package that an estimator comes from. An edited estimator is
measured again, a comment stales nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchbed.errors import UnknownName

ROOT = Path(__file__).resolve().parents[1]
MEASUREMENT = ("cell.py", "moments.py", "exact_moments.py")
INSTALLED = {"site-packages", "dist-packages"}
WITHOUT_NUMBERS = {"errors.py", "arguments.py"}  # messages and refusals


@functools.cache
def foundations() -> dict[str, str]:
    """Return what every cell depends on: the measurement's source, torch and numpy."""
    parts = [_of_file(ROOT / "measurement" / name) for name in MEASUREMENT]
    return {
        "measurement": hashlib.sha256("".join(parts).encode()).hexdigest()[:16],
        **{name: metadata.version(name) for name in ("torch", "numpy")},
    }


def fingerprint_of(name: str, module: str) -> str:
    """Return the fingerprint of a catalogue name, ``module:name`` or ``path/to/file.py:name``.

    A file of your own brings along the files beside it that it imports.

    Args:
        name: as written in a spec.
        module: where a catalogue name lives; ignored for your own.
    """
    place = name.rpartition(":")[0] or module
    if place.endswith(".py"):
        return _of_file(Path(place))  # read anew: it may be edited while this process lives
    return _of_module(place)


@functools.cache
def _of_module(place: str) -> str:
    """Return the fingerprint of what was imported: a process imports a module once."""
    found = importlib.util.find_spec(place)
    if found is None or found.origin is None:
        raise UnknownName(f"module '{place}' has no source to fingerprint; name a .py file")
    origin = Path(found.origin)
    if INSTALLED & set(origin.parts) and ROOT not in origin.parents:
        return _of_package(place)
    return _of_file(origin)


def _of_package(place: str) -> str:
    """Return the fingerprint of an installed package: its version, not its thousands of files."""
    top = place.partition(".")[0]
    names = metadata.packages_distributions().get(top, [])
    versions = sorted(f"{name} {metadata.version(name)}" for name in names)
    return hashlib.sha256("\n".join([place, *versions]).encode()).hexdigest()[:16]


def _of_file(path: Path) -> str:
    parts = sorted(f"{file.name} {_understood(file.read_bytes()).code}" for file in _reach(path))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _reach(start: Path) -> set[Path]:
    """Return ``start`` and the followed files it imports, directly or not."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for name in _understood(path.read_bytes()).imports:
            waiting.extend(_places(name, path))
    return {path for path in seen if path.name not in WITHOUT_NUMBERS or ROOT not in path.parents}


def _places(name: str, importer: Path) -> Iterator[Path]:
    """Yield where a module may lie if it is the project's, or yours near ``importer``."""
    dots = len(name) - len(name.lstrip("."))
    if dots:
        above = importer.parents
        yield from _named(above[min(dots, len(above)) - 1], name[dots:])
    elif name.partition(".")[0] == ROOT.name:
        yield from _inside(name)
    elif ROOT not in importer.parents:  # the project calls its own by their full names
        for folder in (importer.parent, *importer.parent.resolve().parents[:3]):
            yield from _named(folder, name)


@functools.cache
def _inside(name: str) -> list[Path]:
    """Return the files of the project that a name may stand for; none appears while it runs."""
    return [path for path in _named(ROOT.parent, name) if path.exists()]


def _named(folder: Path, name: str) -> tuple[Path, Path]:
    stem = folder / name.replace(".", "/")
    return stem.with_name(f"{stem.name}.py"), stem / "__init__.py"


class _Source(NamedTuple):
    imports: tuple[str, ...]  # every name that might be a module, dots in front where relative
    code: str  # hash of the syntax tree, docstrings taken out


@functools.lru_cache(maxsize=4096)
def _understood(source: bytes) -> _Source:
    """Parse a file's bytes; remembered by content, as dozens of places reach the same files."""
    tree = ast.parse(source)  # bytes: the file may declare its own encoding
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            dot = "." if node.module else ""
            imports.update((stem, *(f"{stem}{dot}{alias.name}" for alias in node.names)))
        elif isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return _Source(tuple(sorted(imports)), hashlib.sha256(ast.dump(tree).encode()).hexdigest())
