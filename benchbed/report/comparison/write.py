"""From a comparison to a folder with its page, its figures and every number."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.typing import ColorType

from benchbed.analysis.comparison.comparison import Comparison
from benchbed.analysis.comparison.words import shortened
from benchbed.analysis.table import table
from benchbed.errors import UnusableResults
from benchbed.records import Record
from benchbed.report.comparison import forest
from benchbed.report.comparison.rows import bias_rows, ratio_tables
from benchbed.report.figures import Sheet, cost
from benchbed.report.figures.style import INK, Look, house_style, looks
from benchbed.report.page import pictures
from benchbed.report.readings import of_the_objective, readings
from benchbed.store import Results
from benchbed.store.folder import write

_OURS = re.compile(rf"({forest.NAME}|{cost.NAME})(-\d+)?\.(png|svg|csv)")
_PAGES = Environment(
    loader=FileSystemLoader([Path(__file__).parent, Path(__file__).parents[1]]),
    undefined=StrictUndefined,
    autoescape=True,  # names of files and what their errors say are text, never markup
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Attributes:
        found: the comparison.
        records: it was made of.
        said: its conclusion, a sentence or two each.
        notices: what was left out, counted or chosen, a line each.
        spec: of the sweep.
        store: its results, for the surroundings they were measured in.
    """

    found: Comparison
    records: Sequence[Record]
    said: Sequence[str]
    notices: Sequence[str]
    spec: dict[str, Any]
    store: Results


def write_page(page: Page, reports: Path) -> Path:
    """Write ``reports/<name of the sweep>/``: index.html, ratios.csv, table.csv and figures/.

    Returns:
        The path of index.html.

    Raises:
        UnusableResults: the folder cannot be written.
    """
    frame = table(page.records)
    drawn = [(sheet, sheet.files()) for sheet in _sheets(page.found, frame)]
    files = {f"figures/{name}": blob for _, made in drawn for name, blob in made.items()}
    ratios = pd.concat([s.data for s, _ in drawn if s.title == forest.TITLE] or [pd.DataFrame()])
    files["ratios.csv"] = ratios.to_csv(index=False, lineterminator="\n").encode()
    files["table.csv"] = frame.to_csv(index=False, lineterminator="\n").encode()
    files["index.html"] = _html(page, drawn).encode()  # last: where it is, all that it links to is
    folder = reports / str(page.spec["name"])
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write(folder / name, content)
        for path in (folder / "figures").iterdir():  # of an earlier page that had more figures
            if _OURS.fullmatch(path.name) and f"figures/{path.name}" not in files:
                path.unlink()
    except OSError as error:
        raise UnusableResults(
            f"{folder} cannot be written ({error.strerror}); name another folder with --reports"
        ) from None
    return folder / "index.html"


def _sheets(found: Comparison, frame: pd.DataFrame) -> list[Sheet]:
    short = shortened([found.candidate, *found.baselines])
    named = frame.assign(estimator_name=frame["estimator"].map(short))
    full = readings(named)
    every = looks(short.values())
    every[short[found.candidate]] = _candidate_look(every, [short[b] for b in found.baselines])
    of_label: dict[str, Look] = {label: every[name] for label, name in short.items()}
    with house_style():
        made = forest.sheets(found, of_label) if found.rows else []
        return made + cost.sheets(of_the_objective(full), every)


def _candidate_look(every: Mapping[str, Look], baselines: Sequence[str]) -> Look:
    """Return a colour and a marker that no baseline has, as far as there are enough."""
    taken = [every[name] for name in baselines]
    colours = [c for c in (INK, *(x.colour for x in every.values())) if c not in _of(taken)]
    markers = [m for m in ("*", *(x.marker for x in every.values())) if m not in _of(taken)]
    return Look((colours or [INK])[0], (markers or ["*"])[0])


def _of(taken: Sequence[Look]) -> list[ColorType]:
    return [value for look in taken for value in look]


def _html(page: Page, drawn: list[tuple[Sheet, dict[str, bytes]]]) -> str:
    found = page.found
    short = shortened([found.candidate, *found.baselines])
    counts = Counter(record.provenance for record in page.records)
    return _PAGES.get_template("page.html.jinja").render(
        name=page.spec["name"],
        question=page.spec["question"],
        candidate=found.candidate,
        said=page.said,
        intervals=found.intervals,
        level=f"{found.level:.6g}",
        figures=pictures(drawn),
        metrics=ratio_tables(found, short),
        baselines=[short[label] for label in found.baselines],
        bias=bias_rows(found, short),
        notices=page.notices,
        surroundings=[(n, page.store.provenance(key)) for key, n in counts.items()],
        spec=json.dumps(page.spec, indent=1, ensure_ascii=False),
    )
