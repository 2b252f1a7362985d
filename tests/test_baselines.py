"""The score function's baselines: golden numbers, closed forms, oracles, faults that are caught."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import judged
from panel import blocks_of, estimator, fits, fresh_blocks, objective
from torch import Tensor

from benchbed.analysis.verdict import judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import tuples
from benchbed.errors import BadArgument
from benchbed.estimators._centred_score import centred_score
from benchbed.estimators._running_average import costs_in_sequence, running_average
from benchbed.estimators.self_critical import MODES
from benchbed.layout import draws_last
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

OURS = [
    "moving_average_baseline",
    "self_critical",
    "nvil",
    "nvil normalized",
    "muprop",
    "muprop simple",
    "optimal_baseline_regression",
]
UNBIASED = [name for name in OURS if name != "nvil normalized"]
SEED = 53


def double(*path: str) -> Noise:
    return Noise(SEED, *path, dtype=torch.float64)


def settled(method: Estimator, problem: Objective, dtype=torch.float64) -> Estimator:
    """Tune what can be tuned."""
    if method.tune is None:
        return method
    return method.tune(problem, problem.params.to(dtype), Noise(SEED, "tune", dtype=dtype))


def variance_of(problem: Objective, name: str, **settings) -> np.ndarray:
    """Return the exact variance of every coordinate."""
    if name == "constant_baseline":
        settings["pilot"] = "exact"
    return exact_moments(problem, settled(build_estimator(name, **settings), problem)).variance


def listed(problem: Objective) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probability [n], cost [n] and score [n, parameters] of every z."""
    params, family = problem.params, problem.family
    z = torch.cat(list(tuples(family, params, 1)))[:, 0]
    q, cost = family.log_prob(params, z).exp(), problem.cost(z, params)
    return q.numpy(), cost.numpy(), family.score(params, z).flatten(1).numpy()


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


# Closed forms and golden numbers.


def test_muprop_has_its_golden_variance():
    assert f"{variance_of(objective('golden_bits'), 'muprop').sum():.5f}" == "0.45834"


def _affine(where: str) -> Objective:
    """J = 1 + <w, z> with w all different, on the law of a panel objective."""
    problem = objective(where)
    event = problem.family.mean(problem.params).shape
    weights = torch.linspace(-1, 2, event.numel(), dtype=torch.float64).reshape(event)
    axes = tuple(range(-len(event), 0))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return 1 + (z * weights.to(z)).sum(axes)

    def gradient(params: Tensor) -> Tensor:
        return problem.family.mean_vjp(problem.family.mean(params), weights[None])[0]

    return replace(problem, cost=cost, value=None, gradient=gradient)


@pytest.mark.parametrize("where", ["golden_bits", "coupled", "table", "smooth"])
def test_muprop_leaves_nothing_of_an_affine_cost(where):
    problem = _affine(where)
    assert variance_of(problem, "muprop").max() < 1e-28
    assert variance_of(problem, "muprop", linear=False).max() > 1e-3
    # Multilinear is not enough.
    assert variance_of(objective("golden_bits multilinear"), "muprop").sum() > 0.1


def test_muprop_leaves_nothing_of_an_affine_cost_of_normals():
    problem = _affine("normal_quadratic")
    rows = build_estimator("muprop").draw(problem, problem.params, 64, double("affine"))
    expected = problem.exact_gradient().expand_as(rows)
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("logit", [-1.7, -0.3, 0.0, 0.9])
@pytest.mark.parametrize("target", [0.45, 0.49, 0.499])
def test_one_bit_closed_forms(logit, target):
    """J = (b - t)^2, D = 1 - 2t, v = p (1 - p), m = min(p, 1 - p)."""
    problem = build_objective("quadratic", dimensions=1, target=target, logits=logit)
    p = probability(logit)
    v, m, gap = p * (1 - p), min(p, 1 - p), 1 - 2 * target
    raw = v * ((1 - p) * (1 - target) ** 4 + p * target**4) - (gap * v) ** 2
    forms = [
        ("score_function", {}, raw),
        ("leave_one_out", {"samples": 2}, gap**2 * v / 2 * (1 - 2 * v)),
        ("disarm", {}, gap**2 * m * (1 - m) ** 2 * (0.5 - m)),
        ("constant_baseline", {"kind": "optimal"}, 0.0),
        ("constant_baseline", {"kind": "optimal_per_coordinate"}, 0.0),
    ]
    for name, settings, form in forms:
        found = variance_of(problem, name, **settings)[0]
        assert found == pytest.approx(form, rel=1e-10, abs=1e-18), name
    assert _arm_by_quadrature(problem) == pytest.approx(
        2 * gap**2 / 3 * (1 / 8 - (0.5 - m) ** 3) - (gap * v) ** 2, rel=1e-10
    )


@pytest.mark.parametrize(
    ("target", "printed"),
    [
        (0.499, ["1.5625e-02", "2.5e-07", "8.33e-08"]),
        (0.49, ["1.5638e-02", "2.5e-05", "8.33e-06"]),
        (0.45, ["1.5939e-02", "6.25e-04", "2.083e-04"]),
    ],
)
def test_one_bit_variances_as_printed(target, printed):
    problem = build_objective("quadratic", dimensions=1, target=target, logits=0.0)
    found = [
        variance_of(problem, "score_function")[0],
        variance_of(problem, "leave_one_out", samples=2)[0],
        _arm_by_quadrature(problem),
    ]
    for value, text in zip(found, printed, strict=True):
        decimals = len(text.partition("e")[0].partition(".")[2])
        assert f"{value:.{decimals}e}" == text
    assert variance_of(problem, "disarm")[0] < 1e-20


def _arm_by_quadrature(problem: Objective) -> float:
    """Variance of ARM in one bit: Gauss-Legendre where it is a polynomial in its one uniform."""
    p = float(problem.params.sigmoid())
    nodes, weights = np.polynomial.legendre.leggauss(4)
    ends = sorted((0.0, p, 1 - p, 1.0))
    u = np.concatenate([(a + b) / 2 + (b - a) / 2 * nodes for a, b in itertools.pairwise(ends)])
    w = np.concatenate([(b - a) / 2 * weights for a, b in itertools.pairwise(ends)])

    class Given(Noise):
        def uniform(self, *shape: int) -> Tensor:
            return torch.from_numpy(u).reshape(shape)

    rows = build_estimator("arm").draw(problem, problem.params, len(u), Given(0))[:, 0].numpy()
    return float(w @ rows**2 - (w @ rows) ** 2)


def _double_control_toy(dimensions: int, target: float, v: float) -> dict[str, float]:
    """Variance of a coordinate at K = 2 for J = mean (b - t)^2; all but two only at v = 1/4."""
    s = (1 - 2 * target) / dimensions
    mean = target**2 + s * dimensions / 2
    square = mean**2 + s**2 * dimensions / 4  # E[J^2]
    return {
        "leave_one_out": s**2 / 4 * (2 * v + 4 * v**2 * (dimensions - 2)),
        "disarm": s**2 * (dimensions - 1) / 16,
        "constant_baseline": (s**2 * (1 / 16 + (dimensions - 1) / 16) - (s / 4) ** 2) / 2,
        "score_function": (square / 4 - (s / 4) ** 2) / 2,
        # At p = 1/2, (b - t)^2 less its expansion there is (b - 1/2)^2 = 1/4: a constant, again.
        "muprop": 1 / 128,
        # The mode is 0 and J(b) - J(0) = s sum b.
        "self_critical": s**2 * ((dimensions + dimensions**2) / 16 - 1 / 16) / 2,
    }


def test_closed_forms_of_the_wide_toy():
    """Enumerated with 6 bits; the same formulas give the printed digits with 200."""
    problem = build_objective("quadratic", dimensions=6, target=0.499, logits=0.0)
    for name, form in _double_control_toy(6, 0.499, 0.25).items():
        np.testing.assert_allclose(
            variance_of(problem, name, samples=2), form, rtol=1e-10, err_msg=name
        )
    tilted = build_objective("quadratic", dimensions=6, target=0.3, logits=0.9)
    p = probability(0.9)
    form = _double_control_toy(6, 0.3, p * (1 - p))["leave_one_out"]
    np.testing.assert_allclose(variance_of(tilted, "leave_one_out", samples=2), form, rtol=1e-10)
    wide = _double_control_toy(200, 0.499, 0.25)
    printed = {
        "leave_one_out": "1.2500e-09",
        "disarm": "1.24375e-09",
        "constant_baseline": "6.21875e-10",
        "score_function": "7.8e-03",
        "muprop": "7.8e-03",
    }
    for name, text in printed.items():
        decimals = len(text.partition("e")[0].partition(".")[2])
        assert f"{wide[name]:.{decimals}e}" == text


@pytest.mark.parametrize("samples", [2, 3, 4, 5])
@pytest.mark.parametrize("where", ["golden_bits", "five categories"])
def test_leave_one_out_closed_form_in_samples(where, samples):
    """Var = [(K-1) M - (K-2) g^2 + Var(J) E S^2] / (K (K-1)), M = E[(J - EJ)^2 S^2]."""
    problem = (
        build_objective("table", dimensions=1, categories=5)
        if where == "five categories"
        else objective(where)
    )
    q, cost, score = listed(problem)
    centred = cost - q @ cost
    m, rest = q @ (centred[:, None] * score) ** 2, (q @ centred**2) * (q @ score**2)
    g = q @ (cost[:, None] * score)
    k = samples
    form = ((k - 1) * m - (k - 2) * g**2 + rest) / (k * (k - 1))
    found = variance_of(problem, "leave_one_out", samples=samples)
    np.testing.assert_allclose(found, form, rtol=1e-10)


def _least(problem: Objective) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return c*, the least variance and E[S^2] of every coordinate."""
    q, cost, score = listed(problem)
    power = q @ score**2
    best = q @ (cost[:, None] * score**2) / power
    g = q @ (cost[:, None] * score)
    return best, q @ (cost[:, None] * score) ** 2 - best**2 * power - g**2, power


@pytest.mark.parametrize("where", ["golden_bits", "table"])
def test_a_baseline_costs_its_squared_distance_from_the_best(where):
    """Var = Var* + E[(c - c*)^2] E[S^2] for every c that is independent of the sample."""
    problem = objective(where)
    best, least, power = _least(problem)
    q, cost, score = listed(problem)
    optimal = variance_of(problem, "constant_baseline", kind="optimal_per_coordinate")
    np.testing.assert_allclose(optimal, least, rtol=1e-10)

    mode = MODES[problem.family.name](problem.params)
    greedy = float(problem.cost(mode[None], problem.params))
    found = variance_of(problem, "self_critical")
    np.testing.assert_allclose(found, least + (greedy - best) ** 2 * power, rtol=1e-10)

    mean = float(problem.cost(problem.family.mean(problem.params)[None], problem.params))
    found = variance_of(problem, "muprop", linear=False)
    np.testing.assert_allclose(found, least + (mean - best) ** 2 * power, rtol=1e-10)

    # The regression on two pilot samples: c_i over all pairs of states.
    square = score**2
    weight = square[:, None] + square[None]
    fitted = (cost[:, None, None] * square[:, None] + (cost[:, None] * square)[None]) / weight
    spread = np.einsum("a,b,abi->i", q, q, (fitted - best) ** 2)
    found = variance_of(problem, "optimal_baseline_regression", pilot=2)
    np.testing.assert_allclose(found, least + spread * power, rtol=1e-10)


# Exact means.

FINITE = [
    (where, which)
    for where in (
        "quadratic", "quadratic cubic", "golden_bits", "coupled", "polynomial", "table", "smooth",
        "digits_vae", "digits_vae categorical",
    )
    for which in OURS
    if which != "optimal_baseline_regression"
    or where in ("quadratic", "golden_bits", "coupled", "table")
]  # fmt: skip


@pytest.mark.parametrize(("where", "which"), FINITE, ids=lambda name: name.replace(" ", "-"))
def test_the_exact_mean_is_the_gradient_or_its_stated_multiple(where, which):
    problem = objective(where)
    method = settled(estimator(which), problem)
    found = exact_moments(problem, method)
    truth = problem.pullback(problem.exact_gradient()[None])[0].numpy()
    scale = method.settings.get("scale", 1.0)
    assert (scale == 1.0) or which == "nvil normalized"
    size = np.abs(truth).max()
    np.testing.assert_allclose(found.mean, scale * truth, rtol=1e-9, atol=1e-12 * size)


@pytest.mark.parametrize(("samples", "pilot"), [(1, 1), (1, 3), (2, 2)])
def test_the_regression_is_unbiased_for_every_size_of_pilot(samples, pilot):
    problem = objective("golden_bits")
    method = build_estimator("optimal_baseline_regression", samples=samples, pilot=pilot)
    found = exact_moments(problem, method)
    np.testing.assert_allclose(found.mean, problem.exact_gradient().numpy(), rtol=1e-9)


def test_normalized_nvil_is_short_by_its_scale_where_the_cost_varies():
    """On golden bits Var(J) > 1; where it is below 1 the scale is 1 and nothing is lost."""
    problem = objective("golden_bits")
    q, cost, _ = listed(problem)
    variance = q @ (cost - q @ cost) ** 2
    scale = settled(estimator("nvil normalized"), problem).settings["scale"]
    assert variance > 2
    assert scale == pytest.approx(variance**-0.5, rel=0.2)
    assert settled(estimator("nvil normalized"), objective("quadratic")).settings["scale"] == 1
    assert settled(estimator("nvil"), problem).settings["scale"] == 1
    assert estimator("nvil").unbiased is True
    assert estimator("nvil normalized").unbiased is False


# Oracles.


def _golden(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return J and dJ/dx of golden_bits at one x, in numpy."""
    a = np.array([0.7, -0.4, 1.1])
    form = np.array([[0.5, 0.8, -0.6], [0.8, -0.3, 0.9], [-0.6, 0.9, 0.4]])
    rate = np.array([0.6, -0.5, 0.9])
    grown = np.exp(rate @ x)
    cost = a @ x + x @ form @ x + 1.5 * x[0] * x[1] * x[2] + grown
    triple = 1.5 * np.array([x[1] * x[2], x[0] * x[2], x[0] * x[1]])
    return cost, a + 2 * form @ x + triple + rate * grown


def _of(which: str, z: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Transcribe one estimate on golden_bits from its samples z [samples, 3]."""
    logits = np.array([0.4, -1.3, 0.8])
    p = 1 / (1 + np.exp(-logits))
    rows = []
    for b in z:
        score = b - p
        if which == "muprop":
            at, slope = _golden(p)
            rows.append((_golden(b)[0] - at - slope @ (b - p)) * score + slope * p * (1 - p))
        elif which == "muprop simple":
            rows.append((_golden(b)[0] - _golden(p)[0]) * score)
        elif which == "self_critical":
            rows.append((_golden(b)[0] - _golden(np.array([1.0, 0.0, 1.0]))[0]) * score)
        else:
            costs = np.array([_golden(x)[0] for x in aside])
            power = (aside - p) ** 2
            rows.append((_golden(b)[0] - costs @ power / power.sum(0)) * score)
    return np.mean(rows, 0)


@pytest.mark.parametrize(
    "which", ["muprop", "muprop simple", "self_critical", "optimal_baseline_regression"]
)
def test_sample_by_sample_transcription(which):
    problem = objective("golden_bits")
    settings = {"linear": False} if which == "muprop simple" else {}
    method = build_estimator(which.split(" ")[0], samples=3, **settings)
    rows = method.draw(problem, problem.params, 20, double("oracle")).numpy()
    same = double("oracle")
    z = problem.family.sample(problem.params, 20, 3, same).numpy()
    aside = problem.family.sample(problem.params, 20, 8, same.child("pilot", same.drawn)).numpy()
    expected = [_of(which, *both) for both in zip(z, aside, strict=True)]
    np.testing.assert_allclose(rows, expected, rtol=1e-11, atol=1e-13)


def test_muprop_transcribed_for_categories():
    """jvp(pi, J'(pi)) = pi (a - <pi, a>), with a variable's J' by autograd."""
    problem = objective("smooth")
    params = problem.params
    rows = build_estimator("muprop").draw(problem, params, 20, double("oracle")).numpy()
    z = problem.family.sample(params, 20, 1, double("oracle"))[:, 0]
    pi = params.softmax(-1).requires_grad_()
    at = problem.cost(pi[None], params)
    a = torch.autograd.grad(at.sum(), pi)[0].numpy()
    costs, p, at = problem.cost(z, params).numpy(), pi.detach().numpy(), at.item()
    for row, hot, cost in zip(rows, z.numpy(), costs, strict=True):
        rest = cost - at - (a * (hot - p)).sum()
        expected = rest * (hot - p) + p * (a - (p * a).sum(-1, keepdims=True))
        np.testing.assert_allclose(row, expected, rtol=1e-11, atol=1e-13)


def _constant(problem: Objective, c: float) -> Objective:
    """The same law with J = c everywhere: a pilot on it learns c."""
    return replace(problem, cost=lambda z, _: z.flatten(2).sum(-1) * 0 + c, direct=False)


def _learned(method: Estimator, problem: Objective) -> float:
    """Read the baseline of a frozen estimator off one sample: c = J - g / S."""
    row = method.draw(problem, problem.params, 1, double("read"))[0]
    z = problem.family.sample(problem.params, 1, 1, double("read"))
    score = problem.family.score(problem.params, z)[0, 0]
    found = problem.cost(z, problem.params)[0, 0] - row / score
    assert float(found.std()) < 1e-12
    return float(found.mean())


@pytest.mark.parametrize("name", ["nvil", "moving_average_baseline"])
@pytest.mark.parametrize("where", ["golden_bits", "table"])
def test_frozen_on_a_toy_it_is_constant_baseline(name, where):
    """Given the same constant, the same draws under the same noise."""
    problem = objective(where)
    method = settled(build_estimator(name), problem)
    c = _learned(method, problem)
    same = settled(build_estimator("constant_baseline"), _constant(problem, c))
    rows, expected = (m.draw(problem, problem.params, 50, double("frozen")) for m in (method, same))
    torch.testing.assert_close(rows, expected, rtol=1e-10, atol=1e-12)
    q, cost, _ = listed(problem)
    mean = q @ cost
    assert abs(c - mean) < 5 * math.sqrt(q @ (cost - mean) ** 2 / 19)


@pytest.mark.parametrize("decay", [0.0, 0.8, 0.9])
def test_the_moving_average_is_the_recursion(decay):
    """One step after the other, in numpy, from 0 and divided by 1 - decay^steps."""
    problem = objective("golden_bits")
    noise = Noise(SEED, "tune", dtype=torch.float64)
    costs = costs_in_sequence(problem, problem.params, 60, 4, noise).numpy()
    c = v = 0.0
    for batch in costs:
        c = decay * c + (1 - decay) * batch.mean()
        v = decay * v + (1 - decay) * batch.var(ddof=1)
    lost = 1 - decay**60
    method = build_estimator("moving_average_baseline", samples=4, decay=decay, steps=60)
    single = build_estimator("nvil", decay=decay, steps=60, batch=4)
    assert _learned(settled(single, problem), problem) == pytest.approx(c / lost, rel=1e-12)
    scale = settled(
        build_estimator("nvil", normalize=True, decay=decay, steps=60, batch=4), problem
    ).settings["scale"]
    assert scale == pytest.approx(1 / max(1, math.sqrt(v / lost)), rel=1e-12)
    rows = settled(method, problem).draw(problem, problem.params, 30, double("recursion"))
    z = problem.family.sample(problem.params, 30, 4, double("recursion"))
    expected = centred_score(problem, problem.params, z, torch.tensor(c / lost))
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-12)


def test_the_moving_average_keeps_the_noise_that_it_says():
    """Var(c) = Var(J) (1 - a) / (1 + a): the sum of its squared weights."""
    weights = running_average(torch.eye(1000, dtype=torch.float64), 0.9)
    assert float(weights.square().sum()) == pytest.approx(0.1 / 1.9, rel=1e-12)
    assert float(weights.sum()) == pytest.approx(1, rel=1e-12)


# The bias test, and the faults it must see.


@pytest.mark.parametrize(
    "places",
    [
        ("golden_bits", "coupled"),
        ("table", "smooth"),
        ("normal_quadratic", "normal_cosine"),
    ],
    ids=["bernoulli", "categorical", "normal"],
)
def test_unbiased_where_they_say_so(places):
    cells = {(where, which): 131_072 for where in places for which in UNBIASED}
    verdicts = judged(cells)
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict.one_line()}")
    assert {verdict.outcome for verdict in verdicts.values()} == {"unbiased"}


def outcome(problem: Objective, method: Estimator, draws: int = 131_072) -> str:
    cells = {"cell": blocks_of(problem, method, draws, SEED)}
    return judge(cells, lambda _: fresh_blocks(problem, method, draws, SEED))["cell"].outcome


class Leaky:
    """Noise whose children repeat its own last numbers: the pilot is the sample."""

    def __init__(self, noise: Noise) -> None:
        self.noise, self.last, self.drawn = noise, None, 0

    def uniform(self, *shape: int) -> Tensor:
        self.last = self.noise.uniform(*shape)
        return self.last.clone()

    def child(self, *_: str | int) -> Leaky:
        repeated = Leaky(self.noise)
        repeated.uniform = lambda *_: self.last.clone()
        return repeated


@pytest.mark.parametrize("where", ["golden_bits", "smooth", "normal_quadratic"])
def test_a_regression_on_its_own_samples_is_caught(where):
    problem = objective(where)
    right = build_estimator("optimal_baseline_regression", samples=4, pilot=4)

    def same(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return right.draw(problem, params, draws, Leaky(noise))

    assert outcome(problem, replace(right, draw=same), 32_768) == "biased"
    assert outcome(problem, right) == "unbiased"


@pytest.mark.parametrize("where", ["golden_bits", "smooth", "normal_quadratic"])
def test_muprop_without_its_mean_term_is_caught(where):
    problem = objective(where)

    def dropped(mean: Tensor, slope: Tensor) -> Tensor:
        return 0 * problem.family.mean_vjp(mean, slope)

    faulty = replace(problem, family=replace(problem.family, mean_vjp=dropped))
    assert outcome(faulty, build_estimator("muprop")) == "biased"


@pytest.mark.parametrize("where", ["golden_bits", "table"])
def test_a_moving_average_that_has_seen_the_sample_is_caught(where):
    """Updated before it is subtracted: J - (a c + (1 - a) J) = a (J - c), 10 % too short."""
    problem = objective(where)
    right = build_estimator("moving_average_baseline")
    c = torch.tensor(_learned(settled(right, problem), problem))

    def late(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = problem.family.sample(params, draws, 1, noise)
        updated = 0.9 * c + 0.1 * problem.evaluate(z, params).cost
        return centred_score(problem, params, z, updated)

    assert outcome(problem, replace(right, draw=late, tune=None)) == "biased"


@pytest.mark.parametrize("where", ["golden_bits", "table"])
def test_a_self_critical_baseline_that_looks_at_the_sample_is_caught(where):
    """The better of the greedy and the sampled decision is no longer independent of the sample."""
    problem, right = objective(where), build_estimator("self_critical")

    def better(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = problem.family.sample(params, draws, 1, noise)
        mode = MODES[problem.family.name](params)
        greedy = problem.evaluate(mode[None, None], params).cost
        best = torch.minimum(greedy, problem.evaluate(z, params).cost)
        return centred_score(problem, params, z, best)

    assert outcome(problem, replace(right, draw=better)) == "biased"


def test_variance_normalization_is_caught_as_bias_and_has_the_mean_it_states():
    problem = objective("golden_bits")
    method = settled(estimator("nvil normalized"), problem)
    assert outcome(problem, method) == "biased"
    shorter = method.settings["scale"] * problem.exact_gradient()
    assert outcome(replace(problem, gradient=lambda _: shorter), method) == "unbiased"


# Items, extremes, promises.


@pytest.mark.parametrize("which", OURS)
@pytest.mark.parametrize("where", ["digits_vae", "digits_vae categorical"])
def test_items_do_not_mix(where, which):
    problem = objective(where)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        cost = problem.cost(z, params)
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype)
        scale[1:] = 100.0
        return cost * scale

    loud = replace(problem, cost=louder)
    params = problem.params.float()
    method = settled(estimator(which), problem, torch.float32)
    before, after = (m.draw(p, params, 3, Noise(5)) for m, p in ((method, problem), (method, loud)))
    assert torch.isfinite(before).all()
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])
    if which == "moving_average_baseline":  # one c an item, whatever the others cost
        retuned = settled(estimator(which), loud, torch.float32)
        torch.testing.assert_close(before[:, 0], retuned.draw(loud, params, 3, Noise(5))[:, 0])


@pytest.mark.parametrize("where", ["digits_vae", "digits_vae categorical"])
def test_the_baseline_of_every_item_is_its_own(where):
    """Read off one sample, each is its image's mean cost within what its pilot can know."""
    problem = replace(objective(where), direct=False)  # the direct term would hide the baseline
    family, params = problem.family, problem.params
    z = torch.cat(list(tuples(family, params, 1)))
    q, cost = family.log_prob(params, z).exp()[:, 0], problem.cost(z, params)[:, 0]
    mean = (q * cost).sum(0)
    spread = (q * (cost - mean).square()).sum(0)  # [items]
    errors = {
        # of the item's own mean over 6,400, and of the running mean over 9 batches of 32 x items
        "nvil": (spread / 6400 + spread.mean() / (9 * 32 * len(spread))).sqrt(),
        "moving_average_baseline": (spread / 19).sqrt(),
    }
    for name, error in errors.items():
        method = settled(build_estimator(name), problem)
        row = method.draw(problem, params, 1, double("read"))[0].flatten(1)
        drawn = family.sample(params, 1, 1, double("read"))
        score = family.score(params, drawn)[0, 0].flatten(1)
        c = problem.cost(drawn, params)[0, 0] - (row * score).sum(-1) / score.square().sum(-1)
        assert ((c - mean).abs() < 5 * error).all()
    assert float(mean.std()) > 20 * float(errors["nvil"].max())  # one c would not do


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("which", OURS)
def test_finite_at_extreme_parameters(which, dtype):
    method = estimator(which)
    if "pilot" in method.settings:
        method = build_estimator("optimal_baseline_regression", samples=2)
    for where, size in [
        ("coupled", 20.0), ("coupled", 60.0), ("smooth", 20.0), ("smooth", 60.0),
        ("normal_cosine", 8.0),
    ]:  # fmt: skip
        base = objective(where)
        signs = (-1.0) ** torch.arange(base.params.numel()).reshape(base.params.shape)
        params = size * signs.to(dtype)
        problem = replace(base, params=params.double())
        frozen = settled(method, problem, dtype)
        rows = frozen.draw(problem, params, 256, Noise(6, dtype=dtype))
        assert rows.dtype == dtype
        assert torch.isfinite(rows).all()


@pytest.mark.parametrize("which", OURS)
@pytest.mark.parametrize("where", ["coupled", "smooth", "normal_cosine", "digits_vae"])
def test_layout_and_common_random_numbers(where, which):
    """Draws-last rows; the z of the estimate are those that score_function would draw."""
    problem = objective(where)
    method = settled(estimator(which), problem, torch.float32)
    params, seen = problem.params.float(), []

    def watching(z: Tensor, params: Tensor) -> Tensor:
        seen.append(z.detach().clone())
        return problem.cost(z, params)

    shared, alone = Noise(7), Noise(7)
    for _ in range(2):
        rows = method.draw(replace(problem, cost=watching), params, 16, shared)
        assert draws_last(rows).is_contiguous()
        assert torch.equal(seen[-1], problem.family.sample(params, 16, method.samples, alone))
    assert shared.drawn == alone.drawn * (3 if which == "optimal_baseline_regression" else 1)


def test_the_cost_is_evaluated_as_often_as_stated():
    """J at the mode and at the mean is one row a call, however many draws."""
    problem, rows = objective("golden_bits"), 0

    def counting(z: Tensor, params: Tensor) -> Tensor:
        nonlocal rows
        rows += z.shape[0] * z.shape[1]
        return problem.cost(z, params)

    counted = replace(problem, cost=counting)
    for which in OURS:
        rows = 0
        method = settled(estimator(which), counted)
        assert rows == method.tuning_evaluations
        rows = 0
        method.draw(counted, problem.params, 5, double("count"))
        hoisted = int(which.startswith(("muprop", "self_critical")))
        assert rows == 5 * (method.evaluations_on(counted) - hoisted) + hoisted


def test_what_they_need():
    rigid = replace(objective("golden_bits"), relaxed=False)
    assert {which for which in OURS if not fits(rigid, estimator(which))} == {
        "muprop", "muprop simple",
    }  # fmt: skip
    blind = replace(objective("golden_bits"), differentiable=False)
    assert {which for which in OURS if not fits(blind, estimator(which))} == {"muprop"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("moving_average_baseline", {"decay": 1.0}),
        ("moving_average_baseline", {"decay": math.nan}),
        ("moving_average_baseline", {"decay": -0.1}),
        ("moving_average_baseline", {"steps": 0}),
        ("moving_average_baseline", {"samples": 0}),
        ("nvil", {"batch": 1}),
        ("nvil", {"decay": math.inf}),
        ("nvil", {"steps": 0}),
        ("nvil", {"normalize": "yes"}),
        ("self_critical", {"samples": 0}),
        ("muprop", {"samples": 0}),
        ("muprop", {"linear": "no"}),
        ("optimal_baseline_regression", {"pilot": 0}),
        ("optimal_baseline_regression", {"samples": True}),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(name, settings):
    with pytest.raises(BadArgument) as refused:
        build_estimator(name, **settings)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize("name", ["moving_average_baseline", "nvil"])
def test_an_untuned_one_says_what_to_do(name):
    problem = objective("golden_bits")
    with pytest.raises(BadArgument, match=r"call estimator\.tune"):
        build_estimator(name).draw(problem, problem.params, 2, double("untuned"))


@pytest.mark.parametrize("samples", [1, 4])
def test_a_baseline_that_is_updated_first_shrinks_the_gradient_as_stated(samples):
    """E[(J_s - decay c - (1 - decay) mean J) h_s] is 1 - (1 - decay) / samples of the gradient."""
    problem, decay, c = build_objective("golden_bits"), 0.9, 5.0

    def updated_first(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        cost = objective.evaluate(z, params).cost
        seen = decay * c + (1 - decay) * cost.mean(1, keepdim=True)
        return ((cost - seen)[..., None] * objective.family.score(params, z)).mean(1)

    mean = torch.zeros_like(problem.params)
    for z in tuples(problem.family, problem.params, together=samples):
        q = problem.family.log_prob(problem.params, z).sum(1).exp()
        mean += (q[:, None] * updated_first(problem, problem.params, z)).sum(0)
    expected = (1 - (1 - decay) / samples) * problem.exact_gradient()
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-12)
