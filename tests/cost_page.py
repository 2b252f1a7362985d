"""The tables of reports/cost.md and results/proof/growth.md, made of what was measured."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from cell_costs import JOBS, CellCost, JobCost

from benchbed.analysis.growth import DRAWS, LINE
from benchbed.analysis.intervals import Interval
from benchbed.catalogue import build_estimator, build_objective
from benchbed.cli._processes import Run, by_processes, efficiency
from benchbed.measurement.cell import chunk_draws
from benchbed.measurement.growth import DRAWN, MEASURED
from benchbed.measurement.timing import BLOCK_SECONDS
from benchbed.report.numbers import number, share, with_interval
from benchbed.sweep.spec import Spec

MAKE = ".venv/bin/python -m pytest tests/test_growth.py -m prove"
# Sweeps to reckon with: cells, draws, alternations of the timing pass, job, estimator.
SWEEPS = (
    (200, 65_536, 3, "20 bits", "leave_one_out"),
    (2_000, 10**6, 0, "8 variables of 10 categories", "leave_one_out"),
    (100_000, 10**6, 0, "8 variables of 10 categories", "leave_one_out"),
    (2_000, 10**6, 0, "16 digits of 8 bits, 1,176 weights", "leave_one_out"),
)
QUIET = 0.05  # the share of its time that a process may wait
TINY = """\
name: processes
objectives: [{name: quadratic, dimensions: 20}]
estimators: [score_function]
draws: 128
timing: 0
"""
CORES = (1, 2, 32, 1000)
BANDWIDTH = 1e12  # bytes a second, of an imagined GPU


def fill(text: str, parts: dict[str, list[str]]) -> str:
    """Put each part between its two marker lines, ``<!-- name -->`` and ``<!-- /name -->``."""
    for name, lines in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        body = "\n".join(lines) + "\n"
        text, count = re.subn(
            pattern, lambda m, body=body: m[1] + body + m[2], text, flags=re.DOTALL
        )
        assert count == 1, f"the page has {count} places for {name}"
    return text


def stamp(surroundings: dict[str, Any]) -> list[str]:
    """Return when, of which commit and on what machine."""
    dirty = " and uncommitted changes" if surroundings["dirty"] else ""
    return [
        f"{datetime.date.today().isoformat()}, commit {str(surroundings['commit'])[:12]}{dirty}, "
        f"{surroundings['processor']}, {surroundings['cores']} cores, torch "
        f"{surroundings['packages']['torch']}, one thread a process, float32. Made by `{MAKE}`."
    ]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def slopes(frame: pd.DataFrame, ways: Sequence[str] = (MEASURED,)) -> list[str]:
    """Return the slopes, a row a line."""
    rows = []
    for key, line in frame.groupby(LINE, sort=False):
        along, problem, estimator, way = map(str, key)
        if along == DRAWS or way not in ways:
            continue
        fitted = line[line["law"].notna()]
        if fitted.empty:
            rows.append([along, problem, estimator, way, "-", "-", "-", "-", "-"])
            continue
        first, last = fitted.iloc[0], fitted.iloc[-1]
        calls = last["evaluations"] / first["evaluations"]
        rows.append(
            [
                along, problem, estimator, way, interval(last, "slope"),
                f"{first['size']:,} to {last['size']:,}", nanoseconds(first["seconds"]),
                nanoseconds(last["seconds"]), share(last["off"]) if calls == 1 or along == "samples"
                else f"{share(last['off'])}; J {calls:,.3g} times as often",
            ]
        )  # fmt: skip
    headings = ["along", "problem", "estimator", "what", "slope [95 %]", "sizes", "ns, first"]
    return table([*headings, "ns, last", "off the line"], rows)


def slopes_by_estimator(frame: pd.DataFrame) -> list[str]:
    """Return the slopes of what is drawn and measured, an estimator a row, a ladder a column."""
    kept = frame[(frame["along"] != DRAWS) & (frame["way"] == MEASURED)]
    heads, cells = [], {}
    for key, ladder in kept.groupby(LINE[:2], sort=False):
        along, problem = map(str, key)
        fitted = ladder[ladder["fitted"]]["size"]
        heads.append(f"{along}: {problem}, {fitted.min():,} to {fitted.max():,}")
        for name, line in ladder.groupby("estimator", sort=False):
            row = line.iloc[-1]
            told = "-" if math.isnan(row["slope"]) else interval(row, "slope")
            cells[heads[-1], str(name)] = told
    names = dict.fromkeys(name for _, name in cells)
    rows = [[name, *(cells.get((head, name), "") for head in heads)] for name in names]
    return table(["estimator", *heads], rows)


def in_draws(frame: pd.DataFrame) -> list[str]:
    """Return a + b draws of whole cells, and the memory they held."""
    rows = []
    for _, line in frame[frame["along"] == DRAWS].groupby("estimator", sort=False):
        row = line.iloc[-1]
        held = [f"{peak:,.0f}" for peak in line["peak"].iloc[[0, len(line) // 2, -1]]]
        rows.append(
            [
                str(row["estimator"]), interval(row, "fixed", 1e3), interval(row, "each", 1e9),
                share(row["off"]), " / ".join(held),
            ]
        )  # fmt: skip
    sizes = frame[frame["along"] == DRAWS]["size"].unique()
    ends = " / ".join(
        f"{float(n):.0e}".replace("e+0", "e") for n in sizes[[0, len(sizes) // 2, -1]]
    )
    return table(
        ["estimator", "a, ms a cell", "b, ns a draw", "worst distance from the line",
         f"peak MiB after {ends} draws"], rows
    )  # fmt: skip


def each_draw(jobs: Sequence[JobCost]) -> list[str]:
    """Return seconds a cell and seconds a draw of every job, an estimator a row."""
    cells = {
        (job.job, cost.estimator): " + ".join(
            seconds(x) for x in (cost.fixed, cost.each) if not math.isnan(x)
        )
        for job in jobs
        for cost in job.estimators
    }
    names = dict.fromkeys(name for _, name in cells)
    rows = [[name, *(cells.get((job.job, name), "") for job in jobs)] for name in names]
    return table(["estimator", *(job.job for job in jobs)], rows)


def room(jobs: Sequence[JobCost]) -> list[str]:
    """Return memory and disk."""
    rows = [
        [job.job, f"{job.estimators[0].coordinates:,}", f"{job.at_start:,.0f}",
         f"{job.peak:,.0f}", f"{job.disk:,.0f}", f"{job.disk * 1e5 * 1024 / 1e9:.3g}"]
        for job in jobs
    ]  # fmt: skip
    headings = ["problem", "coordinates", "MiB with torch loaded", "peak MiB"]
    return table([*headings, "KiB on disk a cell", "GB for 100,000 cells"], rows)


def pullback(frame: pd.DataFrame) -> list[str]:
    """Return what a network's Jacobian and the moments of its weights add to drawing."""
    items = frame[frame["along"] == "items"]
    rows = []
    for name, line in items.groupby("estimator", sort=False):
        wide = line.pivot(index="size", columns="way", values="seconds")
        tables = line.groupby("size")["tabulated"].last()
        for size, row in wide.iterrows():
            aside = 1 - row[DRAWN] / row[MEASURED]
            rows.append(
                [str(name), f"{size}", "from tables" if tables[size] else "evaluated",
                 nanoseconds(row[DRAWN]), nanoseconds(row[MEASURED]), f"{100 * aside:.0f} %"]
            )  # fmt: skip
    headings = ["estimator", "images", "J", "ns, drawn", "ns, drawn and measured"]
    return table([*headings, "Jacobian and moments"], rows)


def processes(runs: Sequence[Run]) -> list[str]:
    """Return every run of the same sweep, and the efficiency."""
    rows = [
        [f"-j {run.processes}", f"{run.cells}", f"{run.wall:.1f}",
         f"{run.drawing:.1f}", f"{run.waiting:.1f}"]
        for run in sorted(runs, key=lambda run: run.processes)
    ]  # fmt: skip
    headings = ["run", "cells", "wall, s", "drawing, CPU s", "waiting, s"]
    found = efficiency(runs, 2)
    return [
        *table(headings, rows),
        "",
        f"Efficiency of 2 processes, wall(-j 1) / (2 wall(-j 2)): {said(found)}.",
        *busy(runs),
    ]


def busy(runs: Sequence[Run]) -> list[str]:
    """Return a warning where other work was on the processors."""
    most = max(run.waiting / (run.processes * run.wall) for run in runs)
    if most < QUIET:
        return []
    return [
        f"The processors had other work: a run waited for up to {100 * most:.0f} % of its time. "
        "Take the efficiency, and all that is reckoned with it below, as the least to expect."
    ]


def cell_seconds(cost: CellCost, draws: int, timing: int) -> float:
    """Return the seconds of one cell."""
    return cost.fixed + 2 * BLOCK_SECONDS * timing + draws * cost.each


def expected(jobs: Sequence[JobCost], runs: Sequence[Run], start: float) -> list[str]:
    """Return the reckoning for sweeps on more cores than were measured."""
    costs = {(c.job, c.estimator): c for job in jobs for c in job.estimators}
    worth = efficiency(runs, 2).value
    rows = []
    for cells, draws, timing, job, estimator in SWEEPS:
        one = cell_seconds(costs[job, estimator], draws, timing)
        walls = [
            start + math.ceil(cells / cores) * one / (worth if cores > 1 else 1) for cores in CORES
        ]
        rows.append(
            [f"{cells:,} x {draws:,}", job, f"timing: {timing}", seconds(one),
             *(seconds(wall) for wall in walls)]
        )  # fmt: skip
    headings = ["cells x draws", "problem", "spec says", "one cell"]
    return table([*headings, *(f"{n:,} core{'s' * (n > 1)}" for n in CORES)], rows)


def checked(jobs: Sequence[JobCost], runs: Sequence[Run], start: float, sweep: Spec) -> list[str]:
    """Return the line of arithmetic beside what the sweep of the processes took."""
    costs = {(c.job, c.estimator): c for job in jobs for c in job.estimators}
    names = [next(job for job, entry in JOBS.items() if entry == o) for o in sweep.objectives]
    work = len(sweep.seeds) * sum(
        cell_seconds(costs[job, estimator["name"]], sweep.draws, sweep.timing)
        for job in names
        for estimator in sweep.estimators
    )
    worth = efficiency(runs, 2).value
    took = {n: min(run.wall for run in runs if run.processes == n) for n in (1, 2)}
    return [
        f"Held against a sweep: {runs[0].cells} cells of {sweep.draws:,} draws should take "
        f"{start:.1f} + {work:.1f} = {start + work:.1f} s by one process and "
        f"{start:.1f} + {work:.1f} / (2 x {worth:.2f}) = {start + work / 2 / worth:.1f} s by two; "
        f"they took {took[1]:.1f} and {took[2]:.1f} s, the least of "
        f"{len(runs) // 2} runs each."
    ]


def start_seconds() -> float:
    """Return what a run takes besides its cells: that of one cell of a few draws."""
    return min(run.wall for run in by_processes((1,), 2, TINY))


def on_a_gpu(jobs: Sequence[JobCost]) -> list[str]:
    """Return the bound that memory sets: noise and gradient, written once in float32."""
    estimator = build_estimator("gumbel_softmax")
    rows = []
    for job in jobs:
        cost = next(c for c in job.estimators if c.estimator == estimator.name)
        held = 4 * (cost.coordinates + cost.random_numbers)
        chunk = chunk_draws(build_objective(**JOBS[job.job]), estimator, "cuda")
        rows.append(
            [job.job, f"{held:,.0f}", seconds(held / BANDWIDTH), f"{chunk:,}", seconds(cost.each)]
        )
    headings = ["problem", "bytes a draw", "a draw at 1 TB/s, a bound", "draws in a chunk"]
    return table([*headings, "a draw on one core, measured"], rows)


def interval(row: Any, name: str, factor: float = 1.0) -> str:
    """Return a number of a row with its interval, ends on either side."""
    return said(Interval(*(factor * row[f"{name}{end}"] for end in ("", "_low", "_high"))))


def said(found: Interval) -> str:
    """Return a number with its interval."""
    return " ".join(with_interval(*found))


def seconds(value: float) -> str:
    """Return a time in the unit a person would use."""
    units = ((1e-5, "ns", 1e-9), (1e-3, "µs", 1e-6), (1, "ms", 1e-3), (120, "s", 1))
    for limit, unit, size in (*units, (7200, "min", 60)):
        if value < limit:
            return f"{number(value / size)} {unit}"
    return f"{value / 3600:,.3g} h"


def nanoseconds(value: float) -> str:
    """Return nanoseconds to three digits."""
    return number(1e9 * value) if value < 1e-4 else f"{1e9 * value:,.0f}"


def proof(machine: str, frame: pd.DataFrame, runs: Sequence[Run]) -> list[str]:
    """Return results/proof/growth.md: the laws, and every point behind them."""
    points = [
        [*(str(row[name]) for name in LINE), f"{row['size']:,}", nanoseconds(row["seconds"]),
         f"{nanoseconds(row['low'])} to {nanoseconds(row['high'])}",
         "-" if math.isnan(row["law"]) else nanoseconds(row["law"]), f"{row['chunk']:,}"]
        for _, row in frame.iterrows()
    ]  # fmt: skip
    headings = [*LINE[:3], "what", "size", "ns of one estimate", "least to most", "law", "chunk"]
    return [
        "# How does cost grow?",
        "",
        machine,
        "",
        "CPU seconds of one estimate, one thread, as one thing grows and the others stay: seconds "
        "= constant x size^slope by least squares on the sizes given, with 95 % intervals "
        "(Student's t over five rounds, or over the scatter about the line where that is wider). "
        "`drawn` is the estimator's draw alone, `drawn and measured` all that a cell does with it. "
        "`off the line` is the largest distance of a size from its law.",
        "",
        *slopes(frame, (MEASURED, DRAWN)),
        "",
        "Whole cells: seconds = a + b x draws by weighted least squares (weights 1 / line^2), each "
        "estimator in a fresh process.",
        "",
        *in_draws(frame),
        "",
        "The same sweep by one process and by two, alternated, each run in a fresh process.",
        "",
        *processes(runs),
        "",
        "Every point: geometric means of the rounds.",
        "",
        *table(headings, points),
    ]
