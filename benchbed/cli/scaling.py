"""``benchbed scaling``: what exact gradients cost as problems grow, next to sampling."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from benchbed.errors import UnusableResults


@click.command()
@click.option("--reports", default="reports", show_default=True, help="Folder of all reports.")
def scaling(reports: str) -> None:
    """Time direct marginalization, dynamic programming and sampling at growing sizes.

    Two to three minutes; prints the timings and writes the figure to REPORTS/scaling.
    """
    import pandas as pd
    from rich.console import Console
    from rich.progress import Progress

    from benchbed.measurement.scaling import LADDERS
    from benchbed.measurement.scaling import scaling as timings
    from benchbed.report.figures.scaling import sheet
    from benchbed.store.folder import write

    folder = Path(reports) / "scaling"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableResults(
            f"{folder} cannot be made ({error.strerror}); name another folder with --reports"
        ) from None
    points = []
    quiet = not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("timing", total=sum(len(ladder.sampled) for ladder in LADDERS))
        seen = set()
        for point in timings():
            points.append(asdict(point))
            seen.add((point.problem, point.size))
            progress.update(task, completed=len(seen))
    frame = pd.DataFrame(points)
    ordered = frame.assign(place=frame.groupby("problem", sort=False).ngroup())
    wide = ordered.pivot(index=["place", "problem", "size"], columns="way", values="seconds")
    wide = wide.sort_index().droplevel("place")[list(dict.fromkeys(frame["way"]))]
    click.echo(wide.to_string(float_format=lambda x: f"{x:.2e}", na_rep="-"))
    try:
        for name, content in sheet(frame).files().items():
            write(folder / name, content)
    except OSError as error:
        raise UnusableResults(
            f"{folder} cannot be written ({error.strerror}); name another folder with --reports"
        ) from None
    click.echo(f"CPU seconds of one gradient; figure: {folder / 'scaling.png'}")
