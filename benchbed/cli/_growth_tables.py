"""The tables of ``benchbed scaling --estimates``: laws of growth, one sweep by processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.table import Table

from benchbed.cli._print_table import print_table
from benchbed.report.numbers import share, with_interval

if TYPE_CHECKING:
    import pandas as pd

    from benchbed.cli._processes import Run


def print_laws(frame: pd.DataFrame) -> None:
    """Print a row for each law: what grows, the slope, the first and the last time on it."""
    if frame.empty:
        return
    from benchbed.analysis.growth import DRAWS, LINE

    powers = _table("along", "problem", "estimator", "way", "slope", "sizes", "ns", "off the line")
    straight = _table("problem", "estimator", "a, ms a cell", "b, ns a draw", "draws", "off", "MiB")
    for key, line in frame.groupby(LINE, sort=False):
        along, problem, estimator, way = map(str, key)
        fitted = line[line["law"].notna()]
        kept = fitted if len(fitted) else line
        first, last = kept.iloc[0], kept.iloc[-1]
        ends = f"{first['size']:,} to {last['size']:,}"
        off = share(float(last["off"]))
        if along == DRAWS:
            memory = f"{first['peak']:,.0f} to {last['peak']:,.0f}"
            numbers = (_joined(last, "fixed", 1e3), _joined(last, "each", 1e9))
            straight.add_row(problem, estimator, *numbers, ends, off, memory)
        else:
            times = f"{1e9 * first['seconds']:,.0f} to {1e9 * last['seconds']:,.0f}"
            slope = _joined(last, "slope", 1.0)
            powers.add_row(along, problem, estimator, way, slope, ends, times, off)
    for table, caption in (
        (powers, "CPU seconds of one estimate = constant x size^slope"),
        (straight, "CPU seconds of a cell = a + b x draws"),
    ):
        if table.row_count:
            _print(table, f"{caption}; one thread, 95 % intervals")


def print_processes(runs: Sequence[Run]) -> None:
    """Print a row for each run, and what the processes saved."""
    if not runs:
        return
    table = _table("processes", "cells", "wall s", "drawing, CPU s", "waiting s")
    for run in runs:
        numbers = (run.wall, run.drawing, run.waiting)
        table.add_row(str(run.processes), str(run.cells), *(f"{x:.1f}" for x in numbers))
    _print(table, "The same sweep in fresh processes; waiting: other work was on the processors")
    for processes, found in efficiencies(runs).items():
        value = " ".join(with_interval(*(math.nan if x is None else x for x in found)))
        click.echo(f"efficiency of {processes} processes: {value}, 1 is the best")


def efficiencies(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """Return efficiency, low and high by number of processes; null where there is no interval."""
    from benchbed.cli._processes import efficiency

    several = sorted({run.processes for run in runs} - {1})
    return {
        str(count): [None if math.isnan(x) else x for x in efficiency(runs, count)]
        for count in several
    }


def _joined(row: Any, name: str, factor: float) -> str:
    if math.isnan(row[name]):
        return "-"
    return " ".join(with_interval(*(factor * row[f"{name}{end}"] for end in ("", "_low", "_high"))))


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _print(table: Table, caption: str) -> None:
    print_table(table)
    click.echo(f"{caption}\n")
