"""What is measured of an estimator on a job: its speed, the floor's, and that of people's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import floor
import sides
from jobs import Job, job
from pairs import Loss, Pair, tuned
from stopwatch import Spread, Work, alternated, best_rows, ratio

from benchbed.catalogue import ESTIMATORS, build_estimator
from benchbed.contracts import obstacle
from benchbed.measurement.cell import chunk_draws
from benchbed.measurement.compiled import compile_facts, compiled

# What cannot be timed, and why.
LEFT_OUT = {
    ("categorical, d = 2, K = 1000", "arsm"): "499,501 evaluations of J an estimate",
    ("categorical, d = 2, K = 1000", "carms"): "tables of K x K for every draw and pair: 8 GB",
}
# `exact` is one number for all draws.
NAMES = [name for name in ESTIMATORS if name != "exact"]
LOOP_ROWS = 16


@dataclass(frozen=True)
class FloorRow:
    """An estimator's draws against the floor."""

    title: str
    name: str
    per_second: float  # draws in a CPU second, without moments
    numbers: int
    samples: int
    evaluations: int
    over_floor: Spread  # time / the floor's
    compiled: Spread | None  # the same under torch.compile, where that works
    over_score: Spread  # time an evaluation of J / score_function's

    @property
    def single(self) -> bool:
        """Say whether it takes one sample and one evaluation of J, and any noise at all."""
        return self.samples == 1 and self.evaluations == 1 and self.numbers > 0


@dataclass(frozen=True)
class HomeRow:
    """An estimator with its moments against what people write: their time / ours."""

    title: str
    label: str
    per_second: float  # gradients in a CPU second, moments included
    ratios: dict[str, Spread]  # loop, vmap, batched, by hand, reinmax package
    rows: dict[str, int]  # the batch size that was best
    evaluated: Spread | None  # batched, where ours read J from tables, had it evaluated J


def fitting(title: str) -> Iterator[str]:
    """Yield the estimators that a job can be given, and that can be timed there."""
    for name in NAMES:
        if (title, name) not in LEFT_OUT and not obstacle(
            job(title).objective, build_estimator(name)
        ):
            yield name


def against_floor(title: str, name: str, rounds: int, *, compile_too: bool = False) -> FloorRow:
    """Time draws, the floor and, where it is asked for, compiled draws."""
    where = job(title)
    estimator = tuned(where, name)
    evaluations = max(estimator.evaluations_on(where.objective), 1)
    numbers, chunk = floor.numbers_of(where, estimator), chunk_draws(where.objective, estimator)
    works = {
        "ours": sides.drawing(where, estimator),
        "floor": (floor.floor(where, numbers, chunk), chunk),
        "score": sides.drawing(where, tuned(where, "score_function")),
    }
    # Compiling the others takes minutes, and no bar asks for it.
    single = estimator.samples == evaluations == 1
    faster = compiled(estimator) if compile_too and single else estimator
    if faster is not estimator:
        works["compiled"] = sides.drawing(where, faster)
    times = alternated(works, rounds)
    if not compile_facts(faster).get("compiled"):
        times.pop("compiled", None)
    return FloorRow(
        title,
        name,
        1 / min(times["ours"]),
        numbers,
        estimator.samples,
        evaluations,
        ratio(times["ours"], times["floor"]),
        ratio(times["compiled"], times["floor"]) if "compiled" in times else None,
        ratio(times["ours"], [evaluations * seconds for seconds in times["score"]]),
    )


def written(where: Job, pair: Pair) -> dict[str, Callable[[int], object]]:
    """Return what people write beside a pair, as functions of the batch size."""
    found: dict[str, Callable[[int], object]] = {
        "loop": partial(sides.loop, where, pair.loss),
        "vmap": partial(sides.vmapped, where, pair.loss),
        "batched": partial(sides.batched, where, pair.loss),
    }
    if pair.by_hand and not where.direct:
        found["by hand"] = partial(sides.by_hand, where, pair.by_hand)
    if pair.name == "reinmax" and not where.bits:
        package: Loss = sides.reinmax_package
        found["reinmax package"] = partial(sides.batched, where, package)
    return found


def at_its_best(
    where: Job, pair: Pair, side: str, values: tuple[int, ...] = sides.VALUES
) -> tuple[Work, int]:
    """Return what people write at the best of some batch sizes, and that size."""
    make = written(where, pair)[side]
    width = where.params.numel() * pair.evaluations
    sizes = sorted({max(2, count // width) for count in values})
    rows = LOOP_ROWS if side == "loop" else best_rows(make, sizes)
    return partial(make, rows), rows


def against_home_made(
    where: Job,
    pair: Pair,
    rounds: int,
    values: tuple[int, ...] = sides.VALUES,
    only: tuple[str, ...] = (),
) -> HomeRow:
    """Time ours and theirs, moments included."""
    estimator = tuned(where, pair.name, **pair.settings)
    own = {"ours": sides.ours(where, estimator)}
    if sides.looked_up(where, estimator) is not where.objective:
        own["evaluated"] = sides.ours(where, estimator, tables=False)
    theirs = {
        side: at_its_best(where, pair, side, values)
        for side in written(where, pair)
        if not only or side in only
    }
    times = alternated(own | theirs, rounds)
    both = "evaluated" in times and "batched" in times
    return HomeRow(
        where.title,
        pair.label,
        1 / min(times["ours"]),
        {side: ratio(times[side], times["ours"]) for side in theirs},
        {side: rows for side, (_, rows) in theirs.items()},
        ratio(times["batched"], times["evaluated"]) if both else None,
    )


def places(name: str, titles: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return those of ``titles`` that an estimator fits, or of ``others`` if it fits none."""
    method = build_estimator(name)
    fits = [title for title in titles if not obstacle(job(title).objective, method)]
    return fits or [title for title in others if not obstacle(job(title).objective, method)]
