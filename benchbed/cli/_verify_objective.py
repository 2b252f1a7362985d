"""``benchbed verify objective``: an objective held against its own definition."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import rich_click as click
from click.exceptions import Exit

from benchbed.cli._key_values import read_key_values
from benchbed.cli._print_table import print_table
from benchbed.cli.context import Context
from benchbed.errors import BadArgument, ExitCode


@click.command("objective")
@click.argument("name", required=False)
@click.option(
    "--set", "-s", "settings", multiple=True, metavar="KEY=VALUE",
    help="A setting of the objective, such as dimensions=5; may be given again.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def objective(name: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Hold the objective NAME (or path/to/file.py:NAME) against its own definition.

    Its cost, its law and its exact gradient: by summing over every z, by samples, and by central
    differences of the exact value. Without NAME, the exact gradient of every objective there is.
    Exits 1 if a check fails.
    """
    if name is None and settings:
        raise BadArgument(
            "--set needs the NAME of an objective; 'benchbed list objectives' shows them"
        )
    rows = _all() if name is None else _one(name, read_key_values(settings, "dimensions=5"))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print(rows, with_name=name is None)
    failed = [row for row in rows if not row["passed"]]
    for row in [] if as_json else failed:
        click.echo(f"{row['objective']}: {row['check']}: {row['advice']}")
    if not as_json:
        worst = f"{len(failed)} of {len(rows)} checks failed" if failed else "all checks passed"
        names = {row["objective"] for row in rows}
        kinds = len({label.partition(" ")[0] for label in names})
        said = f"{kinds} objectives at {len(names)} settings, " if name is None else ""
        click.echo(f"{said}{len(rows)} checks: {worst}")
    if failed:
        raise Exit(int(ExitCode.REGRESSION))


def _one(name: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    from benchbed.catalogue import build_objective
    from benchbed.verification import verify_objective

    built = build_objective(name, **settings)
    return [_row(name, check) for check in verify_objective(built)]


def _all() -> list[dict[str, Any]]:
    from rich.console import Console
    from rich.progress import track

    from benchbed.catalogue import build_objective
    from benchbed.verification import every_setting, gradient_checks

    rows = []
    quiet = not sys.stderr.isatty()
    console = Console(stderr=True)
    for name, settings in track(
        every_setting(), "objectives", console=console, disable=quiet, transient=True
    ):
        label = " ".join([name, *(f"{key}={value}" for key, value in settings.items())])
        rows += [_row(label, check) for check in gradient_checks(build_objective(name, **settings))]
    return rows


def _row(name: str, check: Any) -> dict[str, Any]:
    return {
        "objective": name,
        "check": check.name,
        "against": check.against,
        "error": check.error,
        "bound": check.bound,
        "passed": check.passed,
        "advice": "" if check.passed else check.advice,
    }


def _print(rows: list[dict[str, Any]], *, with_name: bool) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    if with_name:
        table.add_column("objective", no_wrap=True)
    for heading in ("check", "against"):
        table.add_column(heading)
    for heading in ("difference", "bound"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        cells = [row["check"], row["against"], f"{row['error']:.2g}", f"{row['bound']:.2g}"]
        name = [row["objective"]] if with_name else []
        table.add_row(*name, *cells, "pass" if row["passed"] else "FAIL")
    print_table(table)


objective.context_class = Context
