"""The page: one HTML file that needs no network, no script and no other file to be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchbed.analysis.table import LEVEL_OF_VISIBLE, label
from benchbed.records import Record
from benchbed.report.figures import Sheet, inline
from benchbed.report.load import Loaded
from benchbed.report.tables import Table

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    autoescape=True,  # whatever a spec or a record says is text, never markup
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes:
        name: of its files, without the ending.
        title: with its number where a figure has several sheets.
        caption: of the first sheet; empty on the others.
        svg: the drawing, made by us: its texts were escaped when it was drawn.
    """

    name: str
    title: str
    caption: str
    svg: str


def pictures(drawn: list[tuple[Sheet, dict[str, bytes]]]) -> list[Picture]:
    """Return the figures as the page shows them."""
    made = []
    for sheet, files in drawn:
        family = [other.name for other, _ in drawn if other.title == sheet.title]
        place = family.index(sheet.name) + 1
        title = sheet.title if len(family) == 1 else f"{sheet.title}, {place} of {len(family)}"
        svg = inline(files[f"{sheet.name}.svg"], sheet.name, title)
        made.append(Picture(sheet.name, title, sheet.caption if place == 1 else "", svg))
    return made


def render(loaded: Loaded, figures: list[Picture], tables: list[Table]) -> str:
    """Return the page's HTML."""
    return _PAGES.get_template("page.html.jinja").render(
        name=loaded.name,
        question=loaded.question,
        status=_status(loaded),
        complete=not (loaded.missing or loaded.bad),
        figures=figures,
        tables=tables,
        bad=[_line(record) for record in loaded.bad],
        damaged=loaded.damaged,
        skipped=loaded.skipped,
        surroundings=[
            (place.key, place.records, _flat(place.facts)) for place in loaded.surroundings
        ],
        spec=_yaml(loaded.spec),
        level=LEVEL_OF_VISIBLE,
    )


def _status(loaded: Loaded) -> str:
    """Say in a line how much there is, and what is wrong with it."""
    there = len(loaded.records)
    draws = sorted({int(r.address.get("draws", 0)) for r in loaded.records})
    seeds = len({record.seed for record in loaded.records})
    whole = "" if there == loaded.cells else "Unfinished: "
    sound = there - len(loaded.bad)  # counted as 'benchbed status' does
    parts = [
        f"{whole}{sound:,} of {loaded.cells:,} cells",
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}",
        f"{' or '.join(f'{n:,}' for n in draws)} draws for each cell",
    ]
    for status, word in (("failed", "failed"), ("nonfinite", "with draws that are not finite")):
        number = sum(record.status == status for record in loaded.records)
        if number:
            parts.append(f"{number} {word}")
    if loaded.damaged:
        parts.append(f"{len(loaded.damaged)} damaged")
    if len(loaded.surroundings) > 1:
        parts.append(f"measured in {len(loaded.surroundings)} surroundings (see provenance)")
    if loaded.missing:
        parts.append("'benchbed run SPEC' goes on from here")
    return ", ".join(parts) + "."


def _line(record: Record) -> dict[str, Any]:
    return {
        "cell": record.cell,
        "objective": label(record.objective),
        "estimator": label(record.estimator),
        "samples": record.samples,
        "seed": record.seed,
        "status": record.status,
        "message": record.message,
    }


def _yaml(spec: dict[str, Any]) -> str:
    """Return the spec as a sweep file that can be run: a line for each key and entry."""
    lines = []
    for key, value in spec.items():
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            lines.append(f"{key}:")
            lines += [f"  - {json.dumps(entry, ensure_ascii=False)}" for entry in value]
        else:
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines)


def _flat(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return name and value of every fact, one level deep."""
    lines: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [(str(name), str(inner)) for name, inner in value.items()]
        elif isinstance(value, bool):
            lines.append((key, "yes" if value else "no"))
        else:
            lines.append((key, str(value)))
    return lines
