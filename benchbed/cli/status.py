"""``benchbed status``: what sweeps have left under the results folder."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from benchbed.errors import ExitCode, UnusableResults


@click.command()
@click.option("--results", default="results", show_default=True, help="Folder of all sweeps.")
def status(results: str) -> None:
    """Show every sweep: cells done, failed and damaged.

    Exits 3 if any is incomplete, 5 if a folder cannot be used.
    """
    from benchbed.store.inventory import inventory

    folder = Path(results)
    if not folder.is_dir() and (folder.exists() or results != "results"):
        what = "is a file" if folder.exists() else "does not exist"
        raise UnusableResults(f"{results} {what}; name the folder of all sweeps with --results")
    lines = inventory(folder)
    if not lines:
        click.echo(f"no sweeps under {results}; 'benchbed run SPEC' makes one")
        return
    for line in lines:
        click.echo(line.one_line())
    if any(line.problem for line in lines):
        raise Exit(int(ExitCode.UNUSABLE))
    if any(not line.complete for line in lines):
        raise Exit(int(ExitCode.INCOMPLETE))
