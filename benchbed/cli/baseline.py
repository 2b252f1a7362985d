"""``benchbed baseline``: what later runs are held against."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.group()
def baseline() -> None:
    """Keep what a sweep measured for 'benchbed check'."""


@baseline.command()
@click.argument("results")
@click.option(
    "--to", "file", metavar="FILE",
    help="Text file, a line a cell, to be committed.  [default: results/baseline/SWEEP.jsonl]",
)  # fmt: skip
def save(results: str, file: str | None) -> None:
    """Write the sweep in folder RESULTS down in a small text file.

    Every cell must be there, sound and finite. The file is the same for the same results.
    """
    from benchbed.gate.save import save_baseline

    path = Path(file) if file else Path(results).parent / "baseline" / f"{Path(results).name}.jsonl"
    held = save_baseline(Path(results), path)
    click.echo(f"{path}: {len(held.cells)} cells of {held.sweep}")
