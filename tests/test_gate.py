"""The gate: the right verdict, the right exit code, and a report that shows and does no harm."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats
from test_bias_test import EXACT, blocks_from, correlated
from test_cli import Done, call, refused

from benchbed.analysis.gate.baseline import Baseline, Reading, read_cell
from benchbed.analysis.gate.baseline_text import from_text, to_text
from benchbed.analysis.gate.cost import judge_cpu
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.gate.gate import gate
from benchbed.analysis.gate.mean_change import change_p_value, sketch, visible_change
from benchbed.analysis.gate.two_stage import two_stage
from benchbed.analysis.variance_ratio import LogEstimate
from benchbed.errors import ExitCode, UnusableResults
from benchbed.gate import Report
from benchbed.records import Exact, Record
from benchbed.report.gate import junit, markdown

SPEC = """
name: gated
objectives: [golden_bits]
estimators: [leave_one_out, gumbel_softmax, "mine.py:mine"]
seeds: [SEED]
draws: 16384
timing: 0
"""
MINE = """
def mine(objective, params, draws, noise):
    z = objective.family.sample(params, draws, 1, noise)
    cost = objective.evaluate(z, params).cost
    score = objective.family.score(params, z)[:, 0]
    return (cost - 1.5) * score
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a sweep and its baseline; tests do not change it."""
    folder = tmp_path_factory.mktemp("gated")
    (folder / "mine.py").write_text(MINE)
    (folder / "s.yaml").write_text(SPEC.replace("SEED", "0"))
    assert call("run", "s.yaml", cwd=folder).returncode == 0
    done = call("baseline", "save", "results/gated", cwd=folder)
    assert done.stdout == "results/baseline/gated.jsonl: 3 cells of gated\n"
    return folder


def rerun(folder: Path, swept: Path, *, mine: str = MINE, seed: int = 1, spec: str = SPEC) -> Path:
    """Run the sweep in a folder of its own, with other code or another seed."""
    (folder / "mine.py").write_text(mine)
    (folder / "s.yaml").write_text(spec.replace("SEED", str(seed)))
    call("run", "s.yaml", cwd=folder)
    return swept / "results/baseline/gated.jsonl"


def check(folder: Path, baseline: Path, *words: str) -> Done:
    return call("check", "results/gated", "--baseline", str(baseline), *words, cwd=folder)


class TestExitCodes:
    def test_the_same_results_are_identical(self, swept):
        done = check(swept, swept / "results/baseline/gated.jsonl", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == found["exit_code"] == 0
        assert found["counts"]["identical"] == 5  # three variances, and two means that may move

    def test_another_seed_passes_and_strict_says_what_draws_did_not_decide(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept)
        done = check(tmp_path, baseline)
        assert (done.returncode, done.stderr) == (0, "")
        assert "gated passes: 3 cells" in done.stdout
        few = SPEC.replace("16384", "1024")
        baseline = rerun(tmp_path, swept, spec=few)
        done = check(tmp_path, baseline, "--strict")
        assert done.returncode == ExitCode.UNDECIDED
        assert "would have shown" in done.stdout
        assert check(tmp_path, baseline).returncode == ExitCode.OK

    @pytest.mark.parametrize(
        ("edit", "says"),
        [
            (("- 1.5)", "- 30.0)"), "variance x "),
            (("* score", "* score * 0.8"), None),  # biased, but it promises nothing: it moved
            (("return (", "return 0.9 * ("), "its mean moved by "),
        ],
    )
    def test_what_got_worse_is_a_regression(self, swept, tmp_path, edit, says):
        baseline = rerun(tmp_path, swept, mine=MINE.replace(*edit))
        done = check(tmp_path, baseline, "--spec", "s.yaml")
        assert done.returncode == ExitCode.REGRESSION
        lines = [line for line in done.stdout.splitlines() if line.startswith("fail: ")]
        assert all(line.startswith("fail: mine.py:mine x 1 on golden_bits: ") for line in lines)
        assert any((says or "its mean moved") in line for line in lines)

    def test_three_times_the_work_is_a_regression(self, swept, tmp_path):
        """Far past the margin of 1.5: the noise of a busy machine is not, three times running."""
        timed = SPEC.replace("timing: 0", "timing: 5")
        rerun(tmp_path, swept, spec=timed)
        baseline = tmp_path / "timed.jsonl"
        saved = call("baseline", "save", "results/gated", "--to", str(baseline), cwd=tmp_path)
        assert saved.returncode == 0
        again = "    for _ in range(4):\n        objective.family.sample(params, draws, 1, noise)\n"
        slow = MINE.replace("    z = ", f"{again}    z = ")
        rerun(tmp_path, swept, mine=slow, spec=timed)
        done = check(tmp_path, baseline, "--spec", "s.yaml", "--json")
        assert done.returncode == ExitCode.REGRESSION
        failed = [f for f in json.loads(done.stdout)["findings"] if f["outcome"] == "fail"]
        assert [(f["cell"][:4], f["test"]) for f in failed] == [("mine", "cpu")]
        assert check(tmp_path, baseline, "--spec", "s.yaml", "--no-cpu").returncode == 0

    def test_your_own_code_is_imported_only_where_you_name_it(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept, mine=MINE.replace("- 1.5)", "- 30.0)"))
        done = check(tmp_path, baseline)
        assert done.returncode == ExitCode.INCOMPLETE
        assert "mine.py:mine may be imported" in done.stdout
        assert "--spec SPEC" in done.stdout
        assert "fail: " not in done.stdout

    def test_a_vanished_cell(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept, spec=SPEC.replace("gumbel_softmax, ", ""))
        done = check(tmp_path, baseline)
        assert done.returncode == ExitCode.INCOMPLETE
        said = "incomplete: gumbel_softmax x 1 on golden_bits: cell: in the baseline, and not in"
        assert said in done.stdout

    def test_a_cell_that_was_not_measured(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept)
        next((tmp_path / "results/gated/cells").glob("*.json")).unlink()
        done = check(tmp_path, baseline)
        assert done.returncode == ExitCode.INCOMPLETE
        assert "1 of 3 cells are missing or damaged" in done.stdout

    @pytest.mark.parametrize("how", ["nan", "raises"])
    def test_a_cell_that_is_not_finite_or_failed(self, swept, tmp_path, how):
        line = "    g = (cost - 1.5) * score; g[3] = float('nan'); return g"
        wrong = MINE.replace("    return (cost - 1.5) * score", line)
        if how == "raises":
            wrong = MINE.replace("    return (cost - 1.5) * score", "    raise ValueError('no')")
        baseline = rerun(tmp_path, swept, mine=wrong)
        done = check(tmp_path, baseline)
        assert done.returncode == ExitCode.INCOMPLETE
        word = "nonfinite: " if how == "nan" else "failed: "
        assert f"incomplete: mine.py:mine x 1 on golden_bits: cell: {word}" in done.stdout

    def test_results_of_other_source_are_not_checked(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept)
        (tmp_path / "mine.py").write_text(MINE.replace("1.5", "1.6"))  # and not run again
        for words in ((), ("--spec", "s.yaml")):
            done = check(tmp_path, baseline, *words)
            assert done.returncode == ExitCode.INCOMPLETE
            assert "mine.py:mine x 1 on golden_bits: cell: " in done.stdout
            assert "run the sweep again" in done.stdout

    @pytest.mark.parametrize("cut", ["a line", "half a line", "all", "words", "a version"])
    def test_a_baseline_that_cannot_be_used(self, swept, tmp_path, cut):
        text = (swept / "results/baseline/gated.jsonl").read_text()
        damaged = {
            "a line": "".join(text.splitlines(keepends=True)[:-1]),
            "half a line": text[:-100],
            "all": "",
            "words": "hello\n",
            "a version": text.replace('"benchbed_baseline": 1', '"benchbed_baseline": 2'),
        }[cut]
        path = tmp_path / "b.jsonl"
        path.write_text(damaged)
        refused(check(swept, path), ExitCode.UNUSABLE, "b.jsonl", "benchbed baseline save")

    def test_no_baseline_at_all(self, swept, tmp_path):
        refused(check(swept, tmp_path / "none"), ExitCode.UNUSABLE, "No such file")
        refused(call("check", "results/gated", cwd=swept), ExitCode.USAGE, "--baseline")

    def test_another_dtype(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept, spec=SPEC + "dtype: float64\n")
        refused(check(tmp_path, baseline), ExitCode.UNUSABLE, "dtype float64", "float32")

    def test_too_few_blocks(self, swept, tmp_path):
        baseline = rerun(tmp_path, swept, spec=SPEC + "blocks: 8\n")
        refused(check(tmp_path, baseline), ExitCode.UNUSABLE, "blocks: 32")

    @pytest.mark.parametrize("words", [["--alpha", "7"], ["--variance-margin", "0.9"]])
    def test_numbers_that_cannot_work(self, swept, words):
        refused(check(swept, swept / "results/baseline/gated.jsonl", *words), ExitCode.USAGE)

    def test_interrupted(self, swept, monkeypatch):
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("benchbed.gate.check_results", interrupt)
        done = check(swept, swept / "results/baseline/gated.jsonl")
        refused(done, ExitCode.INTERRUPTED, "interrupted")

    def test_an_unsound_sweep_is_no_baseline(self, swept, tmp_path):
        rerun(tmp_path, swept, mine="def mine(a, b, c, d): return 1")
        done = call("baseline", "save", "results/gated", cwd=tmp_path)
        refused(done, ExitCode.UNUSABLE, "cannot be a baseline", "mine.py:mine")


class TestReports:
    def test_files_and_the_summary_of_github(self, swept, tmp_path, monkeypatch):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        baseline = rerun(tmp_path, swept)
        (tmp_path / "summary.md").write_text("before\n")
        words = ("--junit", "j.xml", "--markdown", "m.md")
        assert check(tmp_path, baseline, *words).returncode == 0
        assert (tmp_path / "summary.md").read_text() == "before\n" + (tmp_path / "m.md").read_text()
        suite = ElementTree.parse(tmp_path / "j.xml").getroot()
        assert suite.get("failures") == "0"
        assert len(suite) == int(suite.get("tests")) >= 9
        done = check(tmp_path, baseline, "--junit", "nowhere/j.xml")
        assert done.returncode == ExitCode.UNUSABLE

    def test_names_are_text_whatever_they_hold(self):
        nasty = "a|b `c` <script>*d*</script>\x00[x](javascript:y)"
        report = Report(
            nasty, "b", [Finding(nasty, "bias", "fail", f"{nasty}\nnext")], 0.01, [nasty]
        )
        page = markdown(report)
        assert page.count("\n|") == 3  # a head, a rule and one row
        assert not set("<`*[]") & set(page.replace("&#", ""))
        case = ElementTree.fromstring(junit(report)).find("testcase")
        assert case.find("failure").get("message").startswith("fail: a|b")


def reading(draws: np.ndarray, **facts: object) -> tuple[Reading, Record]:
    """Return what a cell of these draws reads, and its record."""
    record = Record(
        "id", {"name": "o"}, {"name": "e"}, 1, 0, {"draws": len(draws)}, "ok",
        facts={"evaluations": 1, "slopes": 0, "unbiased": False} | facts,
        blocks=blocks_from(draws, EXACT, 64),
    )  # fmt: skip
    return read_cell([record]), record


def normal(rng: np.random.Generator) -> np.ndarray:
    return EXACT + 0.2 * rng.standard_normal((64_000, 4))


class TestTheTests:
    def test_a_baseline_comes_back_from_its_text(self):
        rng = np.random.default_rng(70)
        kept, _ = reading(EXACT + correlated(rng, 6_400, "normal"))
        timed = replace(kept, cpu=LogEstimate(-1.5, math.nan, 0))
        held = Baseline("s", {"dtype": "float32"}, {"commit": "x"}, {"a": kept, "b": timed})
        back = from_text(to_text(held), "f")
        assert back.cells["a"].variance == pytest.approx(kept.variance, rel=1e-6)
        assert back.cells["a"].mean.along == pytest.approx(kept.mean.along, rel=1e-6)
        assert math.isnan(back.cells["b"].cpu.error)
        assert to_text(back) == to_text(held)
        with pytest.raises(UnusableResults):
            from_text(to_text(held).replace('"draws"', '"drawn"'), "f")

    @pytest.mark.parametrize("coordinates", [4, 40])
    def test_the_change_of_a_mean_keeps_its_level_and_its_power(self, coordinates):
        """At 0.05: not more than chance allows (binomial, 1e-4); a visible move is seen."""
        rng = np.random.default_rng(71)
        exact = rng.standard_normal(coordinates)
        false = missed = 0
        for _ in range(300):
            new, old = (
                sketch(blocks_from(exact + rng.standard_normal((640, coordinates)), exact, 64))
                for _ in "ab"
            )
            false += change_p_value(new, old) <= 0.05
            share = visible_change(new, old, 0.05) / np.linalg.norm(exact)
            shifted = (1 + share) * exact + rng.standard_normal((640, coordinates))
            moved = sketch(blocks_from(shifted, exact, 64))
            missed += change_p_value(moved, old) > 0.05
        assert 0 < false <= stats.binom.isf(1e-4, 300, 0.05)
        assert missed <= stats.binom.isf(1e-4, 300, 0.01)

    def test_a_second_look_is_held_to_all_cells(self):
        """Against one baseline the second p-value repeats the first one's luck."""
        first = dict.fromkeys("abcdefghij", 0.5) | {"a": 1e-4, "b": 2e-4}
        second, rejected = two_stage(first, {"a": 0.0005, "b": 0.004}.__getitem__, 0.01)
        assert (set(second), rejected) == ({"a", "b"}, {"a"})
        assert two_stage({}, first.__getitem__, 0.01) == ({}, set())

    def test_cpu_fails_only_if_every_run_is_slow(self):
        now, _ = reading(EXACT + correlated(np.random.default_rng(72), 640, "normal"))
        fast, slow = (LogEstimate(math.log(x), 0.01, 4) for x in (1.0, 2.0))
        noisy = LogEstimate(math.log(2.0), 0.3, 4)
        pair = {"c": (replace(now, cpu=slow, reference="r"), replace(now, cpu=fast, reference="r"))}
        outcomes = [
            judge_cpu(pair, lambda _, runs=runs: runs.pop(0), margin=1.5)[0].outcome
            for runs in ([slow, slow], [fast], [slow, fast], [slow, noisy])
        ]
        assert outcomes == ["fail", "pass", "pass", "pass"]
        once = {"c": (pair["c"][0], replace(pair["c"][1], cpu=LogEstimate(0.0, math.nan, 0)))}
        assert judge_cpu(once, lambda _: slow, margin=1.5)[0].outcome == "not compared"
        other = {"c": (pair["c"][0], replace(pair["c"][1], reference="r2"))}
        assert judge_cpu(other, lambda _: slow, margin=1.5)[0].outcome == "not compared"

    @pytest.mark.parametrize(
        ("facts", "test"),
        [
            ({"evaluations": 2}, "evaluations"),
            ({"slopes": 1}, "evaluations"),
            ({"target": "another"}, "promise"),
        ],
    )
    def test_counts_and_promises_are_exact(self, facts, test):
        rng = np.random.default_rng(73)
        draws = EXACT + correlated(rng, 6_400, "normal")
        held = Baseline("s", {}, {}, {"c": reading(draws)[0]})
        _, changed = reading(draws, **facts)
        found = gate({"c": [changed]}, held, lambda _: [changed], lambda _: [changed])
        assert [finding.test for finding in found if finding.outcome == "fail"] == [test]

    def test_a_promise_taken_back_is_a_regression(self):
        """The bias test looks at what promises to have none: taking the promise back hides it."""
        rng = np.random.default_rng(74)
        draws = EXACT + correlated(rng, 64_000, "normal") * 0.1
        held = Baseline("s", {}, {}, {"c": reading(draws, unbiased=True)[0]})
        _, record = reading(draws + 0.5)
        found = gate({"c": [record]}, held, lambda _: [record], lambda _: [record])
        assert {f.test for f in found if f.outcome == "fail"} == {"promise", "change of bias"}

    def test_variance_that_appears_and_variance_that_goes(self):
        rng = np.random.default_rng(75)
        still, _ = reading(np.tile(EXACT, (640, 1)))
        _, noisy = reading(EXACT + correlated(rng, 640, "normal"))
        held = Baseline("s", {}, {}, {"c": still})
        found = gate({"c": [noisy]}, held, lambda _: [noisy], lambda _: [noisy])
        assert [f.outcome for f in found if f.test == "variance"] == ["fail"]
        held = Baseline("s", {}, {}, {"c": read_cell([noisy])})
        calm = replace(noisy, blocks=blocks_from(np.tile(EXACT, (640, 1)), EXACT, 64))
        sure = replace(calm, exact=Exact(EXACT, np.zeros(4)))
        for record, outcome in ((calm, "fail"), (sure, "pass")):  # a detach, or an exact method
            found = gate({"c": [record]}, held, lambda _, r=record: [r], lambda _, r=record: [r])
            assert [f.outcome for f in found if f.test == "variance"] == [outcome]

    def test_a_draw_that_died_is_a_regression(self):
        """It promised no bias, and its zeros have no error bar: the baseline's mean decides."""
        rng = np.random.default_rng(77)
        held = Baseline("s", {}, {}, {"c": reading(normal(rng), unbiased=True)[0]})
        for dead in (0, slice(None)):  # one coordinate, and all of them
            draws = normal(rng)
            draws[:, dead] = 0.0
            _, record = reading(draws, unbiased=True)
            found = gate({"c": [record]}, held, lambda _, r=record: [r], lambda _, r=record: [r])
            assert "fail" in {f.outcome for f in found}, dead

    def test_tails_do_not_hide_growth(self):
        rng = np.random.default_rng(78)
        held = Baseline("s", {}, {}, {"c": reading(normal(rng))[0]})
        for scale, outcome in ((0.02, "undecided"), (100.0, "fail")):
            wild = EXACT + scale * 0.2 * rng.standard_t(1.5, size=(64_000, 4))
            _, record = reading(wild)
            found = gate({"c": [record]}, held, lambda _, r=record: [r], lambda _, r=record: [r])
            assert [f.outcome for f in found if f.test == "variance"] == [outcome]

    def test_rare_events_are_undecided_and_not_a_move(self):
        """A handful of events in the whole baseline: its mean has no error bar."""
        rng, false = np.random.default_rng(79), 0

        def rare(draws: int) -> np.ndarray:
            return EXACT + 10.0 * (rng.random((draws, 1)) < 5 / 6_400) * np.ones(4)

        for _ in range(60):
            held = Baseline("s", {}, {}, {"c": reading(rare(6_400))[0]})
            _, now = reading(rare(6_400))
            _, fresh = reading(rare(102_400))
            found = gate({"c": [now]}, held, lambda _, r=fresh: [r], lambda _, r=fresh: [r])
            false += any(f.outcome == "fail" for f in found)
        assert false <= stats.binom.isf(1e-4, 60, 0.01)

    def test_another_objective_of_the_same_name_is_told(self):
        rng = np.random.default_rng(80)
        held = Baseline("s", {}, {}, {"c": reading(normal(rng))[0]})
        _, record = reading(normal(rng))
        moved = replace(record.blocks, exact=0.9 * EXACT)
        found = gate(
            {"c": [replace(record, blocks=moved)]}, held, lambda _: [record], lambda _: [record]
        )
        failed = [f for f in found if f.outcome == "fail" and f.test == "promise"]
        assert "another objective" in failed[0].message

    def test_what_cannot_be_measured_again_is_incomplete_and_the_rest_is_told(self):
        rng = np.random.default_rng(81)
        _, kept = reading(normal(rng))
        held = Baseline("s", {}, {}, {"c": read_cell([kept]), "d": read_cell([kept])})
        _, moved = reading(normal(rng) + 0.5)

        def again(name: str) -> list[Record]:
            if name == "c":
                raise RuntimeError("expected m1 and m2 to have the same dtype")
            return [moved]

        found = gate({"c": [moved], "d": [moved]}, held, again, again)
        assert {(f.cell, f.outcome) for f in found if f.outcome in ("fail", "incomplete")} == {
            ("c", "incomplete"),
            ("d", "fail"),
        }
        lost = next(f for f in found if f.outcome == "incomplete")
        assert "RuntimeError: expected m1" in lost.message

    def test_numbers_that_are_not_finite_never_reach_a_test(self):
        """One draw in all differs: without its block there is no variance, and no logarithm."""
        draws = np.tile(EXACT, (640, 1))
        draws[3] += 5.0
        kept, record = reading(draws)
        assert kept.heavy
        held = Baseline("s", {}, {}, {"c": kept})
        assert from_text(to_text(held), "f").cells["c"].heavy
        found = gate({"c": [record]}, held, lambda _: [record], lambda _: [record])
        assert {f.outcome for f in found} <= {"pass", "identical", "undecided"}
        sound, _ = reading(normal(np.random.default_rng(82)))
        text = to_text(Baseline("s", {}, {}, {"c": sound}))
        with pytest.raises(UnusableResults, match="not finite"):
            from_text(re.sub('"gradient_norm": [0-9.]+', '"gradient_norm": null', text), "f")

    def test_an_estimator_tuned_once_is_undecided(self):
        rng = np.random.default_rng(76)
        one, _ = reading(EXACT + correlated(rng, 640, "normal"), tuned=True)
        _, record = reading(EXACT + correlated(rng, 640, "normal"), tuned=True)
        held = Baseline("s", {}, {}, {"c": one})
        found = gate({"c": [record]}, held, lambda _: [record], lambda _: [record])
        undecided = [f for f in found if f.outcome == "undecided"]
        assert {f.test for f in undecided} == {"variance", "change of bias"}
        assert all("seeds: 3" in f.message for f in undecided)
