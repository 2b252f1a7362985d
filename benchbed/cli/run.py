"""``benchbed run``: measure what a spec asks for and is not there yet."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from benchbed.sweep.run import Outcome


MOST_SKIPPED = 20  # reasons said on the terminal


@click.command()
@click.argument("spec", type=click.Path(dir_okay=False))
@click.option("-j", "--jobs", default=1, show_default=True, help="Processes on this machine.")
@click.option("--results", default="results", show_default=True, help="Folder of all sweeps.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0),
    help="Added to every seed of SPEC: other draws, such as each night's own.",
)  # fmt: skip
@click.option(
    "--compile",
    is_flag=True,
    help="Compile the draws, as 'compile: true' in SPEC: pays from some 10^7 draws a cell.",
)
def run(spec: str, jobs: int, results: str, seed: int, compile: bool) -> None:
    """Measure what SPEC asks for and its results do not hold yet.

    Interrupted, the same command goes on where it stopped; -j does not change any number.
    """
    from benchbed.sweep.executors import ONE_THREAD
    from benchbed.sweep.spec_file import read_spec

    wanted = read_spec(spec)
    if seed:
        wanted = wanted.model_copy(update={"seeds": [seed + each for each in wanted.seeds]})
    if compile:
        wanted = wanted.model_copy(update={"compile": True})
    set_threads(ONE_THREAD)
    from benchbed.sweep.run import run_sweep  # torch comes in there, if anything is to do

    with Watch() as watch:
        outcome = run_sweep(wanted, results, jobs, watch.update)
    for done in outcome.bad:
        click.echo(f"{done.status}: {done.message}", err=True)
    click.echo(outcome.one_line())
    raise Exit(int(outcome.exit_code))


def set_threads(settings: dict[str, str]) -> None:
    """One thread a process: set before torch and numpy read it."""
    import os

    os.environ.update(settings)


class Watch:
    """Say what will not be run, then show a progress bar if stderr is a terminal."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._begun = False
        self._told: set[str] = set()

    def __enter__(self) -> Watch:
        return self

    def update(self, outcome: Outcome) -> None:
        """Take note of the state of the sweep; called first before anything runs."""
        if not self._begun:
            self._begun = True
            self._begin(outcome)
        for done in outcome.done[-1:]:
            if done.notice and done.notice not in self._told:
                self._told.add(done.notice)
                click.echo(f"benchbed: {done.notice}", err=True)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=outcome.kept + len(outcome.done))

    def _begin(self, outcome: Outcome) -> None:
        if outcome.notice:
            click.echo(f"benchbed: {outcome.notice}", err=True)
        for line in outcome.skipped[:MOST_SKIPPED]:
            click.echo(f"skipped: {line}", err=True)
        more = len(outcome.skipped) - MOST_SKIPPED
        if more > 0:
            click.echo(f"skipped: {more} more that cannot work; the report lists them", err=True)
        for line in outcome.damaged:
            click.echo(f"measured again: {line.partition(';')[0]}", err=True)
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("cells", total=outcome.cells)
        self._bar.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
