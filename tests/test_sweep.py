"""The sweep's promises: numbers do not depend on how it was run, and nothing measured is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchbed.errors import BadArgument, BadSpec, ExitCode, UnknownName, UnusableResults
from benchbed.store import Results
from benchbed.sweep import cells as cells_module
from benchbed.sweep.cells import expand
from benchbed.sweep.run import Outcome, run_sweep
from benchbed.sweep.spec import Spec
from benchbed.sweep.spec_file import parse_spec

BENCHBED = Path(sys.executable).with_name("benchbed")
SMALL = {
    "name": "small",
    "objectives": [{"name": "quadratic", "dimensions": [2, 3]}],
    "estimators": ["score_function", {"name": "leave_one_out", "samples": [2, 4]}],
    "seeds": 2,
    "draws": 512,
    "blocks": 8,
    "timing": 0,
}
# Estimators a person might write: one that works, slowly, and many that do not.
YOURS = """
import os, sys, time
import torch
from benchbed.estimators.score_function import score_function

plain = score_function().draw

def copy(objective, params, draws, noise):
    return plain(objective, params, draws, noise)

def slow(objective, params, draws, noise):
    time.sleep(0.03)
    return plain(objective, params, draws, noise)

def wrong_shape(objective, params, draws, noise):
    return plain(objective, params, draws, noise)[:, :1]

def no_tensor(objective, params, draws, noise):
    return None

def wrong_dtype(objective, params, draws, noise):
    return plain(objective, params, draws, noise).double()

def some_nan(objective, params, draws, noise):
    g = plain(objective, params, draws, noise).clone()
    g[3::64] = float("nan")
    return g

def raises(objective, params, draws, noise):
    raise RuntimeError("out of\\nluck")

def leaves(objective, params, draws, noise):
    sys.exit(0)

def dies(objective, params, draws, noise):
    os._exit(1)

def forgets_samples(samples=4):
    from benchbed.contracts import Estimator
    return Estimator("forgets", plain)

def odd_settings():
    from benchbed.contracts import Estimator
    return Estimator("odd", plain, settings={"weights": torch.ones(2), "far": float("inf")})
"""


def spec(**changes: object) -> Spec:
    return Spec.model_validate(SMALL | changes)


def ids(**changes: object) -> list[str]:
    return [cell.id for cell in expand(spec(**changes))[0]]


def moments(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return everything that was measured, clocks excepted, bit for bit."""
    store = Results(folder)
    found = {}
    for cell in sorted(store.ids()):
        record = store.get(cell)
        assert record.blocks is not None
        arrays = record.blocks.arrays()
        del arrays["seconds"]
        if record.exact is not None:
            arrays |= {"exact_mean": record.exact.mean, "exact_variance": record.exact.variance}
        found[cell] = {name: array.tobytes() for name, array in arrays.items()}
    return found


@pytest.fixture
def yours(tmp_path: Path) -> Path:
    path = tmp_path / "yours.py"
    path.write_text(YOURS)
    return path


class TestIds:
    def test_cells_are_distinct_and_many(self):
        assert len(set(ids())) == 2 * 3 * 2

    @pytest.mark.parametrize(
        "change",
        [
            {"seeds": [2, 3]},
            {"draws": 1024},
            {"blocks": 4},
            {"dtype": "float64"},
            {"independent": True},
            {"estimators": [{"name": "leave_one_out", "samples": 3}]},
        ],
        ids=str,
    )
    def test_what_decides_the_numbers_changes_the_id(self, change):
        assert not set(ids()) & set(ids(**change))

    def test_what_does_not_decide_them_leaves_it(self):
        turned = [{"dimensions": [3, 2], "name": "quadratic"}]
        changed = ids(timing=3, impossible="skip", question="why?", objectives=turned, name="b")
        assert set(changed) == set(ids())

    def test_samples_mean_the_same_in_an_entry_and_in_the_sweep(self):
        inside = ids(estimators=[{"name": "leave_one_out", "samples": 4}])
        assert inside == ids(estimators=["leave_one_out"], samples=[4])

    @pytest.mark.parametrize(
        ("old", "new", "same"),
        [
            ("def copy(", "# a remark\n\n\ndef copy(", True),
            ("params, draws, noise):\n", 'params, draws, noise):\n    """Say what."""\n', True),
            ("0.03", "0.05", False),
        ],
    )
    def test_a_comment_stales_nothing_and_an_edit_does(self, yours, old, new, same):
        entry = {"estimators": [f"{yours}:copy"]}
        before = ids(**entry)
        yours.write_text(YOURS.replace(old, new))
        assert (ids(**entry) == before) is same

    def test_a_file_beside_yours_counts_when_you_import_it(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "beside_it.py").write_text("HALF = 0.5\n")
        path = tmp_path / "mine.py"
        path.write_text(
            "import beside_it\n"
            "def mine(objective, params, draws, noise):\n"
            "    return beside_it.HALF * params.expand(draws, -1)\n"
        )
        before = ids(estimators=[f"{path}:mine"])
        (tmp_path / "beside_it.py").write_text("HALF = 0.25\n")
        assert ids(estimators=[f"{path}:mine"]) != before


class TestImpossible:
    def test_a_pair_that_cannot_work_is_an_error_before_anything_runs(self, tmp_path):
        wanted = spec(estimators=["score_function", "reparameterization"])
        with pytest.raises(BadSpec, match=r"bernoulli sample has no derivative.*impossible: skip"):
            run_sweep(wanted, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_every_pair_is_named(self):
        wanted = spec(
            objectives=["quadratic", "golden_bits"], estimators=["reparameterization", "exact"]
        )
        with pytest.raises(BadSpec, match="cannot work on quadratic, golden_bits:"):
            expand(wanted)

    def test_skip_leaves_them_out_and_lists_them(self, tmp_path):
        wanted = spec(
            estimators=["leave_one_out", "reparameterization"], samples=[1, 2], impossible="skip"
        )
        seen: list[Outcome] = []
        outcome = run_sweep(wanted, tmp_path, progress=seen.append)
        assert outcome.cells == 2 * 2
        assert len(outcome.skipped) == 2
        assert Results(tmp_path / "small").sweep()["skipped"] == outcome.skipped

    def test_nothing_left_is_an_error(self):
        with pytest.raises(BadSpec, match="nothing is left to run"):
            expand(spec(estimators=["reparameterization"], impossible="skip"))

    @pytest.mark.parametrize(
        ("entry", "error", "says"),
        [
            ("score_functon", UnknownName, "did you mean 'score_function'"),
            ({"name": "gumbel_softmax", "temperature": 0}, BadArgument, "temperature > 0, got 0"),
            ({"name": "leave_one_out", "samples": 1}, BadArgument, "samples >= 2, got 1"),
            ({"name": "leave_one_out", "sample": 2}, UnknownName, "did you mean 'samples'"),
            ("nowhere.py:x", UnknownName, "there is no file .*nowhere.py; paths are relative"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("impossible", ["error", "skip"])
    def test_what_works_nowhere_is_an_error(self, tmp_path, entry, error, says, impossible):
        wanted = spec(estimators=["score_function", entry], impossible=impossible)
        with pytest.raises(error, match=says) as caught:
            run_sweep(wanted, tmp_path)
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_a_device_that_is_not_there(self):
        with pytest.raises(BadArgument, match=r"cuda:77 cannot be used here .*write cpu"):
            expand(spec(device="cuda:77"))

    def test_a_factory_that_forgets_its_samples(self, yours):
        with pytest.raises(BadSpec, match="pass samples=samples to Estimator"):
            expand(spec(estimators=[{"name": f"{yours}:forgets_samples", "samples": [2, 3]}]))


class TestMarkedRows:
    @pytest.mark.parametrize(
        ("name", "status", "says"),
        [
            ("wrong_shape", "failed", "returned shape [512, 1]"),
            ("no_tensor", "failed", "returned a NoneType"),
            ("wrong_dtype", "failed", "torch.float64"),
            ("some_nan", "nonfinite", "8 of 512 draws were NaN or infinite"),
            ("raises", "failed", "RuntimeError: out of luck"),
            ("leaves", "failed", "SystemExit"),
        ],
    )
    def test_a_bad_estimator_marks_its_row_alone(self, tmp_path, yours, name, status, says):
        wanted = spec(estimators=[f"{yours}:{name}", "score_function"], seeds=1)
        outcome = run_sweep(wanted, tmp_path / "results")
        store = Results(outcome.path)
        records = [store.get(cell) for cell in store.ids()]
        bad = [record for record in records if record.estimator["name"] != "score_function"]
        assert [record.status for record in bad] == [status] * 2
        assert all(says in record.message and "\n" not in record.message for record in bad)
        assert [r.status for r in records if r not in bad] == ["ok"] * 2
        assert outcome.exit_code == ExitCode.INCOMPLETE

    def test_nonfinite_draws_are_counted_and_in_no_sum(self, tmp_path, yours):
        wanted = spec(estimators=[f"{yours}:some_nan"], seeds=1)
        store = Results(run_sweep(wanted, tmp_path / "results").path)
        for cell in store.ids():
            blocks = store.get(cell).blocks
            assert blocks is not None
            assert blocks.nonfinite.tolist() == [1.0] * 8
            assert blocks.count.tolist() == [63.0] * 8
            assert np.isfinite(blocks.first).all()

    def test_they_stay_marked_when_the_sweep_is_run_again(self, tmp_path, yours):
        wanted = spec(estimators=[f"{yours}:some_nan"])
        run_sweep(wanted, tmp_path / "results")
        again = run_sweep(wanted, tmp_path / "results")
        assert (len(again.done), again.kept) == (0, 4)
        assert again.exit_code == ExitCode.INCOMPLETE
        assert "4 failed or not finite" in again.one_line()

    def test_failed_cells_are_tried_again(self, tmp_path, yours):
        wanted = spec(estimators=[f"{yours}:raises", "score_function"])
        run_sweep(wanted, tmp_path / "results")
        again = run_sweep(wanted, tmp_path / "results")
        assert (len(again.done), again.kept) == (4, 4)

    def test_settings_json_cannot_hold_are_kept_as_text(self, tmp_path, yours):
        outcome = run_sweep(spec(estimators=[f"{yours}:odd_settings"]), tmp_path / "results")
        assert outcome.exit_code == ExitCode.OK

    def test_a_source_edited_while_the_sweep_runs_is_not_believed(self, tmp_path, yours):
        def edit(outcome: Outcome) -> None:
            if len(outcome.done) == 1:
                yours.write_text(YOURS.replace("0.03", "0.05"))

        outcome = run_sweep(spec(estimators=[f"{yours}:copy"]), tmp_path / "results", progress=edit)
        assert len(outcome.bad) == 3
        assert "source is not what the sweep began with" in outcome.bad[0].message

    def test_draws_need_not_divide_by_blocks(self, tmp_path):
        outcome = run_sweep(spec(draws=515, estimators=["score_function"], seeds=1), tmp_path)
        store = Results(outcome.path)
        counts = {tuple(store.get(cell).blocks.count) for cell in store.ids()}
        assert counts == {(65.0,) * 3 + (64.0,) * 5}


class TestCommonNoise:
    @pytest.mark.parametrize(("independent", "same"), [(False, True), (True, False)])
    def test_estimators_share_noise_unless_told_otherwise(self, tmp_path, yours, independent, same):
        wanted = spec(
            objectives=["quadratic"],
            estimators=["score_function", f"{yours}:copy"],
            independent=independent,
            seeds=1,
        )
        store = Results(run_sweep(wanted, tmp_path / "results").path)
        first, second = (store.get(cell).blocks for cell in store.ids())
        for name in ("first", "powers", "largest", "distance"):
            assert np.array_equal(getattr(first, name), getattr(second, name)) is same


class TestResume:
    def test_a_second_run_measures_nothing(self, tmp_path):
        run_sweep(spec(), tmp_path)
        again = run_sweep(spec(), tmp_path)
        assert (again.kept, len(again.done), again.exit_code) == (12, 0, ExitCode.OK)

    def test_more_seeds_add_cells_and_touch_no_other(self, tmp_path):
        run_sweep(spec(), tmp_path)
        before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "small/cells").iterdir()}
        more = run_sweep(spec(seeds=3), tmp_path)
        assert (more.kept, len(more.done)) == (12, 6)
        after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "small/cells").iterdir()}
        assert before.items() <= after.items()

    @pytest.mark.parametrize("suffix", ["json", "npz"])
    @pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda _: b"\xff\x00garbage"])
    def test_a_damaged_file_is_reported_and_measured_again(self, tmp_path, suffix, damage):
        path = run_sweep(spec(), tmp_path).path
        before = moments(path)
        victim = sorted(path.glob(f"cells/*.{suffix}"))[4]
        victim.write_bytes(damage(victim.read_bytes()))
        again = run_sweep(spec(), tmp_path)
        assert (again.kept, len(again.done), len(again.damaged)) == (11, 1, 1)
        assert victim.stem in again.damaged[0]
        assert moments(path) == before

    def test_a_folder_that_cannot_be_written_keeps_what_is_there(self, tmp_path, monkeypatch):
        path = run_sweep(spec(seeds=1), tmp_path).path
        before = moments(path)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("benchbed.store.folder.os.replace", full)
        with pytest.raises(UnusableResults, match="No space left on device"):
            run_sweep(spec(seeds=2), tmp_path)
        monkeypatch.undo()
        assert moments(path) == before
        assert not list(path.rglob(".new-*"))

    @pytest.mark.parametrize("jobs", [0, -3])
    def test_no_processes_is_an_error(self, tmp_path, jobs):
        with pytest.raises(BadArgument, match="-j needs at least 1 process"):
            run_sweep(spec(), tmp_path, jobs)

    def test_ctrl_c_in_process_keeps_what_is_done(self, tmp_path, monkeypatch):
        build, calls = cells_module.estimator_of, []

        def interrupted(cell):
            calls.append(cell)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return build(cell)

        monkeypatch.setattr("benchbed.sweep.task.estimator_of", interrupted)
        outcome = run_sweep(spec(), tmp_path)
        assert outcome.exit_code == ExitCode.INTERRUPTED
        assert len(outcome.done) == 4 == len(Results(outcome.path).ids())
        assert "8 left; the same command goes on from here" in outcome.one_line()
        assert len(run_sweep(spec(), tmp_path).done) == 8


def slow_spec(folder: Path, seeds: int = 8) -> Path:
    """Write a spec of some seconds of work, with exact moments in a part of it."""
    (folder / "yours.py").write_text(YOURS)
    path = folder / "slow.yaml"
    path.write_text(
        "name: slow\n"
        "objectives: {name: quadratic, dimensions: 2}\n"
        "estimators: [score_function, yours.py:slow]\n"
        f"seeds: {seeds}\n"
        "draws: 512\nblocks: 8\ntiming: 0\n"
    )
    return path


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BENCHBED, "run", "slow.yaml", *words],
        cwd=folder,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(count: int, folder: Path) -> None:
    """Wait until so many cells are stored."""
    deadline = time.monotonic() + 60
    while len(list(folder.glob("results/slow/cells/*.json"))) < count:
        assert time.monotonic() < deadline, "the sweep does not get on"
        time.sleep(0.01)


def workers(parent: int) -> list[psutil.Process]:
    """Return the processes that measure: the children of the fork server."""
    children = psutil.Process(parent).children()
    return [worker for child in children for worker in child.children()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Measure the slow spec in this process, in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    text = slow_spec(folder).read_text().replace("yours.py", str(folder / "yours.py"))
    outcome = run_sweep(parse_spec(text), folder / "results")
    assert outcome.exit_code == ExitCode.OK
    return moments(outcome.path)


def same_numbers(found: dict[str, dict[str, bytes]], wanted: dict[str, dict[str, bytes]]) -> bool:
    """Compare as sets: a file of your own is called otherwise in each folder, and so are cells."""
    return sorted(map(repr, found.values())) == sorted(map(repr, wanted.values()))


@pytest.mark.timeout(120)
class TestKilled:
    def test_two_processes_give_the_same_bits(self, tmp_path):
        alone = run_sweep(spec(), tmp_path / "one", jobs=1)
        shared = run_sweep(spec(), tmp_path / "two", jobs=2)
        assert moments(alone.path) == moments(shared.path)
        assert len(shared.done) == 12

    @pytest.mark.parametrize("jobs", ["1", "2"])
    def test_kill_9_of_everything_then_resume(self, tmp_path, undisturbed, jobs):
        slow_spec(tmp_path)
        run = start(tmp_path, "-j", jobs)
        wait_for(9, tmp_path)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate(timeout=30)
        left = len(Results(tmp_path / "results/slow").ids())
        assert 9 <= left < 16
        again = start(tmp_path, "-j", jobs)
        out, err = again.communicate(timeout=60)
        assert (again.returncode, err) == (0, "")
        assert f"{left} already there" in out
        assert same_numbers(moments(tmp_path / "results/slow"), undisturbed)

    def test_kill_9_of_one_worker_goes_on(self, tmp_path, undisturbed):
        slow_spec(tmp_path)
        run = start(tmp_path, "-j", "2")
        wait_for(9, tmp_path)
        workers(run.pid)[0].kill()
        out, err = run.communicate(timeout=60)
        assert (run.returncode, err) == (0, "")
        assert "16 measured" in out
        assert same_numbers(moments(tmp_path / "results/slow"), undisturbed)

    def test_workers_do_not_outlive_a_killed_parent(self, tmp_path):
        slow_spec(tmp_path)
        run = start(tmp_path, "-j", "2")
        wait_for(9, tmp_path)
        orphans = workers(run.pid)
        assert orphans
        os.kill(run.pid, signal.SIGKILL)
        run.communicate(timeout=30)
        assert psutil.wait_procs(orphans, timeout=10)[1] == []

    @pytest.mark.parametrize("jobs", ["1", "2"])
    def test_ctrl_c_keeps_what_is_done_and_the_same_command_resumes(
        self, tmp_path, undisturbed, jobs
    ):
        slow_spec(tmp_path)
        run = start(tmp_path, "-j", jobs)
        wait_for(9, tmp_path)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=20)
        assert run.returncode == ExitCode.INTERRUPTED
        assert err == ""
        assert out.count("\n") == 1
        assert "the same command goes on from here" in out
        left = len(Results(tmp_path / "results/slow").ids())
        assert 9 <= left < 16
        again = start(tmp_path, "-j", jobs)
        out, err = again.communicate(timeout=60)
        assert (again.returncode, err) == (0, "")
        assert f"{left} already there" in out
        assert same_numbers(moments(tmp_path / "results/slow"), undisturbed)

    def test_ctrl_c_while_workers_start_is_quiet(self, tmp_path):
        slow_spec(tmp_path)
        run = start(tmp_path, "-j", "2")
        deadline = time.monotonic() + 30
        while not (tmp_path / "results/slow/benchbed.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.4)  # the server is importing torch
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=20)
        assert run.returncode == ExitCode.INTERRUPTED
        assert "Traceback" not in err
        assert (out + err).count("\n") == 1

    def test_an_estimator_that_kills_its_process_is_marked_and_innocents_live(
        self, tmp_path, yours
    ):
        wanted = spec(estimators=["score_function", f"{yours}:dies", "leave_one_out"], seeds=1)
        outcome = run_sweep(wanted, tmp_path / "results", jobs=2)
        assert sorted(done.status for done in outcome.done) == ["failed"] * 2 + ["ok"] * 4
        assert all("the process that measured it died" in done.message for done in outcome.bad)
        assert all(f"{yours}:dies on quadratic" in done.message for done in outcome.bad)
        assert outcome.exit_code == ExitCode.INCOMPLETE

    def test_in_process_it_kills_the_run_and_what_was_measured_stays(self, tmp_path):
        path = slow_spec(tmp_path, seeds=1)
        path.write_text(path.read_text().replace("slow]", "dies, leave_one_out]"))
        run = start(tmp_path, "-j", "1")
        run.communicate(timeout=60)
        assert run.returncode != 0
        assert len(Results(tmp_path / "results/slow").ids()) == 1
        again = start(tmp_path, "-j", "2")
        out, err = again.communicate(timeout=60)
        assert again.returncode == ExitCode.INCOMPLETE
        assert "1 already there, 1 failed or not finite" in out
        assert err.startswith("failed: yours.py:dies on quadratic")
        assert err.count("\n") == 1
