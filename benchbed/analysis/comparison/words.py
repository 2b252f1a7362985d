"""A comparison in sentences: who wins where, ties as ties, and what the bias says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchbed.analysis.comparison.bias import Standing
from benchbed.analysis.comparison.comparison import Comparison, Row
from benchbed.analysis.sheet import OBJECTIVE

SHORT = {
    "variance": "variance",
    "mse": "MSE",
    "variance_x_evaluations": "variance x J evaluations",
    "variance_x_cpu": "variance x CPU time",
    "cpu": "CPU time",
}
TITLES = SHORT | {
    "variance": "variance of one estimate",
    "mse": "MSE of one estimate",
    "cpu": "CPU time of one estimate",
}
# What bias can buy: an estimator that shrinks to nothing has no variance at all.
BOUGHT = ("variance", "variance_x_evaluations", "variance_x_cpu")
NO_WIN = "no win (biased)"
NO_LOSS = "no loss (baseline biased)"
_PHRASES = {  # in the order they are told
    "wins": "wins",
    NO_WIN: NO_WIN,
    "loses": "loses",
    NO_LOSS: NO_LOSS,
    "tie": "ties",
    "undecided": "undecided",
    "tails": "undecided (tails)",
    "zero": "zero variance",
    "failed": "failed",
}


def verdict_of(row: Row) -> str:
    """Return the outcome of a row with what bias makes of it; a key of the phrases told."""
    if row.metric in BOUGHT and row.outcome == "wins" and row.biased:
        return NO_WIN
    if row.metric in BOUGHT and row.outcome == "loses" and row.baseline_biased and not row.biased:
        return NO_LOSS
    return row.outcome


def conclusion(found: Comparison) -> list[str]:
    """Return the sentences: who wins where against each baseline, then what bias says of it."""
    name = shortened([found.candidate, *found.baselines])
    where = places(found.rows)
    lines = []
    for baseline in found.baselines:
        told: dict[str, list[str]] = {}  # what is said -> the metrics of which it is
        for metric in found.metrics:
            rows = [r for r in found.rows if (r.baseline, r.metric) == (baseline, metric)]
            if said := _told(rows, where):
                told.setdefault(said, []).append(SHORT[metric])
        parts = [f"{_and(metrics)}: {said}." for said, metrics in told.items()]
        parts += [f"{calls}." for calls in [_calls(found, baseline)] if calls]
        parts = [f"{name[found.candidate]} against {name[baseline]}.", *parts]
        lines.append(" ".join(parts))
    return [*lines, *_on_bias(found, name[found.candidate])]


def shortened(labels: Iterable[str]) -> dict[str, str]:
    """Return each estimator's label without its file or module, where that leaves it unique."""
    every = list(dict.fromkeys(labels))
    short = {label: _without_place(label) for label in every}
    taken = list(short.values())
    return {label: name if taken.count(name) == 1 else label for label, name in short.items()}


def places(rows: Iterable[Row]) -> dict[tuple[str, int], str]:
    """Return a short name for each objective and number of samples that differs from all others."""
    keys = list(dict.fromkeys((row.objective, row.samples) for row in rows))
    labels = list(dict.fromkeys(objective for objective, _ in keys))
    text = {label: _told_apart(label, labels) for label in labels}
    return {
        (label, samples): text[label]
        + (f" at {samples} samples" if sum(other == label for other, _ in keys) > 1 else "")
        for label, samples in keys
    }


def _told_apart(label: str, labels: Sequence[str]) -> str:
    """Return an objective's name with those settings that others of its name do not share."""
    name, mine = _parted(label)
    others = [settings for other, settings in map(_parted, labels) if other == name]
    own = [setting for setting in mine if not all(setting in each for each in others)]
    return f"{name}({', '.join(own)})" if own and len(others) > 1 else name


def _parted(label: str) -> tuple[str, list[str]]:
    name, _, settings = label.removesuffix(")").partition("(")
    return name, settings.split(", ") if settings else []


def _told(rows: list[Row], where: dict[tuple[str, int], str]) -> str:
    """Return who wins where in one metric against one baseline."""
    told = []
    known = [row for row in rows if row.outcome != "undefined"]
    for verdict, phrase in _PHRASES.items():
        here = [row for row in known if verdict_of(row) == verdict]
        if not here:
            continue
        if len(here) == len(known) and len(here) > 1:
            return f"{phrase} on all {len(here)}"
        told.append(f"{phrase} on {', '.join(where[r.objective, r.samples] for r in here)}")
    return "; ".join(told)


def _calls(found: Comparison, baseline: str) -> str:
    """Say what an estimate costs in calls of J, where that is the same everywhere."""
    rows = [r for r in found.rows if r.baseline == baseline and r.baseline_samples]
    keys = {
        (
            found.evaluations.get((r.objective, found.candidate, r.samples)),
            found.evaluations.get((r.objective, baseline, r.baseline_samples)),
            r.samples,
            r.baseline_samples,
        )
        for r in rows
    }
    if len(keys) != 1:
        return ""
    mine, theirs, samples, others = keys.pop()
    if mine is None or theirs is None:
        return ""
    if mine == theirs:
        return ""
    apart = "" if samples == others else f" (at {samples} and {others} samples, each its own)"
    return f"It calls J {mine:g} times an estimate, not {theirs:g}{apart}"


def _on_bias(found: Comparison, name: str) -> list[str]:
    """Say where the candidate's own bias was seen, could have been, or could not."""
    where = places(found.rows)
    mine = [s for s in found.standings.values() if s.estimator == found.candidate]
    groups: dict[str, list[Standing]] = {}
    for standing in mine:
        groups.setdefault(standing.word, []).append(standing)

    def at(standing: Standing) -> str:
        key = standing.objective, standing.samples
        return where.get(key, standing.objective)

    lines = []
    targets = {s.target for s in mine} - {OBJECTIVE}
    held = f" (held against {', '.join(sorted(targets))})" if targets else ""
    for word in ("biased", "suspect"):
        if here := groups.get(word):
            each = ", ".join(f"{at(s)} {_percent(s)}" for s in here)
            doubt, end = "is biased", "Less variance there is no win."
            if word == "suspect":
                doubt, end = "may be biased", "One in ten of such flags is false."
            lines.append(
                f"{name} {doubt} on {each}{held}: |bias| as a share of the gradient, by the screen "
                f"alone; 'benchbed verify estimator' confirms on fresh draws. {end}"
            )
    if here := groups.get("unbiased"):
        worst = max(s.visible for s in here)
        whole = len(here) == len(mine) > 1
        everywhere = f"all {len(here)} measured" if whole else ", ".join(map(at, here))
        lines.append(
            f"{name} shows no bias on {everywhere}{held}: a gradient shrunk by {100 * worst:.2g} % "
            "or more would have shown."
        )
    if here := groups.get("insensitive"):
        each = ", ".join(f"{at(s)} (only from {100 * s.visible:.2g} %)" for s in here)
        lines.append(f"A bias of 5 % could not have been seen on {each}; draw more.")
    if here := groups.get("undecided"):
        each = ", ".join(map(at, here))
        lines.append(f"Bias is undecided on {each}: rare events decide; draw more.")
    return lines


def _percent(standing: Standing) -> str:
    value, low, high = (f"{100 * x:.3g}" for x in standing.bias)
    return f"({value} % [{low}, {high}])"


def _without_place(label: str) -> str:
    name, bracket, settings = label.partition("(")
    return name.rpartition(":")[2] + bracket + settings


def _and(words: Sequence[str]) -> str:
    """Begin a sentence with a list."""
    said = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return said[:1].upper() + said[1:]
