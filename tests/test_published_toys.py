"""The papers' toys: their settings, their exact gradients by hand, their printed numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from benchbed.catalogue import build_estimator, build_objective
from benchbed.errors import BadArgument
from benchbed.measurement.exact_moments import exact_moments
from benchbed.verification.quadrature import integrate


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def traced(problem, name: str, **settings) -> float:
    found = exact_moments(problem, build_estimator(name, **settings))
    assert found is not None
    return float(found.variance.sum())


@pytest.mark.parametrize(
    ("name", "setting", "targets"),
    [("rebar_toy", "target", (0.45, 0.499)), ("arm_toy", "p0", (0.49, 0.499, 0.501, 0.51))],
)
def test_one_bit(name, setting, targets):
    """Value and gradient by hand, and the exact variances of ESTIMATES there in closed form."""
    for target, logit in itertools.product(targets, (0.0, 0.8, -2.0)):
        problem = build_objective(name, **{setting: target}, logits=logit)
        p = sigmoid(logit)
        value = p * (1 - target) ** 2 + (1 - p) * target**2
        assert float(problem.exact_value()) == pytest.approx(value, rel=1e-13)
        slope = (1 - 2 * target) * p * (1 - p)
        assert float(problem.exact_gradient()) == pytest.approx(slope, rel=1e-10)
        v, d = p * (1 - p), 1 - 2 * target
        plain = v * ((1 - p) * (1 - target) ** 4 + p * target**4) - (d * v) ** 2
        assert traced(problem, "score_function") == pytest.approx(plain, rel=1e-10)
        pair = d**2 * (v / 2) * (1 - 2 * v)
        assert traced(problem, "leave_one_out", samples=2) == pytest.approx(pair, rel=1e-8)
        m = min(p, 1 - p)
        assert traced(problem, "disarm") == pytest.approx(
            d**2 * m * (1 - m) ** 2 * (0.5 - m), rel=1e-8, abs=1e-25
        )


@pytest.mark.parametrize(
    ("target", "plain", "pair"), [(0.499, 1.5625e-2, 2.5e-7), (0.45, 1.5939e-2, 6.25e-4)]
)
def test_one_bit_at_its_start_as_printed(target, plain, pair):
    problem = build_objective("rebar_toy", target=target)
    assert traced(problem, "score_function") == pytest.approx(plain, rel=1e-4)
    assert traced(problem, "leave_one_out", samples=2) == pytest.approx(pair, rel=1e-4)


def test_double_cv_toy_has_the_slope_of_an_affine_cost():
    problem = build_objective("double_cv_toy")
    assert problem.params.shape == (200,)
    assert (problem.params == 0).all()
    one = torch.full((200,), (1 - 2 * 0.499) / 200 / 4, dtype=torch.float64)
    torch.testing.assert_close(problem.exact_gradient(), one, rtol=1e-12, atol=0)
    z = torch.ones(1, 1, 200, dtype=torch.float64)
    assert float(problem.cost(z, problem.params)) == pytest.approx((1 - 0.499) ** 2)


@pytest.mark.parametrize(
    ("logit", "printed", "digits"), [(0.0, -0.045, 12), (-4.0, -0.003179287, 9)]
)
def test_shared_logit_toy_to_the_printed_digits(logit, printed, digits):
    problem = build_objective("shared_logit_toy", logit=logit)
    found = problem.pullback(problem.exact_gradient()[None])
    assert found.shape == (1, 1)
    assert round(float(found), digits) == pytest.approx(printed, abs=0.6 * 10**-digits)
    total, p = 0.0, sigmoid(logit)
    for bits in itertools.product((0, 1), repeat=3):  # the derivative in the ONE logit, by hand
        probability = math.prod(p if b else 1 - p for b in bits)
        score = sum(b - p for b in bits)
        cost = sum((b - t) ** 2 for b, t in zip(bits, (0.6, 0.51, 0.48), strict=True))
        total += probability * cost * score
    assert float(found) == pytest.approx(total, rel=1e-12)
    moments = exact_moments(problem, build_estimator("leave_one_out", samples=2))
    assert moments is not None
    assert moments.mean.shape == (1,)
    assert float(moments.mean[0]) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("exponent", [1.5, 2.0, 3.0])
def test_reinmax_toy(exponent):
    problem = build_objective("reinmax_toy", exponent=exponent)
    assert problem.params.shape == (128, 2)
    assert problem.params.abs().max() <= 0.01
    p = problem.params.softmax(-1)[:, 1]
    gap = 0.55**exponent - 0.45**exponent
    expected = p * (1 - p) * gap / 128
    torch.testing.assert_close(problem.exact_gradient()[:, 1], expected, rtol=1e-11, atol=0)
    other = build_objective("reinmax_toy", exponent=exponent, seed=1)
    assert not torch.equal(other.params, problem.params)


def test_carms_toy():
    problem = build_objective("carms_toy")
    probs = problem.params.softmax(-1).numpy()
    weights = 3.0 * np.arange(1, 10).reshape(3, 3)
    value, gradient = 0.0, np.zeros((3, 3))
    for picked in itertools.product(range(3), repeat=3):
        hot = np.eye(3)[list(picked)]
        probability = float((probs * hot).sum(1).prod())
        value += probability * float((weights * hot).sum())
        gradient += probability * float((weights * hot).sum()) * (hot - probs)
    assert float(problem.exact_value()) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(problem.exact_gradient().numpy(), gradient, rtol=1e-9, atol=1e-12)
    even = build_objective("carms_toy", alpha=1000.0).params.softmax(-1)
    assert (
        float((even - 1 / 3).abs().max())
        < 0.05
        < float((problem.params.softmax(-1) - 1 / 3).abs().max())
    )
    tiny = build_objective("carms_toy", alpha=1e-3)
    assert torch.isfinite(tiny.params).all()


def test_gumbel_rao_toy():
    problem = build_objective("gumbel_rao_toy")
    probs = problem.params.softmax(-1).numpy()[0]
    form = np.exp(-2.0 * np.abs(np.subtract.outer(np.arange(3), np.arange(3))))
    costs = [(np.eye(3)[k] - 1 / 3) @ form @ (np.eye(3)[k] - 1 / 3) for k in range(3)]
    assert float(problem.exact_value()) == pytest.approx(float(probs @ costs), rel=1e-13)
    gradient = probs * (costs - probs @ costs)
    np.testing.assert_allclose(problem.exact_gradient().numpy()[0], gradient, rtol=1e-10)
    exact = problem.exact_gradient().numpy().ravel()
    for name, same in (("reinmax", True), ("straight_through", False)):
        moments = exact_moments(problem, build_estimator(name))
        assert moments is not None
        assert np.allclose(moments.mean.ravel(), exact, rtol=1e-9, atol=1e-12) == same


@pytest.mark.parametrize("cost", ["quadratic", "exponential", "cosine"])
def test_mohamed_toy_is_at_mean_and_scale_one(cost):
    problem = build_objective("mohamed_toy", cost=cost, k=0.7)
    torch.testing.assert_close(problem.params, torch.tensor([[1.0], [0.0]], dtype=torch.float64))
    found = integrate(problem, problem.params)
    assert found is not None
    torch.testing.assert_close(found, problem.exact_value(), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("name", "setting"), [("rebar_toy", "target"), ("arm_toy", "p0"), ("mohamed_toy", "k")]
)
def test_whole_numbers_too_large_for_int64_are_numbers_all_the_same(name, setting):
    problem = build_objective(name, **{setting: 10**30})
    assert torch.isfinite(problem.exact_value())
    assert torch.isfinite(problem.exact_gradient()).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rebar_toy", {"target": math.nan}, "a target: a finite number"),
        ("arm_toy", {"logits": math.inf}, "logits: a finite number"),
        ("carms_toy", {"alpha": 0.0}, "alpha > 0"),
        ("carms_toy", {"seed": -1}, "seed >= 0"),
        ("double_cv_toy", {"logits": math.nan}, "logits: a finite number"),
        ("mohamed_toy", {"k": math.nan}, "mohamed_toy needs k: a finite number"),
        ("mohamed_toy", {"k": math.inf}, "mohamed_toy needs k: a finite number"),
        ("reinmax_toy", {"exponent": 1.0}, "reinmax_toy needs exponent > 1"),
        ("mohamed_toy", {"cost": "cosin"}, "did you mean 'cosine'"),
        ("shared_logit_toy", {"logit": math.nan}, "logit: a finite number"),
    ],
)
def test_bad_settings_are_one_line(name, settings, message):
    with pytest.raises(BadArgument) as caught:
        build_objective(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
