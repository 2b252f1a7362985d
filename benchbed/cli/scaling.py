"""``benchbed scaling``: what exact gradients cost as problems grow, and what estimates do."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from benchbed.errors import BadArgument, UnusableResults

if TYPE_CHECKING:
    from benchbed.measurement.growth import Timing
    from benchbed.report.figures.sheet import Sheet

T = TypeVar("T")
DRAWS, PROCESSES = "draws", "processes"
ALONG = ("dimensions", "categories", "samples", "items", DRAWS, PROCESSES)


@click.command()
@click.option("--estimates", is_flag=True, help="Time sampled estimates instead: see below.")
@click.option(
    "--along",
    type=click.Choice(ALONG),
    multiple=True,
    help="With --estimates: only as this grows; may be given again. All of them without it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; of estimates, the laws.")
@click.option("--reports", default="reports", show_default=True, help="Folder of all reports.")
def scaling(estimates: bool, along: tuple[str, ...], as_json: bool, reports: str) -> None:
    """Time direct marginalization, dynamic programming and sampling at growing sizes.

    Two to three minutes; prints the timings and writes the figure to REPORTS/scaling.

    With --estimates: what ONE estimate costs as dimensions, categories, samples, items or draws
    grow, each with the law fitted to it, and what a second process saves. Some five minutes on a
    machine that has nothing else to do; figures go to REPORTS/growth.
    """
    if along and not estimates:
        raise BadArgument(f"--along {along[0]} is for estimates; write --estimates beside it")
    if estimates:
        _estimates(along or ALONG, as_json, Path(reports) / "growth")
    else:
        _exact(as_json, Path(reports) / "scaling")


def _exact(as_json: bool, folder: Path) -> None:
    import pandas as pd

    from benchbed.measurement.scaling import LADDERS
    from benchbed.measurement.scaling import scaling as timings
    from benchbed.report.figures.scaling import sheet

    _make(folder)
    total = sum(len(ladder.sampled) for ladder in LADDERS)
    points = [asdict(p) for p in _watched(timings(), total, lambda p: (p.problem, p.size))]
    frame = pd.DataFrame(points)
    if as_json:
        click.echo(json.dumps(points, indent=1))
    else:
        ordered = frame.assign(place=frame.groupby("problem", sort=False).ngroup())
        wide = ordered.pivot(index=["place", "problem", "size"], columns="way", values="seconds")
        wide = wide.sort_index().droplevel("place")[list(dict.fromkeys(frame["way"]))]
        click.echo(wide.to_string(float_format=lambda x: f"{x:.2e}", na_rep="-"))
    _write(folder, [sheet(frame)])
    if not as_json:
        click.echo(f"CPU seconds of one gradient; figure: {folder / 'scaling.png'}")


def _estimates(along: Iterable[str], as_json: bool, folder: Path) -> None:
    import pandas as pd

    from benchbed.analysis.growth import laws
    from benchbed.cli._growth_tables import efficiencies, print_laws, print_processes
    from benchbed.cli._processes import by_processes
    from benchbed.measurement.growth import LADDERS, MEASURED, growth
    from benchbed.measurement.growth_in_draws import DrawsLadder, growth_in_draws
    from benchbed.report.figures.growth import sheets

    _make(folder)
    wanted = set(along)
    found: list[Timing] = []
    if DRAWS in wanted:  # first, while nothing has been held in memory
        ladder = DrawsLadder()
        timings = growth_in_draws(ladder)
        found += _watched(timings, len(ladder.estimators), lambda t: t.estimator, DRAWS)
    ladders = [ladder for ladder in LADDERS if ladder.along in wanted]
    lines = sum(len(ladder.estimators) for ladder in ladders)
    found += _watched(growth(ladders), lines, lambda t: (t.problem, t.estimator, t.along), "sizes")
    runs = list(_watched(by_processes(), 6, lambda r: r, PROCESSES)) if PROCESSES in wanted else []
    frame = laws(pd.DataFrame([asdict(t) for t in found])) if found else pd.DataFrame()
    if as_json:
        said: dict[str, Any] = {"laws": [_without_nan(row) for row in frame.to_dict("records")]}
        said[PROCESSES] = {"runs": [asdict(r) for r in runs], "efficiency": efficiencies(runs)}
        click.echo(json.dumps(said, indent=1))
    else:
        print_laws(frame)
        print_processes(runs)
    if found:
        chosen = [each for each in along if each not in (DRAWS, PROCESSES)]
        part = "" if set(ALONG) <= wanted else "".join(f"-{each}" for each in chosen)
        made = sheets(frame, MEASURED, f"growth{part}")
        _write(folder, made)
        if not as_json:
            names = ", ".join(str(folder / f"{sheet.name}.png") for sheet in made)
            click.echo(f"figures: {names}")


def _watched(work: Iterable[T], total: int, step: Any, description: str = "timing") -> Iterator[T]:
    """Yield what ``work`` yields under a progress bar of its distinct steps, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    quiet = not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task(description, total=total)
        seen = set()
        for item in work:
            yield item
            seen.add(step(item))
            progress.update(task, completed=len(seen))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableResults(
            f"{folder} cannot be made ({error.strerror}); name another folder with --reports"
        ) from None


def _write(folder: Path, made: Iterable[Sheet]) -> None:
    from benchbed.store.folder import write

    try:
        for sheet in made:
            for name, content in sheet.files().items():
                write(folder / name, content)
    except OSError as error:
        raise UnusableResults(
            f"{folder} cannot be written ({error.strerror}); name another folder with --reports"
        ) from None


def _without_nan(row: dict[Any, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON has not, by null."""
    return {
        str(key): None if isinstance(value, float) and math.isnan(value) else value
        for key, value in row.items()
    }
