"""One candidate, its baselines and an experiment -> the sweep that compares them.

Estimators share their noise block by block (common random numbers), so that ratios can be paired.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchbed.analysis.comparison.ratio import LEAST_SEEDS
from benchbed.analysis.table import label
from benchbed.catalogue import build_estimator, build_objective, takes_samples
from benchbed.contracts import Estimator, obstacle
from benchbed.errors import BadArgument, BadSpec, IncompatiblePair
from benchbed.sweep.spec import Entry, Spec
from benchbed.sweep.spec_file import read_spec

PANEL = Path(__file__).with_name("compare.yaml")  # comes with the package
LEAST_TIMINGS = 10  # alternations: fewer give CPU ratios no interval worth the name
TUNED_SEEDS = 8


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and what a person should know of it first."""

    spec: Spec
    candidate: Entry
    notices: list[str]


def plan(
    candidate: Entry,
    baselines: Sequence[Entry],
    experiment: str | Path | None = None,
    *,
    samples: int | None = None,
    draws: int | None = None,
    seeds: int | None = None,
) -> Plan:
    """Return the sweep of a candidate and its baselines on what of an experiment they fit.

    Args:
        candidate: name and settings.
        baselines: names and settings.
        experiment: a sweep file for everything but the estimators; None for the panel that comes
            with the package.
        samples: of every estimator that takes them; None for the experiment's, or each its own
            where the candidate takes none.
        draws: instead of the experiment's.
        seeds: likewise; where something is tuned and none were asked for, at least 8.

    Raises:
        BadArgument, UnknownName, IncompatiblePair, BadSpec: what cannot work, in one line.
    """
    asked = read_spec(experiment or PANEL)
    candidate = _ordered(candidate)
    rivals = [entry for entry in _distinct(map(_ordered, baselines)) if entry != candidate]
    if not rivals:
        raise BadArgument(
            f"{label(candidate)} has no baseline but itself; name another with --baseline, such as "
            "leave_one_out"
        )
    for entry in rivals:
        if {key: value for key, value in entry.items() if key != "samples"} == candidate:
            raise BadArgument(
                f"baseline {label(entry)} is the candidate with other samples; see what samples do "
                "by a sweep of it, such as samples: [2, 4], and 'benchbed run'"
            )
    mine, theirs = build_estimator(**candidate), [build_estimator(**entry) for entry in rivals]
    notices: list[str] = []
    fitting = _fitting(asked, candidate, mine, rivals, theirs, notices)
    wanted = _samples(candidate, mine, asked, samples, notices)
    chosen = _seeds([mine, *theirs], asked, seeds, notices)
    values = asked.model_dump() | {
        "name": f"compare-{safe_name(candidate['name'])}",
        "question": f"Is {label(candidate)} better than {', '.join(map(label, rivals))}?",
        "objectives": fitting,
        "estimators": [candidate, *rivals],
        "samples": wanted,
        "seeds": chosen,
        "draws": asked.draws if draws is None else draws,
        "impossible": "skip",
        "independent": False,
        "timing": max(asked.timing, LEAST_TIMINGS) if asked.timing else 0,
    }
    if not asked.timing:
        notices.append("timing: 0 in the experiment: no comparison by CPU time")
    try:
        spec = Spec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BadSpec(f"{place}: {first['msg']}".lstrip(": ")) from None
    return Plan(spec, candidate, notices)


def safe_name(name: str) -> str:
    """Return an estimator's name as part of a folder's: a file's own name and its function's."""
    place, _, attribute = name.rpartition(":")
    stem = Path(place).stem if place.endswith(".py") else place
    whole = attribute if stem in ("", attribute) else f"{stem}-{attribute}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", whole).strip("-.") or "candidate"


def _ordered(entry: Entry) -> Entry:
    """Return an entry with its settings in the order that records hold them in."""
    return {"name": entry["name"]} | {key: entry[key] for key in sorted(entry)}


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in {label(entry): entry for entry in entries}.values()]


def _fitting(
    asked: Spec,
    candidate: Entry,
    mine: Estimator,
    rivals: Sequence[Entry],
    theirs: Sequence[Estimator],
    notices: list[str],
) -> list[Entry]:
    """Return the objectives that the candidate fits and some baseline does, one at each setting."""
    fitting, reasons, met = [], dict[str, list[str]](), [False] * len(theirs)
    for entry in _each(asked.objectives):
        objective = build_objective(**entry)
        if why := obstacle(objective, mine):
            reasons.setdefault(why, []).append(entry["name"])
            continue
        fits = [not obstacle(objective, other) for other in theirs]
        met = [a or b for a, b in zip(met, fits, strict=True)]
        if any(fits):
            fitting.append(entry)
        else:
            reasons.setdefault("no baseline fits there", []).append(entry["name"])
    lines = [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()]
    if not fitting:
        raise IncompatiblePair(
            f"{label(candidate)} and its baselines share no objective of {asked.name} "
            f"({'; '.join(lines)}); name an experiment and baselines for its latents, which "
            "'benchbed list' shows"
        )
    for entry, ever in zip(rivals, met, strict=True):
        if not ever:
            raise IncompatiblePair(
                f"baseline {label(entry)} fits no objective that {label(candidate)} does; "
                "take it out, or name another experiment"
            )
    notices += [f"left out: {line}" for line in lines]
    return fitting


def _each(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield every combination of the settings that are lists."""
    for entry in entries:
        axes = [value if isinstance(value, list) else [value] for value in entry.values()]
        for values in itertools.product(*axes):
            yield dict(zip(entry, values, strict=True))


def _samples(
    candidate: Entry, mine: Estimator, asked: Spec, given: int | None, notices: list[str]
) -> list[int] | None:
    """Return the samples that all are compared at; None for each estimator's own number."""
    if given is not None:
        if takes_samples(candidate):
            build_estimator(**candidate, samples=given)  # says what it needs instead
        return [given]
    if not takes_samples(candidate):
        notices.append(f"{label(candidate)} takes no samples: every baseline is at its own default")
        return None
    try:
        for samples in asked.samples or []:
            build_estimator(**candidate, samples=samples)
    except BadArgument:
        notices.append(f"{label(candidate)} is compared at its own {mine.samples} samples")
        return [mine.samples]
    return asked.samples


def _seeds(
    estimators: Iterable[Estimator], asked: Spec, given: int | None, notices: list[str]
) -> list[int]:
    tuned = [estimator.name for estimator in estimators if estimator.tune is not None]
    seeds = asked.seeds if given is None else list(range(given))
    if tuned and len(seeds) < LEAST_SEEDS:
        if given is None:
            seeds = list(range(TUNED_SEEDS))
        notices.append(
            f"{', '.join(tuned)} tuned anew for every seed: intervals are over {len(seeds)} seeds"
            + ("" if given is None else f", and need {LEAST_SEEDS} or more")
        )
    return seeds
