"""The two tables of ``benchbed facts``: the equations evaluated, and what carries each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchbed.cli._print_table import plain_console, print_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchbed.facts import Fact, Limit, Outcome
    from benchbed.facts.carriers import Carried

LEAST = 120  # narrower, and both sides of an equation stand below it


def print_facts(results: Sequence[tuple[Fact | Limit, Outcome | None, str]]) -> None:
    """Print facts, what evaluating each gave, and why one gave nothing."""
    console = plain_console()
    wide = console.width >= LEAST
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("row", no_wrap=True)
    table.add_column("fact, and its place", ratio=1)
    for heading in ("left", "right") if wide else ():
        table.add_column(heading, no_wrap=True)
    for heading in ("residual", "bound"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    for fact, outcome, trouble in results:
        sides = (_short(outcome.left), _short(outcome.right)) if outcome else ("none", "none")
        lines = _said(fact, outcome, trouble)
        if not wide:
            lines[1:1] = [f"left  {sides[0]}", f"right {sides[1]}"]
        table.add_row(
            fact.row,
            _under(f"{fact.name} ({fact.place})", lines),
            *(sides if wide else ()),
            f"{outcome.residual:.1e}" if outcome else "none",
            f"{fact.bound:g}",
            Text("pass", "green") if outcome and outcome.passed else Text("FAIL", "bold red"),
        )
    print_table(table)
    click.echo()


def print_rows(rows: Sequence[Carried]) -> None:
    """Print rows of the notes, what carries each and what is missing."""
    console = plain_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("row", no_wrap=True)
    table.add_column("what the notes describe, and where", ratio=4)
    table.add_column("facts", justify="right")
    headings, wide = ("objectives", "estimators", "experiments"), console.width >= LEAST
    for heading in headings if wide else ():
        table.add_column(heading, ratio=3 if heading == "estimators" else 2)
    for carried in rows:
        row = carried.row
        named = [", ".join(names) for names in (row.objectives, row.estimators, row.experiments)]
        lines = list(carried.missing)
        if not wide:  # a name must not be cut
            lines += [
                f"{what}: {names}" for what, names in zip(headings, named, strict=True) if names
            ]
        said = _under(f"{row.what} ({row.place})", lines)
        table.add_row(carried.name, said, str(carried.facts or ""), *(named if wide else ()))
    print_table(table)
    click.echo()


def _said(fact: Fact | Limit, outcome: Outcome | None, trouble: str) -> list[str]:
    """Return the equation; the course of a limit; a slip of the notes."""
    from benchbed.facts import Fact, Limit

    lines = [fact.statement]
    if isinstance(fact, Fact) and fact.ordered:
        lines.append(f"the left side {fact.ordered}")
    if isinstance(fact, Limit) and outcome is not None:
        errors = ", ".join(f"{error:.1e}" for error in outcome.errors)
        lines.append(f"error {errors} at n = {', '.join(f'{n:g}' for n in fact.at)}")
        rates = ", ".join(f"{rate:.3f}" for rate in outcome.rates)
        lines.append(f"falls like n^-{fact.rate:g}: observed {rates}")
    if trouble:
        lines.append(f"cannot be computed: {trouble}")
    if fact.slip:
        lines.append(f"slip: {fact.slip}")
    return lines


def _under(title: str, lines: Sequence[str]) -> Group:
    """Return lines set in by two under a title."""
    return Group(title, *(Padding(line, (0, 0, 0, 2)) for line in lines))


def _short(side: NDArray[Any]) -> str:
    """Return a number as it is, of an array the first and last entry and the shape."""
    if side.size == 0:
        return "nothing"
    if side.size == 1:
        return f"{side.item():.6g}"
    return f"{side.flat[0]:.4g} .. {side.flat[-1]:.4g} [{'x'.join(map(str, side.shape))}]"
