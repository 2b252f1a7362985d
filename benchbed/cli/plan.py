"""``benchbed plan``: what a sweep would cost and could see, before anything is spent."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from benchbed.analysis.advice import rounded_up
from benchbed.cli._print_table import print_table
from benchbed.cli.run import set_threads
from benchbed.errors import ExitCode

if TYPE_CHECKING:
    from benchbed.sweep.plan import Group, Plan

MOST_SKIPPED = 20  # reasons said on the terminal
SHRINK = 0.05  # as analysis.verdict, which would load what is slow to load


@click.command()
@click.argument("spec", type=click.Path(dir_okay=False))
@click.option("-j", "--jobs", default=1, show_default=True, help="Processes the sweep would have.")
@click.option("--results", default="results", show_default=True, help="Folder of all sweeps.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(spec: str, jobs: int, results: str, as_json: bool) -> None:
    """Say what SPEC would take and what it could see; measure nothing of it.

    A pilot of some thousand draws of each estimator on each objective foretells minutes (within a
    factor of two), disk, the smallest bias and the smallest growth of variance that the finished
    sweep would see, and how many draws would show a gradient 5 % too short. Exits 3 if a pilot
    fails.
    """
    from benchbed.sweep.executors import ONE_THREAD
    from benchbed.sweep.spec_file import read_spec

    wanted = read_spec(spec)
    set_threads(ONE_THREAD)
    from benchbed.sweep.plan import plan_sweep

    with _Bar() as bar:
        found = plan_sweep(wanted, results, jobs, bar.update)
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=1))
    else:
        for line in found.skipped[:MOST_SKIPPED]:
            click.echo(f"skipped: {line}", err=True)
        _print(found)
        for line in _sentences(found):
            click.echo(line)
    if any(group.failed for group in found.groups):
        raise Exit(int(ExitCode.INCOMPLETE))


def _print(found: Plan) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("objective", "estimator"):
        table.add_column(heading)
    numbers = ("samples", "cells", "there", "time", "disk", "sees a shrink of", "draws for 5 %")
    for heading in (*numbers, "sees variance x"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for group in found.groups:
        table.add_row(
            group.objective, group.estimator, str(group.samples), str(group.cells),
            str(group.measured), _duration(group.seconds), _size(group.bytes),
            _percent(group.visible), _draws(group), _times(group.ratio),
            "FAILS" if group.failed else group.note,
        )  # fmt: skip
    print_table(table)


def _sentences(found: Plan) -> list[str]:
    """Return the totals."""
    left = found.cells - found.measured
    seen = sum(group.visible <= SHRINK for group in found.groups)
    more = [group.needed for group in found.groups if 0 < group.needed < math.inf]
    processes = f"{found.jobs} process" + ("es" if found.jobs > 1 else "")
    lines = [
        f"{found.path}: {found.cells} cells, {found.measured} measured already"
        + (f"; nothing of it was measured now ({found.spent:.0f} s of pilots)" if left else "")
    ]
    if left:
        lines.append(
            f"The other {left} would take about {_duration(found.seconds)} on {processes} "
            f"[{_duration(found.seconds / 2)}, {_duration(2 * found.seconds)}] "
            f"and {_size(found.bytes)} of disk."
        )
    lines.append(
        f"A gradient {100 * SHRINK:g} % too short would show in {seen} of {len(found.groups)} rows"
        + (
            f"; about {rounded_up(max(more)):,} draws (within 1.7 times) would show it in all "
            "that have a gradient."
            if more
            else "."
        )
    )
    lines.append(
        "What is seen is what the finished sweep's table would say (level 0.001, power 0.99), "
        "within 30 %; variance x: growth that 'benchbed check' sees with power 0.9."
    )
    failed = [group for group in found.groups if group.failed]
    lines += [f"{group.estimator} on {group.objective}: {group.note}" for group in failed]
    if failed:
        lines.append(f"{len(failed)} rows gave no numbers; they would fail in the sweep, too.")
    if found.notice:
        lines.append(f"{found.notice}.")
    return lines


def _as_json(found: Plan) -> dict[str, Any]:
    from dataclasses import asdict

    rows = [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(group).items()
        }
        for group in found.groups
    ]
    return {
        "path": str(found.path),
        "jobs": found.jobs,
        "cells": found.cells,
        "measured": found.measured,
        "seconds": found.seconds,
        "bytes": found.bytes,
        "seconds_planning": found.spent,
        "notice": found.notice,
        "skipped": list(found.skipped),
        "rows": rows,
    }


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    if seconds == 0:
        return "-"
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.2g} min" if minutes < 90 else f"{minutes / 60:.2g} h"


def _size(count: int) -> str:
    if count == 0:
        return "-"
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "-"
    return "< 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %"


def _draws(group: Group) -> str:
    if not math.isfinite(group.needed):
        return "-"
    return "enough" if group.needed == 0 else f"{rounded_up(group.needed):,}"


def _times(ratio: float) -> str:
    return f"{ratio:.3g}" if math.isfinite(ratio) else "-"


class _Bar:
    """A progress bar if stderr is a terminal."""

    def __enter__(self) -> _Bar:
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("pilots", total=None)
            self._bar.start()
        return self

    def update(self, done: int, total: int) -> None:
        """Take note of a pilot that ended."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
