"""The composite action of GitHub: its steps are run here as a runner would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
ACTION = YAML(typ="safe").load((ROOT / ".github/actions/check/action.yml").read_text())
SPEC = """
name: small
objectives: [golden_bits]
estimators: [leave_one_out, gumbel_softmax]
draws: 8192
timing: 0
"""


def act(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the steps one after another until one fails."""
    values = {name: str(spec.get("default", "")) for name, spec in ACTION["inputs"].items()}
    values |= {"install": ""} | inputs
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for step in ACTION["runs"]["steps"]:
        if step.get("if") == "inputs.install != ''" and not values["install"]:
            continue
        given = {
            key: values[value.removeprefix("${{ inputs.").removesuffix(" }}")]
            for key, value in step["env"].items()
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder, capture_output=True, text=True, timeout=120,
            env=os.environ | given | {"PATH": path, "GITHUB_STEP_SUMMARY": "summary.md"},
        )  # fmt: skip
        if done.returncode:
            break
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a sweep and a baseline."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "s.yaml").write_text(SPEC)
    for words in (["run", "s.yaml"], ["baseline", "save", "results/small", "--to", "b.jsonl"]):
        binary = Path(sys.executable).with_name("benchbed")
        subprocess.run([binary, *words], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_pull_request_and_a_night(project):
    """The same seed gives the same numbers; another one is judged by its draws."""
    done = act(project, spec="s.yaml", baseline="b.jsonl")
    assert done.returncode == 0, done.stderr
    assert "3 identical" in done.stdout
    done = act(project, spec="s.yaml", baseline="b.jsonl", seed="20261121")
    assert done.returncode == 0, done.stderr
    assert "identical" not in done.stdout
    assert (project / "summary.md").read_text().count("### ") == 2
    assert (project / "benchbed-junit.xml").exists()


def test_a_missing_cell_fails_and_inputs_are_no_script(project):
    text = (project / "b.jsonl").read_text().replace('"gumbel_softmax x 1', '"gone x 1')
    (project / "other.jsonl").write_text(text)
    assert act(project, spec="s.yaml", baseline="other.jsonl").returncode == 3
    assert act(project, spec="s.yaml", baseline="b.jsonl; touch no").returncode == 5
    assert not (project / "no").exists()
