"""What an estimator's or objective's numbers depend on in its source, as one hash.

The syntax tree without comments and docstrings, with the first-party modules it imports. The
foundations, whose edits seldom move a number, carry a ``NUMBERS_VERSION`` bumped by hand instead.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

from benchbed import rng
from benchbed.errors import UnknownName
from benchbed.families import bernoulli, categorical, normal
from benchbed.measure import cell, moments

ROOT = Path(__file__).resolve().parents[1]
FOLLOWED = ("benchbed.estimators.", "benchbed.objectives.", "benchbed.enumeration")

VERSIONS = {
    "rng": rng.NUMBERS_VERSION,
    "bernoulli": bernoulli.NUMBERS_VERSION,
    "categorical": categorical.NUMBERS_VERSION,
    "normal": normal.NUMBERS_VERSION,
    "moments": moments.NUMBERS_VERSION,
    "cell": cell.NUMBERS_VERSION,
}


def fingerprint_of(name: str, module: str) -> str:
    """Return the fingerprint of a catalogue name, ``module:name`` or ``path/to/file.py:name``.

    Args:
        name: as written in a spec.
        module: where a catalogue name lives; ignored for your own.
    """
    place = name.rpartition(":")[0] or module
    if place.endswith(".py"):
        return _of_file(Path(place))
    found = importlib.util.find_spec(place)
    if found is None or found.origin is None:
        raise UnknownName(f"'{name}' has no source file to fingerprint; name a .py file")
    return _of_file(Path(found.origin))


@functools.cache
def _of_file(path: Path) -> str:
    parts = [part for file in sorted(_reach(path)) for part in (file.name, code_of(file))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _reach(start: Path) -> set[Path]:
    """Return ``start`` and the followed first-party files it imports, directly or not."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(FOLLOWED):
                waiting.append(ROOT.parent / (str(node.module).replace(".", "/") + ".py"))
    return seen


def code_of(path: Path) -> str:
    """Return the dump of a file's syntax tree, docstrings taken out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:]
    return ast.dump(tree)
