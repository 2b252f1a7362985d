"""The README is true: its example gives its output, and its tables hold what there is."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from pathlib import Path

import pytest

from benchbed.catalogue import (
    ESTIMATORS,
    OBJECTIVES,
    build_estimator,
    build_objective,
    listing,
)
from benchbed.citations import bibtex
from benchbed.cli import cli
from benchbed.errors import ExitCode
from benchbed.sweep.spec_file import parse_spec, read_spec
from benchbed.verification.estimator.verify import verify_estimator

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


def block(kind: str) -> str:
    """Return the first fenced block of a kind."""
    found = re.search(rf"```{kind}\n(.*?)```", README, re.DOTALL)
    assert found, kind
    return found.group(1)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    ("source", "output"), list(zip(blocks("python"), blocks("text"), strict=True))
)
def test_the_examples_print_what_the_readme_shows(source, output):
    """Numbers to the last digit but one (processors round apart), words exactly."""
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(source, {})
    shown, got = output.split(), printed.getvalue().split()
    assert len(shown) == len(got) > 10
    for left, right in zip(shown, got, strict=True):
        try:
            assert float(left) == pytest.approx(float(right), rel=1e-4, abs=1e-6)
        except ValueError:
            assert left == right


def test_the_loss_that_is_verified_is_unbiased(tmp_path):
    (tmp_path / "reinforce.py").write_text(block("py"))
    report = verify_estimator(
        f"{tmp_path}/reinforce.py:reinforce", {"as": "surrogate"}, latents=["categorical"]
    )
    assert report.exit_code() == 0
    shown = re.search(r"reinforce: 16 checks of the contract hold. No bias in 4 of 4 cells", README)
    assert shown
    assert {found.outcome for found in report.findings} == {"unbiased"}


def test_the_spec_is_a_spec():
    spec = parse_spec(block("yaml"))
    assert spec.seeds == [0, 1, 2, 3, 4]
    assert spec.samples == [2, 4]


def test_every_name_is_in_the_table():
    inside = README[README.index("## What is inside") :]
    for name in (*ESTIMATORS, *OBJECTIVES):
        assert f"| `{name}` |" in inside, name


def test_the_table_promises_what_the_estimators_do():
    said = {"yes": True, "no": False, "in the limit": "limit"}
    for row in listing("estimators"):
        cells = next(
            line.split(" | ") for line in README.splitlines() if f"| `{row['name']}` |" in line
        )
        assert said[cells[2].partition(",")[0]] == row["unbiased"], row["name"]
        assert cells[-1].rstrip(" |") == (row["citation"] or "-"), row["name"]


def test_the_table_says_of_objectives_what_they_say():
    for row in listing("objectives"):
        summary = row["summary"].replace("|", r"\|")
        assert f"| `{row['name']}` | {summary} |" in README, row["name"]
    assert f"{len(OBJECTIVES)} objectives, each with its" in README


def test_every_citation_has_its_bibtex():
    for name in ESTIMATORS:
        assert bibtex([build_estimator(name).citation]).count("@") >= (name != "exact"), name
    for name in OBJECTIVES:
        bibtex([build_objective(name).citation])


def test_every_verb_and_exit_code_is_named():
    for verb in cli.commands:
        assert f"`benchbed {verb}" in README, verb
    for code in ExitCode:
        assert re.search(rf"\b{code.value}\b", README), code


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_is_a_spec_named_like_its_file_with_a_question(path):
    spec = read_spec(path)
    assert spec.name == path.stem
    assert spec.question.endswith("?")


def test_nothing_was_left_to_fill_in():
    assert "<!--" not in README
    assert "QUICK" not in README


def test_no_environment_is_committed():
    """A virtual environment once was: 37,000 files, and paths of the machine it was made on."""
    done = subprocess.run(
        ["git", "ls-files", ".venv", "results", "reports"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("not a git checkout")
    allowed = ("results/.gitkeep", "results/proof/", "results/baseline/", "reports/")
    assert [path for path in done.stdout.split() if not path.startswith(allowed)] == []
