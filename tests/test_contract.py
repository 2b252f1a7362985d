"""Every promise of contracts.py, over every pair of the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from panel import ESTIMATORS, estimator, fits, objective, pairs, ready
from torch import Tensor

from benchbed.catalogue import ESTIMATORS as NAMES
from benchbed.catalogue import build_estimator, build_objective, settings_of
from benchbed.contracts import Objective, check_pair
from benchbed.errors import BenchbedError
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.layout import draws_last
from benchbed.rng import Noise

PAIRS = pairs()

# Calls of J that do not depend on the draw: made once for all rows, counted for each.
HOISTED = {
    "delta_control_variate": 1,  # at the mean
    "muprop": 1,  # at the mean
    "rao_blackwell_score_function": 2,  # the panel's top outcomes
    "self_critical": 1,  # at the mode
    "snap_straight_through": 1,
    "step_straight_through": 1,
}


def drawn(where: str, which: str, draws: int = 6, dtype=torch.float32) -> Tensor:
    problem = objective(where)
    noise = Noise(1, "contract", problem.name, dtype=dtype)
    return ready(where, which, dtype).draw(problem, problem.params.to(dtype), draws, noise)


@pytest.mark.parametrize(("where", "which"), PAIRS, ids=lambda name: name.replace(" ", "-"))
class TestEveryPair:
    def test_one_finite_row_per_draw_and_the_noise_is_the_only_randomness(self, where, which):
        before = objective(where).params.clone()
        for dtype in (torch.float32, torch.float64):
            ready(where, which, dtype)
            torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
            rows, again = (drawn(where, which, dtype=dtype) for _ in range(2))
            assert rows.shape == (6, *objective(where).params.shape)
            assert rows.dtype == dtype
            assert torch.isfinite(rows).all()
            assert not rows.requires_grad
            assert torch.equal(rows, again)
            assert torch.equal(torch_state, torch.get_rng_state())
            assert (numpy_state == np.random.get_state()[1]).all()
        assert torch.equal(before, objective(where).params)  # nothing it was given is changed
        assert not objective(where).params.requires_grad

    def test_it_evaluates_the_cost_as_often_as_it_says(self, where, which):
        problem, method = objective(where), ready(where, which)
        counted, calls = counting(problem, which)
        method.draw(counted, problem.params.float(), 5, Noise(2, "count"))
        wanted = method.evaluations_on(problem)
        hoisted = wanted if which == "exact" else HOISTED.get(which.split()[0], 0)
        assert calls() == 5 * (wanted - hoisted) + hoisted


def counting(problem: Objective, which: str) -> tuple[Objective, Callable[[], int]]:
    """Return the objective with its calls of J counted: rows of z given to the cost."""
    calls = 0

    def cost(z: Tensor, params: Tensor) -> Tensor:
        nonlocal calls
        calls += z.shape[0] * z.shape[1]
        return problem.cost(z, params)

    def log_joint(z: Tensor) -> Tensor:
        nonlocal calls
        calls += z.shape[0] * z.shape[1]
        assert problem.log_joint is not None
        return problem.log_joint(z)

    counted = replace(problem, cost=cost)
    if problem.log_joint is not None:
        counted = replace(counted, log_joint=log_joint)
    # Without its closed form `exact` marginalizes, which is what its count stands for.
    if which == "exact" and problem.family.states:
        counted = replace(counted, value=None, gradient=None)
    return counted, lambda: calls


TUNED = [name for name in ESTIMATORS if estimator(name).tune]


@pytest.mark.parametrize("which", TUNED)
def test_tuning_counts_its_own_calls_of_the_cost(which):
    where = next(place for place, name in PAIRS if name == which)
    problem = objective(where)
    counted, calls = counting(problem, which)
    tune = estimator(which).tune
    assert tune is not None
    method = tune(counted, problem.params.float(), Noise(2, "tune"))
    assert calls() == method.tuning_evaluations > 0
    with pytest.raises(BenchbedError, match="tune"):
        estimator(which).draw(problem, problem.params.float(), 2, Noise(2))


# One objective of each family.
FAMILY_POINTS = ["golden_bits", "smooth", "normal_quadratic", "quantized", "gamma_quadratic"]
FAMILY_POINTS += ["beta_quadratic", "dirichlet_quadratic", "poisson_quadratic"]
FAMILY_POINTS += ["markov_chain", "binary_tree", "nested", "snap"]
# On a multi-sample bound only: there the direct term is part of the formula.
BOUNDS = {name for name in ESTIMATORS if "log_joint" in estimator(name).needs}
# The derivative of J in params is inside their differences, along random directions.
ALONG_DIRECTIONS = {"spsa", "evolution_strategies"}

EXTREME = ["golden_bits", "golden_bits cubic", "golden_bits multilinear"]
EXTREME += ["smooth", "smooth cubic", "smooth multilinear", "table", "polynomial"]
EXTREME += ["iwae bernoulli", "iwae categorical", "markov_chain", "binary_tree"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_finite_at_logits_of_20_and_at_temperature_0_05(name, dtype):
    settings = settings_of(NAMES[name])
    cold = {key: 0.05 for key in settings if "temperature" in key}
    method = build_estimator(name, **cold)
    for where in (
        EXTREME[::2] if method.tune else EXTREME
    ):  # every other one where tuning takes time
        problem = objective(where)
        if not fits(problem, method):
            continue
        sign = torch.ones_like(problem.params)
        sign.view(-1)[::2] = -1
        for params in (20 * sign, -20 * sign, problem.params):
            point = params.to(dtype)
            there = replace(problem, params=params.double())
            frozen = method
            if method.tune:
                frozen = method.tune(there, point, Noise(8, "tune", dtype=dtype))
            rows = frozen.draw(there, point, 512, Noise(8, "cold", dtype=dtype))
            assert torch.isfinite(rows).all(), f"{where} at {params.flatten()[:4].tolist()}"


@pytest.mark.parametrize(
    "name",
    sorted({which for _, which in PAIRS if which.split()[0] not in ALONG_DIRECTIONS} - BOUNDS),
)
def test_the_direct_term_is_part_of_every_estimator(name):
    """J that depends on params alone has gradient dJ/dparams, whatever the samples."""
    met = 0
    for where in FAMILY_POINTS:
        inside = objective(where)
        family, params = inside.family, inside.params
        axes = tuple(range(-family.params_axes, 0))
        method = estimator(name)
        if not fits(inside, method):
            continue

        def cost(z: Tensor, params: Tensor, axes=axes, family=family) -> Tensor:
            plain = z.sum(tuple(range(-family.event_axes, 0))) * 0
            return plain + params.square().sum(axes)

        def still(z: Tensor, _: Tensor, cost=cost, params=params) -> Tensor:
            return cost(z, params)

        problem = Objective(
            "direct", family, params, cost,
            value=lambda p: p.square().sum(), gradient=lambda p: 2 * p, direct=True,
        )  # fmt: skip
        pure = replace(problem, direct=False, cost=still)
        if method.tune:
            method = method.tune(problem, params, Noise(3, dtype=torch.float64))
        rows = method.draw(problem, params, 4, Noise(3, dtype=torch.float64))
        # Score terms of a constant J average to 0 over draws only; their size is known exactly.
        scores = method.draw(pure, params, 4, Noise(3, dtype=torch.float64))
        expected = 2 * params if name == "exact" else scores + 2 * params
        # A difference quotient loses the digits that its step leaves.
        rtol = 1e-9 if "difference" in name else 1e-12
        torch.testing.assert_close(rows, expected.expand_as(rows), rtol=rtol, atol=rtol)
        met += 1
    assert met


@pytest.mark.parametrize(
    "name", ["score_function", "leave_one_out", "gumbel_softmax", "rebar", "reinmax", "disarm"]
)
def test_rows_are_laid_out_draws_last(name):
    """Kernels downstream are several times slower on any other layout."""
    rows = drawn("coupled", name, draws=64)
    assert draws_last(rows).is_contiguous()


@pytest.mark.parametrize("name", ["gumbel_softmax", "straight_through_gumbel_softmax", "reinmax"])
def test_the_temperature_is_honoured(name):
    problem = objective("golden_bits")
    cold, warm = (
        build_estimator(name, temperature=t).draw(problem, problem.params, 8, _noise())
        for t in (0.5, 1.5)
    )
    assert not torch.allclose(cold, warm)


def _noise() -> Noise:
    return Noise(4, "temperature", dtype=torch.float64)


ON_DIGITS = [pair for pair in PAIRS if pair[0] in ("digits_vae", "digits_vae categorical")]


@pytest.mark.parametrize(("where", "which"), ON_DIGITS)
def test_items_do_not_mix(where, which):
    """An image's gradient must not change with the cost of the other images."""
    problem = objective(where)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        cost = problem.cost(z, params)
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype)
        scale[1:] = 100.0
        return cost * scale

    params, method = problem.params.double(), ready(where, which, torch.float64)
    quiet, loud = (
        method.draw(given, params, 3, Noise(5, dtype=torch.float64))
        for given in (problem, replace(problem, cost=louder))
    )
    if which == "exact":
        return  # the closed form does not ask the cost
    torch.testing.assert_close(quiet[:, 0], loud[:, 0])
    assert not torch.allclose(quiet[:, 1:], loud[:, 1:])


@pytest.mark.parametrize("kind", ["mean", "optimal", "optimal_per_coordinate"])
def test_a_baseline_of_a_saturated_variable_is_finite(kind):
    """Its score is 0 in every pilot sample: 0 / 0 must not become the baseline."""
    problem = build_objective("quadratic", dimensions=3, logits=60.0)
    params = problem.params.float()
    method = build_estimator("constant_baseline", kind=kind).tune(problem, params, Noise(6))
    assert torch.isfinite(method.draw(problem, params, 64, Noise(6))).all()


def test_rebar_shares_its_samples_with_leave_one_out_in_every_chunk():
    """Common random numbers: the twin's noise comes from a stream of its own."""
    problem = objective("golden_bits")
    params = problem.params.float()
    shared, alone = Noise(7), Noise(7)
    for _ in range(3):
        seen = []

        def watching(z: Tensor, params: Tensor, seen=seen) -> Tensor:
            seen.append(z.clone())
            return problem.cost(z, params)

        watched = replace(problem, cost=watching)
        estimator("rebar").draw(watched, params, 16, shared)
        assert torch.equal(seen[0], problem.family.sample(params, 16, 2, alone))
    assert shared.drawn == 2 * alone.drawn


def test_a_cost_of_whole_numbers_or_truths_is_a_cost():
    problem = objective("golden_bits")
    wanted = replace(problem, cost=lambda z, _: (z.sum(-1) > 1.5).to(z.dtype))
    for kind in (torch.bool, torch.int64):
        given = replace(problem, cost=lambda z, _, kind=kind: (z.sum(-1) > 1.5).to(kind))
        for name in (
            *("arms", "moving_average_baseline", "local_expectation", "leave_one_out"),
            "finite_difference",
        ):
            left, right = (
                method.draw(at, problem.params, 8, Noise(9, dtype=torch.float64))
                for at in (wanted, given)
                for method in [estimator(name)]
                for method in [method.tune(at, problem.params, Noise(9)) if method.tune else method]
            )
            assert torch.equal(left, right)


@pytest.mark.parametrize("where", ["golden_bits", "polynomial"])
def test_a_cost_that_is_a_view_of_z_is_a_cost(where):
    problem = objective(where)
    place = (..., *[0] * problem.family.event_axes)
    wanted = replace(problem, cost=lambda z, _: z[place].clone())
    given = replace(problem, cost=lambda z, _: z[place])
    names = [name for name in ESTIMATORS if fits(problem, estimator(name))]
    assert "local_expectation" in names
    for name in names:
        left, right = (
            (method.tune(at, problem.params, Noise(9, dtype=torch.float64)) if method.tune
             else method).draw(at, problem.params, 8, Noise(9, dtype=torch.float64))
            for at in (wanted, given)
            for method in [estimator(name)]
        )  # fmt: skip
        assert torch.equal(left, right), name


def test_a_cost_that_writes_into_z_is_one_line():
    problem = objective("golden_bits")
    for name in ("score_function", "local_expectation", "finite_difference"):
        writing = replace(problem, cost=lambda z, _: z.clamp_(0.1, 0.9).sum(-1))
        with pytest.raises(BenchbedError, match=r"the cost of golden_bits writes into z.*clone"):
            estimator(name).draw(writing, problem.params, 8, Noise(9, dtype=torch.float64))


def test_a_cost_in_float64_is_taken_in_the_dtype_of_the_draws():
    problem = objective("golden_bits")
    wide = replace(problem, cost=lambda z, p: problem.cost(z.double(), p))
    rows = estimator("rebar").draw(wide, problem.params.float(), 8, Noise(9))
    assert rows.dtype == torch.float32


def test_one_category_has_gradient_0():
    flat = Objective("flat", CATEGORICAL, torch.zeros(2, 1), lambda z, _: z.sum((-1, -2)))
    rows = estimator("local_expectation").draw(flat, flat.params, 4, Noise(9, dtype=torch.float64))
    assert torch.equal(rows, torch.zeros(4, 2, 1, dtype=torch.float64))


@pytest.mark.parametrize("logit", [-300.0, -150.0, 150.0, 300.0])
def test_relaxations_with_an_explicit_path_are_finite_at_huge_logits(logit):
    problem = replace(objective("golden_bits"), params=torch.tensor([logit, 0.3, -0.5]))
    params = problem.params.float()
    for temperature in (0.5, 2.0):
        method = build_estimator("rebar", relaxation="muprop", temperature=temperature)
        rows = method.draw(problem, params, 64, Noise(9))
        assert torch.isfinite(rows).all()


def test_a_cost_that_is_not_one_number_a_sample_is_one_line():
    problem = objective("golden_bits")
    wrong = replace(problem, cost=lambda z, _: z.sum(-1, keepdim=True))
    with pytest.raises(BenchbedError, match="the cost of golden_bits returned"):
        estimator("leave_one_out").draw(wrong, problem.params, 4, Noise(9, dtype=torch.float64))


@pytest.mark.parametrize(
    ("missing", "name", "said"),
    [
        ({"uniforms": None}, "spsa", "uniforms behind z"),
        ({"enumerate": None}, "unordered_set", "no finite list"),
        ({"mean_vjp": None}, "reinmax", "differentiates the mean"),
        ({"conditional_path": None}, "rebar", "given the hard one"),
    ],
)
def test_a_family_of_your_own_that_lacks_something_is_refused(missing, name, said):
    problem = objective("golden_bits")
    own = replace(problem, family=replace(problem.family, **missing))
    with pytest.raises(BenchbedError, match=said):
        check_pair(own, estimator(name))


def own(**changed) -> Objective:
    """Return an objective as a person might write it, in float32."""
    given = {
        "name": "mine",
        "family": BERNOULLI,
        "params": torch.tensor([0.3, -0.5, 1.0]),
        "cost": lambda z, _: (z.sum(-1) - 1.2).abs(),
    }
    return Objective(**(given | changed))


def test_an_objective_of_your_own_in_float32_is_measured():
    from benchbed import compare

    frame = compare(own(), ["leave_one_out", "exact"], draws=4_096, timing=0)
    assert (frame["status"] == "ok").all()
    assert own().params.dtype == torch.float64


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"family": "bernoulli"}, "needs family"),
        ({"params": [0.0, 0.0]}, "needs params"),
        ({"params": torch.tensor([0, 1])}, "needs params"),
        ({"cost": lambda z: z.sum(-1)}, "the cost of mine failed"),
        ({"cost": lambda *_: 3.0}, "returned a float"),
        ({"cost": lambda z, _: z[..., 7]}, "the cost of mine failed"),
        ({"cost": lambda z, _: torch.from_numpy(z.numpy().sum(-1))}, "differentiable=False"),
    ],
)
def test_an_objective_of_your_own_that_cannot_work_is_one_line(changed, said):
    def use() -> None:
        problem = own(**changed)
        estimator("straight_through").draw(problem, problem.params, 4, Noise(9))

    with pytest.raises(BenchbedError, match=said) as error:
        use()
    assert "\n" not in str(error.value)


def test_a_cost_that_only_numpy_can_evaluate_works_where_no_slope_is_asked():
    counted = own(cost=lambda z, _: torch.from_numpy(z.numpy().sum(-1)), differentiable=False)
    rows = estimator("leave_one_out").draw(counted, counted.params, 4, Noise(9))
    assert rows.shape == (4, 3)
    assert torch.isfinite(counted.exact_gradient()).all()
