"""The rows of the page's tables: a table a metric, and the bias of every side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchbed.analysis.comparison.comparison import Comparison, Row
from benchbed.analysis.comparison.words import NO_WIN, TITLES, places, verdict_of
from benchbed.report.numbers import p_value, share, with_interval

MARKED = ("loses", "tails", "failed", NO_WIN)


@dataclass(frozen=True)
class Cell:
    """One ratio: the number, below it its interval and what it says."""

    main: str
    below: str = ""
    also: str = ""
    mark: str = ""


@dataclass(frozen=True)
class RatioTable:
    """One metric: a row an objective, a cell a baseline."""

    title: str
    rows: list[tuple[str, str, list[Cell]]]  # short name, whole label, cells


@dataclass(frozen=True)
class BiasRow:
    """What the screen says of one side."""

    objective: str
    estimator: str
    samples: int
    calls: str
    bias: tuple[str, str]
    p: str
    visible: str
    word: str
    target: str


def ratio_tables(found: Comparison, short: Mapping[str, str]) -> list[RatioTable]:
    """Return a table for every metric of which anything is known."""
    where = places(found.rows)
    made = []
    for metric in found.metrics:
        by_place = {
            (row.objective, row.samples, row.baseline): row
            for row in found.rows
            if row.metric == metric
        }
        rows = [
            (text, key[0], [_cell(by_place[(*key, name)], short) for name in found.baselines])
            for key, text in where.items()
        ]
        made.append(RatioTable(TITLES[metric], rows))
    return made


def _cell(row: Row, short: Mapping[str, str]) -> Cell:
    verdict = verdict_of(row)
    mark = "care" if verdict in MARKED else ""
    why = row.why.replace(row.baseline, short[row.baseline])
    if row.outcome == "undefined":
        return Cell("–", also=why if row.baseline_samples else "")
    if not row.ratio.value > 0:
        return Cell("undecided: tails" if verdict == "tails" else verdict, also=why, mark=mark)
    value, interval = with_interval(*row.ratio)
    usual = "apart" if row.metric == "cpu" else "paired"
    notes = ["" if row.how == usual else row.how, str(row.more or "")]
    if row.samples != row.baseline_samples:
        notes.append(f"baseline at its own {row.baseline_samples} samples")
    return Cell(f"{value} {verdict}", interval, ", ".join(filter(None, notes)), mark)


def bias_rows(found: Comparison, short: Mapping[str, str]) -> list[BiasRow]:
    """Return a row for every side that has numbers."""
    made = []
    for key, standing in found.standings.items():
        value, interval = with_interval(*standing.bias)
        calls = found.evaluations.get(key)
        made.append(
            BiasRow(
                objective=standing.objective,
                estimator=short.get(standing.estimator, standing.estimator),
                samples=standing.samples,
                calls="–" if calls is None else f"{calls:g}",
                bias=(value, interval),
                p=p_value(standing.p),
                visible=share(standing.visible),
                word=standing.word,
                target=standing.target,
            )
        )
    return made
