"""Every promise of contracts.py, over every pair of the panel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from panel import estimator, objective, pairs
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.families import BERNOULLI, CATEGORICAL, NORMAL
from benchbed.layout import draws_last
from benchbed.rng import Noise

PAIRS = pairs()


def drawn(problem: Objective, name: str, draws: int = 6, dtype=torch.float32) -> Tensor:
    params = problem.params.to(dtype)
    noise = Noise(1, "contract", problem.name, dtype=dtype)
    method = estimator(name)
    if method.tune:
        method = method.tune(problem, params, noise.child("tune"))
    return method.draw(problem, params, draws, noise)


@pytest.mark.parametrize(("where", "which"), PAIRS, ids=lambda name: name.replace(" ", "-"))
class TestEveryPair:
    def test_one_finite_row_per_draw_in_the_dtype_of_params(self, where, which):
        for dtype in (torch.float32, torch.float64):
            rows = drawn(objective(where), which, dtype=dtype)
            assert rows.shape == (6, *objective(where).params.shape)
            assert rows.dtype == dtype
            assert torch.isfinite(rows).all()

    def test_the_noise_is_the_only_randomness(self, where, which):
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
        first, again = (drawn(objective(where), which) for _ in range(2))
        assert torch.equal(first, again)
        assert torch.equal(before, torch.get_rng_state())
        assert (numpy_before == np.random.get_state()[1]).all()

    def test_nothing_it_was_given_is_changed(self, where, which):
        problem = objective(where)
        before = problem.params.clone()
        rows = drawn(problem, which, dtype=torch.float64)
        assert torch.equal(before, problem.params)
        assert not problem.params.requires_grad
        assert not rows.requires_grad

    def test_it_evaluates_the_cost_as_often_as_it_says(self, where, which):
        problem, calls = objective(where), 0

        def counting(z: Tensor, params: Tensor) -> Tensor:
            nonlocal calls
            calls += z.shape[0] * z.shape[1]
            return problem.cost(z, params)

        # Without its closed form `exact` marginalizes, which is what its count stands for.
        counted = replace(problem, cost=counting)
        if which == "exact" and problem.family.states:
            counted = replace(counted, value=None, gradient=None)
        params = problem.params.float()
        method = estimator(which)
        if method.tune:
            method = method.tune(counted, params, Noise(2, "tune"))
            assert calls == method.tuning_evaluations
        calls = 0
        method.draw(counted, params, 5, Noise(2, "count"))
        copies = 1 if which == "exact" else 5  # the exact gradient is found once for all rows
        assert calls == copies * method.evaluations_on(counted)


@pytest.mark.parametrize("name", sorted({which for _, which in PAIRS}))
def test_the_direct_term_is_part_of_every_estimator(name):
    """J that depends on params alone has gradient dJ/dparams, whatever the samples."""
    shapes = {"bernoulli": (3,), "categorical": (2, 3), "normal": (2, 2)}
    met = 0
    for family in (BERNOULLI, CATEGORICAL, NORMAL):
        params = torch.linspace(-1, 1, int(np.prod(shapes[family.name])), dtype=torch.float64)
        params = params.reshape(shapes[family.name])
        axes = tuple(range(-family.params_axes, 0))

        def cost(z: Tensor, params: Tensor, axes=axes, family=family) -> Tensor:
            plain = z.sum(tuple(range(-family.event_axes, 0))) * 0
            return plain + params.square().sum(axes)

        problem = Objective(
            "direct", family, params, cost,
            value=lambda p: p.square().sum(), gradient=lambda p: 2 * p, direct=True,
        )  # fmt: skip
        method = estimator(name)
        if method.families and family.name not in method.families:
            continue
        if "exact_path" in method.needs and not family.exact_path:
            continue
        if method.tune:
            method = method.tune(problem, params, Noise(3, dtype=torch.float64))
        rows = method.draw(problem, params, 4, Noise(3, dtype=torch.float64))
        # Score terms of a constant J average to 0 over draws only; their size is known exactly.
        pure = replace(problem, direct=False)
        scores = method.draw(pure, params, 4, Noise(3, dtype=torch.float64))
        expected = 2 * params if name == "exact" else scores + 2 * params
        torch.testing.assert_close(rows, expected.expand_as(rows), rtol=1e-12, atol=1e-12)
        met += 1
    assert met


@pytest.mark.parametrize(
    "name", ["score_function", "leave_one_out", "gumbel_softmax", "rebar", "reinmax", "disarm"]
)
def test_rows_are_laid_out_draws_last(name):
    """Kernels downstream are several times slower on any other layout."""
    rows = drawn(objective("coupled"), name, draws=64)
    assert draws_last(rows).is_contiguous()


@pytest.mark.parametrize("name", ["gumbel_softmax", "straight_through_gumbel_softmax", "reinmax"])
def test_the_temperature_is_honoured(name):
    from benchbed.catalogue import build_estimator

    problem = objective("golden_bits")
    cold, warm = (
        build_estimator(name, temperature=t).draw(problem, problem.params, 8, _noise())
        for t in (0.5, 1.5)
    )
    assert not torch.allclose(cold, warm)


def _noise() -> Noise:
    return Noise(4, "temperature", dtype=torch.float64)


@pytest.mark.parametrize("where", ["digits_vae", "digits_vae categorical"])
def test_items_do_not_mix(where):
    """An image's gradient must not change with the cost of the other images."""
    problem = objective(where)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        cost = problem.cost(z, params)
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype)
        scale[1:] = 100.0
        return cost * scale

    params = problem.params.float()
    for name in ("leave_one_out", "rebar", "gumbel_softmax", "reinmax"):
        method = estimator(name)
        quiet = method.draw(problem, params, 3, Noise(5))
        loud = method.draw(replace(problem, cost=louder), params, 3, Noise(5))
        torch.testing.assert_close(quiet[:, 0], loud[:, 0])
        assert not torch.allclose(quiet[:, 1], loud[:, 1])


@pytest.mark.parametrize("kind", ["mean", "optimal", "optimal_per_coordinate"])
def test_a_baseline_of_a_saturated_variable_is_finite(kind):
    """Its score is 0 in every pilot sample: 0 / 0 must not become the baseline."""
    from benchbed.catalogue import build_estimator, build_objective

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
