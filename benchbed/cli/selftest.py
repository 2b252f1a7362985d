"""``benchbed selftest``: how often the gate cries wolf, and how often it misses one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from benchbed.cli._print_table import print_table
from benchbed.errors import ExitCode

if TYPE_CHECKING:
    from benchbed.analysis.intervals import Interval
    from benchbed.gate.selftest import Selftest


@click.command()
@click.argument("spec", required=False)
@click.option("--runs", default=40, show_default=True, help="Trials without a change.")
@click.option("--fault-runs", default=20, show_default=True, help="Trials with each fault, too.")
@click.option("-j", "--jobs", default=1, show_default=True, help="Processes on this machine.")
@click.option("--alpha", default=0.01, show_default=True, help="Of the gate.")
@click.option("--first", default=0, show_default=True, help="Number of the first trial: its seeds.")
@click.option("--no-cpu", is_flag=True, help="Leave CPU times out: four times as fast.")
@click.option("--log", metavar="FILE", help="Keep finished trials in FILE and go on from there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def selftest(
    spec: str | None,
    runs: int,
    fault_runs: int,
    jobs: int,
    alpha: float,
    first: int,
    no_cpu: bool,
    log: str | None,
    as_json: bool,
) -> None:
    """Try the gate of 'benchbed check' on SPEC (or on a sweep of its own) with nothing changed.

    Each trial measures a baseline and a run on other seeds and checks one by the other: every
    failure is a false alarm. Then one cell gets a fault, which should be seen. Exits 1 if there are
    more false alarms than --alpha explains.
    """
    from benchbed.cli.run import set_threads
    from benchbed.sweep.executors import ONE_THREAD
    from benchbed.sweep.spec_file import read_spec

    set_threads(ONE_THREAD)
    from benchbed.gate.selftest import OWN
    from benchbed.gate.selftest import selftest as measure

    wanted = read_spec(spec or OWN)
    if no_cpu:
        wanted = wanted.model_copy(update={"timing": 0})
    with _Bar(runs) as bar:
        found = measure(
            wanted, runs=runs, fault_runs=fault_runs, jobs=jobs, alpha=alpha, first=first,
            log=Path(log) if log else None, progress=bar.update,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=1))
    else:
        _print(found)
    raise Exit(int(ExitCode.OK if found.sound() else ExitCode.REGRESSION))


class _Bar:
    """A progress bar if stderr is a terminal."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        quiet = not sys.stderr.isatty()
        self._progress = Progress(console=Console(stderr=True), disable=quiet, transient=True)
        self._task = self._progress.add_task("trials", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def update(self, done: int, _: int) -> None:
        self._progress.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _rows(found: Selftest) -> list[tuple[str, str, int, int, Interval]]:
    """Return (what, wanted, failed, of, share) of every kind of trial."""
    most = f"at most {found.most_false()} of {len(found.trials)}"
    rows = [("nothing changed", most, found.false, len(found.trials), found.false_alarms())]
    for fault, names in found.targets.items():
        caught, of, power = found.power(fault)
        rows.append((f"{fault} (in {len(names)} cells by turns)", "caught", caught, of, power))
    return rows


def _print(found: Selftest) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("trial", "should fail"):
        table.add_column(heading)
    for heading in ("failed", "share [95 %]"):
        table.add_column(heading, justify="right")
    for what, wanted, failed, of, share in _rows(found):
        ends = f"[{share.low:.3f}, {share.high:.3f}]"
        table.add_row(what, wanted, f"{failed} of {of}", f"{share.value:.3f} {ends}")
    print_table(table)
    for trial in found.trials:
        for cell, test, message in trial.false:
            click.echo(f"false alarm in trial {trial.number}: {cell}: {test}: {message}")
    undecided = sum(trial.undecided for trial in found.trials) / len(found.trials)
    click.echo(
        f"{found.cells} cells at alpha {found.alpha:g}; {undecided:.1f} findings a trial undecided"
    )


def _as_json(found: Selftest) -> dict[str, Any]:
    return {
        "cells": found.cells,
        "alpha": found.alpha,
        "most_false": found.most_false(),
        "trials": [
            {"what": what, "failed": failed, "of": of, "share": share._asdict()}
            for what, _, failed, of, share in _rows(found)
        ],
        "false_alarms": [list(part) for trial in found.trials for part in trial.false],
        "planted": found.targets,
    }
