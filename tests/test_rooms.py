"""The house in reading order: each room imports only rooms above it, and files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchbed

HOUSE = Path(benchbed.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
MOST_LINES = 250

# From top to bottom. Modules on one line are one room and may know each other; every room may use
# itself and those above it, in functions and under TYPE_CHECKING no less than at the top of a file.
ROOMS: list[tuple[str, ...]] = [
    ("errors",),
    ("citations",),
    ("arguments",),
    ("layout",),
    ("elementwise",),
    ("rng",),
    ("records",),
    ("contracts", "enumeration"),  # contracts asks enumeration inside one function only
    ("families",),
    ("objectives",),
    ("estimators",),
    ("adapters",),
    ("catalogue",),
    ("measurement",),
    ("store",),
    ("analysis",),
    ("facts", "verification"),
    ("sweep",),
    ("gate",),
    ("report",),
    ("api", "testing", "pytest_plugin"),
    ("__init__",),  # benchbed itself, which shows what people import
    ("cli",),
]
FLOOR = {name: floor for floor, room in enumerate(ROOMS) for name in room}
WITHOUT_TORCH = ["errors", "records", "store", "analysis", "report", "cli"]
NAMES_THAT_SAY_NOTHING = {
    *("util", "utils", "helper", "helpers", "common", "base", "manager", "managers", "misc"),
}


def module_of(file: Path) -> str:
    """Return ``benchbed.room.module`` of a file below the house."""
    parts = file.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the room a module is in: its first name below benchbed."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(source: str, file: Path, top_level_only: bool = False) -> Iterator[str]:
    """Yield every benchbed module that a source imports, wherever in it the import stands."""
    tree = ast.parse(source)
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "benchbed")
        if isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:  # from . import x: count upwards from the file's own package
                package = file.relative_to(HOUSE.parent).parent.parts
                above = package[: len(package) + 1 - node.level]
                origin = ".".join([*above, *([node.module] if node.module else [])])
            if origin == "benchbed":  # from benchbed import rng is a room, __version__ is not
                for name in node.names:
                    yield f"benchbed.{name.name}" if name.name in FLOOR else "benchbed"
            elif origin.split(".")[0] == "benchbed":
                yield origin


def violations(source: str, file: Path) -> list[str]:
    """Return what a file imports from rooms below its own."""
    mine = room_of(module_of(file))
    return [
        f"{mine} may not know {room_of(module)} ({module_of(file)} imports {module})"
        for module in imported(source, file)
        if FLOOR[room_of(module)] > FLOOR[mine]
    ]


def name_of(file: Path) -> str:
    return str(file.relative_to(HOUSE))


@pytest.mark.parametrize("file", FILES, ids=name_of)
class TestEveryFile:
    def test_it_is_in_a_room(self, file):
        assert room_of(module_of(file)) in FLOOR, "give the new room its place in ROOMS"

    def test_it_imports_only_rooms_above_it(self, file):
        assert violations(file.read_text(encoding="utf-8"), file) == []

    def test_it_is_short(self, file):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{lines} lines: find the two things in it and part them"

    def test_it_is_called_something(self, file):
        assert file.stem.strip("_") not in NAMES_THAT_SAY_NOTHING
        assert file.parent.name not in NAMES_THAT_SAY_NOTHING


class TestTheCheck:
    """The checks above, shown what they are for."""

    @pytest.mark.parametrize(
        ("place", "source"),
        [
            ("estimators/new.py", "from benchbed.measurement.cell import measure_cell"),
            ("estimators/new.py", "import benchbed.catalogue"),
            ("estimators/new.py", "import math, benchbed.catalogue as names"),
            ("rng.py", "from benchbed import contracts"),
            ("rng.py", "from benchbed import __version__"),
            ("families/new.py", "def late():\n    from benchbed.objectives import quadratic"),
            ("families/new.py", "class Late:\n    import benchbed.estimators.arm"),
            (
                "store/new.py",
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from benchbed.analysis.table import Row",
            ),
            ("store/new.py", "try:\n    from benchbed.sweep import run\nexcept ImportError: ..."),
            ("store/new.py", "from ..analysis import table"),
            ("store/new.py", "from .. import report"),
            ("contracts.py", "from .families import NORMAL"),
            ("api.py", "from benchbed.cli import main"),
        ],
    )
    def test_a_bad_import_is_seen(self, place, source):
        (found,) = violations(source, HOUSE / place)
        assert "may not know" in found

    @pytest.mark.parametrize(
        ("place", "source"),
        [
            ("estimators/new.py", "import torch\nfrom benchbed.families.normal import unpack"),
            ("estimators/new.py", "from benchbed.estimators.arm import arm"),
            ("estimators/new.py", "from .arm import arm"),
            ("cli/run.py", "from benchbed import __version__, rng"),
            ("contracts/objective.py", "from benchbed.enumeration import marginalize"),
            ("rng.py", "import benchbedding"),
        ],
    )
    def test_a_good_import_is_let_through(self, place, source):
        assert violations(source, HOUSE / place) == []

    def test_every_import_of_a_file_is_seen(self):
        source = (HOUSE / "catalogue" / "estimators.py").read_text(encoding="utf-8")
        found = set(imported(source, HOUSE / "catalogue" / "estimators.py"))
        assert {"benchbed.estimators.arm", "benchbed.contracts"} <= found


def test_contracts_asks_enumeration_inside_a_function_only():
    """The one pair that know each other: enumeration is made of contracts, never the reverse."""
    file = HOUSE / "contracts" / "objective.py"
    source = file.read_text(encoding="utf-8")
    assert "benchbed.enumeration" in set(imported(source, file))
    assert "benchbed.enumeration" not in set(imported(source, file, top_level_only=True))


def load(modules: list[str]) -> subprocess.CompletedProcess[str]:
    """Import modules in a new interpreter that fails if torch came with them."""
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=HOUSE.parent, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_that_load_no_torch(room):
    """Results can be read, judged and drawn where torch is slow to load or not installed."""
    modules = [module_of(file) for file in FILES if room_of(module_of(file)) == room]
    assert modules
    done = load(modules)
    assert done.returncode == 0, done.stderr or f"{room} loads torch"


def test_the_test_above_sees_torch():
    done = load(["benchbed.rng"])
    assert (done.returncode, done.stderr) == (1, "")
