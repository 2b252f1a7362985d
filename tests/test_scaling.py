"""What exact gradients cost as problems grow: the ladders, the timings, the figure, the verb."""

from __future__ import annotations

import matplotlib.image
import pandas as pd
import pytest
from click.testing import CliRunner

from benchbed.catalogue import build_objective
from benchbed.cli import cli
from benchbed.enumeration import MOST_STATES
from benchbed.errors import UnusableResults
from benchbed.measurement import scaling as module
from benchbed.measurement.scaling import FORMULA, LADDERS, MANY, ONE, SUM, Ladder, Point, scaling
from benchbed.report.figures.scaling import sheet

SHORT = (
    Ladder("d bits", {"name": "coupled"}, "dimensions", (4, 16), (4, 16, 40), "", ""),
    Ladder(
        "chain of T steps, 3 states", {"name": "markov_chain", "categories": 3}, "steps",
        (2, 10), (2, 10), FORMULA, "",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return list(scaling(SHORT))


def seconds(points: list[Point], problem: str, way: str) -> dict[int, float]:
    return {p.size: p.seconds for p in points if p.problem.startswith(problem) and p.way == way}


def test_sums_grow_like_the_number_of_z_and_the_rest_does_not(points):
    """65,536 z against 16, and 59,049 against 9: far apart on any machine."""
    sums = seconds(points, "d bits", SUM)
    assert set(sums) == {4, 16}
    assert sums[16] > 5 * sums[4]
    one = seconds(points, "d bits", ONE)
    assert set(one) == {4, 16, 40}
    assert one[16] < 0.1 * sums[16]
    chain, formula = (seconds(points, "chain", way) for way in (SUM, FORMULA))
    assert chain[10] / chain[2] > 3 * formula[10] / formula[2]
    assert formula[10] < 0.3 * chain[10]


def test_many_samples_cost_as_many_times_one(points):
    """And are left out where the length of the gradient is not known."""
    one, many = (seconds(points, "d bits", way) for way in (ONE, MANY))
    assert set(many) == {4, 16}
    assert all(many[size] > 100 * one[size] for size in many)
    assert all(p.low <= p.seconds <= p.high for p in points)


def test_the_ladders_can_be_climbed():
    for ladder in LADDERS:
        top = max(ladder.sampled)
        assert build_objective(**{**ladder.objective, ladder.size: top}).params.numel() > 0
        for size in ladder.summed:
            objective = build_objective(**{**ladder.objective, ladder.size: size})
            assert objective.family.states is not None
            assert objective.family.states(objective.params) <= MOST_STATES


def test_the_verb_prints_and_draws(points, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "scaling", lambda: iter(points))
    done = CliRunner().invoke(cli, ["scaling", "--reports", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "d bits" in done.output
    assert {path.name for path in (tmp_path / "scaling").iterdir()} == {
        *("scaling.png", "scaling.svg", "scaling.csv"),
    }
    drawn = pd.read_csv(tmp_path / "scaling" / "scaling.csv")
    assert len(drawn) == len(points)
    assert matplotlib.image.imread(tmp_path / "scaling" / "scaling.png").std() > 0.05


def test_the_figure_shows_every_point(points):
    figure = sheet(pd.DataFrame([vars(p) for p in points])).figure
    shown = sum(
        len(line.get_xdata()) for axes in figure.axes for line in axes.get_lines()
        if line.get_marker() not in ("None", "_", "|")
    )  # fmt: skip
    assert shown == len(points)
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        *("d bits", "chain of T steps, 3 states"),
    ]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    done = CliRunner().invoke(cli, ["scaling", "--reports", str(tmp_path / "taken")])
    assert isinstance(done.exception, UnusableResults)
    assert "--reports" in str(done.exception)
