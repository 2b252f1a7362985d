"""J looked up gives what J gives, up to rounding, and only where it was tabulated."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from panel import fits

from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Evaluation, Objective
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.layout import compact, draws_last
from benchbed.measurement.corner_codes import corner_codes
from benchbed.measurement.exact_moments import exact_moments
from benchbed.measurement.lookup import MOST_NUMBERS, Tabulated, tabulated
from benchbed.measurement.worth_tabulating import (
    numbers_made,
    tabulated_if_worth,
    worth_tabulating,
)
from benchbed.rng import Noise

PROBLEMS = {
    "bits": {"name": "coupled", "dimensions": 5},
    "bits, cubic": {"name": "coupled", "dimensions": 5, "extension": "cubic"},
    "bits, multilinear": {"name": "golden_bits", "extension": "multilinear"},
    "categories": {"name": "smooth", "dimensions": 3, "categories": 4},
    "categories, cubic": {
        "name": "smooth",
        "dimensions": 2,
        "categories": 3,
        "extension": "cubic",
    },
    "direct": {"name": "elbo"},
    "items and direct": {"name": "digits_vae", "training_steps": 0, "images": 3},
    "items and direct, cubic": {
        "name": "digits_vae",
        "training_steps": 0,
        "images": 3,
        "extension": "cubic",
    },
    "items of categories": {
        "name": "digits_vae",
        "latents": "categorical",
        "training_steps": 0,
        "images": 3,
    },
    "particles": {"name": "iwae", "distance": 2.0},
    "extended": {"name": "prior_bound"},
    "arg-max": {"name": "snap", "dimensions": 2, "categories": 3},
    "threshold": {"name": "step"},
    "chain": {"name": "markov_chain", "steps": 3, "categories": 3},
    "corners left out": {"name": "hierarchical_prior"},
}
METHODS = {
    "score_function": {"samples": 2},
    "leave_one_out": {"samples": 3},
    "disarm": {"samples": 2},
    "bitflip": {},
    "local_expectation": {},
    "sum_and_sample": {"samples": 2},
    "straight_through": {"samples": 2},
    "reinmax": {"samples": 2},
    "darn": {},
    "gumbel_rao": {"replicates": 3},
    "muprop": {},
    "rebar": {"samples": 2},
    "gumbel_softmax": {},
    "finite_difference": {},
}
# Of the largest entry: 8 roundings of float32, 450 of float64. Ten times that of a draw: costs
# cancel.
CLOSE = {torch.float32: 1e-6, torch.float64: 1e-13}
DTYPES = [torch.float32, torch.float64]


def problem(name: str) -> Objective:
    return build_objective(**PROBLEMS[name])


def read(name: str, dtype: torch.dtype = torch.float32) -> tuple[Objective, Tabulated]:
    plain = problem(name)
    found = tabulated(plain, plain.params.to(dtype))
    assert isinstance(found, Tabulated)
    return plain, found


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference, in units of the largest entry."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return float((a - b).abs().max() / a.abs().max().clamp_min(1e-30))


def furthest(a: Evaluation, b: Evaluation) -> float:
    assert [x is None for x in a] == [x is None for x in b]
    return max(far(x, y) for x, y in zip(a, b, strict=True) if x is not None)


def same(a: Evaluation, b: Evaluation) -> bool:
    return all((x is None and y is None) or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def drawn(objective: Objective, dtype: torch.dtype = torch.float32, draws: int = 40):
    """Return params and a z of two samples at the corners."""
    params = objective.params.to(dtype)
    z = objective.family.sample(params, draws, 2, Noise(3, "lookup", dtype=dtype))
    return params, compact(z.to(dtype))


class Watch:
    """A cost that counts how often it is called."""

    def __init__(self, cost):
        self.cost, self.calls = cost, 0

    def __call__(self, z, params):
        self.calls += 1
        return self.cost(z, params)


def watched(name: str, dtype: torch.dtype = torch.float32) -> tuple[Watch, Tabulated]:
    plain = problem(name)
    watch = Watch(plain.cost)
    found = tabulated(replace(plain, cost=watch), plain.params.to(dtype))
    watch.calls = 0
    return watch, found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
class TestEveryProblem:
    def test_it_gives_what_j_gives(self, name, dtype):
        plain, found = read(name, dtype)
        params, z = drawn(plain, dtype)
        for slope in (False, True):
            a, b = plain.evaluate(z, params, slope=slope), found.evaluate(z, params, slope=slope)
            assert furthest(a, b) < CLOSE[dtype]
            for part in b:
                assert part is None or draws_last(part).is_contiguous()

    def test_it_does_not_run_j(self, name, dtype):
        watch, found = watched(name, dtype)
        params, z = drawn(found, dtype)
        found.evaluate(z, params, slope=True)
        assert watch.calls == 0

    def test_between_the_corners_j_is_run_and_gives_the_very_same(self, name, dtype):
        plain, found = read(name, dtype)
        watch, seen = watched(name, dtype)
        params, z = drawn(plain, dtype)
        relaxed = compact(0.9 * z + 0.05)
        mixed = z.clone()
        mixed[17, 1] = relaxed[17, 1]  # one sample of one draw
        for x in (relaxed, mixed):
            a, b = (which.evaluate(x, params, slope=True) for which in (plain, found))
            assert same(a, b)
            watch.calls = 0
            seen.evaluate(x, params, slope=True)
            assert watch.calls == 1


def pairs(methods) -> list[tuple[str, str]]:
    built = {name: build_estimator(name, **METHODS[name]) for name in methods}
    return [(o, e) for o in PROBLEMS for e in methods if fits(problem(o), built[e])]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "method"), pairs(METHODS))
def test_estimators_draw_the_same(name, method, dtype):
    plain, found = read(name, dtype)
    estimator, params = build_estimator(method, **METHODS[method]), plain.params.to(dtype)
    a, b = (
        estimator.draw(which, params, 50, Noise(5, "same noise", dtype=dtype))
        for which in (plain, found)
    )
    assert far(a, b) < 10 * CLOSE[dtype]


@pytest.mark.parametrize(
    ("name", "method"), pairs(["score_function", "leave_one_out", "reinmax", "disarm", "bitflip"])
)
def test_exact_moments_are_the_same(name, method):
    plain, estimator = problem(name), build_estimator(method)
    found = tabulated(plain, plain.params.float())  # as a float32 cell has it
    assert isinstance(found, Tabulated)
    few = 2**15
    a, b = exact_moments(plain, estimator, few), exact_moments(found, estimator, few)
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        np.testing.assert_allclose(b.mean, a.mean, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(b.variance, a.variance, rtol=1e-11, atol=1e-13)


class TestWhatIsNotACorner:
    @pytest.mark.parametrize("off", [1e-6, 1 - 2**-24, 0.5, -1.0, 2.0, torch.inf, torch.nan])
    @pytest.mark.parametrize("name", ["bits", "categories", "items and direct"])
    def test_one_entry_is_enough(self, name, off):
        watch, found = watched(name)
        params, z = drawn(found)
        z[20, 0].view(-1)[1] = off
        found.evaluate(z, params)
        assert watch.calls == 1

    @pytest.mark.parametrize("ones", [([0, 1], [], [2]), ([0, 1], [2], [2]), ([0], [], [2])])
    def test_zeros_and_ones_that_are_not_one_hot(self, ones):
        watch, found = watched("categories")
        params, z = drawn(found)
        for variable, places in enumerate(ones):
            z[20, 0, variable] = 0
            z[20, 0, variable, places] = 1
        found.evaluate(z, params)
        assert watch.calls == 1

    def test_a_one_hot_that_is_no_value_of_z(self):
        watch, found = watched("corners left out")
        assert found.code is not None
        assert found.code.valid is not None
        params, z = drawn(found)
        code = int((~found.code.valid).nonzero()[0])
        wrong = torch.nn.functional.one_hot(torch.tensor([code % 3, code // 3]), 3).float()
        z[20, 0, 1] = wrong
        found.evaluate(z, params)
        assert watch.calls == 1

    def test_next_to_zero_is_zero(self):
        """What is let through moves J by less than a rounding, even with slopes of 1e10."""
        watch, found = watched("bits")
        params, z = drawn(found)
        exact = found.evaluate(z, params)
        z[z == 0] = 1e-23
        assert same(found.evaluate(z, params), exact)
        assert watch.calls == 0

    def test_other_layouts_and_a_single_row(self):
        plain, found = read("items of categories")
        params, z = drawn(plain)
        for x in (z.contiguous(), z[:1, :1], z[::3], z[:1].expand(5, *z.shape[1:])):
            a, b = (which.evaluate(x, params, slope=True) for which in (plain, found))
            assert furthest(a, b) < CLOSE[torch.float32]

    def test_no_rows(self):
        plain, found = read("bits")
        params, z = drawn(plain)
        assert found.evaluate(z[:0], params).cost.shape == (0, 2)


class TestMovedParams:
    @pytest.mark.parametrize("name", ["direct", "items and direct", "particles"])
    def test_they_go_the_plain_way(self, name):
        watch, found = watched(name)
        params, z = drawn(found)
        moved = params.clone()
        moved.view(-1)[-1] = torch.nextafter(moved.view(-1)[-1], torch.tensor(9.0))
        for calls, point in enumerate((params, moved, params + 1)):
            found.evaluate(z, point, slope=True)
            assert watch.calls == calls

    def test_they_are_noticed_when_moved_in_place(self):
        plain, found = read("direct")
        params, z = drawn(plain)
        params += 0.5
        assert same(found.evaluate(z, params), plain.evaluate(z, params))

    def test_they_do_not_matter_to_a_j_without_them(self):
        watch, found = watched("bits")
        params, z = drawn(found)
        found.evaluate(z, params + 1)
        assert watch.calls == 0


class TestReplaced:
    def test_another_cost_is_not_looked_up(self):
        plain, found = read("bits")
        params, z = drawn(plain)
        other = replace(found, cost=lambda z, params: 3 * plain.cost(z, params))
        assert torch.equal(other.evaluate(z, params).cost, 3 * plain.evaluate(z, params).cost)

    def test_no_direct_term(self):
        plain, found = read("items and direct")
        params, z = drawn(plain)
        quiet = replace(found, direct=False).evaluate(z, params)
        assert quiet.direct is None
        assert torch.equal(quiet.cost, found.evaluate(z, params).cost)


class TestPlantedFaults:
    """What the comparisons above are for."""

    def test_entries_read_in_another_order(self):
        plain, found = read("bits")
        assert found.code is not None
        turned = replace(found, code=replace(found.code, weights=found.code.weights.flip(1)))
        params, z = drawn(plain)
        assert furthest(plain.evaluate(z, params), turned.evaluate(z, params)) > 0.01

    def test_stale_params(self):
        plain, found = read("items and direct")
        params, z = drawn(plain)
        moved = params + 0.01
        stale = replace(found, tables=tuple(replace(t, params=moved) for t in found.tables))
        a, b = plain.evaluate(z, moved), stale.evaluate(z, moved)
        assert furthest(a, b) > 100 * CLOSE[torch.float32]

    def test_items_of_another_order(self):
        plain, found = read("items and direct")
        turned = tuple(replace(t, cost=t.cost.flip(0)) for t in found.tables)
        params, z = drawn(plain)
        assert (
            furthest(plain.evaluate(z, params), replace(found, tables=turned).evaluate(z, params))
            > 0.01
        )


class TestWhatHasNoTables:
    @pytest.mark.parametrize(
        "settings",
        [
            {"name": "normal_quadratic"},
            {"name": "quantized"},
            {"name": "vector_quantized"},
            {"name": "pcfg"},
            {"name": "nested"},
            {"name": "quadratic", "dimensions": 17},
            {"name": "polynomial", "dimensions": 8, "categories": 10},
            {"name": "reinmax_toy"},
        ],
        ids=lambda settings: settings["name"],
    )
    def test_it_stays_as_it_is(self, settings):
        plain = build_objective(**settings)
        assert tabulated(plain, plain.params.float()) is plain

    def test_items_that_are_not_independent(self):
        plain = problem("items and direct")

        def mixed(z, params):
            return plain.cost(z, params) + 0.1 * z.sum((-2, -1))[..., None]

        assert tabulated(replace(plain, cost=mixed), plain.params.float()).cost is mixed
        assert type(tabulated(replace(plain, cost=mixed), plain.params.float())) is Objective

    def test_a_random_j(self):
        noise = Noise(1, "random J", dtype=torch.float64)

        def cost(z, params):
            return z.sum(-1) + noise.uniform(*z.shape[:-1]).to(params)

        random = Objective("random", BERNOULLI, torch.zeros(3), cost)
        assert tabulated(random, random.params) is random

    def test_a_j_of_one_dtype(self):
        matrix = torch.ones(3)
        single = Objective("single", BERNOULLI, torch.zeros(3), lambda z, _: z @ matrix)
        assert tabulated(single, single.params.float()) is single
        assert not worth_tabulating(single, build_estimator("score_function"), 10**6)

    def test_no_slopes_where_none_are_wanted(self):
        plain = problem("items and direct")
        watch = Watch(plain.cost)
        found = tabulated(replace(plain, cost=watch), plain.params.float(), slopes=False)
        params, z = drawn(plain)
        watch.calls = 0
        found.evaluate(z, params)
        assert watch.calls == 0
        assert same(found.evaluate(z, params, slope=True), plain.evaluate(z, params, slope=True))
        assert watch.calls == 1

    def test_a_j_without_a_slope(self):
        hard = replace(problem("bits"), differentiable=False, relaxed=False)
        found = tabulated(hard, hard.params)
        assert isinstance(found, Tabulated)
        assert found.tables[0].slope is None


class TestCodes:
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize(
        ("family", "shape"),
        [
            (BERNOULLI, (16,)),
            (BERNOULLI, (1,)),
            (CATEGORICAL, (10, 3)),
            (CATEGORICAL, (2, 100)),
            (CATEGORICAL, (12, 2)),
            (CATEGORICAL, (1, 2000)),
        ],
    )
    def test_they_number_the_corners_as_the_family_does(self, family, shape, dtype):
        point = torch.zeros(shape, dtype=torch.float64)
        code = corner_codes(family, point, dtype)
        assert code is not None
        count = family.states(point)
        index = torch.arange(count)[:: max(1, count // 5000)]
        z = family.enumerate(point, index).to(dtype).flatten(1)
        assert torch.equal(code.read(draws_last(z).contiguous()), index)

    @pytest.mark.parametrize("shape", [(1, 60_000), (2, 256), (2, 257), (16, 2)])
    def test_more_than_the_tables_or_a_float_can_hold(self, shape):
        assert corner_codes(CATEGORICAL, torch.zeros(shape).double(), torch.float32) is None


class TestWhetherItPays:
    @pytest.mark.parametrize(
        ("settings", "draws"),
        [
            ({"name": "digits_vae", "training_steps": 0}, 2**11),
            ({"name": "elbo"}, 2**15),
            ({"name": "smooth", "extension": "multilinear"}, 2**15),
            ({"name": "coupled"}, 2**21),  # cheap: it takes many draws to win the setup back
            ({"name": "coupled", "dimensions": 16}, 2**23),  # and more to fill 65,536 corners
        ],
        ids=str,
    )
    def test_it_does_from_some_number_of_draws_on(self, settings, draws):
        problem, once = build_objective(**settings), build_estimator("score_function")
        assert worth_tabulating(problem, once, draws)
        assert not worth_tabulating(problem, once, draws // 8)
        assert worth_tabulating(problem, build_estimator("leave_one_out", samples=8), draws // 4)

    @pytest.mark.parametrize(
        "settings",
        [
            {"name": "carms_toy"},  # its J reads z once, as a table would
            {"name": "arm_toy"},
            {"name": "polynomial", "dimensions": 4, "categories": 10},
            {"name": "reinmax_toy"},  # 2^128 corners
            {"name": "normal_quadratic"},
        ],
        ids=str,
    )
    def test_it_never_does(self, settings):
        problem = build_objective(**settings)
        assert not worth_tabulating(problem, build_estimator("score_function"), 10**9)

    def test_slopes_in_large_tables_are_read_too_slowly(self):
        problem = build_objective("coupled", dimensions=16)  # 17 numbers at each of 65,536 corners
        assert not worth_tabulating(problem, build_estimator("reinmax"), 10**9)
        assert worth_tabulating(problem, build_estimator("score_function"), 10**9)

    def test_estimators_that_read_no_corner(self):
        problem = build_objective("digits_vae", training_steps=0)
        params = problem.params.float()
        for name in ("gumbel_softmax", "exact"):
            assert not worth_tabulating(problem, build_estimator(name), 10**9)
        rebar = tabulated_if_worth(problem, build_estimator("rebar"), params, 2**15)
        assert isinstance(rebar, Tabulated)
        assert rebar.tables[0].slope is None  # its slopes are taken between the corners
        reinmax = tabulated_if_worth(problem, build_estimator("reinmax"), params, 2**15)
        assert isinstance(reinmax, Tabulated)
        assert reinmax.tables[0].slope is not None
        assert tabulated_if_worth(problem, build_estimator("reinmax"), params, 64) is problem

    def test_numbers_are_counted_and_no_clock_is_read(self):
        found = []
        for wait in (0.0, 0.01):

            def cost(z, params, wait=wait):
                time.sleep(wait)
                return (z * z + params)[..., :4].exp().sum(-1)  # 5 + 5 + 4 + 1

            found.append(numbers_made(Objective("counted", BERNOULLI, torch.zeros(5), cost)))
        assert found == [15, 15]


MEMORY = """
import sys
from pathlib import Path
import torch
from benchbed.catalogue import build_objective
from benchbed.measurement.lookup import Tabulated, tabulated

def resident(field):
    status = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0])

plain = build_objective("coupled", dimensions=int(sys.argv[1]))
tabulated(build_objective("coupled"), build_objective("coupled").params.float())
before = resident("VmRSS")
found = tabulated(plain, plain.params.float())
assert isinstance(found, Tabulated)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_largest_tables_fit_in_a_hundred_megabytes():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "16"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    numbers = 2**16 * 17
    assert numbers <= MOST_NUMBERS
    tables = numbers * (8 + 4) / 2**10  # kB: float64 and float32
    print(f"{int(done.stdout) / 2**10:.0f} MiB, of which tables {tables / 2**10:.0f}")
    assert int(done.stdout) < 100 * 2**10
    assert int(done.stdout) > 0.9 * tables  # it is the tables that are seen
