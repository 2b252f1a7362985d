"""The page of results/proof/speed.md, on numbers made up."""

from __future__ import annotations

import pytest
from between import Between
from measured import FloorRow, HomeRow
from speed_table import FLOOR_JOB, NOT_REACHED, bars, speed_table, unexpected
from stopwatch import Spread

TITLES = ("Bernoulli, d = 20", FLOOR_JOB, "categorical, d = 2, K = 1000")


def rows(
    batched: float, floor: float, compiled: float, loop: float = 250
) -> tuple[list[FloorRow], list[HomeRow]]:
    """Return two estimators: one sample with one evaluation, and one with many."""

    def exactly(value: float) -> Spread:
        return Spread(value, value, value)

    floors = [
        FloorRow(
            title,
            f"of {evaluations}",
            1e6,
            8,
            1,
            evaluations,
            exactly(floor * evaluations),
            exactly(compiled) if title == FLOOR_JOB and evaluations == 1 else None,
            exactly(1),
        )
        for title in TITLES
        for evaluations in (1, 9)
    ]
    homes = [
        HomeRow(
            title,
            "plain",
            1e6,
            {"batched": exactly(batched), "vmap": exactly(batched), "loop": exactly(loop)},
            {"batched": 100},
            None,
        )
        for title in TITLES
    ]
    return floors, homes


def test_bars_are_met_and_missed():
    assert all(bar.met for bar in bars(*rows(5, 3, 1.5)))
    missed = [bar.what for bar in bars(*rows(1.1, 5, 2.5)) if not bar.met]
    assert len(missed) == 6  # all but the loop
    assert "(b) on all jobs" not in missed


def test_what_was_not_measured_is_not_met():
    assert not any(bar.met for bar in bars([], []))
    assert len(unexpected(bars([], []))) == 7


def test_bars_listed_as_not_reached_may_not_fall_far_behind_nor_be_reached_unnoticed():
    assert unexpected(bars(*rows(5, 5.8, 2.6, loop=180))) == []
    met = unexpected(bars(*rows(5, 3, 1.5, loop=180)))
    assert [line.endswith("though listed as not reached") for line in met] == [True, True]
    assert "beyond 7.5" in unexpected(bars(*rows(5, 8, 2.6, loop=180)))[0]
    assert "beyond 120" in unexpected(bars(*rows(5, 5.8, 2.6, loop=100)))[0]
    assert "at least 4: NOT met" in unexpected(bars(*rows(3, 5.8, 2.6, loop=180)))[0]


def test_the_page_says_why_a_bar_is_not_reached():
    page = speed_table(*rows(5, 5.8, 2.6, loop=180), rounds=7, cell=2**20)
    assert page.count("NOT met); ") == len(NOT_REACHED) == 3
    parts = [Between("plain", *(Spread(x, x, x) for x in (10, 7, 11, 9, 13, 40)))]
    page = speed_table(*rows(5, 5.8, 2.6, loop=180), 7, 2**20, parts)
    assert "| plain | 10 (10-10) | 7 (7-7) |" in page


def test_single_sample_estimators_alone_count_against_the_floor():
    found = next(bar for bar in bars(*rows(5, 3, 1.5)) if bar.what.startswith("x floor"))
    assert found.value == pytest.approx(3)


def test_the_page_has_a_line_for_everything():
    page = speed_table(*rows(1.1, 3, 1.5), rounds=7, cell=2**20)
    lines = page.splitlines()
    assert sum(line.startswith("| Bernoulli, d = 20 | of ") for line in lines) == 2
    assert sum("| plain |" in line for line in lines) == len(TITLES)
    assert "- (d) on the categorical jobs: 1.1 (at least 4: NOT met)" in lines
    assert any(
        line.startswith("- (b) on all jobs: 250") and line.endswith("met)") for line in lines
    )
    tables = [line.count("|") for line in lines if line.startswith("| ")]
    assert set(tables) == {10, 11, 7}
