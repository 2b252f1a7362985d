"""How cost grows: laws fitted to known data, a small ladder, the verb, the page; and the proof.

Prove tier: what is measured goes to results/proof/growth.md and into the tables of reports/cost.md
before anything is asserted. Alone: ``.venv/bin/python -m pytest tests/test_growth.py -m prove``.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cost_page
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from cell_costs import CellCost, JobCost, job_costs
from click.testing import CliRunner

from benchbed.analysis.growth import DRAWS, LINE, laws, power_law, straight_line
from benchbed.catalogue import build_estimator, build_objective
from benchbed.cli import _processes, cli
from benchbed.cli._processes import SWEEP, Run, by_processes, efficiency
from benchbed.contracts import obstacle
from benchbed.errors import BadArgument, UnusableResults
from benchbed.measurement import growth as module
from benchbed.measurement import growth_in_draws as draws_module
from benchbed.measurement.exact_moments import MOST_OUTCOMES
from benchbed.measurement.growth import DRAWN, LADDERS, MEASURED, Ladder, Timing, growth
from benchbed.measurement.growth_in_draws import DrawsLadder, growth_in_draws
from benchbed.measurement.timing import BLOCK_SECONDS
from benchbed.records import MOST_DETAILED
from benchbed.report.figures.growth import sheets
from benchbed.store.provenance import provenance
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec import Spec
from benchbed.sweep.spec_file import parse_spec

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "reports" / "cost.md"
TABLE = ROOT / "results" / "proof" / "growth.md"
STEEPEST = 1.1  # slope of what evaluates J equally often at every size
# Blocks shorter than a chunk are drawn several at a time, and an estimate then costs a little more.
WORST = 0.2  # distance of any number of draws from the straight line, as a share
# MiB that 1e8 draws may hold beyond 1e5: the allocator's heap is cut up a little more the longer it
# is used. One number kept of each draw would be 763 MiB, the draws themselves 16 GB.
FLAT = 128
SIZES = 2.0 ** np.arange(5, 12)
NUMBERS = np.repeat([1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8], [3, 3, 3, 3, 3, 1, 1])


def powers(rng: np.random.Generator, slope: float, noise: float, bend: float = 0.0) -> np.ndarray:
    """Return [5 rounds, 7 sizes]: a power, a speed of each round, noise, and a bend."""
    rest = noise * rng.standard_normal((5, 7)) + 0.1 * rng.standard_normal((5, 1))
    return 3e-9 * SIZES ** (slope + bend * np.log(SIZES / SIZES[0])) * np.exp(rest)


class TestPowers:
    """Slopes on log-log axes."""

    def test_without_noise_the_slope_is_exact(self):
        found = power_law(SIZES, 3e-9 * SIZES ** np.array([[1.25]] * 3))
        assert found.slope == pytest.approx((1.25, 1.25, 1.25), abs=1e-12)
        assert found.off < 1e-12
        assert found.fitted == pytest.approx(3e-9 * SIZES**1.25, rel=1e-12)

    def test_intervals_cover(self):
        """At least 95 % of 2,000, less 4 standard errors; the wider of two covers more often."""
        rng = np.random.default_rng(41)
        found = [power_law(SIZES, powers(rng, 1.03, 0.08)).slope for _ in range(2000)]
        covered = np.mean([each.low <= 1.03 <= each.high for each in found])
        assert covered > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 2000)
        assert np.mean([each.value for each in found]) == pytest.approx(1.03, abs=0.002)

    def test_a_slow_round_is_no_slope(self):
        """One round at half speed, as when other work shares the processor, falls out."""
        seconds = powers(np.random.default_rng(42), 1.0, 0.0)
        seconds[3] *= 2
        assert power_law(SIZES, seconds).slope.value == pytest.approx(1, abs=1e-9)

    def test_a_bend_widens_the_interval(self):
        """Repeats that agree say nothing of a law that is no power: d^(1 + 0.1 log d) here."""
        found = power_law(SIZES, powers(np.random.default_rng(43), 1.0, 0.001, bend=0.1))
        assert found.slope.high - found.slope.low > 0.15
        assert found.off > 0.1

    def test_a_quadratic_term_is_seen(self):
        """The planted fault: d + d^2 / 500 passes no gate of 1.1."""
        seconds = 3e-9 * (SIZES + SIZES**2 / 500) * np.ones((5, 1))
        assert power_law(SIZES, seconds).slope.value > STEEPEST


class TestStraightLines:
    """So much a cell and so much a draw."""

    def test_without_noise_the_line_is_exact(self):
        found = straight_line(NUMBERS, 0.012 + 6e-8 * NUMBERS)
        assert found.fixed.value == pytest.approx(0.012, rel=1e-9)
        assert found.each.value == pytest.approx(6e-8, rel=1e-9)
        assert found.off < 1e-9

    def test_intervals_cover_and_lean_nowhere(self):
        """95 % of 1,000, to 4 standard errors. Weights 1 / seconds^2 would lean low by 1 %."""
        rng = np.random.default_rng(44)
        truth = 0.012 + 6e-8 * NUMBERS
        found = [
            straight_line(NUMBERS, truth * np.exp(0.08 * rng.standard_normal(len(NUMBERS))))
            for _ in range(1000)
        ]
        for name, value in (("fixed", 0.012), ("each", 6e-8)):
            each = [getattr(line, name) for line in found]
            covered = np.mean([one.low <= value <= one.high for one in each])
            assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1000), name
            spread = np.std([one.value for one in each]) / value / math.sqrt(1000)
            drift = np.mean([one.value for one in each]) / value - math.exp(0.08**2 / 2)
            assert abs(drift) < 4 * spread + 0.001, name

    def test_a_curve_is_no_line(self):
        """The planted fault: 60 ns a draw that become 78 beyond ten million."""
        seconds = 0.012 + 6e-8 * NUMBERS + 1.8e-8 * np.maximum(NUMBERS - 1e7, 0)
        assert straight_line(NUMBERS, seconds).off > 0.05
        staircase = 0.012 + 3e-7 * np.minimum(NUMBERS, 1e6) + 6e-8 * NUMBERS
        assert straight_line(NUMBERS, staircase).off > WORST


SHORT = (
    Ladder(
        "dimensions", "d bits", {"name": "quadratic"}, "dimensions", (1, 64, 256, 1024), 64,
        ("score_function", "local_expectation"),
    ),
    Ladder(
        "samples", "20 bits", {"name": "quadratic", "dimensions": 20}, "samples", (1, 2, 4, 8), 2,
        ("leave_one_out",),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def timings() -> list[Timing]:
    few = DrawsLadder(estimators=("score_function",), sizes=(2000, 20_000, 200_000), repeats=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SECONDS", 0.005)
        patch.setattr(module, "PATIENCE", 3e-5)
        return [*growth_in_draws(few), *growth(SHORT, rounds=3)]


@pytest.fixture(scope="module")
def frame(timings) -> pd.DataFrame:
    return laws(pd.DataFrame([asdict(timing) for timing in timings]))


def line_of(frame: pd.DataFrame, along: str, name: str, way: str = MEASURED) -> pd.DataFrame:
    kept = (frame["along"] == along) & (frame["estimator"] == name) & (frame["way"] == way)
    return frame[kept]


class TestTheLadders:
    """A small real one, and that the real ones can be climbed."""

    def test_a_score_function_is_proportional_to_its_bits(self, frame):
        """Generous: other tests run on the same processors."""
        line = line_of(frame, "dimensions", "score_function")
        assert list(line["size"]) == [1, 64, 256, 1024]
        assert 0.7 < line["slope"].iloc[0] < 1.3
        assert line["law"].isna().tolist() == [True, False, False, False]
        drawn = line_of(frame, "dimensions", "score_function", DRAWN)
        assert (drawn["seconds"].to_numpy() < line["seconds"].to_numpy()).all()

    def test_what_evaluates_j_ever_more_often_is_dearer_and_stops_in_time(self, frame):
        line = line_of(frame, "dimensions", "local_expectation")
        assert max(line["size"]) < 1024
        assert line["evaluations"].tolist() == [1 + size for size in line["size"]]
        assert line["slope"].isna().all()  # fewer than three sizes are left

    def test_samples_start_where_the_estimator_does(self, frame):
        assert line_of(frame, "samples", "leave_one_out")["size"].tolist() == [2, 4, 8]

    def test_draws_leave_a_line_and_a_peak(self, frame):
        line = line_of(frame, DRAWS, "score_function")
        assert line["each"].iloc[0] > 0
        if sys.platform == "linux":
            assert line["peak"].is_monotonic_increasing
            assert 50 < line["peak"].iloc[0] < 2000

    def test_every_ladder_can_be_climbed(self):
        for ladder in LADDERS:
            assert len([size for size in ladder.sizes if size >= ladder.fitted]) >= 4
            fixed = {} if ladder.setting == "samples" else {ladder.setting: ladder.sizes[0]}
            objective = build_objective(**ladder.objective, **fixed)
            fits = [n for n in ladder.estimators if not obstacle(objective, build_estimator(n))]
            assert len(fits) >= 2, ladder.problem
            if ladder.setting != "samples":  # an objective that can be built at the top, too
                build_objective(**ladder.objective, **{ladder.setting: ladder.sizes[-1]})


class TestTheVerb:
    """``benchbed scaling --estimates``."""

    @pytest.fixture(autouse=True)
    def measured_already(self, timings, monkeypatch):
        """Show what was measured above instead of measuring for minutes."""
        runs = [Run(n, r, 32, 20 / n + 3, 15, 0.5) for r in range(2) for n in (1, 2)]
        sized = [timing for timing in timings if timing.along != DRAWS]
        drawn = [timing for timing in timings if timing.along == DRAWS]
        monkeypatch.setattr(module, "growth", lambda ladders: iter(sized if ladders else []))
        monkeypatch.setattr(draws_module, "growth_in_draws", lambda _: iter(drawn))
        monkeypatch.setattr(_processes, "by_processes", lambda: iter(runs))

    def test_it_prints_and_draws(self, tmp_path):
        done = CliRunner().invoke(cli, ["scaling", "--estimates", "--reports", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert "local_expectation" in done.output
        assert "efficiency of 2 processes: 0.88" in done.output
        files = {path.name for path in (tmp_path / "growth").iterdir()}
        assert {"growth.png", "growth.svg", "growth.csv", "growth-draws.png"} <= files
        assert matplotlib.image.imread(tmp_path / "growth" / "growth.png").std() > 0.05

    def test_json(self, frame, tmp_path):
        words = ["scaling", "--estimates", "--json", "--reports", str(tmp_path)]
        done = CliRunner().invoke(cli, words)
        found = json.loads(done.output)
        assert len(found["laws"]) == len(frame)
        assert found["laws"][0]["slope"] is None  # along draws there is none
        assert found["processes"]["efficiency"]["2"][0] == pytest.approx(23 / 26)

    def test_one_thing_alone(self, tmp_path):
        words = ["scaling", "--estimates", "--along", "draws", "--reports", str(tmp_path)]
        done = CliRunner().invoke(cli, words)
        assert "a, ms a cell" in done.output
        assert "slope" not in done.output
        assert "efficiency" not in done.output

    def test_along_without_estimates_is_one_line(self):
        done = CliRunner().invoke(cli, ["scaling", "--along", "draws"])
        assert isinstance(done.exception, BadArgument)
        assert "write --estimates" in str(done.exception)

    def test_the_figures_show_every_point(self, frame):
        made = sheets(frame, MEASURED)
        assert [sheet.name for sheet in made] == ["growth", "growth-draws"]
        kept = frame[frame["way"] == MEASURED]
        assert sum(len(sheet.data) for sheet in made) == len(kept)
        dots = [
            line for sheet in made for axes in sheet.figure.axes for line in axes.get_lines()
            if line.get_marker() not in ("None", None, "")
        ]  # fmt: skip
        assert len(dots) == len(kept)
        entries = [
            text.get_text() for axes in made[0].figure.axes for text in axes.get_legend().texts
        ]
        assert any(text.startswith("score_function\nslope") for text in entries)


class TestProcesses:
    """The same sweep by one process and by several."""

    def test_a_small_sweep_is_run_and_read(self):
        small = SWEEP.replace("4000000", "2000").replace("seeds: 4", "seeds: 1")
        (run,) = by_processes((1,), 1, small)
        assert run.cells == 8
        assert 0 < run.drawing < run.wall

    def test_a_run_that_fails_is_one_line(self):
        with pytest.raises(UnusableResults, match=r"-j 1' failed: .*unknown key"):
            list(by_processes((1,), 1, SWEEP + "sedes: 3\n"))

    def test_efficiency_pairs_the_runs_of_a_round(self):
        """A machine at half speed in one round changes nothing."""
        slow = (1, 2, 1)
        runs = [Run(n, r, 1, slow[r] * 8 / n**0.5, 1, 0) for r in range(3) for n in (1, 2)]
        assert efficiency(runs, 2) == pytest.approx((2**-0.5,) * 3)


class TestThePage:
    """reports/cost.md: its tables are filled in, never typed."""

    def test_every_place_has_been_filled(self):
        text = PAGE.read_text()
        places = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL)
        assert [name for name, _ in places] == [
            *("machine", "checked", "each", "slopes", "draws", "room", "pullback", "processes"),
            *("expected", "gpu"),
        ]
        assert [name for name, body in places if len(body.strip()) < 80] == []

    def test_the_constants_it_names_are_those_of_the_code(self):
        text, spec = PAGE.read_text(), Spec(name="x", objectives=["x"], estimators=["x"])
        assert f"for {BLOCK_SECONDS} s each, after one call of each" in text
        assert f"to warm up: {2 * BLOCK_SECONDS * spec.timing:.1f} s a cell" in text
        assert f"({spec.timing} unless the spec says otherwise)" in text
        assert f"({spec.blocks} unless the spec says otherwise)" in text
        assert f"up to {MOST_OUTCOMES:,} of them" in text
        assert f"up to {MOST_DETAILED} coordinates" in text

    def test_filling_changes_the_table_and_nothing_else(self):
        text = "before\n<!-- each -->\nold\n<!-- /each -->\nafter\n"
        filled = cost_page.fill(text, {"each": ["new", r"\1"]})
        assert filled == "before\n<!-- each -->\nnew\n\\1\n<!-- /each -->\nafter\n"
        with pytest.raises(AssertionError, match="0 places for draws"):
            cost_page.fill(text, {"draws": ["x"]})

    def test_the_arithmetic(self):
        """200 cells of 1 ms + 0.3 s timing + 1e6 x 100 ns, and 3 s to start."""
        cost = CellCost("20 bits", "leave_one_out", 1e-3, 1e-7, 20, 40)
        assert cost_page.cell_seconds(cost, 10**6, 3) == pytest.approx(0.001 + 0.3 + 0.1)
        assert cost_page.cell_seconds(cost, 10**6, 0) == pytest.approx(0.101)
        jobs = [
            JobCost(job, [replace(cost, job=job)], 0, 0, 0)
            for job in dict.fromkeys(sweep[3] for sweep in cost_page.SWEEPS)
        ]
        runs = [Run(n, 0, 32, 20 / n + 3, 15, 0) for n in (1, 2)]
        (row,) = [
            line for line in cost_page.expected(jobs, runs, 3.0) if "2,000 x 1,000,000" in line
        ][:1]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3] == "101 ms"
        worth = 23 / (2 * 13)
        assert cells[4:] == [
            cost_page.seconds(3 + math.ceil(2000 / cores) * 0.101 / (worth if cores > 1 else 1))
            for cores in (1, 2, 32, 1000)
        ]

    def test_parts_measured_apart_are_put_together_by_copying(self, tmp_path):
        """What the page promises of many machines."""

        def spec(seeds: list[int]) -> Spec:
            return Spec(
                name="whole", objectives=["golden_bits"], estimators=["leave_one_out"],
                seeds=seeds, draws=256, timing=0,
            )  # fmt: skip

        for place, seeds in (("one", [0, 1]), ("two", [2, 3])):
            assert len(run_sweep(spec(seeds), tmp_path / place).done) == 2
            shutil.copytree(
                tmp_path / place / "whole", tmp_path / "all" / "whole", dirs_exist_ok=True
            )
        joined = run_sweep(spec([0, 1, 2, 3]), tmp_path / "all")
        assert (joined.kept, len(joined.done)) == (4, 0)


@pytest.mark.prove
def test_cost_grows_in_proportion():
    """In dimensions and categories no steeper than 1.1, in draws a straight line and flat memory.

    In samples and items a slope may not be shown steeper: leave-one-out of two samples is a case of
    its own, and cheap, which tilts its line.
    """
    timed = [*growth_in_draws(DrawsLadder()), *growth()]
    frame = laws(pd.DataFrame([asdict(timing) for timing in timed]))
    runs = list(by_processes())
    jobs = job_costs()
    _write(frame, runs, jobs)
    powers = frame[(frame["along"] != DRAWS) & (frame["estimator"] != "local_expectation")]
    for key, line in powers.groupby(LINE):
        found = "slope" if key[0] in ("dimensions", "categories") else "slope_low"
        assert line[found].iloc[-1] <= STEEPEST, (key, line[["slope", "slope_low", "slope_high"]])
    straight = frame[frame["along"] == DRAWS]
    assert straight["size"].max() == 10**8
    assert (straight["off"] <= WORST).all()
    for name, line in straight.groupby("estimator"):
        peaks = line.set_index("size")["peak"]
        assert not peaks[10**8] - peaks[10**5] > FLAT, name


def _write(frame: pd.DataFrame, runs: list[Run], jobs: list[JobCost]) -> None:
    """Write the proof's table, the page's tables and the two figures that it shows."""
    machine, start = cost_page.stamp(provenance()), cost_page.start_seconds()
    parts = {
        "machine": machine,
        "checked": cost_page.checked(jobs, runs, start, parse_spec(SWEEP)),
        "each": cost_page.each_draw(jobs),
        "slopes": cost_page.slopes_by_estimator(frame),
        "draws": cost_page.in_draws(frame),
        "room": cost_page.room(jobs),
        "pullback": cost_page.pullback(frame),
        "processes": cost_page.processes(runs),
        "expected": cost_page.expected(jobs, runs, start),
        "gpu": cost_page.on_a_gpu(jobs),
    }
    PAGE.write_text(cost_page.fill(PAGE.read_text(), parts))
    TABLE.write_text("\n".join(cost_page.proof(machine[0], frame, runs)) + "\n")
    for sheet in sheets(frame, MEASURED):
        if sheet.name in ("growth", "growth-draws"):
            (PAGE.parent / f"{sheet.name}.png").write_bytes(sheet.files()[f"{sheet.name}.png"])
