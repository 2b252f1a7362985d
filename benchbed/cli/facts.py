"""``benchbed facts``: the equations of the two notes evaluated, and what carries each row."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from benchbed.errors import ExitCode

if TYPE_CHECKING:
    from benchbed.facts import Fact, Limit, Outcome
    from benchbed.facts.carriers import Carried

Result = tuple["Fact | Limit", "Outcome | None", str]  # the last: why there is no outcome


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--coverage", is_flag=True, help="Evaluate nothing: only what carries each row.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def facts(ids: tuple[str, ...], coverage: bool, as_json: bool) -> None:
    """Evaluate the equations of rows ID (such as S21), of all rows without one.

    Each equation of the two notes is computed on a toy by two routes that share no code. Then the
    rows of the notes, and which facts, objectives, estimators and experiments carry each.

    Exits 1 if an equation does not hold or a row lacks what should carry it.
    """
    from benchbed.cli._facts_tables import print_facts, print_rows
    from benchbed.facts import FACTS
    from benchbed.facts.carriers import carriers
    from benchbed.facts.coverage import ROWS

    wanted = _wanted(ids, list(ROWS))
    rows = [row for row in carriers(FACTS) if row.name in wanted]
    chosen = sorted((f for f in FACTS if f.row in wanted), key=lambda f: wanted.index(f.row))
    results = [] if coverage else list(_evaluated(chosen))
    failed = [fact for fact, outcome, _ in results if outcome is None or not outcome.passed]
    incomplete = [row for row in rows if row.missing]
    if as_json:
        found = {} if coverage else {"facts": [_fact_json(*result) for result in results]}
        click.echo(json.dumps(found | {"coverage": [_row_json(row) for row in rows]}, indent=1))
    else:
        if results:
            print_facts(results)
        print_rows(rows)
        click.echo(_summary(results, failed, rows, incomplete))
    if failed or incomplete:
        raise Exit(int(ExitCode.REGRESSION))


def _wanted(ids: Sequence[str], known: list[str]) -> list[str]:
    """Return the rows asked for, in the order of the notes."""
    from benchbed.errors import unknown_name

    given = [name.upper() for name in ids]
    for name in given:
        if name not in known:
            advice = "'benchbed facts --coverage' shows them all"
            raise unknown_name("row", name[:20], known, advice)
    return [name for name in known if not given or name in given]


def _evaluated(chosen: Sequence[Fact | Limit]) -> Iterator[Result]:
    """Evaluate one fact after another under a progress bar, if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from benchbed.errors import one_line
    from benchbed.facts import evaluate

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("facts", total=len(chosen))
        for fact in chosen:
            try:
                yield fact, evaluate(fact), ""
            except Exception as error:  # one that cannot be computed must not hide the others
                yield fact, None, one_line(error)
            bar.advance(task)


def _summary(
    results: Sequence[Result],
    failed: Sequence[Fact | Limit],
    rows: Sequence[Carried],
    incomplete: Sequence[Carried],
) -> str:
    parts = []
    if failed:
        names = ", ".join(f"{fact.row} {fact.name}" for fact in failed)
        parts.append(f"{len(failed)} of {len(results)} facts FAIL: {names}")
    elif results:
        parts.append("1 fact holds" if len(results) == 1 else f"{len(results)} facts hold")
    missing = "; ".join(f"{row.name}: {', '.join(row.missing)}" for row in incomplete)
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    parts.append(f"{count}, " + (f"missing {missing}" if missing else "nothing missing"))
    return "; ".join(parts)


def _fact_json(fact: Fact | Limit, outcome: Outcome | None, trouble: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: getattr(fact, key) for key in ("row", "name", "statement", "place", "slip", "bound")
    }
    for key in ("ordered", "at", "rate"):
        if hasattr(fact, key):
            found[key] = getattr(fact, key)
    found |= {"passed": outcome is not None and outcome.passed, "error": trouble}
    if outcome is not None:
        for key in ("left", "right", "residual", "errors", "rates"):
            found[key] = _finite(getattr(outcome, key))
    return found


def _finite(value: Any) -> Any:
    """Return numbers as JSON has them: null for what is none."""
    import numpy as np

    numbers = np.asarray(value, dtype=object)
    numbers[~np.isfinite(numbers.astype(float))] = None
    return numbers.tolist()


def _row_json(carried: Carried) -> dict[str, Any]:
    row = carried.row
    return {
        "row": carried.name,
        "what": row.what,
        "place": row.place,
        "facts": carried.facts,
        "objectives": row.objectives,
        "estimators": row.estimators,
        "experiments": row.experiments,
        "missing": carried.missing,
    }
