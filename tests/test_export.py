"""github-action-benchmark's JSON: what its tool customSmallerIsBetter reads, nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from test_cli import call

from benchbed.analysis.sheet import read_table
from benchbed.errors import ExitCode
from benchbed.report.github_benchmark import to_github_benchmark
from benchbed.store import Results
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec_file import parse_spec

SPEC = """
name: small
objectives: {name: quadratic, dimensions: 2}
estimators: [score_function, straight_through, exact]
draws: 512
blocks: 8
timing: 2
"""
FIELDS = {"name": str, "unit": str, "value": float, "range": str, "extra": str}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a small sweep."""
    return run_sweep(parse_spec(SPEC, "small.yaml"), tmp_path_factory.mktemp("results")).path


def test_every_entry_has_the_fields_of_the_format(folder):
    done = call("table", str(folder), "--format", "github")
    assert (done.returncode, done.stderr) == (0, "")
    entries = json.loads(done.stdout, parse_constant=pytest.fail)  # NaN is no JSON
    assert len(entries) == 9
    for entry in entries:
        assert {key: type(value) for key, value in entry.items()} == FIELDS
        assert math.isfinite(entry["value"])
    assert len({entry["name"] for entry in entries}) == 9  # a curve each


def test_the_numbers_and_their_intervals_are_the_tables(folder):
    frame, _ = read_table(folder)
    row = frame[frame["estimator"] == "straight_through"].iloc[0]
    entries = {entry["name"]: entry for entry in json.loads(to_github_benchmark(frame))}
    cell = f"straight_through x 1 on {row['objective']}"
    variance = entries[f"{cell}: variance"]
    assert variance["value"] == row["variance"]
    assert variance["range"] == (
        f"{row['variance']:.4g} [{row['variance_low']:.4g}, {row['variance_high']:.4g}]"
    )
    bias = entries[f"{cell}: |bias|, upper bound"]
    assert bias["value"] == pytest.approx(100 * row["bias_high"])
    assert bias["unit"] == "% of gradient"
    assert "512 draws, 1 seed" in bias["extra"]
    assert entries[f"{cell}: CPU time"]["value"] == row["cpu_ratio"]


def test_what_has_no_number_has_no_entry(folder):
    frame, _ = read_table(folder)
    frame["cpu_ratio"] = math.nan
    frame.loc[0, "status"] = "nonfinite"
    frame.loc[1, ["bias", "bias_low", "bias_high"]] = math.nan
    entries = json.loads(to_github_benchmark(frame))
    assert len(entries) == 3
    assert to_github_benchmark(pd.DataFrame(columns=frame.columns)) == "[]\n"


def test_a_sweep_with_failed_cells_exits_3_and_still_prints_the_others(tmp_path):
    path = run_sweep(parse_spec(SPEC, "small.yaml"), tmp_path).path
    store = Results(path)
    cell = min(store.ids())
    store.put(replace(store.get(cell), status="failed", blocks=None, exact=None))
    done = call("table", str(path), "--format", "github")
    assert done.returncode == ExitCode.INCOMPLETE
    assert len(json.loads(done.stdout)) == 6
    assert done.stderr.count("\n") == 1
