"""results/proof/speed.md: the two tables, what they come to, and the bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from between import Between
from jobs import JOBS
from measured import LEFT_OUT, FloorRow, HomeRow
from stopwatch import Spread, geometric_mean

from benchbed.store.provenance import provenance

SIDES = {
    "loop": "(b) loop of backward calls",
    "vmap": "(c) vmap(grad)",
    "batched": "(d) batched code",
    "by hand": "(d) batched code with the score by hand",
    "reinmax package": "(e) the reinmax package",
}
GROUPS = {
    "Bernoulli, d = 20": ("Bernoulli, d = 20",),
    "Bernoulli, d = 20, coupled": ("Bernoulli, d = 20, coupled",),
    "categorical jobs": ("categorical, d = 8, K = 10", "categorical, d = 2, K = 1000"),
    "digits": ("digits, 8 bits", "digits, d = 2, K = 10"),
    "all jobs": tuple(JOBS),
}
FLOOR_JOB = "categorical, d = 8, K = 10"

ABOUT = """\
CPU time on one thread, float32, all sides of a row alternated in one process; each number is the
median over {rounds} alternations with the least and the most. Every side starts with glibc's mmap
threshold raised, so that nobody pays page faults for memory that was freed a moment ago. Estimators
have their default settings; what is tuned is tuned before the clock starts, on both sides.

The Bernoulli job is `quadratic`, whose J is as cheap as the categorical job's `polynomial`, so that
it is the estimators that are timed; `coupled`, with a product with a 20 x 20 matrix in J, stands
beside it. The digits' gradients are those of all encoder weights: a loop sends each loss back
through the encoder, batched code and vmap take the gradient in the logits and multiply by the
Jacobian once, which is much faster than a copy of the weights for every row. Benchbed reads J from
tables where a cell of {cell:,} draws does; filling them is not in these times."""

FLOOR_ABOUT = """\
The floor is the drawing of as many uniforms as an estimate takes, from the fastest generator found
(numpy's SFC64 in 64-bit words, each split in two float32), draws-last, and one write of the
gradients. `x floor` is the time of benchbed's draws over it, `x score` their time over
score_function's, for each evaluation of J. Moments are not included. `single`: one sample, one
evaluation of J, and random numbers at all. Where `compiled` is `-`, nothing was compiled."""

BETWEEN_ABOUT = """\
What lies between, in nanoseconds a draw on {title}: the floor, benchbed's own
uniforms, what else it takes to make z of them, J there (with its slope where the estimator asks for
it: forward, autograd and back), the rest of the way to the gradient, and all of a draw, which the
parts add up to. Each part is some passes over 80 values, at 0.04 to 0.1 ns a value from a cache
that holds a few tensors of a chunk, and 1 to 3 us for every call of torch. Under `--compile` the
passes after the uniforms are one loop or two; what is left there is their arithmetic."""

HOME_ABOUT = """\
Time of what people write over benchbed's, mean and variance included on both sides
(`torch.var_mean` against sums of four powers): (b) a Python loop of backward calls, (c)
`torch.func.vmap(grad(...))`, (d) batched code on an expanded leaf, each at its best of five batch
sizes (`rows` is (d)'s); where the textbook has a closed form, the same `by hand`, without autograd;
(e) the installed `reinmax` package. tests/benchmarks/homemade_*.py is all of it, and
test_same_law.py shows that it draws from the same laws. `evaluated` is (d) where benchbed is kept
from reading J from tables."""


class Bar(NamedTuple):
    """Something to be reached."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        """Say whether it is; what was not measured is not."""
        return (self.least is not None and self.value >= self.least) or (
            self.most is not None and self.value <= self.most
        )

    def __str__(self) -> str:
        """Write it as a line."""
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{self.what}: {self.value:.3g} ({bound}: {'met' if self.met else 'NOT met'})"


def bars(floors: Sequence[FloorRow], homes: Sequence[HomeRow]) -> list[Bar]:
    """Return every bar with what was measured."""

    def mean(side: str, group: str) -> float:
        return geometric_mean([value for value, _ in _found(homes, side, GROUPS[group])])

    worst = min(_found(homes, "batched", JOBS), default=(float("nan"), "nothing"))
    single = [row for row in floors if row.title == FLOOR_JOB and row.single]
    found = [
        Bar("(d) on the categorical jobs", mean("batched", "categorical jobs"), least=4),
        Bar("(d) on Bernoulli, d = 20", mean("batched", "Bernoulli, d = 20"), least=2),
        Bar(f"(d) at worst, {worst[1]}", worst[0], least=1.2),
        Bar("(c) on all jobs", mean("vmap", "all jobs"), least=4),
        Bar("(b) on all jobs", mean("loop", "all jobs"), least=200),
        Bar(
            f"x floor of single-sample estimators, {FLOOR_JOB}",
            geometric_mean([row.over_floor.median for row in single]),
            most=4,
        ),
    ]
    text = f"x floor of single-sample estimators, {FLOOR_JOB}, compiled"
    return [*found, Bar(text, _mean_compiled(single), most=2)]


def _mean_compiled(rows: Sequence[FloorRow]) -> float:
    """Return the geometric mean with --compile: what cannot be compiled counts as it is."""
    if not any(row.compiled for row in rows):
        return float("nan")
    return geometric_mean([(row.compiled or row.over_floor).median for row in rows])


# Bars that are not reached: what they may not fall behind, and why they are not.
NOT_REACHED = {
    "(b) on all jobs": (
        120,
        "calls are what a loop wastes, and where an estimate is 2,000 values or a network's 1,176 "
        "weights the work outweighs them: at K = 1000 and on the digits",
    ),
    f"x floor of single-sample estimators, {FLOOR_JOB}": (
        7.5,
        "J, its slope and the way back to the gradient are passes over 80 values each, beside 8 "
        "random numbers; those of 80 random numbers or more are within 3 to 7 times",
    ),
    f"x floor of single-sample estimators, {FLOOR_JOB}, compiled": (
        3.5,
        "z is compared with its boundaries again in every loop that reads it, and logs, powers "
        "and softmaxes are arithmetic that the floor does not have",
    ),
}


def unexpected(found: Sequence[Bar]) -> list[str]:
    """Return bars that are missed but not listed above, listed but met, or far behind."""
    wrong = []
    for bar in found:
        limit, _ = NOT_REACHED.get(bar.what, (None, ""))
        if limit is None and not bar.met:
            wrong.append(str(bar))
        elif limit is not None and bar.met:
            wrong.append(f"{bar}, though listed as not reached")
        elif limit is not None and not _within(bar, limit):
            wrong.append(f"{bar}, and beyond {limit:g}")
    return wrong


def _within(bar: Bar, limit: float) -> bool:
    return bar.value <= limit if bar.least is None else bar.value >= limit


def speed_table(
    floors: Sequence[FloorRow],
    homes: Sequence[HomeRow],
    rounds: int,
    cell: int,
    parts_of: Sequence[Between] = (),
) -> str:
    """Return the page."""
    found = provenance()
    state = " and uncommitted changes" if found["dirty"] else ""
    parts = [
        "# How fast is each estimator?",
        f"Commit {str(found['commit'])[:12]}{state}, {found['processor']}, one thread, float32. "
        "Made by `make prove`.",
        ABOUT.format(rounds=rounds, cell=cell),
        "## Against the floor",
        FLOOR_ABOUT,
        _floor_table(floors),
        *(f"{name} is left out on {title}: {why}." for (title, name), why in LEFT_OUT.items()),
        BETWEEN_ABOUT.format(title=FLOOR_JOB) if parts_of else "",
        _between_table(parts_of) if parts_of else "",
        "## Against what people write",
        HOME_ABOUT,
        _home_table(homes),
        "## What it comes to",
        "Geometric means and worst ratios, in medians.",
        _summary_of_homes(homes),
        _summary_of_floors(floors),
        "\n".join(f"- {bar}{_why(bar)}" for bar in bars(floors, homes)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _found(
    homes: Sequence[HomeRow], side: str, titles: Sequence[str] | dict[str, object]
) -> list[tuple[float, str]]:
    """Return (median ratio, whose) of one side on some jobs."""
    return [
        (row.ratios[side].median, f"{row.label} on {row.title}")
        for row in homes
        if side in row.ratios and row.title in titles
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _why(bar: Bar) -> str:
    return "" if bar.met or bar.what not in NOT_REACHED else f"; {NOT_REACHED[bar.what][1]}"


def _between_table(parts_of: Sequence[Between]) -> str:
    rows = [
        (row.name, row.floor, row.noise, row.rest_of_z, row.cost, row.rest, row.total)
        for row in parts_of
    ]
    head = ["estimator", "floor", "uniforms", "rest of z", "J", "rest of the gradient", "a draw"]
    return _table(head, rows)


def _or_dash(value: Spread | None) -> str:
    return "-" if value is None else str(value)


def _floor_table(floors: Sequence[FloorRow]) -> str:
    head = ["job", "estimator", "draws/s", "numbers", "J evaluations", "single"]
    rows = [
        (
            *(row.title, row.name, f"{row.per_second:,.0f}", f"{row.numbers:,}"),
            *(f"{row.evaluations:,}", "yes" if row.single else ""),
            *(row.over_floor, _or_dash(row.compiled), row.over_score),
        )
        for row in floors
    ]
    return _table([*head, "x floor", "compiled", "x score"], rows)


def _home_table(homes: Sequence[HomeRow]) -> str:
    head = ["job", "estimator", "gradients/s", *(f"x {side}" for side in SIDES)]
    rows = [
        (
            *(row.title, row.label, f"{row.per_second:,.0f}"),
            *(_or_dash(row.ratios.get(side)) for side in SIDES),
            *(row.rows.get("batched", "-"), _or_dash(row.evaluated)),
        )
        for row in homes
    ]
    return _table([*head, "rows", "evaluated"], rows)


def _summary_of_homes(homes: Sequence[HomeRow]) -> str:
    rows = []
    for side, name in SIDES.items():
        for group, titles in GROUPS.items():
            found = _found(homes, side, titles)
            if found:
                mean = geometric_mean([value for value, _ in found])
                worst, whose = min(found)
                rows.append([name, group, len(found), f"{mean:.3g}", f"{worst:.3g}", whose])
    return _table(["against", "on", "estimators", "mean", "worst", "which"], rows)


def _summary_of_floors(floors: Sequence[FloorRow]) -> str:
    kinds: dict[str, Callable[[FloorRow], bool]] = {
        "one sample and one evaluation": lambda row: row.single,
        "one sample": lambda row: row.samples == 1 and row.numbers > 0,
    }
    rows = []
    for title in dict.fromkeys(row.title for row in floors):
        for kind, belongs in kinds.items():
            own = [row for row in floors if row.title == title and belongs(row)]
            if not own:
                continue
            worst = max(own, key=lambda row: row.over_floor.median)
            mean = geometric_mean([row.over_floor.median for row in own])
            compiled = _mean_compiled(own)
            fast = f"{compiled:.3g}" if compiled == compiled else "-"
            whose = f"{worst.over_floor.median:.3g} ({worst.name})"
            rows.append([title, kind, len(own), f"{mean:.3g}", fast, whose])
    return _table(["x floor on", "those of", "estimators", "mean", "compiled", "worst"], rows)
