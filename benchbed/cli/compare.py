"""``benchbed compare``: is it better than the baselines, where, and at what cost?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from benchbed.cli._compare_arguments import entry_of, read_settings, split_outside
from benchbed.errors import BadArgument, ExitCode


@click.command()
@click.argument("candidate")
@click.option(
    "--baseline", "-b", "baselines", multiple=True, required=True, metavar="A,B,...",
    help="Estimators to hold it against, each name or name(setting=value); may be given again.",
)  # fmt: skip
@click.option(
    "--experiment", "-e", metavar="SPEC", type=click.Path(dir_okay=False),
    help="Sweep file with the objectives, draws and seeds; its estimators are not used. "
    "Left out, a panel of bits, categories, normals and digits.",
)  # fmt: skip
@click.option(
    "--as", "kind", type=click.Choice(["sampler", "surrogate"]),
    help="What CANDIDATE is, if it was not written for benchbed.",
)  # fmt: skip
@click.option(
    "--set", "-s", "settings", multiple=True, metavar="KEY=VALUE",
    help="A setting of CANDIDATE; may be given again.",
)  # fmt: skip
@click.option("--samples", type=click.IntRange(1), help="Of all that take samples.")
@click.option("--draws", type=click.IntRange(4), help="Estimates for each cell and seed.")
@click.option("--seeds", type=click.IntRange(1), help="How many; each tunes anew what is tuned.")
@click.option("-j", "--jobs", default=1, show_default=True, help="Processes on this machine.")
@click.option("--results", default="results", show_default=True, help="Folder of all sweeps.")
@click.option("--reports", default="reports", show_default=True, help="Folder of all reports.")
@click.option("--json", "json_only", is_flag=True, help="Print JSON.")
def compare(
    candidate: str,
    baselines: tuple[str, ...],
    experiment: str | None,
    kind: str | None,
    settings: tuple[str, ...],
    samples: int | None,
    draws: int | None,
    seeds: int | None,
    jobs: int,
    results: str,
    reports: str,
    json_only: bool,
) -> None:
    """Hold the estimator CANDIDATE against baselines on the same noise.

    CANDIDATE is a name, module:name or path/to/file.py:name. Variance, MSE, variance times work and
    CPU time come as ratios whose intervals hold all together; a page with figures is written.
    Interrupted, the same command goes on where it stopped. Exits 0 whoever wins, 3 if a cell failed
    or is not finite.
    """
    entry = _candidate(candidate, kind, settings)
    samples = _samples(entry, samples)
    rivals = [entry_of(text) for given in baselines for text in split_outside(given)]
    if not rivals:
        raise BadArgument("--baseline names no estimator; write for instance leave_one_out,disarm")
    from benchbed.cli.run import set_threads
    from benchbed.sweep.executors import ONE_THREAD

    set_threads(ONE_THREAD)
    from benchbed.sweep.comparison import plan

    wanted = plan(entry, rivals, experiment, samples=samples, draws=draws, seeds=seeds)
    _measure_and_say(wanted, jobs, results, Path(reports), json_only)


def _measure_and_say(wanted: Any, jobs: int, results: str, reports: Path, json_only: bool) -> None:
    from benchbed.analysis.comparison.comparison import compare_records
    from benchbed.analysis.comparison.words import conclusion, shortened
    from benchbed.cli._compare_tables import as_json, print_comparison
    from benchbed.cli.run import Watch
    from benchbed.report.comparison import Page, write_page
    from benchbed.store import Results
    from benchbed.sweep.counted_calls import with_counts
    from benchbed.sweep.run import run_sweep

    for line in wanted.notices:
        click.echo(line, err=True)
    with Watch() as watch:
        outcome = run_sweep(wanted.spec, results, jobs, watch.update)
    for done in outcome.bad:
        click.echo(f"{done.status}: {done.message}", err=True)
    click.echo(outcome.one_line(), err=True)
    if outcome.interrupted:
        raise Exit(int(ExitCode.INTERRUPTED))
    store = Results(outcome.path)
    stored, damaged = store.read(store.sweep()["cells"])
    records, counted = with_counts(stored.values())
    notices = [*wanted.notices, *outcome.skipped, *damaged, *counted]
    for line in counted:
        click.echo(line, err=True)
    found = compare_records(records, wanted.candidate)
    said = conclusion(found)
    page = write_page(Page(found, records, said, notices, wanted.spec.model_dump(), store), reports)
    if json_only:
        more = {"conclusion": said, "notices": notices, "page": str(page)}
        click.echo(json.dumps(as_json(found, more), indent=1, allow_nan=False))
    else:
        name = shortened([found.candidate, *found.baselines])[found.candidate]
        print_comparison(found, name)
        for line in said:
            click.echo(line)
        click.echo(f"page: {page}")
    raise Exit(int(outcome.exit_code))


def _candidate(text: str, kind: str | None, settings: tuple[str, ...]) -> dict[str, Any]:
    entry = entry_of(text) | read_settings(settings, "--set takes KEY=VALUE")
    return entry | ({"as": kind} if kind else {})


def _samples(entry: dict[str, Any], given: int | None) -> int | None:
    """Take samples out of the candidate's settings: they are those of the whole comparison."""
    own = entry.pop("samples", None)
    if own is None:
        return given
    if not isinstance(own, int) or isinstance(own, bool) or own < 1:
        raise BadArgument(f"samples is a whole number >= 1, got {own}; such as --samples 4")
    if given not in (None, own):
        raise BadArgument(
            f"samples={own} of {entry['name']} and --samples {given} do not go together; "
            "write --samples alone, such as --samples 4"
        )
    return own
