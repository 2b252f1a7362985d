"""The command line as a person meets it: quick, quiet, one line a mistake, one exit code each."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pandas as pd
import pytest

from benchbed.cli import main
from benchbed.errors import ExitCode

BENCHBED = Path(sys.executable).with_name("benchbed")
SPEC = """
name: small
objectives: {name: quadratic, dimensions: 2}
estimators: [score_function, leave_one_out]
draws: 512
blocks: 8
timing: 0
"""
WRONG = """
def some_nan(objective, params, draws, noise):
    g = 0 * params.expand(draws, -1).clone()
    g[::64] = float("nan")
    return g

def raises(objective, params, draws, noise):
    raise ValueError("a | b\\nc")
"""


Done = subprocess.CompletedProcess[str]


def call(*words: str, cwd: Path = Path()) -> Done:
    """Run the command line in this process, which has imported torch already."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(os, "environ", os.environ.copy())
        patch.setattr(sys, "argv", ["benchbed", *words])
        patch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(words, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def spawn(*words: str, cwd: Path = Path(), **environment: str) -> Done:
    """Run the installed command."""
    return subprocess.run(
        [BENCHBED, *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def refused(done: Done, code: ExitCode, *says: str) -> None:
    """Hold a call to the rule: nothing on stdout, one line on stderr, the right exit code."""
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("benchbed: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    for text in says:
        assert text in done.stderr


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a spec and its results; tests do not change it."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "s.yaml").write_text(SPEC)
    done = spawn("run", "s.yaml", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")  # and no progress bar off a terminal
    assert done.stdout.startswith("results/small: 2 cells, 2 measured in ")
    return folder


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose sweep holds a failed and a nonfinite row."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "wrong.py").write_text(WRONG)
    estimators = "[exact, wrong.py:some_nan, wrong.py:raises]"
    (folder / "s.yaml").write_text(SPEC.replace("[score_function, leave_one_out]", estimators))
    done = spawn("run", "s.yaml", cwd=folder)
    assert done.returncode == ExitCode.INCOMPLETE
    assert sorted(line.partition(":")[0] for line in done.stderr.splitlines()) == [
        "failed",
        "nonfinite",
    ]
    return folder


class TestStart:
    def test_help_is_quick(self):
        best = float("inf")
        for _ in range(5):
            before = time.perf_counter()
            assert spawn("--help").returncode == 0
            best = min(best, time.perf_counter() - before)
        assert best < 0.3

    @pytest.mark.parametrize("words", [["--help"], ["status"], ["run", "--help"], ["env"]], ids=str)
    def test_torch_stays_out(self, swept, words):
        code = (
            "import sys; sys.argv = ['benchbed', *sys.argv[1:]]\n"
            "from benchbed.cli import main\n"
            "try: main()\n"
            "finally: print('torch' in sys.modules, 'pandas' in sys.modules, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=swept,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "False False\n")

    def test_exit_codes_are_in_the_help(self):
        text = " ".join(call("--help").stdout.split())
        for code in ExitCode:
            assert f"{code.value} {code.name.lower()}" in text

    @pytest.mark.parametrize("word", ["-h", "--help"])
    def test_every_verb_has_help(self, word):
        for verb in ("run", "status", "table", "report", "list", "env"):
            done = call(verb, word)
            assert (done.returncode, done.stderr) == (0, "")

    def test_no_verb_shows_the_help(self):
        done = call()
        assert done.returncode == ExitCode.USAGE
        assert "Usage: benchbed" in done.stdout

    def test_version(self):
        assert call("--version").stdout == "benchbed, version 0.1.0\n"

    def test_no_trailing_spaces_nor_colours(self, swept):
        for words in (["--help"], ["run", "-h"], ["list", "objectives"], ["status"], ["env"]):
            text = spawn(*words, cwd=swept, NO_COLOR="1").stdout
            assert text
            assert "\x1b" not in text
            assert [line for line in text.splitlines() if line != line.rstrip()] == []


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["rnu"], "No such command 'rnu'"),
            (["run"], "Missing argument 'SPEC'. See 'benchbed run --help'"),
            (["run", "none.yaml"], "none.yaml cannot be read (No such file or directory)"),
            (["run", "s.yaml", "-j", "0"], "-j needs at least 1 process, got 0"),
            (["run", "s.yaml", "-j", "two"], "'two' is not a valid integer"),
            (["run", "s.yaml", "--job", "2"], "'--jobs'"),
            (["list", "estimator"], "'estimators', 'objectives'"),
            (["list", "estimators", "--for", "quadratc"], "did you mean 'quadratic'?"),
            (["list", "estimators", "--for", "x" * 3000], "benchbed list objectives"),
            (["list", "estimators", "--for", "two\nlines"], "unknown objective"),
            (["list", "objectives", "--for", "quadratic"], "list estimators --for NAME"),
            (["table", "results/small", "--format", "xml"], "'csv', 'md'"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_a_call_that_cannot_work(self, swept, words, says):
        refused(call(*words, cwd=swept), ExitCode.USAGE, says)

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("estimators: score_functon", "did you mean 'score_function'?"),
            ("estimators: reparameterization", "bernoulli sample has no derivative"),
            ("estimators: {name: gumbel_softmax, temperature: 0}", "temperature > 0, got 0"),
            ("estimators: {name: leave_one_out, samples: 1}", "samples >= 2, got 1"),
            ("estimators: {name: arm, sample: 2}", "did you mean 'samples'?"),
            ("estimator: arm", "bad.yaml:8: unknown key 'estimator', did you mean 'estimators'?"),
        ],
    )
    def test_a_spec_that_cannot_work_runs_nothing(self, tmp_path, line, says):
        key = line.partition(":")[0]
        text = "\n".join(row for row in SPEC.splitlines() if not row.startswith(f"{key}:"))
        (tmp_path / "bad.yaml").write_text(f"{text}\n{line}\n")
        refused(call("run", "bad.yaml", cwd=tmp_path), ExitCode.USAGE, says)
        assert not (tmp_path / "results").exists()

    @pytest.mark.parametrize("verb", ["table", "report"])
    def test_results_that_are_not_there(self, tmp_path, verb):
        (tmp_path / "other").mkdir()
        for name, says in (("nowhere", "does not exist"), ("other", "not made by benchbed")):
            refused(call(verb, name, cwd=tmp_path), ExitCode.UNUSABLE, name, says)

    @pytest.mark.parametrize("verb", ["table", "report"])
    def test_results_whose_every_cell_is_damaged(self, tmp_path, verb):
        (tmp_path / "s.yaml").write_text(SPEC)
        assert call("run", "s.yaml", cwd=tmp_path).returncode == 0
        for path in (tmp_path / "results/small/cells").glob("*.npz"):
            path.write_bytes(b"")
        done = call(verb, "results/small", cwd=tmp_path)
        refused(done, ExitCode.UNUSABLE, "results/small holds no", "run")

    def test_a_report_that_cannot_be_written(self, swept):
        done = call("report", "results/small", "--reports", "/proc/none", cwd=swept)
        refused(done, ExitCode.UNUSABLE, "cannot be written", "--reports")

    @pytest.mark.parametrize("place", ["taken", "/proc/none"])
    def test_results_that_cannot_be_written(self, swept, place):
        taken = swept / "taken"
        taken.write_text("")
        done = call("run", "s.yaml", "--results", place, cwd=swept)
        taken.unlink()
        refused(done, ExitCode.UNUSABLE, "cannot be written", "--results")

    def test_a_foreign_folder(self, tmp_path):
        (tmp_path / "s.yaml").write_text(SPEC)
        (tmp_path / "results/small").mkdir(parents=True)
        (tmp_path / "results/small/thesis.txt").write_text("mine")
        done = call("run", "s.yaml", cwd=tmp_path)
        refused(done, ExitCode.UNUSABLE, "not made by benchbed", "--results")

    def test_skipped_pairs_are_listed_first(self, tmp_path):
        text = SPEC.replace("leave_one_out", "reparameterization") + "impossible: skip\n"
        (tmp_path / "s.yaml").write_text(text)
        done = call("run", "s.yaml", cwd=tmp_path)
        assert done.returncode == 0
        assert done.stderr.startswith("skipped: reparameterization cannot work on quadratic: ")
        assert "1 measured" in done.stdout
        assert "some combinations skipped" in done.stdout


class TestResults:
    def test_report_names_the_page_it_wrote(self, swept, tmp_path):
        done = call("report", "results/small", "--reports", str(tmp_path), cwd=swept)
        assert (done.returncode, done.stderr) == (0, "")
        page = done.stdout.removeprefix("report: ").removesuffix("\n")
        assert "leave_one_out" in Path(page).read_text()

    def test_running_again_measures_nothing(self, swept):
        done = call("run", "s.yaml", cwd=swept)
        assert done.returncode == 0
        assert "0 measured" in done.stdout
        assert "2 already there" in done.stdout

    def test_status(self, swept, marked):
        assert call("status", cwd=swept).stdout == "results/small: 2 of 2 cells\n"
        done = call("status", cwd=marked)
        assert done.returncode == ExitCode.INCOMPLETE
        assert done.stdout == "results/small: 1 of 3 cells, 1 failed, 1 not finite\n"

    def test_status_of_nothing(self, tmp_path):
        done = call("status", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "benchbed run SPEC" in done.stdout

    def test_csv_is_a_frame(self, swept):
        done = call("table", "results/small", "--format", "csv", cwd=swept)
        frame = pd.read_csv(io.StringIO(done.stdout))
        assert (done.returncode, done.stderr) == (0, "")
        assert set(frame["estimator_name"]) == {"score_function", "leave_one_out"}
        assert (frame["variance_low"] < frame["variance"]).all()
        assert (frame["variance"] < frame["variance_high"]).all()

    def test_markdown_is_a_table(self, swept, marked):
        for folder, code, rows in ((swept, 0, 2), (marked, ExitCode.INCOMPLETE, 3)):
            done = call("table", "results/small", cwd=folder)
            assert done.returncode == code
            lines = done.stdout.splitlines()
            assert len(lines) == rows + 2
            widths = {line.replace("\\|", "").count("|") for line in lines}
            assert len(widths) == 1
            assert all(line.startswith("|") and line.endswith("|") for line in lines)

    def test_marked_rows_say_why_and_reach_the_exit_code(self, marked):
        done = call("table", "results/small", "--format", "csv", cwd=marked)
        frame = pd.read_csv(io.StringIO(done.stdout)).set_index("estimator_name")
        assert done.returncode == ExitCode.INCOMPLETE
        assert done.stderr.startswith(
            "results/small: 0 cells missing or damaged, 2 rows failed or not finite; "
        )
        assert frame.loc["wrong.py:raises", "status"] == "failed"
        assert "ValueError: a | b c" in frame.loc["wrong.py:raises", "message"]
        assert frame.loc["wrong.py:some_nan", "status"] == "nonfinite"
        assert "8 of 512 draws" in frame.loc["wrong.py:some_nan", "message"]
        assert call("run", "s.yaml", cwd=marked).returncode == ExitCode.INCOMPLETE

    @pytest.mark.parametrize("suffix", ["json", "npz"])
    def test_a_truncated_file_is_missing_then_mended(self, tmp_path, suffix):
        (tmp_path / "s.yaml").write_text(SPEC)
        call("run", "s.yaml", cwd=tmp_path)
        whole = call("table", "results/small", cwd=tmp_path).stdout
        victim = min((tmp_path / "results/small/cells").glob(f"*.{suffix}"))
        victim.write_bytes(victim.read_bytes()[:100])
        assert "1 damaged" in call("status", cwd=tmp_path).stdout
        done = call("table", "results/small", cwd=tmp_path)
        assert done.returncode == ExitCode.INCOMPLETE
        assert done.stderr.startswith("results/small: 1 cells missing or damaged, 0 rows failed")
        done = call("run", "s.yaml", cwd=tmp_path)
        assert done.returncode == 0
        assert done.stderr.startswith("measured again: ")
        assert victim.stem in done.stderr
        assert "1 measured" in done.stdout
        mended = call("table", "results/small", "--format", "csv", cwd=tmp_path)
        assert mended.returncode == 0
        assert len(mended.stdout.splitlines()) == len(whole.splitlines()) - 1


class TestListing:
    @pytest.mark.parametrize("kind", ["estimators", "objectives"])
    def test_json_and_text_name_the_same(self, kind):
        rows = json.loads(call("list", kind, "--json").stdout)
        text = call("list", kind, "--settings").stdout.splitlines()
        assert [line.partition("(")[0] for line in text[::2]] == [row["name"] for row in rows]
        assert all(row["summary"] for row in rows)

    def test_the_table_says_what_each_promises(self):
        lines = call("list", "estimators").stdout.splitlines()
        heads = lines[0].split("  ")
        assert [head.strip() for head in heads if head.strip()] == [
            *("estimator", "families", "unbiased", "J evaluations", "needs", "citation")
        ]
        rows = {line.split()[0]: line for line in lines[1:] if line[0] != " "}
        assert len(rows) >= 50
        assert "Dong et al. 2020" in rows["disarm"]
        assert "in the limit" in rows["gumbel_softmax"]
        assert "no, for tempered" in rows["decoupled_straight_through"]

    def test_for_narrows(self):
        names = [
            row["name"]
            for row in json.loads(
                call("list", "estimators", "--for", "normal_quadratic", "--json").stdout
            )
        ]
        assert "reparameterization" in names
        assert "disarm" not in names

    def test_env_is_json(self):
        found = json.loads(call("env").stdout)
        assert found["python"].count(".") == 2
        assert "torch" in found["packages"]


class TestPipes:
    @pytest.mark.parametrize(
        "words",
        ["--help", "list objectives", "env", "table results/small --format csv", "status"],
    )
    def test_a_reader_that_leaves_early_is_no_error(self, swept, words):
        read, write = os.pipe()
        os.close(read)  # gone before the first line
        try:
            done = subprocess.run(
                [BENCHBED, *words.split()],
                cwd=swept,
                stdout=write,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
            )
        finally:
            os.close(write)
        assert (done.returncode, done.stderr) == (0, "")


class TestCite:
    def test_bibtex_of_what_was_used_and_of_nothing_else(self, tmp_path):
        (tmp_path / "cited.yaml").write_text(
            "{name: cited, objectives: [{name: quadratic, dimensions: 2}], "
            "estimators: [disarm, leave_one_out, exact], draws: 128, timing: 0}"
        )
        assert call("run", "cited.yaml", cwd=tmp_path).returncode == 0
        done = call("cite", "results/cited", cwd=tmp_path)
        assert done.returncode == 0
        keys = [line.split("{")[1] for line in done.stdout.splitlines() if line.startswith("@")]
        assert keys == ["dong-et-al-2020,", "kool-et-al-2019,", "tucker-et-al-2017,"]
        assert "% Dong et al. 2020: disarm" in done.stdout
        assert done.stdout.count("{") == done.stdout.count("}")

    def test_a_folder_that_is_no_results_is_one_line(self, tmp_path):
        done = call("cite", "nowhere", cwd=tmp_path)
        assert done.returncode == ExitCode.UNUSABLE
        assert len(done.stderr.splitlines()) == 1
