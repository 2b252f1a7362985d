"""``benchbed list``: what there is, with settings and their defaults."""

from __future__ import annotations

import json

import rich_click as click


@click.command("list")
@click.argument("kind", type=click.Choice(["estimators", "objectives"]))
@click.option("--for", "objective", metavar="OBJECTIVE", help="Only estimators that fit it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(kind: str, objective: str | None, as_json: bool) -> None:
    """Show the estimators or objectives, their settings and defaults."""
    from benchbed.catalogue import listing

    rows = listing(kind, objective)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        settings = ", ".join(
            key if value is None else f"{key}={value}" for key, value in row["settings"].items()
        )
        click.echo(f"{row['name']}({settings})\n    {row['summary'].replace('``', '')}")
