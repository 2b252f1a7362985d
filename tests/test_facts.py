"""Every fact holds, and every fact can fail: a side off by a thousandth turns it red."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_cli import call, refused, spawn

import benchbed.facts
from benchbed.catalogue import ESTIMATORS, OBJECTIVES
from benchbed.cli import _facts_tables, _print_table
from benchbed.errors import ExitCode
from benchbed.facts import FACTS, Fact, Limit, evaluate, gumbel
from benchbed.facts.carriers import carriers
from benchbed.facts.coverage import ROWS, Row

HOUSE = Path(benchbed.facts.__file__).parent
EXPERIMENTS = HOUSE.parents[1] / "experiments"
OFF = 1 + 1e-3
Change = Callable[[np.ndarray], np.ndarray]


def one_fact(left: object = 1.0, right: object = 1.0, **more: object) -> Fact:
    return Fact("SA1", "a", "l = r", "here", lambda: left, lambda: right, **more)


def one_limit(left: Callable[[float], object], right: object = 1.0, rate: float = 1.0) -> Limit:
    at = (10.0, 100.0, 1000.0)
    return Limit("SA1", "a", "l -> r", "here", at, left, lambda: right, rate)


def all_off(side: np.ndarray) -> np.ndarray:
    return side * OFF


def largest_off(side: np.ndarray) -> np.ndarray:
    """Change the entry largest in absolute value and no other."""
    off = np.array(side)
    off.flat[np.abs(off).argmax()] *= OFF
    return off


@functools.cache
def sides(number: int) -> tuple[dict[float, np.ndarray], np.ndarray]:
    """Compute the sides of a fact once; of a Limit the left one at every n."""
    fact = FACTS[number]
    if isinstance(fact, Limit):
        left = {n: np.asarray(fact.left(n), np.float64) for n in fact.at}
    else:
        left = {0.0: np.asarray(fact.left(), np.float64)}
    return left, np.asarray(fact.right(), np.float64)


def changed(number: int, left: Change, right: Change) -> Fact | Limit:
    """Return a fact with its sides changed."""
    fact, (lefts, other) = FACTS[number], sides(number)
    if isinstance(fact, Limit):
        return replace(fact, left=lambda n: left(lefts[n]), right=lambda: right(other))
    return replace(fact, left=lambda: left(lefts[0.0]), right=lambda: right(other))


def docs(factory: Callable[..., object]) -> str:
    """Return what a factory and the head of its file say."""
    return f"{inspect.getmodule(factory).__doc__}\n{factory.__doc__}"


def same(side: np.ndarray) -> np.ndarray:
    return side


@pytest.mark.parametrize(
    "number", range(len(FACTS)), ids=lambda n: f"{FACTS[n].row}-{FACTS[n].name}"
)
class TestEveryFact:
    def test_it_holds(self, number):
        outcome = evaluate(changed(number, same, same))
        assert outcome.passed, (outcome.residual, outcome.errors, outcome.rates)

    @pytest.mark.parametrize("change", [all_off, largest_off])
    def test_a_thousandth_turns_it_red(self, number, change):
        assert not evaluate(changed(number, change, same)).passed
        assert not evaluate(changed(number, same, change)).passed

    def test_every_entry_counts(self, number):
        if isinstance(FACTS[number], Limit):
            return  # the entry that is last to arrive sets the rate
        largest = np.abs(sides(number)[1]).max()
        for entry, value in enumerate(sides(number)[1].flat):
            if abs(value) < 1e-6 * largest:
                continue  # a thousandth of it is nothing

            def off(side: np.ndarray, entry: int = entry) -> np.ndarray:
                moved = np.array(side)
                moved.flat[entry] *= OFF
                return moved

            assert not evaluate(changed(number, off, same)).passed, entry
            assert not evaluate(changed(number, same, off)).passed, entry

    def test_what_is_no_number_turns_it_red(self, number):
        def spoilt(side: np.ndarray) -> np.ndarray:
            off = np.array(side)
            off.flat[-1] = np.nan
            return off

        assert not evaluate(changed(number, spoilt, same)).passed
        assert not evaluate(changed(number, same, spoilt)).passed

    def test_its_order_can_fail(self, number):
        fact = FACTS[number]
        if not (isinstance(fact, Fact) and fact.ordered):
            return
        turned = {"rising": "falling", "falling": "rising"}[fact.ordered]
        assert not evaluate(replace(changed(number, same, same), ordered=turned)).passed

    def test_it_says_what_it_is(self, number):
        fact = FACTS[number]
        assert fact.row in ROWS
        assert fact.name
        assert fact.statement
        assert fact.place.startswith(("S ", "G "))
        if isinstance(fact, Limit):
            assert fact.bound <= 0.1
            assert len(fact.at) >= 3
            assert fact.at[0] > 0
            steps = np.diff(np.log(fact.at))
            assert (steps > 0).all()
            np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
        else:
            assert fact.bound <= 1e-8


class TestTheTable:
    def test_names_are_unique(self):
        names = [fact.name for fact in FACTS]
        assert sorted(names) == sorted(set(names))

    def test_every_file_of_facts_is_in_it(self):
        found = {
            name: importlib.import_module(f"benchbed.facts.{name}")
            for name in sorted(file.stem for file in HOUSE.glob("[a-z_]*[a-z].py"))
        }
        rooms = {name: module.FACTS for name, module in found.items() if hasattr(module, "FACTS")}
        assert {"gumbel", "maxima"} <= set(rooms)
        for name, facts in rooms.items():
            assert facts, name
            assert [fact.name for fact in facts if fact not in FACTS] == [], name


class TestEvaluate:
    def test_equal_sides_pass(self):
        assert evaluate(one_fact([1.0, 0.0], [1.0, 0.0])).passed

    def test_the_residual_is_relative_to_the_largest_number(self):
        outcome = evaluate(one_fact([2.0, 1.0], [2.0, 1.5]))
        assert outcome.residual == 0.25
        assert not outcome.passed

    def test_the_bound_is_kept_on_either_side(self):
        assert evaluate(one_fact(1 + 2e-9, 1.0, bound=3e-9)).passed
        assert not evaluate(one_fact(1 + 2e-9, 1.0, bound=1e-9)).passed
        assert not evaluate(one_fact(1.0, 1 + 2e-9, bound=1e-9)).passed

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (0.0, 0.0),  # says nothing
            ([], []),
            (np.nan, np.nan),
            (0.0, np.nan),
            (np.nan, 0.0),
            ([1.0, np.nan], [1.0, 1.0]),
            ([1.0, 1.0], [1.0, np.nan]),
            (np.inf, np.inf),
            (np.inf, 1.0),
            ([1.0, 1.0], 1.0),  # nothing is broadcast
            ([1.0, 1.0], [[1.0, 1.0]]),
        ],
        ids=str,
    )
    def test_sides_that_cannot_be_compared_are_red(self, left, right):
        assert not evaluate(one_fact(left, right)).passed

    @pytest.mark.parametrize(
        ("values", "rises", "falls"),
        [
            ([1.0, 2.0, 3.0], True, False),
            ([3.0, 2.0, 1.0], False, True),
            ([1.0, 3.0, 2.0], False, False),
            ([1.0, 1.0, 2.0], False, False),  # strictly
            ([1.0], False, False),  # no order to be seen
            ([[1.0, 2.0], [5.0, 9.0]], True, False),  # along the last axis
            ([[1.0, 2.0], [9.0, 5.0]], False, False),
        ],
        ids=str,
    )
    def test_order(self, values, rises, falls):
        assert evaluate(one_fact(values, values)).passed
        assert evaluate(one_fact(values, values, ordered="rising")).passed == rises
        assert evaluate(one_fact(values, values, ordered="falling")).passed == falls

    def test_a_limit_shows_its_rate(self):
        outcome = evaluate(one_limit(lambda n: 1 + 3 / n))
        assert outcome.passed
        assert outcome.errors == pytest.approx((0.3, 0.03, 0.003))
        assert outcome.rates == pytest.approx((1.0, 1.0))

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (lambda n: 1 + n**-1.2, 1.0),  # another rate
            (lambda n: 1 + n**-0.8, 1.0),
            (lambda n: 1 + 1 / n, 1.001),  # another limit
            (lambda _: 1.0, 1.0),  # there at once: no rate to be seen
            (lambda n: 1 + (1 / n if n < 1000 else np.nan), 1.0),
            (lambda n: 1 + (1 / n if n < 1000 else np.inf), 1.0),
            (lambda n: np.array([1 + 1 / n, 1.0]), 1.0),  # nothing is broadcast
        ],
        ids=range(7),
    )
    def test_a_limit_that_is_none(self, left, right):
        assert not evaluate(one_limit(left, right)).passed


class TestCoverage:
    def test_nothing_is_missing(self):
        assert [(row.name, row.missing) for row in carriers(FACTS) if row.missing] == []

    def test_every_row_of_the_notes_is_there(self):
        ranges = {"G": "1234", "S1": "123456", "S2": "1234567", "S3": "12345"}
        ranges |= {"S4": "123456789ABC", "SA": "1234567"}
        assert list(ROWS) == [f"{head}{last}" for head, tail in ranges.items() for last in tail]

    @pytest.mark.parametrize("name", ROWS)
    def test_what_is_named_exists(self, name):
        row = ROWS[name]
        assert row.what
        assert row.place.startswith(("S ", "G "))
        assert [one for one in row.objectives if one not in OBJECTIVES] == []
        assert [one for one in row.estimators if one not in ESTIMATORS] == []
        for experiment in row.experiments:
            words = re.findall(r"[\w-]+", (EXPERIMENTS / f"{experiment}.yaml").read_text())
            assert set(words) & {*row.objectives, *row.estimators}, experiment

    @pytest.mark.parametrize(
        ("row", "objective"), [(name, one) for name, row in ROWS.items() for one in row.objectives]
    )
    def test_an_objective_says_which_row_it_carries(self, row, objective):
        assert row in re.findall(r"[A-Z0-9]+", docs(OBJECTIVES[objective]))

    def test_what_an_objective_says_is_in_the_table(self):
        claimed = []
        for name, factory in OBJECTIVES.items():
            said = re.findall(
                r"Rows? ((?:[A-Z0-9]+(?:, | and )?)+)\s+of\s+benchbed.facts", docs(factory)
            )
            claimed += [(row, name) for rows in said for row in re.split(", | and ", rows)]
        assert len(claimed) >= 20
        assert [(row, name) for row, name in claimed if name not in ROWS[row].objectives] == []

    def test_a_row_without_a_carrier_is_red(self):
        rows = {"SA1": Row("a", "S"), "S21": Row("b", "S", ("elbo",)), "G1": Row("c", "G")}
        assert [row.missing for row in carriers([], rows)] == [("no fact",)] * 3
        assert [row.facts for row in carriers([one_fact()], rows)] == [1, 0, 0]
        assert [row.missing for row in carriers([one_fact()], rows)] == [(), *[("no fact",)] * 2]

    def test_a_name_that_stands_for_nothing_is_red(self):
        rows = {"SA1": Row("b", "S", ("elbow",), ("exact", "exakt"))}
        (row,) = carriers([one_fact()], rows)
        assert row.missing == ("no objective elbow", "no estimator exakt")

    def test_a_fact_of_no_row_is_an_error(self):
        with pytest.raises(AssertionError, match="SA9"):
            carriers([replace(one_fact(), row="SA9")])

    @pytest.mark.parametrize("name", ROWS)
    def test_without_its_facts_a_row_is_red(self, name):
        others = [fact for fact in FACTS if fact.row != name]
        assert {row.name: row.missing for row in carriers(others)}[name] == ("no fact",)


class TestCommand:
    def test_all_of_it(self):
        before = time.perf_counter()
        done = spawn("facts")
        assert time.perf_counter() - before < 30
        assert (done.returncode, done.stderr) == (0, "")  # and no progress bar off a terminal
        assert done.stdout.splitlines()[-1] == (
            f"{len(FACTS)} facts hold; {len(ROWS)} rows, nothing missing"
        )
        assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []
        assert max(map(len, done.stdout.splitlines())) <= 160
        assert done.stdout.count(" pass\n") == len(FACTS)
        assert "FAIL" not in done.stdout
        text = " ".join(done.stdout.split())
        for fact in FACTS:
            assert fact.name in text

    def test_some_rows_in_any_case(self):
        done = call("facts", "SA5", "sa4")
        assert done.returncode == 0
        text = " ".join(done.stdout.split())
        assert "slip: the proof's line" in text
        assert "falls like n^-2: observed 2.002, 2.000" in text
        assert "at n = 32, 128, 512" in text
        assert done.stdout.splitlines()[-1] == "4 facts hold; 2 rows, nothing missing"
        assert done.stdout.index("\nSA4  the") < done.stdout.index("\nSA5  softmax")

    def test_coverage_evaluates_nothing(self, monkeypatch):
        def refuse(fact: Fact | Limit) -> None:
            raise AssertionError(fact)

        monkeypatch.setattr(benchbed.facts, "evaluate", refuse)
        done = call("facts", "--coverage")
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert lines[-1] == f"{len(ROWS)} rows, nothing missing"
        assert [line.split()[0] for line in lines[1:-2] if line[:1].strip()] == list(ROWS)

    def test_no_name_is_cut_on_a_narrow_terminal(self, monkeypatch):
        narrow = Console(width=80, highlight=False, markup=False, emoji=False)
        for room in (_facts_tables, _print_table):
            monkeypatch.setattr(room, "plain_console", lambda: narrow)
        lines = call("facts", "--coverage").stdout.splitlines()
        assert max(map(len, lines[:-1])) <= 80
        text = " ".join(" ".join(lines).split())
        assert "\u2026" not in text
        for row in ROWS.values():
            for name in (*row.objectives, *row.estimators, *row.experiments):
                assert name in text

    def test_json(self):
        found = json.loads(call("facts", "SA3", "SA4", "--json").stdout)
        assert [row["row"] for row in found["coverage"]] == ["SA3", "SA4"]
        assert [row["facts"] for row in found["coverage"]] == [3, 2]
        exact, limit = found["facts"][:2]
        assert all(fact["passed"] for fact in found["facts"])
        assert (np.shape(exact["left"]), np.shape(exact["right"])) == ((4, 8), (4, 8))
        assert exact["residual"] <= exact["bound"] == 1e-10
        assert (len(limit["at"]), len(limit["errors"]), len(limit["rates"])) == (4, 4, 3)
        assert limit["rate"] == 1.0

    def test_json_of_the_coverage_alone(self):
        found = json.loads(call("facts", "--coverage", "--json").stdout)
        assert list(found) == ["coverage"]
        assert [row["row"] for row in found["coverage"]] == list(ROWS)

    @pytest.mark.parametrize("left", [1.001, np.nan, "raises"])
    def test_a_fact_that_does_not_hold(self, monkeypatch, left):
        def side() -> object:
            if left == "raises":
                raise ValueError("a | b\nc")
            return left

        wrong = replace(one_fact(), name="wrong", left=side)
        monkeypatch.setattr(benchbed.facts, "FACTS", (*gumbel.FACTS[:2], wrong))
        done = call("facts", "SA1")
        assert (done.returncode, done.stderr) == (ExitCode.REGRESSION, "")
        assert done.stdout.count(" pass\n") == 2
        assert done.stdout.count(" FAIL\n") == 1
        assert done.stdout.splitlines()[-1] == (
            "1 of 3 facts FAIL: SA1 wrong; 1 row, nothing missing"
        )
        assert ("cannot be computed: ValueError: a | b c" in done.stdout) == (left == "raises")
        done = call("facts", "SA1", "--json")
        assert done.returncode == ExitCode.REGRESSION
        found = json.loads(done.stdout, parse_constant=pytest.fail)  # no NaN: it is not JSON
        assert [fact["passed"] for fact in found["facts"]] == [True, True, False]

    def test_a_row_without_a_carrier(self, monkeypatch):
        monkeypatch.setattr(benchbed.facts, "FACTS", gumbel.FACTS[:2])
        done = call("facts", "--coverage", "SA1", "SA2")
        assert (done.returncode, done.stderr) == (ExitCode.REGRESSION, "")
        assert done.stdout.splitlines()[-1] == "2 rows, missing SA2: no fact"

    @pytest.mark.parametrize(
        ("word", "says"),
        [("S51", "did you mean 'S"), ("SB1", "did you mean 'S"), ("x" * 3000, "--coverage")],
    )
    def test_an_unknown_row(self, word, says):
        done = call("facts", word)
        refused(done, ExitCode.USAGE, "unknown row", says, "benchbed facts --coverage")
        assert len(done.stderr) < 200

    def test_help(self):
        for word in ("-h", "--help"):
            done = call("facts", word)
            assert (done.returncode, done.stderr) == (0, "")
            assert "--coverage" in done.stdout
