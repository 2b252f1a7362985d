"""``benchbed new``: a commented skeleton to start from, with its test."""

from __future__ import annotations

import keyword
from importlib.util import find_spec
from pathlib import Path

import rich_click as click

from benchbed.errors import BadArgument

SKELETONS = Path(__file__).resolve().parents[1] / "skeletons"


@click.command()
@click.argument("kind", type=click.Choice(["estimator", "objective"]))
@click.argument("name")
@click.option("--into", default=".", show_default=True, help="Folder to write to.")
def new(kind: str, name: str, into: str) -> None:
    """Write NAME.py, a commented estimator or objective that works, and test_NAME.py for it."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.lower() != name:
        raise BadArgument(
            f"'{name}' cannot name an {kind}: it becomes a function and a file; "
            "write it in small letters, digits and _, such as my_estimator"
        )
    if name.startswith("test_") or find_spec(name) is not None:
        raise BadArgument(
            f"'{name}' cannot name an {kind}: {name}.py would hide a module of that name, or be "
            f"taken for a test; choose another, such as my_{name}"
        )
    from benchbed.catalogue import ESTIMATORS, OBJECTIVES

    taken = ESTIMATORS if kind == "estimator" else OBJECTIVES
    if name in taken:
        raise BadArgument(f"benchbed has an {kind} '{name}' already; choose another name")
    folder = Path(into)
    written = {
        folder / f"{name}.py": SKELETONS / f"{kind}.txt",
        folder / f"test_{name}.py": SKELETONS / f"test_{kind}.txt",
    }
    for path in written:
        if path.exists():
            raise BadArgument(f"{path} is there already; choose another name or --into")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, skeleton in written.items():
            path.write_text(skeleton.read_text(encoding="utf-8").replace("NAME", name))
    except OSError as error:
        raise BadArgument(f"cannot write to {folder}: {error.strerror}; give --into") from None
    module, test = written
    what = "formula" if kind == "estimator" else "cost"
    click.echo(f"{module}: the {kind}, {name}, which works as it stands; change its {what}")
    click.echo(f"{test}: its test; run: pytest {test}")
    if kind == "objective":
        click.echo(f"check it: benchbed verify objective {module}:{name}")
    click.echo(f"in a sweep it is called {module}:{name}; from Python pass it to benchbed.compare")
