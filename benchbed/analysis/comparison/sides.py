"""The two sides of a comparison: one estimator on one objective, its seeds together."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchbed.analysis.sheet import OBJECTIVE
from benchbed.analysis.summary import ROUNDING, Summary, pool, summarize
from benchbed.analysis.table import label
from benchbed.analysis.tails import variance_is_uncertain
from benchbed.records import Blocks, Record


@dataclass(frozen=True)
class Side:
    """One estimator on one objective with one number of samples.

    Attributes:
        records: a seed each, in the order of the seeds.
    """

    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The record of the first seed: all others differ in their seed alone."""
        return self.records[0]

    @property
    def objective(self) -> str:
        """Its label."""
        return label(self.first.objective)

    @property
    def samples(self) -> int:
        """Samples in one estimate."""
        return self.first.samples

    @property
    def failure(self) -> str:
        """Why there are no numbers to compare; empty if there are."""
        bad = [record for record in self.records if record.status != "ok"]
        return f"{bad[0].status}: {bad[0].message}" if bad else ""

    @property
    def tuned(self) -> bool:
        """Whether each seed tuned it anew."""
        return bool(self.first.facts.get("tuned"))

    @property
    def target(self) -> str:
        """Whose exact gradient its errors are taken from."""
        return str(self.first.facts.get("target", OBJECTIVE))

    @property
    def evaluations(self) -> float:
        """Calls of J in one estimate."""
        return float(self.first.facts.get("evaluations", 0))

    @functools.cached_property
    def parts(self) -> tuple[Blocks, ...]:
        """The blocks of each seed."""
        return tuple(record.blocks for record in self.records if record.blocks is not None)

    @functools.cached_property
    def blocks(self) -> Blocks:
        """The blocks of all seeds."""
        return pool(self.parts)

    @functools.cached_property
    def summary(self) -> Summary:
        """What all seeds' draws say."""
        return summarize(self.blocks)

    @functools.cached_property
    def tails(self) -> bool:
        """Whether the variance, or its own standard error, may not exist.

        Of a tuned estimator in most of its seeds: maxima of different tunings scatter by the
        tunings, whatever their tails.
        """
        if self.tuned:
            uncertain = sum(map(variance_is_uncertain, self.parts)) > len(self.parts) / 2
        else:
            uncertain = variance_is_uncertain(self.blocks)
        return self.summary.heavy or uncertain

    @property
    def no_error(self) -> bool:
        """Whether every draw was the exact gradient, to rounding."""
        scale = ROUNDING * (self.summary.gradient_norm or 1.0)
        return self.summary.zero and self.summary.mse.value <= scale**2

    def shares_noise(self, other: Side) -> bool:
        """Say whether block b of both was drawn from the same stream: one test can pair them.

        A stream's address holds objective, samples, seed and dtype, and the estimator only where
        the spec says ``independent``.
        """
        apart = self.first.address.get("independent") or other.first.address.get("independent")
        alike = self._streams() == other._streams()
        return alike and not apart and np.array_equal(self.blocks.count, other.blocks.count)

    def _streams(self) -> list[tuple[object, ...]]:
        keys = ("dtype", "device")
        return [(r.samples, r.seed, *map(r.address.get, keys)) for r in self.records]

    def identical(self, other: Side) -> bool:
        """Say whether both left the same sums, bit for bit."""
        return len(self.parts) == len(other.parts) and all(
            np.array_equal(mine.first, its.first) and np.array_equal(mine.distance, its.distance)
            for mine, its in zip(self.parts, other.parts, strict=True)
        )


class Pair(NamedTuple):
    """A candidate's side and a baseline's on the same objective; ``old`` is None if it has none."""

    baseline: str
    new: Side
    old: Side | None


def sides(records: Iterable[Record]) -> list[Side]:
    """Return the sides that ``records`` hold, in the order of their first records."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        key = json.dumps([record.objective, record.estimator, record.samples], sort_keys=True)
        groups.setdefault(key, []).append(record)
    return [Side(tuple(sorted(group, key=lambda r: r.seed))) for group in groups.values()]


def pairs(found: Iterable[Side], candidate: Mapping[str, Any]) -> Iterator[Pair]:
    """Yield every side of the candidate with that of every baseline on its objective.

    Equal numbers of samples are compared. A baseline that was not measured with as many (it takes
    none, or was asked for its own) stands with the only number it has.

    Args:
        found: all sides.
        candidate: name and settings of the estimator that is compared with all others.
    """
    every = list(found)
    mine = [side for side in every if side.first.estimator == candidate]
    rivals = [side for side in every if side.first.estimator != candidate]
    for name in dict.fromkeys(label(side.first.estimator) for side in rivals):
        for new in mine:
            here = [
                side
                for side in rivals
                if label(side.first.estimator) == name and side.objective == new.objective
            ]
            same = [side for side in here if side.samples == new.samples]
            fitting = same or (here if len(here) == 1 else [])
            yield Pair(name, new, fitting[0] if fitting else None)
