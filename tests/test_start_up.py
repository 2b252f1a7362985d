"""What a command loads before it does anything, and that leaving it out changes no number."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets

from benchbed.cli import cli
from benchbed.errors import UnusableResults
from benchbed.objectives import _shipped_data
from benchbed.objectives._descent import descend
from benchbed.objectives._digits_model import digits_model
from benchbed.objectives._jacobian import jacobian_of
from benchbed.store import Results
from benchbed.sweep import recall
from benchbed.sweep.recall import finished, recipe_of
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec import Spec
from benchbed.sweep.spec_file import parse_spec

SPEC = """
name: small
objectives: [{name: quadratic, dimensions: [2, 3]}, golden_bits]
estimators: [score_function, leave_one_out, reparameterization]
seeds: 3
draws: 512
blocks: 8
timing: 0
impossible: skip
"""
# Runs commands in one process, says after each whether it loaded what is slow to load.
PROGRAM = """
import json, sys
from benchbed.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["benchbed", *words]
    try:
        main()
    except SystemExit as end:
        code = end.code
    slow = [name for name in ("torch", "scipy", "sklearn") if name in sys.modules]
    print("RAN", *words[:2], code, *slow, file=sys.stderr)
"""
LOADED_BY_NONE = ("torch._dynamo", "sympy", "sklearn", "scipy.optimize", "scipy.stats", "pandas")


def loads(folder: Path, *commands: list[str]) -> list[str]:
    """Return a line for each command: its words, its exit code and the slow modules in memory."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if line.startswith("RAN")]


def small(**changes: object) -> Spec:
    return Spec.model_validate(parse_spec(SPEC).model_dump(exclude_none=True) | changes)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    (folder / "small.yaml").write_text(SPEC)
    run_sweep(small(), folder / "results")
    return folder


class TestTorchStaysOut:
    def test_of_the_help_of_every_verb(self, tmp_path):
        verbs = [[verb, "--help"] for verb in sorted(cli.commands)]
        assert len(verbs) >= 11
        wanted = [f"RAN {verb} --help 0" for verb, _ in verbs]
        assert loads(tmp_path, *verbs) == wanted

    def test_of_what_reads_results(self, swept):
        assert loads(swept, ["status"], ["table", "results/small"]) == [
            "RAN status 0",
            "RAN table results/small 0 scipy",  # intervals
        ]
        assert loads(swept, ["report", "results/small"]) == ["RAN report results/small 0 scipy"]

    def test_of_a_run_that_finds_everything_there(self, swept):
        assert loads(swept, ["run", "small.yaml"]) == ["RAN run small.yaml 0"]

    def test_the_tests_above_see_it(self, swept):
        lines = loads(swept, ["list", "estimators"], ["status"])
        assert lines == ["RAN list estimators 0 torch", "RAN status 0 torch"]


def test_every_objective_is_built_without_the_slow_libraries():
    """Each of these takes longer to load than all objectives to build."""
    code = (
        "import sys\n"
        "from benchbed.catalogue import listing\n"
        "assert len(listing('objectives')) > 40\n"
        f"print([name for name in {LOADED_BY_NONE} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "[]\n"


class TestARunThatIsFinished:
    def test_it_takes_less_than_three_seconds(self, swept):
        best = float("inf")
        for _ in range(3):
            before = time.perf_counter()
            done = subprocess.run(
                [Path(sys.executable).with_name("benchbed"), "run", "small.yaml"],
                cwd=swept, capture_output=True, text=True, timeout=120, check=True,
            )  # fmt: skip
            best = min(best, time.perf_counter() - before)
            assert "18 cells, 0 measured in" in done.stdout
        assert best < 3

    def test_it_says_what_the_run_that_measured_said(self, tmp_path):
        seen: list[tuple[int, list[str]]] = []
        first = run_sweep(small(), tmp_path, progress=lambda o: seen.append((o.kept, o.skipped)))
        mark = (first.path / "benchbed.json").read_bytes()
        again = run_sweep(small(), tmp_path, progress=lambda o: seen.append((o.kept, o.skipped)))
        assert finished(Results(first.path), recipe_of(small())) is not None
        assert first.skipped
        assert (again.skipped, again.cells, again.kept, again.done) == (first.skipped, 18, 18, [])
        assert (seen[0], seen[-1]) == ((0, first.skipped), (18, first.skipped))
        assert again.exit_code == first.exit_code
        assert (first.path / "benchbed.json").read_bytes() == mark

    @pytest.mark.parametrize("loss", ["a record", "its arrays", "the mark", "a failed cell"])
    def test_what_is_lost_is_measured(self, tmp_path, loss):
        store = Results(run_sweep(small(), tmp_path).path)
        assert finished(store, recipe_of(small())) is not None
        cell = min(store.ids())
        if loss == "a record":
            (store.cells / f"{cell}.json").unlink()
        elif loss == "its arrays":
            (store.cells / f"{cell}.npz").write_bytes(b"cut short")
        elif loss == "the mark":
            (store.path / "benchbed.json").write_text("{")
        else:
            store.put(replace(store.get(cell), status="failed", blocks=None, exact=None))
        assert finished(store, recipe_of(small())) is None
        again = run_sweep(small(), tmp_path)
        assert len(again.done) == (loss != "the mark")
        assert finished(store, recipe_of(small())) is not None

    def test_another_spec_is_looked_at(self, tmp_path):
        store = Results(run_sweep(small(), tmp_path).path)
        for change in ({"seeds": [0, 1]}, {"draws": 1024}, {"impossible": "error"}):
            assert finished(store, recipe_of(small(**change))) is None

    def test_numbers_that_json_does_not_have_are_told_apart(self):
        recipes = {
            recipe_of(small(objectives=[{"name": "quadratic", "logits": logits}]))
            for logits in (None, math.inf, -math.inf, math.nan, 0.0)
        }
        assert len(recipes) == 5

    def test_a_name_that_is_no_text_is_looked_at(self):
        for entry in ({"name": ["quadratic", "coupled"]}, {"name": 3}, {"dimensions": 2}):
            assert recipe_of(small().model_copy(update={"objectives": [entry]})) == ""

    def test_a_mark_edited_by_hand_is_made_anew(self, tmp_path):
        store = Results(run_sweep(small(), tmp_path).path)
        mark = store.path / "benchbed.json"
        mark.write_text(json.dumps(json.loads(mark.read_text()) | {"skipped": 5}))
        with pytest.raises(UnusableResults, match="not a list of lines"):
            store.sweep()
        run_sweep(small(), tmp_path)
        assert isinstance(store.sweep()["skipped"], list)

    def test_a_source_that_changed_is_looked_at(self, tmp_path, monkeypatch):
        (tmp_path / "room").mkdir()
        (tmp_path / "room" / "rule.py").write_text("HALF = 0.5\n")
        monkeypatch.setattr(recall, "ROOT", tmp_path)
        found = [_fresh_recipe()]
        assert _fresh_recipe() == found[0]
        (tmp_path / "room" / "rule.py").write_text("HALF = 0.6\n")
        found.append(_fresh_recipe())
        (tmp_path / "room" / "rule.py").rename(tmp_path / "room" / "rules.py")
        found.append(_fresh_recipe())
        monkeypatch.setattr(recall.metadata, "version", lambda name: f"{name} 99")
        found.append(_fresh_recipe())
        assert len(set(found)) == 4
        monkeypatch.undo()
        recall._sources.cache_clear()

    @pytest.mark.parametrize(
        "change",
        [
            {"device": "cuda"},
            {"estimators": ["score_function", "yours.py:mine"]},
            {"objectives": ["package.module:mine"]},
        ],
        ids=str,
    )
    def test_what_others_have_a_say_in_is_looked_at_every_time(self, change):
        assert recipe_of(Spec.model_validate(small().model_dump(exclude_none=True) | change)) == ""

    def test_plugins_are_looked_at_every_time(self, monkeypatch):
        assert recipe_of(small())
        monkeypatch.setattr(recall, "_offered", lambda: {"leave_one_out"})
        assert recipe_of(small()) == ""

    def test_no_recipe_recognizes_nothing(self, tmp_path):
        store = Results(run_sweep(small(), tmp_path).path)
        store.create(store.sweep() | {"recipe": ""})
        assert finished(store, "") is None


def _fresh_recipe() -> str:
    recall._sources.cache_clear()
    return recipe_of(small())


class TestWhatIsDoneWithoutTheSlowLibraries:
    def test_the_data_are_those_of_scikit_learn(self):
        pixels, biopsies = datasets.load_digits(), datasets.load_breast_cancer()
        for found, wanted in (
            (_shipped_data.digits(), pixels),
            (_shipped_data.breast_cancer(), biopsies),
        ):
            np.testing.assert_array_equal(found.data, wanted.data)
            np.testing.assert_array_equal(found.target, wanted.target)

    def test_the_data_are_asked_for_where_the_files_are_not(self, monkeypatch):
        here = _shipped_data.breast_cancer()
        monkeypatch.setattr(_shipped_data, "find_spec", lambda _: None)
        asked = _shipped_data.breast_cancer.__wrapped__()
        np.testing.assert_array_equal(asked.data, here.data)
        np.testing.assert_array_equal(asked.target, here.target)

    def test_the_jacobian_is_that_of_torch(self):
        model = digits_model("categorical", 0)
        batch = model.minibatch(3)
        wanted = torch.func.jacrev(model.encode)(model.encoder, batch)
        torch.testing.assert_close(model.jacobian(batch), wanted, rtol=1e-13, atol=1e-15)
        by_pixels = torch.func.jacrev(lambda x: model.encode(model.encoder, x))(batch)
        found = jacobian_of(lambda x: model.encode(model.encoder, x), batch)
        torch.testing.assert_close(found, by_pixels, rtol=1e-13, atol=1e-15)

    def test_the_descent_is_that_of_torch_bit_for_bit(self):
        generator = torch.Generator().manual_seed(5)
        matrix, x, y = (
            torch.randn(*shape, dtype=torch.float64, generator=generator)
            for shape in ((20, 7), (7,), (20,))
        )

        def loss(step: int, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return ((matrix @ x).sin() * y.exp()).sum() * (1 + step % 3)

        mine = [x.clone(), y.clone()]
        descend(mine, lambda step: loss(step, *mine), 50, 0.02)
        theirs = [x.clone().requires_grad_(), y.clone().requires_grad_()]
        adam = torch.optim.Adam(theirs, lr=0.02)
        for step in range(50):
            adam.zero_grad()
            loss(step, *theirs).backward()
            adam.step()
        assert not torch.equal(mine[0], x)
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])
