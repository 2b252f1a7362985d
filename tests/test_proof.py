"""The long proofs: every unbiased estimator on every objective, at draws that see small biases.

Run by ``make prove``. The cells are sweeps (experiments/proof-*.yaml), so a stopped proof goes on
where it was; the dated table it writes, results/proof/unbiased.md, is committed.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import numpy as np
import pytest

from benchbed.analysis.table import label
from benchbed.analysis.verdict import CONFIRM_FACTOR, SHRINK, Verdict, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.cell import measure_cell
from benchbed.records import Blocks, Record
from benchbed.store import Results
from benchbed.store.provenance import provenance
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec_file import read_spec

ROOT = Path(__file__).resolve().parents[1]
SPECS = (
    *("proof-bits", "proof-categories", "proof-laws", "proof-bounds", "proof-structures"),
    *("proof-models", "proof-digits"),
)
FRESH_SEED = 1_000


@pytest.mark.prove
def test_every_estimator_that_says_unbiased_is():
    records: dict[str, Record] = {}
    for name in SPECS:
        spec = read_spec(ROOT / "experiments" / f"{name}.yaml")
        outcome = run_sweep(spec, ROOT / "results", jobs=os.cpu_count() or 1)
        assert outcome.exit_code == 0, outcome.one_line()
        store = Results(outcome.path)
        found, damaged = store.read(store.sweep()["cells"])
        assert not damaged
        records |= {
            f"{label(r.estimator)} x {r.samples} on {label(r.objective)}": r for r in found.values()
        }
    assert all(record.facts["unbiased"] is True for record in records.values())
    cells = {name: record.blocks for name, record in records.items() if record.blocks}
    assert len(cells) == len(records)
    certain = {name for name, record in records.items() if _has_no_variance(record)}
    exact = {
        name: record.exact.variance
        for name, record in records.items()
        if record.exact is not None and not record.facts["tuned"]
    }
    verdicts = judge(
        cells, lambda name: _fresh(records[name]), certain=certain, exact_variance=exact
    )
    _write_table(records, verdicts)
    assert [name for name, verdict in verdicts.items() if verdict.outcome == "biased"] == []
    for name, verdict in verdicts.items():
        if verdict.outcome == "undecided":
            assert _known(records[name]), f"{name}: {verdict.one_line()}"
    for verdict in verdicts.values():
        assert (verdict.outcome == "unbiased") <= (verdict.visible <= SHRINK)
    estimators_shown = {
        records[name].estimator["name"] for name, v in verdicts.items() if v.outcome == "unbiased"
    }
    assert estimators_shown == {record.estimator["name"] for record in records.values()}


# Estimators whose tails leave a cell undecided, by derivation; nothing else may hide there.
HEAVY = {("lax", "normal_cosine")}


def _known(record: Record) -> bool:
    """Say why a cell may be undecided: its exact mean is right, or its tails are known."""
    found = record.exact
    if found is not None:
        error = np.linalg.norm(found.mean - record.blocks.exact)
        return bool(error <= 1e-9 * np.linalg.norm(record.blocks.exact))
    return (record.estimator["name"], record.objective["name"]) in HEAVY


def _has_no_variance(record: Record) -> bool:
    """Say whether marginalizing the estimator showed that it has no variance at all."""
    found = record.exact
    if record.estimator["name"] == "exact" or found is None:
        return record.estimator["name"] == "exact"
    return bool(found.variance.sum() <= 1e-20 * (found.mean**2).sum())


def _fresh(record: Record) -> Blocks:
    """Measure a flagged cell again: another seed, more draws, no float32 rounding."""
    entry = dict(record.estimator)
    if entry["name"] != "exact":
        entry["samples"] = record.samples
    found = measure_cell(
        build_objective(**record.objective),
        build_estimator(**entry),
        draws=CONFIRM_FACTOR * record.address["draws"],
        seed=FRESH_SEED,
        address=("confirm",),
        dtype="float64",
        timing=0,
    )
    return found.blocks


def _write_table(records: dict[str, Record], verdicts: dict[str, Verdict]) -> None:
    surroundings = provenance()
    counts = {
        outcome: sum(v.outcome == outcome for v in verdicts.values())
        for outcome in ("unbiased", "insensitive", "undecided", "biased")
    }
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    lines = [
        "# Unbiased, to within what?",
        "",
        f"{datetime.date.today().isoformat()}, commit {str(surroundings['commit'])[:12]}"
        f"{' and uncommitted changes' if surroundings['dirty'] else ''}, "
        f"{surroundings['processor']}, one thread a process. Made by `make prove`.",
        "",
        f"{len(verdicts)} cells: {said}. The chance that any correct estimator is called biased "
        "here is about 0.005. A cell counts as unbiased only if a gradient shrunk by 5 % would "
        "have shown with probability 0.99; `visible` is the smallest shrink that would have. "
        "Bias is the distance of the mean from the exact gradient, as a share of that gradient's "
        "length, with its 95 % interval.",
        "",
        "| objective | estimator | samples | draws | bias, % [95 %] | visible, % | screen p "
        "| confirm p | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, verdict in verdicts.items():
        record = records[name]
        bias, low, high = (f"{100 * x:.2g}" for x in verdict.bias)
        confirmed = "-" if verdict.confirm != verdict.confirm else f"{verdict.confirm:.2g}"
        lines.append(
            f"| {label(record.objective)} | {label(record.estimator)} | {record.samples} "
            f"| {record.address['draws']:,} | {bias} [{low}, {high}] "
            f"| {100 * verdict.visible:.2g} | {verdict.screen:.2g} | {confirmed} "
            f"| {verdict.outcome} |"
        )
    path = ROOT / "results" / "proof" / "unbiased.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
