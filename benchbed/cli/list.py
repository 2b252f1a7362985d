"""``benchbed list``: what there is, with settings and their defaults."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from benchbed.cli._print_table import print_table

MOST_MISSING = 3  # kinds of latents, before those that fit are named instead


@click.command("list")
@click.argument("kind", type=click.Choice(["estimators", "objectives"]))
@click.option(
    "--for",
    "objective",
    metavar="OBJECTIVE",
    help="Only estimators that fit it, or a kind of latents such as categorical.",
)
@click.option("--settings", is_flag=True, help="Show what each takes, and what it does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(kind: str, objective: str | None, settings: bool, as_json: bool) -> None:
    """Show the estimators or objectives, their settings and defaults."""
    from benchbed.catalogue import listing

    rows = listing(kind, objective)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif settings or kind == "objectives":
        for row in rows:
            taken = ", ".join(
                key if value is None else f"{key}={value}" for key, value in row["settings"].items()
            )
            kind = f"  [{row['latents']}]" if "latents" in row else ""
            click.echo(f"{row['name']}({taken}){kind}\n    {row['summary']}")
    else:
        _table(rows)


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("estimator", no_wrap=True)
    for heading in ("families", "unbiased", "J evaluations", "needs", "citation"):
        table.add_column(heading)
    for row in rows:
        if "families" not in row:  # a plugin that cannot be imported
            table.add_row(row["name"], row["summary"])
            continue
        table.add_row(
            row["name"],
            latents(row),
            _unbiased(row),
            _evaluations(row),
            ", ".join(row["needs"]) or "-",
            row["citation"] or "-",
        )
    print_table(table)


def latents(row: dict[str, Any]) -> str:
    """Return what latents an estimator works on: ``any``, ``any but`` a few, or their names."""
    from benchbed.catalogue.listing import YARDSTICKS

    found = [kind for kind in row["families"] if kind != "normal particles"]
    if "normal particles" in row["families"] and "particles" not in found:
        found.append("normal particles")
    missing = [kind for kind in YARDSTICKS if kind not in (*found, "normal particles")]
    if len(missing) > MOST_MISSING:
        return ", ".join(found)
    return f"any but {', '.join(missing)}" if missing else "any"


def _unbiased(row: dict[str, Any]) -> str:
    said = {True: "yes", False: "no"}.get(row["unbiased"], "in the limit")
    return said if row["target"] == "objective" else f"{said}, for {row['target']}"


def _evaluations(row: dict[str, Any]) -> str:
    count = row["evaluations"]
    if isinstance(count, dict):
        count = ", ".join(f"{number:,} ({size})" for size, number in count.items())
    return f"{count} + {row['slopes']} slopes" if row["slopes"] else str(count)
