"""``benchbed verify estimator``: its contract, then its bias against exact gradients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from benchbed.cli._key_values import read_key_values
from benchbed.cli._print_table import print_table
from benchbed.cli.context import Context
from benchbed.cli.run import set_threads

if TYPE_CHECKING:
    from benchbed.verification.check import Check
    from benchbed.verification.estimator.report import EstimatorReport


@click.command("estimator")
@click.argument("name")
@click.option(
    "--objective",
    "-o",
    "objectives",
    multiple=True,
    metavar="NAME|FILE:NAME",
    help="Look at this objective in place of the standard panel; may be given again.",
)
@click.option(
    "--latents",
    multiple=True,
    metavar="KIND",
    help="Only the panel's objectives on this kind, such as bernoulli; may be given again.",
)
@click.option(
    "--as",
    "adapter",
    type=click.Choice(["sampler", "surrogate"]),
    help="Code that knows nothing of benchbed: f(logits) -> z, or f(logits, cost) -> loss.",
)
@click.option(
    "--set",
    "-s",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Such as temperature=0.5; may be given again. A list of temperatures is walked.",
)
@click.option("--samples", type=int, help="z in one estimate; its default, and twice that, if not.")
@click.option(
    "--draws",
    type=int,
    default=32_768,
    show_default=True,
    help="Of each cell at first; those that need more get up to 64 times as many.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@click.option("--biased", is_flag=True, help="Its bias is meant: report it, and exit 0.")
@click.option("--strict", is_flag=True, help="Exit 4 where anything is undecided or insensitive.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def estimator(
    name: str,
    objectives: tuple[str, ...],
    latents: tuple[str, ...],
    adapter: str | None,
    settings: tuple[str, ...],
    samples: int | None,
    draws: int,
    seed: int,
    biased: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Hold the estimator NAME (or module:name, or path/to/file.py:name) against its promises.

    Its contract first, then its bias on objectives whose gradient is exact. A setting called
    temperature or tau is walked over 0.1, 0.5 and 1.0. Exits 1 if a promise is broken, or if an
    estimator that makes none is biased (--biased says that it is meant to be).
    """
    from benchbed.sweep.executors import ONE_THREAD

    given = read_key_values(settings, "temperature=0.5")
    if adapter:
        given["as"] = adapter
    set_threads(ONE_THREAD)
    from benchbed.verification.estimator.report import as_data
    from benchbed.verification.estimator.verify import verify_estimator

    with _bar() as watch:
        report = verify_estimator(
            name, given, samples=samples, objectives=objectives, latents=latents, draws=draws,
            seed=seed, biased=biased, watch=watch,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(as_data(report, strict=strict), indent=1))
    else:
        _print(report)
    raise Exit(int(report.exit_code(strict=strict)))


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Give what shows a progress bar, if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    quiet = not sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(console=console, disable=quiet, transient=True) as progress:
        task = progress.add_task("cells")

        def watch(done: int, total: int) -> None:
            said = "confirming" if done == total else "cells"
            progress.update(task, completed=done, total=total, description=said)

        yield watch


def _print(report: EstimatorReport) -> None:
    if report.checks:
        _print_checks(report.checks)
        click.echo()
    if report.findings:
        _print_findings(report)
        click.echo()
    for check in report.broken:
        click.echo(f"{check.name}: {check.advice}")
    for note in report.notes:
        click.echo(f"note: {note}")
    for lost in report.lost:
        click.echo(f"{lost.outcome}: {lost.cell.place.label}: {lost.message}")
    click.echo(report.conclusion())


def _print_checks(checks: tuple[Check, ...]) -> None:
    table = _table("check", "against")
    for heading in ("difference", "bound"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for check in checks:
        numbers = (f"{check.error:.2g}", f"{check.bound:.2g}")
        table.add_row(check.name, check.against, *numbers, "pass" if check.passed else "FAIL")
    print_table(table)


def _print_findings(report: EstimatorReport) -> None:
    from benchbed.verification.estimator.report import (
        bias_in_words,
        interval_in_words,
        seen_in_words,
    )

    several = len({found.cell.target for found in report.findings}) > 1
    table = _table("objective", "setting", *(["against"] if several else []), "verdict")
    for heading in ("bias [95 %]", "would show", "furthest off", "variance [95 %]", "draws"):
        left = heading == "furthest off"
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for found in report.findings:
        cell = found.cell
        place = f"{found.coordinate} {interval_in_words(found.off)}".strip()
        table.add_row(
            cell.place.label,
            cell.variant.label or "-",
            *([cell.target] if several else []),
            found.outcome.upper() if found.wrong else found.outcome,
            bias_in_words(found),
            seen_in_words(found),
            place if found.outcome == "biased" else "",
            interval_in_words(found.variance),
            f"{found.draws:,}" if found.draws else "",
        )
    print_table(table)


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading)
    return table


estimator.context_class = Context
