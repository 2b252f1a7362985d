"""The tables of the page: a row for every estimator and samples, marked where it says little."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchbed.analysis.sheet import OBJECTIVE, target_of
from benchbed.report.numbers import NONE, count, number, p_value, share, with_interval
from benchbed.report.readings import objectives, readings

_PROMISES = {
    "unbiased": "promises unbiased",
    "biased": "makes no promise",
    "limit": "unbiased in a limit only",
}
Values = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Cell:
    """One number of a table: in large, below it two in small; a mark where it needs care."""

    main: str
    below: str = ""
    also: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """One estimator with one ``samples``; without cells where nothing was measured."""

    estimator: str
    samples: int
    draws: str
    cells: list[Cell]
    status: str
    message: str


@dataclass(frozen=True)
class Table:
    """All estimators on one objective."""

    objective: str
    parameters: str
    gradient_norm: str
    draws: str  # where all rows have as many; else each row says its own
    headings: list[tuple[str, str]]  # heading and what it counts
    rows: list[Row]


def tables(frame: pd.DataFrame) -> list[Table]:
    """Return a table for every objective of ``benchbed.analysis.table.table``."""
    full = readings(frame)
    return [_table(full[full["objective"] == name], name) for name in objectives(full)]


def _table(part: pd.DataFrame, objective: str) -> Table:
    rows = part.to_dict("records")
    measured = [row for row in rows if row["draws"] > 0]
    made = {i: [make(row) for _, _, make in _COLUMNS] for i, row in enumerate(rows)}
    told = [
        place
        for place in range(len(_COLUMNS))
        if any(made[i][place].main != NONE for i, row in enumerate(rows) if row["draws"] > 0)
    ]
    # The length of the objective's own gradient, not of another target's.
    first: Values = min(measured or rows, key=lambda row: target_of(row) != OBJECTIVE)
    return Table(
        objective=objective,
        parameters=count(first["parameters"]),
        gradient_norm=number(first["gradient_norm"], 4),
        draws=_draws(first) if len({_draws(row) for row in measured}) == 1 else "",
        headings=[_COLUMNS[place][:2] for place in told],
        rows=[
            Row(
                estimator=str(row["estimator"]),
                samples=int(row["samples"]),
                draws=_draws(row),
                cells=[made[i][place] for place in told] if row["draws"] > 0 else [],
                status=str(row["status"]),
                message=str(row["message"]),
            )
            for i, row in enumerate(rows)
        ],
    )


def _interval(row: Values, name: str) -> Cell:
    return Cell(*with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"]))


def _draws(row: Values) -> str:
    seeds = int(row["seeds"])
    drawn = f"{count(row['draws'])} draws" if row["draws"] > 0 else "no draws"
    return f"{drawn}, {seeds} {'seed' if seeds == 1 else 'seeds'}"


def _exactly(value: float) -> str:
    """Return what is known without sampling error; what double precision leaves of a 0 is 0."""
    return "" if math.isnan(value) else f"exact {number(value if value > 1e-12 else 0.0, 4)}"


def _bias(row: Values) -> Cell:
    cell = _interval(row, "bias")
    return Cell(cell.main, cell.below, also=_exactly(row["exact_bias"]))


def _promise(row: Values) -> Cell:
    if row["heavy"]:
        return Cell("not tested", "one draw holds too much of the variance", mark="care")
    promise = _PROMISES.get(row["promise"], NONE)
    return Cell(promise, f"{p_value(row['bias_p'])}; visible {share(row['bias_visible'])}")


def _variance(row: Values) -> Cell:
    exact = _exactly(row["exact_variance"])
    if row["zero"]:
        return Cell("zero", also=exact)
    cell = _interval(row, "variance")
    if row["heavy"]:
        return Cell(cell.main, cell.below, "variance may not exist", "care")
    return Cell(cell.main, cell.below, exact)


def _work(name: str) -> Callable[[Values], Cell]:
    def make(row: Values) -> Cell:
        cell = _interval(row, name)
        return Cell("zero") if row["zero"] and cell.main != NONE else cell

    return make


def _snr(row: Values) -> Cell:
    cell = _interval(row, "snr")
    if cell.main == NONE:
        return cell
    return Cell(cell.main, cell.below, f"floor {number(row['snr_floor'], 2)}")


def _cost(row: Values) -> Cell:
    slopes, tuning = row["slopes"], row["tuning_evaluations"]
    return Cell(
        count(row["evaluations"]),
        f"+ {count(slopes)} slopes" if slopes > 0 else "",
        f"+ {count(tuning)} to tune" if tuning > 0 else "",
    )


# Heading, what it counts, how it is made from a row of the frame.
_COLUMNS: tuple[tuple[str, str, Callable[[Values], Cell]], ...] = (
    ("Bias", "of |∇|", _bias),
    ("Bias test", "screen; visible shrink", _promise),
    ("Variance", "of one estimate", _variance),
    ("Variance × evaluations", "of J", _work("variance_x_evaluations")),
    ("Variance × CPU ratio", "to reference", _work("variance_x_cpu_ratio")),
    ("MSE", "of one estimate", lambda row: _interval(row, "mse")),
    ("SNR", "of one estimate", _snr),
    ("Cosine", "of the mean", lambda row: _interval(row, "cosine")),
    ("CPU", "µs an estimate", lambda row: _interval(row, "cpu_us")),
    ("Evaluations", "an estimate", _cost),
    ("Random numbers", "an estimate", lambda row: Cell(count(row["random_numbers"]))),
)
