"""A comparison on the terminal: a table a metric, and what it comes to; or the same as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import rich_click as click

from benchbed.cli._print_table import print_table

if TYPE_CHECKING:
    from benchbed.analysis.comparison.bias import Standing
    from benchbed.analysis.comparison.comparison import Comparison, Row


def print_comparison(found: Comparison, name: str) -> None:
    """Print a table for every metric, then the bias of the candidate."""
    from rich.table import Table

    from benchbed.analysis.comparison.words import TITLES, places, shortened

    short = shortened([found.candidate, *found.baselines])
    where = places(found.rows)
    for metric in found.metrics:
        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        click.echo(f"{TITLES[metric]}: {name} / each baseline, less is better")
        table.add_column("objective")
        for baseline in found.baselines:
            table.add_column(short[baseline], overflow="fold")
        for key, text in where.items():
            rows = {
                row.baseline: row
                for row in found.rows
                if (row.objective, row.samples) == key and row.metric == metric
            }
            table.add_row(text, *(cell(rows[baseline]) for baseline in found.baselines))
        print_table(table)
        click.echo("")
    _print_bias(found, where)
    click.echo(
        f"\nAll {found.intervals} intervals of ratios hold together with probability 0.95: each is "
        f"at level {found.level:.6g}."
    )


def cell(row: Row) -> str:
    """Return one ratio with its interval and outcome."""
    from benchbed.analysis.comparison.words import verdict_of
    from benchbed.report.numbers import with_interval

    if row.outcome == "undefined":
        return "-"
    if row.outcome == "failed":
        return "failed"  # what failed was told before the tables
    if math.isnan(row.ratio.value):
        return f"{'undecided: tails' if row.outcome == 'tails' else row.outcome} ({row.why})"
    if row.how == "identical" and row.ratio.low == row.ratio.high == 1:
        return "1 identical: tie"
    more = f" ({row.more})" if row.more else ""
    own = "" if row.samples == row.baseline_samples else f" at its own {row.baseline_samples}"
    return f"{' '.join(with_interval(*row.ratio))} {verdict_of(row)}{more}{own}"


def _print_bias(found: Comparison, where: dict[tuple[str, int], str]) -> None:
    from rich.table import Table

    from benchbed.report.numbers import p_value, share, with_interval

    click.echo("bias of the candidate, |E g - exact| / |exact|, intervals at 95 % each")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("objective", "bias", "screen", "visible shrink", ""):
        table.add_column(heading)
    for (objective, samples), text in where.items():
        standing = found.standings.get((objective, found.candidate, samples))
        if standing is None:
            table.add_row(text, "failed")
            continue
        bias = " ".join(with_interval(*standing.bias))
        cells = [bias, p_value(standing.p), share(standing.visible), standing.word]
        table.add_row(text, *cells)
    print_table(table)


def as_json(found: Comparison, more: dict[str, Any]) -> dict[str, Any]:
    """Return the whole comparison as plain values; what is not a number is null."""
    plain = {
        "candidate": found.candidate,
        "baselines": found.baselines,
        "intervals": found.intervals,
        "level": found.level,
        "rows": [_row(row) for row in found.rows],
        "bias": [_standing(standing) for standing in found.standings.values()],
        "evaluations": [
            {"objective": o, "estimator": e, "samples": s, "evaluations": n}
            for (o, e, s), n in found.evaluations.items()
        ],
    }
    cleaned: dict[str, Any] = _without_nan(plain | more)
    return cleaned


def _row(row: Row) -> dict[str, Any]:
    more = row.more._asdict() if row.more else None
    value, low, high = row.ratio
    return asdict(row) | {"ratio": value, "low": low, "high": high, "more": more}


def _standing(standing: Standing) -> dict[str, Any]:
    value, low, high = standing.bias
    return asdict(standing) | {"bias": value, "bias_low": low, "bias_high": high}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
