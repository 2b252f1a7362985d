"""Moments with no sampling error: golden numbers, closed forms, and Monte Carlo against them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from panel import blocks_of, estimator, objective, pairs, ready
from scipy import stats

from benchbed.analysis.intervals import log_jackknife
from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.exact_moments import MOST_OUTCOMES, exact_moments
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # of one Monte-Carlo comparison below

# Trace variances on golden_bits, all printed digits.
GOLDEN = [
    ("score_function", {}, "12.39827"),
    ("constant_baseline", {"kind": "mean"}, "2.70421"),
    ("constant_baseline", {"kind": "optimal"}, "2.56145"),
    ("constant_baseline", {"kind": "optimal_per_coordinate"}, "2.25209"),
    ("leave_one_out", {"samples": 2}, "3.12925"),
    ("leave_one_out", {"samples": 3}, "1.49378"),
    ("leave_one_out", {"samples": 4}, "0.9722"),
    ("disarm", {}, "2.49262"),
    ("straight_through", {}, "0.229"),
    ("reinmax", {}, "0.190"),
    ("reinmax", {"temperature": 1.5}, "0.218"),
]
# Largest absolute bias of a coordinate, all printed digits.
GOLDEN_BIAS = [
    ("straight_through", {}, "0.134"),
    ("reinmax", {}, "0.0284"),
    ("reinmax", {"temperature": 1.5}, "0.145"),
]
# Known from 1 to 2 million draws only: value, and the relative error of those.
GOLDEN_MONTE_CARLO = [
    ("arm", {}, 2.918, 0.005),
    ("rebar", {"temperature": 0.1}, 6.96, 0.01),
    ("rebar", {"temperature": 0.5}, 1.43, 0.01),
    ("rebar", {"temperature": 1.0}, 1.32, 0.01),
    ("gumbel_softmax", {"temperature": 0.1}, 6.8, 0.02),
    ("gumbel_softmax", {"temperature": 0.5}, 0.695, 0.005),
    ("gumbel_softmax", {"temperature": 1.0}, 0.140, 0.005),
]


def built(name, settings, problem):
    method = build_estimator(name, **settings | ({"pilot": "exact"} if "baseline" in name else {}))
    return method.tune(problem, problem.params, Noise(0)) if method.tune else method


def digits(text: str) -> int:
    return len(text.partition(".")[2])


@pytest.mark.parametrize(("name", "settings", "printed"), GOLDEN)
def test_golden_variances_to_all_printed_digits(name, settings, printed):
    problem = objective("golden_bits")
    found = exact_moments(problem, built(name, settings, problem))
    assert f"{found.variance.sum():.{digits(printed)}f}" == printed


@pytest.mark.parametrize(("name", "settings", "printed"), GOLDEN_BIAS)
def test_golden_biases_to_all_printed_digits(name, settings, printed):
    problem = objective("golden_bits")
    found = exact_moments(problem, built(name, settings, problem))
    bias = np.abs(found.mean - problem.exact_gradient().numpy()).max()
    assert f"{bias:.{digits(printed)}f}" == printed


@pytest.mark.parametrize(("name", "settings", "value", "error"), GOLDEN_MONTE_CARLO)
def test_golden_variances_known_by_simulation(name, settings, value, error):
    """Our interval, widened by the simulation's own error, holds the published number."""
    problem = objective("golden_bits")
    blocks = blocks_of(problem, build_estimator(name, **settings), draws=400_000, seed=21)
    found = _variance_at(blocks, FALSE_ALARM)
    assert found.low * (1 - error) <= value <= found.high * (1 + error)


@pytest.mark.parametrize(("temperature", "printed"), [(0.1, 0.004), (0.5, 0.066), (1.0, 0.169)])
def test_golden_biases_of_the_binary_concrete(temperature, printed):
    """The largest bias of a coordinate: our interval meets the last digit that was printed."""
    problem = objective("golden_bits")
    method = build_estimator("gumbel_softmax", temperature=temperature)
    blocks = blocks_of(problem, method, draws=2_000_000, seed=29, dtype="float64")
    bias = blocks.first / blocks.count[:, None]
    place = int(np.abs(bias.mean(0)).argmax())
    error = bias[:, place].std(ddof=1) / math.sqrt(len(bias))
    reach = stats.norm.isf(FALSE_ALARM / 6) * error + 5e-4
    assert abs(abs(bias[:, place].mean()) - printed) <= reach


FINITE_NAMES = {
    *("exact", "score_function", "constant_baseline", "moving_average_baseline", "leave_one_out"),
    *("nvil", "self_critical", "muprop", "optimal_baseline_regression", "rodeo", "ovis", "ugc"),
    *("double_control_variates", "disarm", "arms", "carms", "antithetic_score_function", "bitflip"),
    *("disarm_stick_breaking", "disarm_importance_weighted", "local_expectation"),
    *("sum_and_sample", "rao_blackwell_score_function", "unordered_set", "straight_through"),
    *("reinmax", "darn", "gapped_straight_through", "decoupled_straight_through", "vimco"),
    *("step_straight_through", "snap_straight_through", "vq_straight_through"),
    *("reweighted_wake_sleep", "thermodynamic"),
}
# Finite only once they are tuned, in tuples of so many samples (0: as many as an estimate has).
TUNED = {
    "constant_baseline": 1,
    "moving_average_baseline": 1,
    "nvil": 1,
    "double_control_variates": 0,
    "rodeo": 0,
}


def outcomes(where: str, which: str) -> int:
    """Return how many outcomes an estimate has on an objective, over its items; 0 if no end."""
    problem, method = objective(where), estimator(which)
    states, items = problem.family.states, math.prod(problem.family.items(problem.params))
    if method.finite is not None:
        return method.finite.count(problem, problem.params) * items
    together = TUNED.get(which.split()[0])
    if together is None or states is None:
        return 0
    return states(problem.params) ** (together or method.samples) * items


# Items take one path through all of them; these few kinds walk it.
ON_DIGITS = ("exact", "score_function", "disarm", "reinmax", "local_expectation", "muprop")
FINITE = [
    (where, which)
    for where, which in pairs()
    if 0 < outcomes(where, which) <= MOST_OUTCOMES
    and ("digits" not in where or (which in ON_DIGITS and "untrained" not in where))
]


def test_who_can_be_marginalized_is():
    """Losing a ``finite`` must not pass unseen: these names have exact moments somewhere."""
    found = {which.split()[0] for _, which in FINITE}
    assert found >= FINITE_NAMES, FINITE_NAMES - found


@pytest.mark.parametrize(("where", "which"), FINITE, ids=lambda name: name.replace(" ", "-"))
def test_monte_carlo_agrees_with_marginalization(where, which):
    """Mean and variance of the draws against the estimator summed over all its outcomes."""
    problem, method = objective(where), ready(where, which)
    found = exact_moments(problem, method)
    assert found is not None
    draws = 16_384 if "digits" in where else 65_536
    blocks = blocks_of(problem, method, draws=draws, seed=22)
    if found.variance.sum() <= 1e-20 * (found.mean**2).sum():  # no randomness that matters
        mean = blocks.exact + blocks.first.sum(0) / draws
        scale = float(np.abs(found.mean).max())
        np.testing.assert_allclose(mean, found.mean, rtol=1e-4, atol=1e-5 * scale)
        return
    interval = _variance_at(blocks, FALSE_ALARM)
    assert interval.low <= found.variance.sum() <= interval.high
    # The mean of every coordinate, Bonferroni over coordinates that vary at all.
    mean = blocks.exact + blocks.first.sum(0) / draws
    error = np.sqrt(found.variance / draws)
    alive = error > 1e-9
    z = np.abs(mean - found.mean)[alive] / error[alive]
    assert z.max() < stats.norm.isf(FALSE_ALARM / (2 * alive.sum())) + 1


def _variance_at(blocks, false_alarm):
    """Return the variance with an interval that misses with chance ``false_alarm``."""
    count, first, total = blocks.count.sum(), blocks.first.sum(0), blocks.distance[0].sum()
    rest = count - blocks.count
    spread = total - blocks.distance[0] - np.square(first - blocks.first).sum(-1) / rest
    value = (total - np.square(first).sum() / count) / (count - 1)
    return log_jackknife(float(value), spread / (rest - 1), level=1 - false_alarm)


def test_a_variance_that_is_off_by_five_percent_is_caught():
    problem, method = objective("golden_bits"), build_estimator("disarm")
    wrong = replace(method, draw=lambda *given: 1.05**0.5 * method.draw(*given))
    interval = _variance_at(blocks_of(problem, wrong, 200_000, 23), FALSE_ALARM)
    assert not interval.low <= exact_moments(problem, method).variance.sum() <= interval.high


@pytest.mark.parametrize("logit", [-1.7, -0.3, 0.0, 0.9])
@pytest.mark.parametrize("target", [0.45, 0.499])
def test_one_bit_closed_forms(logit, target):
    """Var of one bit with J = (b - t)^2, D = 1 - 2t, v = p (1 - p), m = min(p, 1 - p)."""
    problem = build_objective("quadratic", dimensions=1, target=target, logits=logit)
    p = 1 / (1 + math.exp(-logit))
    v, m, gap = p * (1 - p), min(p, 1 - p), 1 - 2 * target
    forms = {
        "score_function": v * ((1 - p) * (1 - target) ** 4 + p * target**4) - (gap * v) ** 2,
        "leave_one_out": gap**2 * v / 2 * (1 - 2 * v),
        "disarm": gap**2 * m * (1 - m) ** 2 * (0.5 - m),
        "constant_baseline": 0.0,  # the optimal one: nothing is left in one dimension
    }
    for name, variance in forms.items():
        settings = {"kind": "optimal"} if name == "constant_baseline" else {}
        found = exact_moments(problem, built(name, settings, problem))
        assert found.variance.sum() == pytest.approx(variance, rel=1e-9, abs=1e-16)


@pytest.mark.parametrize("samples", [2, 3, 4, 5])
def test_leave_one_out_matches_its_closed_form_in_samples(samples):
    """Var = [(K-1) M - (K-2) g^2 + Var(J) E S^2] / (K (K-1)), M = E[(J - EJ)^2 S^2]."""
    problem = objective("golden_bits")
    found = exact_moments(problem, build_estimator("leave_one_out", samples=samples))
    z = problem.family.enumerate(problem.params, torch.arange(8))
    q = problem.family.log_prob(problem.params, z).exp()
    cost, score = problem.cost(z, problem.params), problem.family.score(problem.params, z)
    centred = cost - q @ cost
    m = q @ (centred.square()[:, None] * score.square())
    g = problem.exact_gradient()
    rest = (q @ centred.square()) * (q @ score.square())
    k = samples
    expected = ((k - 1) * m - (k - 2) * g.square() + rest) / (k * (k - 1))
    np.testing.assert_allclose(found.variance, expected.numpy(), rtol=1e-10)


def test_arm_has_its_closed_form_in_one_bit():
    """Var = 2/3 D^2 (1/8 - (1/2 - m)^3) - (D v)^2, held against draws."""
    p, target = 1 / (1 + math.exp(-0.9)), 0.3
    problem = build_objective("quadratic", dimensions=1, target=target, logits=0.9)
    gap, v, m = 1 - 2 * target, p * (1 - p), min(p, 1 - p)
    expected = 2 * gap**2 / 3 * (1 / 8 - (0.5 - m) ** 3) - (gap * v) ** 2
    interval = _variance_at(blocks_of(problem, build_estimator("arm"), 200_000, 24), FALSE_ALARM)
    assert interval.low <= expected <= interval.high


def test_normal_quadratic_closed_forms():
    """Mean and log-scale variances of Mohamed et al.'s review, at sigma = 0.7 (log: times s^2)."""
    s, a = 0.7, 1 - 3.0
    problem = build_objective("normal_quadratic", k=3.0, mean=1.0, scale=s)
    forms = {
        "score_function": a**4 / s**2 + 14 * a**2 + 15 * s**2
        + s**2 * (2 * a**4 / s**2 + 60 * a**2 + 74 * s**2),
        "reparameterization": 4 * s**2 + s**2 * (4 * a**2 + 8 * s**2),
    }  # fmt: skip
    for name, variance in forms.items():
        blocks = blocks_of(problem, build_estimator(name), 400_000, 25)
        interval = _variance_at(blocks, FALSE_ALARM)
        assert interval.low <= variance <= interval.high, name


@pytest.mark.parametrize("where", ["polynomial", "smooth", "table"])
def test_softmax_gradients_sum_to_zero_over_categories(where):
    """Adding a constant to a variable's logits changes nothing, for any estimator's mean."""
    problem = objective(where)
    for name in ("score_function", "straight_through", "reinmax"):
        found = exact_moments(problem, build_estimator(name))
        sums = found.mean.reshape(problem.params.shape).sum(-1)
        np.testing.assert_allclose(sums, 0, atol=1e-12)


def test_adding_a_constant_to_the_cost_changes_score_function_but_no_baseline():
    problem = objective("golden_bits")
    raised = replace(problem, cost=lambda z, params: problem.cost(z, params) + 5)
    assert exact_moments(raised, build_estimator("score_function")).variance.sum() > 50
    for name, settings in (("leave_one_out", {}), ("disarm", {}), ("constant_baseline", {})):
        before, after = (
            exact_moments(p, built(name, settings, p)).variance for p in (problem, raised)
        )
        np.testing.assert_allclose(before, after, rtol=1e-9)


@pytest.mark.parametrize(
    ("where", "name", "unbiased"),
    [
        ("golden_bits multilinear", "straight_through", True),
        ("quadratic", "straight_through", False),
        ("table", "straight_through", True),
        ("coupled", "reinmax", True),  # at most quadratic in each bit
        ("golden_bits", "reinmax", False),
        ("polynomial", "reinmax", False),
    ],
)
def test_where_straight_through_kinds_are_exact(where, name, unbiased):
    problem = objective(where)
    found = exact_moments(problem, build_estimator(name))
    truth = problem.exact_gradient().flatten().numpy()
    bias = np.linalg.norm(found.mean - truth) / np.linalg.norm(truth)
    assert (bias < 1e-12) == unbiased


def test_exact_moments_of_many_parameters_take_little_memory():
    """One outcome, 4,000 parameters: no table of their products is needed, nor made."""
    problem = build_objective("quadratic", dimensions=4_000)
    found = exact_moments(problem, build_estimator("step_straight_through"))
    assert found is not None
    assert found.variance.shape == (4_000,)
    assert not found.variance.any()
