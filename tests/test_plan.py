"""What a plan foretells, held against the sweep itself."""

from __future__ import annotations

import json
import math

import pytest
from test_cli import call

from benchbed.analysis.sheet import read_table
from benchbed.analysis.summary import pool
from benchbed.errors import BadArgument, ExitCode
from benchbed.store import Results
from benchbed.sweep import plan as planning
from benchbed.sweep.plan import Plan, plan_sweep
from benchbed.sweep.resolution import ratio_seen, shrink_seen
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec import Spec
from benchbed.sweep.spec_file import parse_spec

SPEC = """
name: small
objectives:
  - {name: quadratic, dimensions: 8, target: 0.3}
  - {categories: 4, name: smooth, dimensions: 2}
estimators: [score_function, {name: leave_one_out, samples: 8}, rebar, gumbel_softmax, exact]
samples: 2
draws: 65536
seeds: 2
timing: 0
impossible: skip
"""
# A prediction is a pilot's: its own error and that of 128 blocks add up to some 7 %, a quarter of
# what is allowed.
WITHIN = 0.3


def spec(**changes: object) -> Spec:
    return parse_spec(SPEC, "small.yaml").model_copy(update=changes)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return the folder of all sweeps, a plan, the sweep that followed, and its seconds."""
    results = tmp_path_factory.mktemp("results")
    plan = plan_sweep(spec(), results)
    assert list(results.iterdir()) == []  # nothing was written
    outcome = run_sweep(spec(), results)
    return results, plan, outcome


def test_every_cell_is_planned(both):
    _, plan, outcome = both
    assert plan.cells == outcome.cells == 20
    assert plan.measured == 0
    assert [group.cells for group in plan.groups] == [2] * 10
    assert not any(group.failed for group in plan.groups)


@pytest.mark.parametrize("what", ["drawing", "timing"])
def test_minutes_are_right_within_a_factor_of_two(both, what, tmp_path):
    """Other work on the machine may begin or end between plan and run: one try of three counts."""
    ratios: list[float] = []
    wanted = spec()
    if what == "drawing":
        _, plan, outcome = both
        ratios.append(plan.seconds / outcome.seconds)
    else:
        wanted = spec(draws=512, seeds=[0], timing=3, objectives=[{"name": "golden_bits"}])
    while len(ratios) < 3 and not (ratios and 0.5 < ratios[-1] < 2):
        results = tmp_path / str(len(ratios))
        found = plan_sweep(wanted, results)
        ratios.append(found.seconds / run_sweep(wanted, results).seconds)
    assert 0.5 < ratios[-1] < 2, ratios


@pytest.mark.parametrize("timing", [0, 5])
def test_disk_is_right_within_a_fifth(both, timing, tmp_path):
    _, plan, outcome = both
    if timing:
        one = spec(draws=512, seeds=[0], timing=timing, objectives=[{"name": "golden_bits"}])
        one = one.model_copy(update={"estimators": [{"name": "rebar"}]})
        plan, outcome = plan_sweep(one, tmp_path), run_sweep(one, tmp_path)
    real = sum(file.stat().st_size for file in outcome.path.rglob("*") if file.is_file())
    assert plan.bytes == pytest.approx(real, rel=0.2)


def test_the_visible_bias_is_what_the_finished_table_says(both):
    _, plan, outcome = both
    frame, _ = read_table(outcome.path)
    told = {
        (row["objective"], row["estimator"]): row["bias_visible"] for _, row in frame.iterrows()
    }
    assert len(told) == 10
    for group in plan.groups:
        wanted = told[group.objective, group.estimator]
        assert group.visible == pytest.approx(wanted, rel=WITHIN), group


def test_the_draws_it_asks_for_would_show_a_shrink_of_5_percent(tmp_path):
    one = {
        "objectives": [{"name": "smooth", "dimensions": 2, "categories": 4}],
        "estimators": [{"name": "score_function"}],
        "seeds": [0],
        "timing": 0,
    }
    (group,) = plan_sweep(spec(**one, draws=4_096), tmp_path).groups
    assert group.needed > 2 * group.draws
    frame, _ = read_table(run_sweep(spec(**one, draws=math.ceil(group.needed)), tmp_path).path)
    assert frame["bias_visible"][0] == pytest.approx(0.05, rel=WITHIN)


def test_the_ratio_of_variances_is_what_the_finished_blocks_say(both):
    _, plan, outcome = both
    store = Results(outcome.path)
    records = store.read(store.ids())[0].values()
    compared = 0
    for group in plan.groups:
        if math.isnan(group.ratio):
            continue
        parts = [
            record.blocks
            for record in records
            if record.blocks is not None
            and group.estimator.startswith(record.estimator["name"])
            and group.objective.startswith(record.objective["name"])
        ]
        assert len(parts) == 2
        blocks = pool(parts)
        found = ratio_seen(blocks, float(blocks.count.sum()), len(blocks.count), 10)
        assert math.log(group.ratio / 1.1) == pytest.approx(math.log(found / 1.1), rel=WITHIN)
        compared += 1
    assert compared == 8  # all but the two without variance


def test_what_is_there_is_not_tried_again(both, monkeypatch):
    results, plan, _ = both
    monkeypatch.setattr(planning, "run_pilot", lambda cell: pytest.fail(f"tried {cell}"))
    again = plan_sweep(spec(), results)
    assert (again.cells, again.measured, again.seconds, again.bytes) == (20, 20, 0.0, 0)
    for group, before in zip(again.groups, plan.groups, strict=True):
        assert group.visible == pytest.approx(before.visible, rel=WITHIN)


def test_another_seed_costs_only_itself(both):
    results, plan, _ = both
    more = plan_sweep(spec(seeds=[0, 1, 2]), results)
    assert (more.cells, more.measured) == (30, 20)
    assert more.bytes == pytest.approx(plan.bytes / 2, rel=0.2)
    for group, before in zip(more.groups, plan.groups, strict=True):
        if group.note != "no variance":
            wanted = before.visible * math.sqrt(2 / 3)
            assert group.visible == pytest.approx(wanted, rel=WITHIN)


def test_processes_share_the_work_and_the_longest_cell_bounds_it():
    group = planning.Group("o", "e", 1, cells=4, measured=0, seconds=40.0, bytes=1, draws=4)
    alone, two = (Plan(None, jobs, [group], [], start=1.0, spent=0.0) for jobs in (1, 2))
    assert alone.seconds == 41.0
    cores = min(2, planning.os.cpu_count() or 1)
    assert two.seconds == 2.0 + 40.0 / cores
    single = planning.Group("o", "e", 1, cells=1, measured=0, seconds=40.0, bytes=1, draws=4)
    assert Plan(None, 8, [single], [], start=0.0, spent=0.0).seconds == 40.0


def test_more_draws_of_the_same_blocks_see_less_by_their_root(both):
    _, _, outcome = both
    store = Results(outcome.path)
    blocks = next(
        record.blocks
        for record in store.read(store.ids())[0].values()
        if record.estimator["name"] == "score_function"
    )
    count = float(blocks.count.sum())
    assert shrink_seen(blocks, 4 * count, 64) == pytest.approx(shrink_seen(blocks, count, 64) / 2)


class TestTheCommand:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "small.yaml"
        path.write_text(SPEC.replace("65536", "2048"))
        return path

    def test_it_prints_a_row_a_cell_and_the_totals(self, file, tmp_path):
        done = call("plan", str(file), "--results", str(tmp_path / "none"), "-j", "2")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\nquadratic(dimensions=8, target=0.3) ") == 5
        assert "20 cells, 0 measured already" in done.stdout
        assert " on 2 processes [" in done.stdout
        assert "A gradient 5 % too short would show in " in done.stdout
        assert not (tmp_path / "none").exists()

    def test_json_has_it_all(self, file):
        done = call("plan", str(file), "--json")
        found = json.loads(done.stdout, parse_constant=pytest.fail)
        assert (found["cells"], found["jobs"], len(found["rows"])) == (20, 1, 10)
        assert found["rows"][0]["estimator"] == "score_function"
        assert 0 < found["rows"][0]["visible"] < 10
        assert found["rows"][4]["ratio"] is None  # no variance

    def test_what_would_fail_is_named_and_exits_3(self, tmp_path):
        (tmp_path / "own.py").write_text(
            "def nan(objective, params, draws, noise):\n    return params.expand(draws, -1) / 0\n"
            "def raises(objective, params, draws, noise):\n    raise ValueError('no\\nway')\n"
        )
        (tmp_path / "bad.yaml").write_text(
            SPEC.replace("[score_function", "['own.py:nan', 'own.py:raises'")
            .replace("65536", "2048")
            .replace("  - {categories: 4, name: smooth, dimensions: 2}\n", "")
        )
        done = call("plan", "bad.yaml", cwd=tmp_path)
        assert done.returncode == ExitCode.INCOMPLETE
        assert "draws were NaN or infinite" in done.stdout
        assert (
            "own.py:raises on quadratic(dimensions=8, target=0.3): ValueError: no way"
            in done.stdout
        )
        assert "2 rows gave no numbers" in done.stdout

    def test_what_cannot_work_is_said_in_one_line(self, file, tmp_path):
        for words in (("-j", "0"), ("--results",)):
            done = call("plan", str(file), *words)
            assert done.returncode == ExitCode.USAGE
            assert done.stderr.count("\n") == 1
        assert call("plan", str(tmp_path / "none.yaml")).returncode == ExitCode.USAGE

    def test_a_tuned_estimator_says_that_one_pilot_is_not_enough(self):
        tuned = spec(
            objectives=[{"name": "golden_bits"}], estimators=[{"name": "rebar", "eta": "tune"}]
        )
        (group,) = plan_sweep(tuned, "none").groups
        assert "tuned anew by each seed" in group.note
        assert math.isnan(group.ratio)
        with pytest.raises(BadArgument, match="-j"):
            plan_sweep(tuned, "none", jobs=0)
