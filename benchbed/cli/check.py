"""``benchbed check``: did a change break an estimator?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from benchbed.errors import BadArgument, UnusableResults

if TYPE_CHECKING:
    from benchbed.analysis.gate.report import Report

MOST_LINES = 20  # on the terminal, of what does not fail


@click.command()
@click.argument("results", required=False)
@click.option("--baseline", required=True, metavar="FILE", help="From 'benchbed baseline save'.")
@click.option(
    "--spec", metavar="SPEC",
    help="The sweep file: stands for RESULTS, and lets code of your own be measured again.",
)  # fmt: skip
@click.option(
    "--alpha", default=0.01, show_default=True,
    help="Chance that anything fails that is as it was (CPU time is not in it).",
)  # fmt: skip
@click.option("--variance-margin", default=1.10, show_default=True, help="Ratio let through.")
@click.option("--cpu-margin", default=1.5, show_default=True, help="Ratio let through.")
@click.option("--no-cpu", is_flag=True, help="Leave CPU times out.")
@click.option("--strict", is_flag=True, help="Exit 4 where draws did not decide.")
@click.option("--markdown", metavar="FILE", help="Append a report in Markdown to FILE.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML to FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    results: str | None,
    baseline: str,
    spec: str | None,
    alpha: float,
    variance_margin: float,
    cpu_margin: float,
    no_cpu: bool,
    strict: bool,
    markdown: str | None,
    junit: str | None,
    as_json: bool,
) -> None:
    """Hold the sweep in folder RESULTS (or results/NAME of --spec) against a baseline.

    Bias where none is promised, a change of bias elsewhere, variance, calls of J, CPU time. What
    looks worse is measured again on fresh seeds with 16 times the draws before it fails: exit 1.
    Exit 3 for missing, failed or non-finite cells. A report is also appended to
    $GITHUB_STEP_SUMMARY where that is set.
    """
    from benchbed.cli.run import set_threads
    from benchbed.sweep.executors import ONE_THREAD
    from benchbed.sweep.spec_file import read_spec

    named = read_spec(spec) if spec else None
    if results is None:
        if named is None:
            raise BadArgument(
                "check needs a sweep's folder or its file; write 'benchbed check results/NAME "
                "--baseline FILE' or 'benchbed check --spec SPEC --baseline FILE'"
            )
        results = f"results/{named.name}"
    set_threads(ONE_THREAD)
    from benchbed.gate import check_results
    from benchbed.report.gate import as_json as to_json
    from benchbed.report.gate import junit as to_junit
    from benchbed.report.gate import markdown as to_markdown

    report = check_results(
        Path(results), Path(baseline), spec=named, alpha=alpha, variance_margin=variance_margin,
        cpu_margin=cpu_margin, cpu=not no_cpu, strict=strict, progress=_say,
    )  # fmt: skip
    if as_json:
        click.echo(to_json(report))
    else:
        _print(report)
    for file in (markdown, os.environ.get("GITHUB_STEP_SUMMARY")):
        if file:
            _write(file, to_markdown(report), "a")
    if junit:
        _write(junit, to_junit(report), "w")
    raise Exit(int(report.exit_code))


def _say(name: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"measuring again: {name}", err=True)


def _print(report: Report) -> None:
    loud = [finding for finding in report.notable if finding.outcome in ("fail", "incomplete")]
    lines = report.lines()
    told, notes = lines[: len(report.notable)], lines[len(report.notable) :]
    for line in told[: len(loud) + MOST_LINES]:
        click.echo(line)
    left = len(told) - len(loud) - MOST_LINES
    if left > 0:
        click.echo(f"and {left} more that do not fail; --json shows them all")
    for line in notes:
        click.echo(line)


def _write(file: str, text: str, mode: str) -> None:
    try:
        with open(file, mode, encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise UnusableResults(f"{file} cannot be written ({error.strerror})") from None
