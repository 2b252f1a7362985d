"""What a sweep would cost and what it could see, from a pilot of each of its cells."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchbed.analysis.summary import pool, summarize
from benchbed.analysis.table import label
from benchbed.analysis.tails import variance_is_uncertain
from benchbed.analysis.verdict import SHRINK
from benchbed.arguments import at_least
from benchbed.errors import one_line
from benchbed.records import Blocks, Record
from benchbed.store import Results
from benchbed.store.codec import encode
from benchbed.sweep.cells import Cell, expand
from benchbed.sweep.pilot import Pilot, run_pilot
from benchbed.sweep.resolution import ratio_seen, shrink_seen
from benchbed.sweep.spec import Entry, Spec

MARK = 2_000  # bytes of a folder's mark and provenance, besides the spec and an id a cell
ID = 28


@dataclass(frozen=True)
class Group:
    """The seeds of one (objective, estimator, samples).

    Attributes:
        objective: label.
        estimator: label.
        samples: z in one estimate.
        cells: one for each seed.
        measured: how many are there already.
        seconds: to measure the others, one after another; NaN if the pilot failed.
        bytes: that the others would take on disk.
        draws: for each seed.
        visible: the smallest shrink of the gradient that the finished sweep's screen sees with
            power 0.99, as its table's ``bias_visible``.
        needed: draws for each seed that would show a shrink of 5 %; 0 where these do.
        ratio: how many times a baseline's variance the gate sees with power 0.9; NaN if unknown.
        note: what a reader must know of it.
        failed: whether the pilot gave no numbers.
    """

    objective: str
    estimator: str
    samples: int
    cells: int
    measured: int
    seconds: float
    bytes: int
    draws: int
    visible: float = math.nan
    needed: float = math.nan
    ratio: float = math.nan
    note: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Plan:
    """What a sweep would cost and could see.

    Attributes:
        path: of its results.
        jobs: processes.
        groups: in the sweep's order.
        skipped: what cannot work, and why.
        start: seconds before the first cell: building every objective.
        spent: seconds that planning took.
        notice: what the numbers leave out.
    """

    path: Path
    jobs: int
    groups: Sequence[Group]
    skipped: Sequence[str]
    start: float
    spent: float
    notice: str = ""

    @property
    def cells(self) -> int:
        """Cells of the sweep."""
        return sum(group.cells for group in self.groups)

    @property
    def measured(self) -> int:
        """Cells that are there already."""
        return sum(group.measured for group in self.groups)

    @property
    def bytes(self) -> int:
        """Bytes on disk of all that is left to measure."""
        return sum(group.bytes for group in self.groups)

    @property
    def seconds(self) -> float:
        """Wall seconds of all that is left to measure, on ``jobs`` processes."""
        left = [(x.seconds, x.cells - x.measured) for x in self.groups if x.seconds > 0]
        if not left:
            return 0.0
        shared = sum(seconds for seconds, _ in left) / min(self.jobs, os.cpu_count() or 1)
        longest = max(seconds / cells for seconds, cells in left)
        builds = self.start if self.jobs > 1 else 0.0  # each process builds its own
        return self.start + builds + max(shared, longest)


@dataclass
class _Progress:
    report: Callable[[int, int], None]
    total: int
    done: int = field(default=0)

    def step(self) -> None:
        self.done += 1
        self.report(self.done, self.total)


def _silent(done: int, total: int) -> None:
    del done, total


def plan_sweep(
    spec: Spec,
    results: str | Path = "results",
    jobs: int = 1,
    progress: Callable[[int, int], None] = _silent,
) -> Plan:
    """Predict cost and resolution of ``spec``; nothing is written.

    Args:
        spec: what would be measured.
        results: the folder that holds sweeps' folders; what is there already is not planned again.
        jobs: processes.
        progress: told (cells tried, cells to try) before the first and after every pilot.

    Raises:
        BadSpec, UnknownName, BadArgument: the spec cannot work.
    """
    at_least("benchbed plan", "-j", jobs, 1)
    begun = time.perf_counter()
    cells, skipped = expand(spec)
    start = time.perf_counter() - begun
    store = Results(Path(results) / spec.name)
    found = store.read(cell.id for cell in cells)[0]
    records = {key: record for key, record in found.items() if record.status != "failed"}
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(f"{cell.objective} {cell.estimator} {cell.samples}", []).append(cell)
    watch = _Progress(progress, len(groups))
    progress(0, watch.total)
    planned = []
    for seeds in groups.values():
        there = [records[cell.id] for cell in seeds if cell.id in records]
        planned.append(_group(spec, seeds, there, len(groups)))
        watch.step()
    if sum(group.measured for group in planned) == 0 and planned:
        extra = MARK + len(spec.model_dump_json(indent=1)) + ID * len(cells)
        planned[0] = replace(planned[0], bytes=planned[0].bytes + extra)
    return Plan(
        store.path,
        jobs,
        planned,
        skipped,
        start,
        time.perf_counter() - begun,
        "minutes and disk are those of 'compile: false': how long compiling takes is not known "
        "before it is done"
        if spec.compile
        else "",
    )


def _group(spec: Spec, cells: list[Cell], there: list[Record], groups: int) -> Group:
    first = cells[0]
    group = Group(
        _label(first.objective), _label(first.estimator), first.samples, len(cells), len(there),
        seconds=0.0, bytes=0, draws=spec.draws,
    )  # fmt: skip
    if len(there) == len(cells):
        parts = [record.blocks for record in there if record.blocks is not None]
        return _with_resolution(group, there[0], pool(parts), spec, groups)
    try:
        pilot = run_pilot(first)
    except Exception as error:  # your own code may do anything; run would tell the same
        return replace(group, seconds=math.nan, note=one_line(error), failed=True)
    if lost := int(pilot.blocks.nonfinite.sum()):
        note = f"{lost:,} of {pilot.draws:,} draws were NaN or infinite"
        return replace(group, seconds=math.nan, note=note, failed=True)
    left = len(cells) - len(there)
    group = replace(
        group,
        seconds=left * (pilot.seconds + spec.timing * pilot.alternation),
        bytes=left * _bytes(pilot, spec.timing),
    )
    return _with_resolution(group, pilot.record, pilot.blocks, spec, groups)


def _label(entry: Entry) -> str:
    """Name it as the finished sweep's table does: records keep their settings sorted."""
    return label(dict(sorted(entry.items())))


def _bytes(pilot: Pilot, timing: int) -> int:
    """Return the size of the cell's two files; numbers of a clock are seventeen digits long."""
    third = (1 / 3,) * timing
    text, blob = encode(
        replace(
            pilot.record, cpu_ratios=third, seconds=((1 / 3, 1 / 3),) * timing, provenance="0" * 16
        )
    )
    return len(text.encode()) + len(blob or b"")


def _with_resolution(
    group: Group, record: Record, blocks: Blocks, spec: Spec, groups: int
) -> Group:
    """Add what the finished sweep could see, told by some draws' ``blocks``."""
    whole, tuned = summarize(blocks), bool(record.facts.get("tuned"))
    draws, final = spec.draws * group.cells, spec.blocks * group.cells
    visible = shrink_seen(blocks, draws, final)
    needed = 0.0 if visible <= SHRINK else group.draws * (visible / SHRINK) ** 2
    notes = []
    ratio = math.nan
    if whole.zero:
        notes.append("no variance")
    elif tuned:
        notes.append("tuned anew by each seed: one pilot cannot tell how variances spread")
    elif whole.heavy or variance_is_uncertain(blocks):
        notes.append("heavy tails: may stay undecided")
    else:
        ratio = ratio_seen(blocks, draws, final, groups)
    if not math.isfinite(visible):
        notes.append("no gradient to see a share of")
    return replace(group, visible=visible, needed=needed, ratio=ratio, note="; ".join(notes))
