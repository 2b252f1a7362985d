"""``benchbed report``: one self-contained page from a sweep's results."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command()
@click.argument("results")
@click.option("--reports", default="reports", show_default=True, help="Folder of all reports.")
def report(results: str, reports: str) -> None:
    """Write the page, figures and their data for the sweep in folder RESULTS."""
    from benchbed.report import write_report

    click.echo(f"report: {write_report(Path(results), Path(reports))}")
