"""``benchbed table``: a sweep's numbers with their intervals, as CSV, Markdown or JSON."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from benchbed.errors import ExitCode


@click.command()
@click.argument("results")
@click.option(
    "--format", "style", type=click.Choice(["csv", "md", "github"]), default="md",
    show_default=True,
    help="csv has every column; md the main ones, rounded to their intervals; github is JSON for "
    "github-action-benchmark, tool customSmallerIsBetter.",
)  # fmt: skip
def table(results: str, style: str) -> None:
    """Print the numbers of the sweep in folder RESULTS (such as results/quick).

    Exits 3 if a cell is missing, failed or not finite.
    """
    from benchbed.analysis.sheet import markdown, read_table

    frame, missing = read_table(results)
    if style == "github":
        from benchbed.report.github_benchmark import to_github_benchmark

        text = to_github_benchmark(frame)
    else:
        text = frame.to_csv(index=False) if style == "csv" else markdown(frame)
    click.echo(text, nl=False)
    bad = int((frame["status"] != "ok").sum())
    if missing or bad:
        click.echo(
            f"{results}: {missing} cells missing or damaged, {bad} rows failed or not finite; "
            "'benchbed run SPEC' measures them again",
            err=True,
        )
        raise Exit(int(ExitCode.INCOMPLETE))
