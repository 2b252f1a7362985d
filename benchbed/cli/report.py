"""``benchbed report``: one self-contained page from a sweep's results."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from benchbed.errors import ExitCode


@click.command()
@click.argument("results")
@click.option("--reports", default="reports", show_default=True, help="Folder of all reports.")
def report(results: str, reports: str) -> None:
    """Write the page, figures and their data for the sweep in folder RESULTS.

    Exits 3 if a cell is missing, failed or not finite; the page is written all the same.
    """
    from benchbed.report import write_report
    from benchbed.store.inventory import state

    click.echo(f"report: {write_report(Path(results), Path(reports))}")
    line = state(Path(results))
    if not line.complete:
        click.echo(line.one_line(), err=True)
        raise Exit(int(ExitCode.INCOMPLETE))
