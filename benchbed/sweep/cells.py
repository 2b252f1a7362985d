"""A spec's grid, cell by cell, with what cannot work found before anything runs."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchbed.catalogue import (
    ESTIMATORS,
    OBJECTIVES,
    build_estimator,
    build_objective,
    module_of,
    takes_samples,
)
from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.errors import BadArgument, BadSpec
from benchbed.measurement.cell import check_device
from benchbed.sweep.fingerprint import fingerprint_of, foundations
from benchbed.sweep.spec import Entry, Spec

GAP = "\0"  # where a reason names the objectives


@dataclass(frozen=True)
class Cell:
    """One measurement to make; ``id`` is the hash of everything that decides its numbers."""

    id: str
    objective: Entry
    estimator: Entry
    samples: int
    seed: int
    address: dict[str, Any]

    def one_line(self) -> str:
        """Name the cell for a person."""
        return f"{self.estimator['name']} on {self.objective['name']}, samples {self.samples}"


def expand(spec: Spec) -> tuple[list[Cell], list[str]]:
    """Return the cells of ``spec`` and a line for every reason why some were left out.

    Raises:
        BadSpec: some combination cannot work and the spec does not say ``impossible: skip``.
        UnknownName, BadArgument: a name or a setting that can work nowhere.
    """
    check_device(spec.device)
    built_estimator.cache_clear()  # a file of your own may have been edited since
    built_objective.cache_clear()
    cells: list[Cell] = []
    impossible: dict[str, list[str]] = {}  # why, with a gap for the objectives -> those
    estimators = list(_grid(spec.estimators))
    for entry in estimators:
        built_estimator(_key(entry))  # a bad setting is an error wherever it would be used
    for objective_entry in _grid(spec.objectives):
        objective = built_objective(_key(objective_entry))
        for entry, samples in itertools.chain.from_iterable(_sampled(e, spec) for e in estimators):
            try:
                estimator = _with_samples(entry, samples)
            except BadArgument as error:
                impossible.setdefault(str(error), [])
                continue
            if reason := obstacle(objective, estimator):
                fits = impossible.setdefault(f"{entry['name']} cannot work on {GAP}: {reason}", [])
                fits.append(objective_entry["name"])
                continue
            plain = {key: value for key, value in entry.items() if key != "samples"}
            source = _sources(objective_entry, plain)
            for seed in spec.seeds:
                cells.append(_cell(spec, source, objective_entry, plain, estimator.samples, seed))
    lines = [
        why.replace(GAP, ", ".join(dict.fromkeys(objectives)))
        for why, objectives in impossible.items()
    ]
    if lines and (spec.impossible == "error" or not cells):
        advice = "take them out, or write 'impossible: skip'" if cells else "nothing is left to run"
        raise BadSpec(f"{'; '.join(lines)}; {advice}")
    unique = {cell.id: cell for cell in cells}
    return list(unique.values()), lines


@functools.lru_cache(maxsize=64)
def built_objective(key: str) -> Objective:
    """Build the objective of a spec entry given as JSON (remembered: some take seconds)."""
    objective = build_objective(**json.loads(key))
    objective.exact_gradient()  # too large a support is found here, before anything runs
    return objective


@functools.lru_cache(maxsize=64)
def built_estimator(key: str) -> Estimator:
    """Build the estimator of a spec entry given as JSON."""
    return build_estimator(**json.loads(key))


def check_source(cell: Cell) -> None:
    """Raise BadArgument if the source of a cell is no longer what its id was made of."""
    if _sources(cell.objective, cell.estimator) != cell.address["source"]:
        raise BadArgument(
            f"{cell.one_line()}: its source is not what the sweep began with, or is not found from "
            "here; run the sweep again"
        )


def estimator_of(cell: Cell) -> Estimator:
    """Build a cell's estimator."""
    return _with_samples(cell.estimator, cell.samples)


def objective_of(cell: Cell) -> Objective:
    """Build a cell's objective."""
    return built_objective(_key(cell.objective))


def noise_address(cell: Cell) -> tuple[str, ...]:
    """Return what the noise depends on besides seed, samples and block.

    Estimators share it (common random numbers) unless the spec says ``independent``.
    """
    shared = (_key(cell.objective),)
    return (*shared, _key(cell.estimator)) if cell.address["independent"] else shared


def _with_samples(entry: Entry, samples: int | None) -> Estimator:
    if samples is None or not takes_samples(entry):
        return built_estimator(_key(entry))
    estimator = built_estimator(_key(entry | {"samples": samples}))
    if estimator.samples != samples:
        raise BadArgument(
            f"{entry['name']} with samples {samples} returned an Estimator of samples "
            f"{estimator.samples}; pass samples=samples to Estimator"
        )
    return estimator


def _sampled(entry: Entry, spec: Spec) -> Iterator[tuple[Entry, int | None]]:
    """Yield the entry once for every ``samples`` it is to be run with."""
    if "samples" in entry or spec.samples is None or not takes_samples(entry):
        yield entry, entry.get("samples")
        return
    for samples in spec.samples:
        yield entry, samples


def _grid(entries: list[Entry]) -> Iterator[Entry]:
    """Yield every combination of the settings that are lists."""
    for entry in entries:
        axes = [value if isinstance(value, list) else [value] for value in entry.values()]
        for values in itertools.product(*axes):
            yield dict(zip(entry, values, strict=True))


def _cell(
    spec: Spec, source: list[str], objective: Entry, estimator: Entry, samples: int, seed: int
) -> Cell:
    address = {
        "draws": spec.draws,
        "blocks": spec.blocks,
        "dtype": spec.dtype,
        "device": spec.device,
        "independent": spec.independent,
        "foundations": foundations(),
        "source": source,
    }
    if spec.compile:  # left out otherwise: cells of before keep their ids
        address["compile"] = True
    everything = _key([objective, estimator, samples, seed, address])
    digest = hashlib.sha256(everything.encode()).hexdigest()[:20]
    return Cell(digest, objective, estimator, samples, seed, address)


def _sources(objective: Entry, estimator: Entry) -> list[str]:
    """Return the fingerprints of an objective's and an estimator's source."""
    tables = (("objective", OBJECTIVES, objective), ("estimator", ESTIMATORS, estimator))
    found = [
        fingerprint_of(entry["name"], module_of(kind, entry["name"], table))
        for kind, table, entry in tables
    ]
    if "as" in estimator:
        found.append(fingerprint_of("", "benchbed.adapters"))
    return found


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
