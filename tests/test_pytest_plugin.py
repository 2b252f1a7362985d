"""The fixture ``benchbed_check`` as a project that uses it meets it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The inner runs drop what they import, and torch cannot be imported twice: it is in memory before.
from benchbed import api, gate, pytest_plugin
from benchbed.gate import save_baseline
from benchbed.sweep import cells, drive, run, task
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec_file import parse_spec

pytest_plugins = ["pytester"]
IN_MEMORY = (api, gate, cells, drive, run, task)

OWN = """
from benchbed.estimators.score_function import score_function

def mine(samples: int = 1):
    from dataclasses import replace
    found = score_function(samples)
    return replace(found, draw=lambda *given: FACTOR * found.draw(*given))
"""
SPEC = """
name: small
objectives: {name: quadratic, dimensions: 3, target: 0.3}
estimators: [leave_one_out, "own.py:mine"]
samples: 2
draws: 16384
timing: 0
"""
TEST = """
def test_no_regression(benchbed_check):
    report = benchbed_check("small.yaml")
    assert report.alpha == 0.01
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """Return a project with a sweep of its own estimator, the baseline of it, and a test."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makefile(".yaml", small=SPEC)
    pytester.makepyfile(own=OWN.replace("FACTOR", "1.0"), test_no_regression=TEST)
    spec = parse_spec(SPEC, "small.yaml")
    outcome = run_sweep(spec, pytester.path / "before")
    save_baseline(outcome.path, pytester.path / "small.txt")
    return pytester


def tried(project, *words):
    """Run the project's tests in this process."""
    return project.runpytest_inprocess("-rs", *words, plugins=[pytest_plugin])


def test_without_a_baseline_it_is_skipped_and_says_how_to_give_one(project):
    found = tried(project)
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*SKIPPED*no baseline: run pytest with --benchbed-baseline FILE*"])


def test_what_did_not_change_passes_and_what_was_measured_is_kept(project):
    words = ("--benchbed-baseline", "small.txt", "--benchbed-results", "kept")
    tried(project, *words, "-rP").assert_outcomes(passed=1)
    kept = project.path / "kept" / "small"
    before = {path: path.stat().st_mtime_ns for path in (kept / "cells").iterdir()}
    assert len(before) == 4  # two cells, their arrays
    found = tried(project, *words, "-rP")
    found.stdout.fnmatch_lines(["small passes: 2 cells against *small.txt*"])
    assert {path: path.stat().st_mtime_ns for path in (kept / "cells").iterdir()} == before


def test_the_baseline_may_stand_in_the_configuration(project):
    (project.path / "sub").mkdir()
    project.makeini("[pytest]\nbenchbed_baseline = small.txt\n")
    tried(project).assert_outcomes(passed=1)


def test_a_regression_fails_with_one_line_a_finding(project):
    project.makepyfile(own=OWN.replace("FACTOR", "1.3"))
    found = tried(project, "--benchbed-baseline", "small.txt")
    found.assert_outcomes(failed=1)
    text = found.stdout.str()
    assert "Traceback" not in text
    assert "def test_no_regression" not in text
    lines = [line for line in found.outlines if line.startswith("fail: own.py:mine x 2 on quad")]
    assert any(": bias: " in line or ": change of bias: " in line for line in lines)
    assert any(": variance: " in line for line in lines)
    found.stdout.fnmatch_lines(["small REGRESSED: 2 cells against *small.txt*"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--benchbed-baseline", "none.txt"), "benchbed: *none.txt cannot be read*"),
        (("--benchbed-baseline", "own.py"), "benchbed: *own.py *"),
        (("--benchbed-baseline", "small.txt", "--benchbed-jobs", "0"), "benchbed: -j needs at *"),
    ],
    ids=["missing", "foreign", "jobs"],
)
def test_what_cannot_be_used_fails_in_one_line(project, words, said):
    found = tried(project, *words)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines([said])
    assert "Traceback" not in found.stdout.str()


def test_a_sweep_file_that_cannot_be_read_fails_in_one_line(project):
    (project.path / "small.yaml").write_text("name: small\n")
    found = tried(project, "--benchbed-baseline", "small.txt")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["benchbed: *small.yaml*"])


def test_every_pytest_run_loads_it_so_it_loads_next_to_nothing():
    code = (
        "import sys, benchbed.pytest_plugin as plugin; slow = {'torch', 'numpy', 'pandas', 'scipy'}"
        "; rooms = {name for name in sys.modules if name.startswith('benchbed.')}"
        "; sys.exit(f'{slow & set(sys.modules)} {rooms}' if slow & set(sys.modules)"
        " or rooms != {'benchbed.pytest_plugin'} else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
