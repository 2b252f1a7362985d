"""Coupled samples: arms, carms, antithetic_score_function, bitflip, ugc; and arm and disarm.

Almost all of them are finite, so most of what is claimed here is exact; draws are held against the
same law by the bias test and by numpy transcriptions fed with the same noise.
"""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED, judged
from panel import blocks_of, estimator, fresh_blocks, objective
from torch import Tensor

from benchbed.analysis.intervals import log_jackknife
from benchbed.analysis.verdict import judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

ARMS = importlib.import_module("benchbed.estimators.arms")
CARMS = importlib.import_module("benchbed.estimators.carms")
ANTITHETIC = importlib.import_module("benchbed.estimators.antithetic_score_function")
FALSE_ALARM = 1e-4


def moments(where, name, **settings):
    problem = objective(where) if isinstance(where, str) else where
    found = exact_moments(problem, build_estimator(name, **settings))
    assert found is not None
    return found


def bits_table(logits, entries) -> Objective:
    """Cost read from a table of 2^d entries, first bit fastest."""
    values = torch.tensor(entries, dtype=torch.float64)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        radix = 2.0 ** torch.arange(z.shape[-1], dtype=z.dtype)
        return values.to(z)[(z * radix).sum(-1).long()]

    return Objective("bits", BERNOULLI, torch.tensor(logits, dtype=torch.float64), cost)


def linear_one_hots(probs, weights) -> Objective:
    """Cost linear in the one-hots."""
    slopes = torch.tensor(np.asarray(weights), dtype=torch.float64)
    logits = torch.tensor(np.asarray(probs), dtype=torch.float64).log()

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return (z * slopes.to(z)).sum((-2, -1))

    return Objective("linear", CATEGORICAL, logits, cost)


# Golden numbers and closed forms.


@pytest.mark.parametrize(
    ("name", "settings", "value", "error"),
    [
        ("bitflip", {}, 2.12686, 5e-6),
        ("arms", {"samples": 2}, 2.489, 4e-3),  # by simulation; DisARM's exact one is 2.49262
        ("arms", {"samples": 3}, 1.142, 1e-3),
        ("arms", {"samples": 4}, 0.741, 1e-3),
        ("antithetic_score_function", {}, 4.06, 1e-2),
    ],
)
def test_golden_variances(name, settings, value, error):
    assert abs(moments("golden_bits", name, **settings).variance.sum() - value) < error


def test_more_exact_variances_on_golden_bits():
    """The digits behind the simulations above."""
    for samples, printed in ((2, "2.49262"), (3, "1.14148"), (4, "0.74150"), (5, "0.56654")):
        found = moments("golden_bits", "arms", samples=samples).variance.sum()
        assert f"{found:.5f}" == printed
    assert f"{moments('golden_bits', 'antithetic_score_function').variance.sum():.5f}" == "4.06703"


@pytest.mark.parametrize("where", ["golden_bits", "coupled"])
def test_arms_with_two_samples_is_disarm(where):
    found, expected = moments(where, "arms", samples=2), moments(where, "disarm")
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-10)


@pytest.mark.parametrize("name", ["carms", "arms"])
def test_two_categories_and_two_samples_are_disarm(name):
    """A categorical of two classes is a bit; its two coordinates are each other's negatives."""
    entries, logits = [0.3, -1.1, 2.0, 0.4], [0.7, -1.6]
    bits = bits_table(logits, entries)
    expected = moments(bits, "disarm").variance
    if name == "arms":
        np.testing.assert_allclose(moments(bits, "arms", samples=2).variance, expected, rtol=1e-10)
        return
    params = torch.tensor([[0.0, x] for x in logits], dtype=torch.float64)
    twin = Objective("twin", CATEGORICAL, params, lambda z, p: bits.cost(z[..., 1], p[..., 1]))
    found = moments(twin, "carms", samples=2).variance.reshape(2, 2)
    np.testing.assert_allclose(found, np.stack((expected, expected), -1), rtol=1e-10)


@pytest.mark.parametrize("where", ["golden_bits", "quadratic", "coupled"])
def test_bitflip_has_its_closed_form(where):
    """Var_i = d v_i^2 E[(J(b[i <- 1]) - J(b[i <- 0]))^2] - g_i^2, over the copies."""
    problem = objective(where)
    d = problem.params.shape[-1]
    z = BERNOULLI.enumerate(problem.params, torch.arange(2**d))
    q = BERNOULLI.log_prob(problem.params, z).exp()
    v = problem.params.sigmoid() * torch.sigmoid(-problem.params)
    expected = torch.empty(d, dtype=torch.float64)
    for i in range(d):
        on, off = z.clone(), z.clone()
        on[:, i], off[:, i] = 1, 0
        gap = problem.cost(on, problem.params) - problem.cost(off, problem.params)
        expected[i] = d * v[i] ** 2 * (q @ gap.square()) - (v[i] * (q @ gap)) ** 2
    for copies in (1, 2):
        found = moments(where, "bitflip", samples=copies).variance
        np.testing.assert_allclose(found, expected.numpy() / copies, rtol=1e-10)


@pytest.mark.parametrize("p", [0.02, 0.17, 0.5, 0.6, 0.83, 0.97])
@pytest.mark.parametrize("samples", [2, 3, 4, 6, 8, 10])
def test_arms_has_its_closed_form_in_one_bit(samples, p):
    """By factorial moments of how many of the K samples hold the rarer value.

    m_j = K (K-1) ... (K-j+1) max(0, 1 - j t)^(K-1), t = 1 - q^(1/(K-1)): the chance that j given
    Dirichlet shares exceed t. ARMS is D w (K R - R^2) / (K (K-1)).
    """
    k, q, gap = samples, min(p, 1 - p), 1 - 2 * 0.49
    t = 1 - q ** (1 / (k - 1))
    m = [math.perm(k, j) * max(0.0, 1 - j * t) ** (k - 1) for j in range(5)]
    weight = (1 - q) / (1 - max(0.0, 1 - 2 * t) ** (k - 1) / q)
    first = gap * weight / (k * (k - 1)) * ((k - 1) * m[1] - m[2])
    assert first == pytest.approx(gap * p * (1 - p), rel=1e-10)  # unbiased
    square = (k - 1) ** 2 * (m[2] + m[1]) - 2 * (k - 1) * (m[3] + 2 * m[2])
    square += m[4] + 4 * m[3] + 2 * m[2]
    variance = (gap * weight / (k * (k - 1))) ** 2 * square - first**2
    toy = build_objective("quadratic", dimensions=1, target=0.49, logits=math.log(p / (1 - p)))
    found = moments(toy, "arms", samples=samples).variance.sum()
    assert found == pytest.approx(variance, rel=1e-9, abs=1e-16)


def test_the_arms_toy():
    """Dimitriev and Zhou's figure: p0 = 0.49 and one bit, p from 0.1 to 0.9."""
    grid = np.arange(0.1, 0.901, 0.01)
    toys = [
        build_objective("quadratic", dimensions=1, target=0.49, logits=math.log(p / (1 - p)))
        for p in grid
    ]
    pair = np.array([moments(toy, "arms", samples=2).variance.sum() for toy in toys])
    assert f"{pair[7]:.3e}" == "1.546e-05"  # at 0.17, read off the figure as the peak
    assert f"{pair.max():.3e}" == "1.549e-05"
    # The peak of m (1 - m)^2 (1/2 - m) is at 0.1798.
    assert min(abs(grid[pair.argmax()] - 0.18), abs(grid[pair.argmax()] - 0.82)) < 1e-9
    middle = build_objective("quadratic", dimensions=1, target=0.49, logits=0.0)
    assert moments(middle, "arms", samples=2).variance.sum() < 1e-30
    loo = moments(middle, "leave_one_out", samples=2).variance.sum()
    assert loo == pytest.approx(2.5e-5, rel=1e-10)
    for toy, samples in itertools.product(toys[::8], (2, 4, 6, 8, 10)):
        coupled, apart = (
            moments(toy, name, samples=samples).variance.sum() for name in ("arms", "leave_one_out")
        )
        assert coupled < apart


@pytest.mark.parametrize(
    ("target", "plain", "loo", "arm"),
    [
        (0.499, "1.5625e-02", "2.500e-07", 8.33e-8),
        (0.49, "1.5638e-02", "2.500e-05", 8.33e-6),
        (0.45, "1.5939e-02", "6.250e-04", 2.083e-4),
    ],
)
def test_the_arm_toy_at_its_start(target, plain, loo, arm):
    """Yin and Zhou's toy at p = 1/2: ARM is (2 D^2 / 3) / 8 - (D / 4)^2, DisARM 0."""
    toy = build_objective("quadratic", dimensions=1, target=target, logits=0.0)
    assert f"{moments(toy, 'score_function').variance.sum():.4e}" == plain
    assert f"{moments(toy, 'leave_one_out').variance.sum():.3e}" == loo
    assert moments(toy, "disarm").variance.sum() < 1e-30
    assert moments(toy, "arms", samples=2).variance.sum() < 1e-30
    gap = 1 - 2 * target
    closed = (2 * gap**2 / 3) / 8 - (gap / 4) ** 2
    assert closed == pytest.approx(arm, rel=5e-4)
    interval = variance_at(blocks_of(toy, build_estimator("arm"), 200_000, 41, "float64"))
    assert interval.low <= closed <= interval.high


@pytest.mark.parametrize("logit", [-2.5, -0.4, 0.0, 1.2])
def test_arm_and_disarm_have_their_closed_forms_in_one_bit(logit):
    p = 1 / (1 + math.exp(-logit))
    v, m, gap = p * (1 - p), min(p, 1 - p), 1 - 2 * 0.3
    toy = build_objective("quadratic", dimensions=1, target=0.3, logits=logit)
    expected = gap**2 * m * (1 - m) ** 2 * (0.5 - m)
    for name in ("disarm", "arms"):
        found = moments(toy, name, samples=2).variance.sum()
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-17)
    expected = 2 * gap**2 / 3 * (1 / 8 - (0.5 - m) ** 3) - (gap * v) ** 2
    interval = variance_at(blocks_of(toy, build_estimator("arm"), 200_000, 42, "float64"))
    assert interval.low <= expected <= interval.high


def test_disarm_of_an_affine_cost_at_one_half():
    """Var_i = s^2 (d - 1) / 16."""
    toy = build_objective("quadratic", dimensions=7, target=0.1, reduce="sum", logits=0.0)
    for name in ("disarm", "arms"):
        found = moments(toy, name, samples=2).variance
        np.testing.assert_allclose(found, 0.8**2 * 6 / 16, rtol=1e-10)


def variance_at(blocks):
    count, first, total = blocks.count.sum(), blocks.first.sum(0), blocks.distance[0].sum()
    rest = count - blocks.count
    spread = total - blocks.distance[0] - np.square(first - blocks.first).sum(-1) / rest
    value = (total - np.square(first).sum() / count) / (count - 1)
    return log_jackknife(float(value), spread / (rest - 1), level=1 - FALSE_ALARM)


# Unbiased: exactly, over every outcome.

FINITE = [
    *(("golden_bits", "arms", {"samples": k}) for k in (2, 3, 4, 5)),
    *(("coupled", "arms", {"samples": k}) for k in (2, 3)),
    *(("table", "carms", {"samples": k}) for k in (2, 3, 4)),
    *(("smooth", "carms", {"samples": k}) for k in (2, 3)),
    ("polynomial", "carms", {"samples": 2}),
    *((w, "antithetic_score_function", {}) for w in ("coupled", "table", "smooth")),
    *((w, "bitflip", {}) for w in ("golden_bits", "coupled", "digits_vae")),
    *(("golden_bits", "ugc", {"threshold": t}) for t in (None, 0.0, 0.25, 0.35, 1.0)),
    *(("coupled", "ugc", {"samples": 4, "threshold": t}) for t in (None, 0.3)),
]


@pytest.mark.parametrize(("where", "name", "settings"), FINITE)
def test_the_exact_mean_is_the_exact_gradient(where, name, settings):
    problem = objective(where)
    truth = problem.pullback(problem.exact_gradient()[None])[0].numpy()
    found = moments(where, name, **settings)
    assert np.abs(found.mean - truth).max() <= 1e-9 * np.abs(truth).max()


def test_carms_is_exact_for_unequal_categories():
    """Small categories between large ones: few orders make such pairs meet."""
    probs = np.array([[0.02, 0.48, 0.02, 0.48], [0.94, 0.02, 0.02, 0.02]])
    weights = np.array([[1.0, 0.0, -2.0, 0.5], [0.0, 1.0, 2.0, 3.0]])
    problem = linear_one_hots(probs, weights)
    truth = problem.exact_gradient().flatten().numpy()
    for samples in (2, 3):
        found = moments(problem, "carms", samples=samples).mean
        np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-14)


def test_ugc_ends_at_disarm_and_at_bitflip():
    for where in ("golden_bits", "coupled"):
        for threshold, other in ((0.0, "disarm"), (1.0, "bitflip")):
            found, expected = moments(where, "ugc", threshold=threshold), moments(where, other)
            np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-10)


def test_ugc_can_be_worse_than_disarm():
    """The abstract's "uniformly lower variance" does not hold for this table."""
    logits = [-0.017743617728874925, -2.511396883746647, -1.6345167576777324]
    entries = [0.0180, -1.6747, -0.6679, 0.3939, 0.1984, 0.8234, -0.4780, -0.5937]
    table = bits_table(logits, entries)
    clipped, pair = moments(table, "ugc").variance, moments(table, "disarm").variance
    assert clipped.sum() > 1.3 * pair.sum()
    assert (clipped <= pair * (1 + 1e-9)).sum() == 1  # two of three bits get worse


def test_ugc_is_better_than_disarm_near_the_boundary():
    problem = build_objective("quadratic", dimensions=6, target=0.3, logits=-5.0)
    clipped, pair = moments(problem, "ugc").variance, moments(problem, "disarm").variance
    assert (clipped < 0.1 * pair).all()


# CARMS's orders and pair masses.


@pytest.mark.parametrize("categories", [2, 3, 4, 5, 8])
def test_every_ordered_pair_is_first_and_last_in_one_order(categories):
    found = CARMS.orders(categories, torch.device("cpu"))
    assert (found.sort(-1).values == torch.arange(categories)).all()
    ends = {(int(row[0]), int(row[-1])) for row in found}
    assert ends == set(itertools.permutations(range(categories), 2))
    assert len(found) == categories * (categories - 1)
    if categories == 3:  # CARMS-I as published: all orders
        assert {tuple(row.tolist()) for row in found} == set(itertools.permutations(range(3)))


@pytest.mark.parametrize("samples", [2, 3, 7])
@pytest.mark.parametrize("categories", [2, 3, 6])
def test_pair_masses_are_a_law_with_the_right_margins_and_bound(categories, samples):
    noise = Noise(51, "masses", categories, dtype=torch.float64)
    params = 3 * noise.normal(4, categories)
    mass, pi = CARMS.category_mass(params, samples, 2), params.softmax(-1)
    np.testing.assert_allclose(mass.sum(-1), pi, rtol=1e-12)
    np.testing.assert_allclose(mass, mass.transpose(-1, -2), atol=1e-15)
    bound = 2 * pi[..., :, None] * pi[..., None, :] / (categories * (categories - 1))
    off = ~torch.eye(categories, dtype=torch.bool)
    assert (mass[:, off] >= bound[:, off] * (1 - 1e-9)).all()


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_pair_masses_are_those_of_the_draws(samples):
    """Counted over draws by the sampler: chi-squared-like z of each cell."""
    draws = 400_000
    params = torch.tensor([[0.3, -1.0, 1.2, -0.2]], dtype=torch.float64)
    seen: list[Tensor] = []

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        seen.append(z)
        return z[..., 0, 0]

    problem = Objective("seen", CATEGORICAL, params, cost)
    build_estimator("carms", samples=samples).draw(
        problem, params, draws, Noise(52, dtype=torch.float64)
    )
    z = seen[0][:, :, 0]
    counted = torch.einsum("na,nb->ab", z[:, 0], z[:, -1]) / draws
    mass = CARMS.category_mass(params, samples, 2)[0]
    error = (mass * (1 - mass) / draws).sqrt()
    assert ((counted - mass).abs() <= 5 * error + 1e-12).all()


def test_the_carms_toy_beats_leave_one_out():
    """Three variables of three categories, K = 3, J linear with weights 3, 6, ..., 27."""
    probs = np.random.default_rng(5)
    weights = 3 * np.arange(1.0, 10.0).reshape(3, 3)
    for alpha in (1, 10, 100, 1000):
        toy = linear_one_hots(probs.dirichlet([alpha] * 3, size=3), weights)
        coupled, apart = (
            moments(toy, name, samples=3).variance.sum() for name in ("carms", "leave_one_out")
        )
        assert coupled < apart


# Numbers that must stay numbers.


@pytest.mark.parametrize("samples", [2, 3, 10, 50, 1000])
def test_the_weight_of_arms_agrees_with_its_plain_form(samples):
    params = torch.linspace(-8, 8, 41, dtype=torch.float64)
    p = params.sigmoid()
    a = 1 / (samples - 1)
    low = (2 * p**a - 1).clamp(min=0) ** (samples - 1)
    high = 2 * p - 1 + (2 * (1 - p) ** a - 1).clamp(min=0) ** (samples - 1)
    plain = p * (1 - p) / (p - torch.where(p < 0.5, low, high))
    found = ARMS.pair_weight(params, samples)
    np.testing.assert_allclose(found, plain, rtol=1e-9)
    np.testing.assert_allclose(ARMS.pair_weight(params.float(), samples), plain, rtol=2e-5)
    least = torch.sigmoid(params.abs())
    assert (found >= least * (1 - 1e-12)).all()
    assert (found <= 1 + 1e-12).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [8.0, 20.0, 120.0, 2000.0])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("arms", {"samples": 2}),
        ("arms", {"samples": 64}),
        ("carms", {"samples": 2}),
        ("carms", {"samples": 12}),
        ("antithetic_score_function", {"samples": 2}),
        ("bitflip", {}),
        ("ugc", {}),
    ],
)
def test_sure_variables_are_finite_and_move_nothing(name, settings, size, dtype):
    method = build_estimator(name, **settings)
    categorical = name == "carms"
    where = objective("smooth") if categorical else objective("golden_bits")
    params = torch.zeros_like(where.params, dtype=dtype)
    params[..., 0] = size
    params[..., 1] = -size
    rows = method.draw(where, params, 256, Noise(53, dtype=dtype))
    assert torch.isfinite(rows).all()
    if size > 100 and name != "antithetic_score_function":
        most = 0 if name in ("arms", "carms") else 1e-30  # the others know p (1 - p) itself
        assert rows[..., :2].abs().max() <= most


def test_the_mirror_image_of_the_smallest_uniform_is_below_one():
    for dtype, least in ((torch.float32, 2.0**-25), (torch.float64, 2.0**-54)):
        both = ANTITHETIC.with_mirror_images(torch.full((1, 1, 1), least, dtype=dtype))
        assert 0 < float(both.min()) < float(both.max()) < 1
    problem = objective("normal_quadratic")
    pair = ANTITHETIC.with_mirror_images(torch.full((1, 1, 2), 2.0**-25))
    assert torch.isfinite(problem.family.quantile(problem.params.float(), pair)).all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("arms", {"samples": 1}),
        ("carms", {"samples": 1}),
        ("antithetic_score_function", {"samples": 3}),
        ("bitflip", {"samples": 0}),
        ("ugc", {"threshold": -0.1}),
        ("ugc", {"threshold": math.nan}),
        ("ugc", {"samples": 3}),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(name, settings):
    with pytest.raises(BadArgument) as caught:
        build_estimator(name, **settings)
    assert "\n" not in str(caught.value)


# Draws: the one bias test, and faults that it must catch.

BERNOULLI_CELLS = [
    (where, which)
    for where in ("golden_bits", "coupled")
    for which in ("arms", "antithetic_score_function", "bitflip", "ugc")
]
CATEGORICAL_CELLS = [
    (where, which)
    for where in ("smooth", "table")
    for which in ("carms", "carms pair", "antithetic_score_function")
]
NORMAL_CELLS = [
    (where, "antithetic_score_function") for where in ("normal_quadratic", "normal_cosine")
]


@pytest.mark.parametrize("cells", [BERNOULLI_CELLS, CATEGORICAL_CELLS, NORMAL_CELLS])
def test_draws_are_unbiased(cells):
    verdicts = judged(dict.fromkeys(cells, 262_144))
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict.one_line()}")
        assert verdict.outcome == "unbiased", name


@pytest.mark.parametrize(
    ("where", "name"),
    [("golden_bits", "arms"), ("golden_bits", "ugc"), ("smooth", "carms"), ("table", "carms")],
)
def test_draws_of_four_samples_are_unbiased(where, name):
    verdict = verdict_of(objective(where), build_estimator(name, samples=4))
    assert verdict.outcome == "unbiased"


def verdict_of(problem, method, draws=262_144):
    cells = {"cell": blocks_of(problem, method, draws, SEED)}
    found = judge(cells, lambda _: fresh_blocks(problem, method, draws, SEED))["cell"]
    print(found.one_line())
    return found


def test_the_smoothing_and_clip_of_published_carms_are_caught(monkeypatch):
    """At pi = (.94, .02, .02, .02) and two samples: 2.6 % of the gradient."""
    problem = linear_one_hots([[0.94, 0.02, 0.02, 0.02]], [[0.0, 1.0, 2.0, 3.0]])
    method = build_estimator("carms", samples=2)
    truth = problem.exact_gradient().flatten().numpy()
    assert verdict_of(problem, method, 524_288).outcome == "unbiased"

    def published(product: Tensor, mass: Tensor, count: int) -> Tensor:
        del count
        return ((product + 1e-3) / (mass + 1e-3)).clamp(0.01, 10)

    monkeypatch.setattr(CARMS, "ratio", published)
    bias = exact_moments(problem, method).mean - truth
    assert f"{np.linalg.norm(bias) / np.linalg.norm(truth):.3f}" == "0.026"
    found = verdict_of(problem, method, 524_288)
    assert found.outcome == "biased"
    assert found.bias.low < 0.0264 < found.bias.high


@pytest.mark.parametrize("samples", [2, 3])
def test_arms_weighted_as_if_its_samples_were_independent_is_caught(monkeypatch, samples):
    problem, method = objective("golden_bits"), build_estimator("arms", samples=samples)
    monkeypatch.setattr(ARMS, "pair_weight", lambda params, _: torch.ones_like(params))
    assert verdict_of(problem, method, 65_536).outcome == "biased"


def test_carms_weighted_as_if_its_samples_were_independent_is_caught(monkeypatch):
    problem, method = objective("smooth"), build_estimator("carms", samples=3)
    monkeypatch.setattr(CARMS, "ratio", lambda product, *_: torch.ones_like(product))
    assert verdict_of(problem, method, 65_536).outcome == "biased"


def test_bitflip_without_the_number_of_bits_is_caught():
    problem, method = objective("coupled"), build_estimator("bitflip")
    d = problem.params.shape[-1]
    wrong = replace(method, draw=lambda *given: method.draw(*given) / d)
    found = verdict_of(problem, wrong, 32_768)
    assert found.outcome == "biased"
    assert found.bias.low < 1 - 1 / d < found.bias.high


def test_a_mirror_image_that_is_not_uniform_is_caught(monkeypatch):
    method = build_estimator("antithetic_score_function")
    monkeypatch.setattr(
        ANTITHETIC, "with_mirror_images", lambda u: torch.cat((u, 1 - u.pow(1.2)), 1)
    )
    for where in ("golden_bits", "smooth", "normal_quadratic"):
        assert verdict_of(objective(where), method, 65_536).outcome == "biased", where


# Direct transcriptions, one draw and one variable at a time, fed with the same noise.

DRAWS = 40


def table_of(problem: Objective):
    """Return J as a function of one z, numpy in and a number out."""
    return lambda z: float(problem.cost(torch.tensor(np.asarray(z))[None, None], problem.params))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_arms_transcribed(samples):
    problem = objective("golden_bits")
    cost, phi = table_of(problem), problem.params.numpy()
    waits = Noise(61, dtype=torch.float64).exponential(DRAWS, samples, 3).numpy()
    expected = np.zeros((DRAWS, 3))
    for n in range(DRAWS):
        u = (1 - waits[n] / waits[n].sum(0)) ** (samples - 1)
        p = sigmoid(phi)
        b = np.where(p >= 0.5, 1 - u < p, u < p).astype(float)
        costs = np.array([cost(row) for row in b])
        for i in range(3):
            root = 1 / (samples - 1)
            if p[i] < 0.5:
                pair = max(0, 2 * p[i] ** root - 1) ** (samples - 1)
            else:
                pair = 2 * p[i] - 1 + max(0, 2 * (1 - p[i]) ** root - 1) ** (samples - 1)
            plain = ((costs - costs.mean()) * (b[:, i] - p[i])).sum() / (samples - 1)
            expected[n, i] = plain * p[i] * (1 - p[i]) / (p[i] - pair)
    method = build_estimator("arms", samples=samples)
    rows = method.draw(problem, problem.params, DRAWS, Noise(61, dtype=torch.float64))
    np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_carms_transcribed(samples):
    problem = objective("smooth")
    cost, pi = table_of(problem), problem.params.softmax(-1).numpy()
    d, c = pi.shape
    noise = Noise(62, dtype=torch.float64)
    waits = noise.exponential(DRAWS, samples, d).numpy()
    which = noise.child("order", noise.drawn).integers(c * (c - 1), DRAWS, d).numpy()
    layouts = [
        [a, *(x % c for x in range(a + 1, a + c) if x % c != b), b]
        for a in range(c)
        for b in [(a + step) % c for step in range(1, c)]
    ]

    def corner(x, y):
        root = 1 / (samples - 1)
        return max(0.0, x**root + y**root - 1) ** (samples - 1)

    mass = np.zeros((d, c, c))
    for i, layout in itertools.product(range(d), layouts):
        edges = np.minimum(1, np.concatenate(([0], np.cumsum(pi[i][layout]))))
        for (j, a), (k, b) in itertools.product(enumerate(layout), repeat=2):
            low, high, left, right = edges[j], edges[j + 1], edges[k], edges[k + 1]
            whole = corner(high, right) + corner(low, left)
            mass[i, a, b] += whole - corner(low, right) - corner(high, left)
    mass /= len(layouts)
    expected = np.zeros((DRAWS, d, c))
    for n in range(DRAWS):
        u = (1 - waits[n] / waits[n].sum(0)) ** (samples - 1)
        z = np.zeros((samples, d), dtype=int)
        for k, i in itertools.product(range(samples), range(d)):
            layout = layouts[which[n, i]]
            z[k, i] = layout[np.searchsorted(np.cumsum(pi[i][layout])[:-1], u[k, i], "right")]
        costs = [cost(np.eye(c)[row]) for row in z]
        for k, other in itertools.combinations(range(samples), 2):
            for i in range(d):
                a, b = z[k, i], z[other, i]
                if a != b:
                    weight = pi[i, a] * pi[i, b] / mass[i, a, b] * (costs[k] - costs[other])
                    expected[n, i, a] += weight / (samples * (samples - 1))
                    expected[n, i, b] -= weight / (samples * (samples - 1))
    method = build_estimator("carms", samples=samples)
    rows = method.draw(problem, problem.params, DRAWS, Noise(62, dtype=torch.float64))
    np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-13)


def test_bitflip_and_ugc_transcribed():
    problem, threshold = objective("golden_bits"), 0.35
    cost, phi = table_of(problem), problem.params.numpy()
    p = sigmoid(phi)
    noise = Noise(63, dtype=torch.float64)
    u = noise.uniform(DRAWS, 1, 3).numpy()[:, 0]
    picked = noise.child("bit", noise.drawn).integers(3, DRAWS, 1).numpy()[:, 0]
    flips, mixed = np.zeros((DRAWS, 3)), np.zeros((DRAWS, 3))
    for n in range(DRAWS):
        b, bt = (u[n] > 1 - p).astype(float), (u[n] < p).astype(float)
        j = picked[n]
        on, off = b.copy(), b.copy()
        on[j], off[j] = 1, 0
        flips[n, j] = 3 * p[j] * (1 - p[j]) * (cost(on) - cost(off))
        gap = cost(b) - cost(bt)
        mixed[n] = 0.5 * gap * np.where(b == bt, 0, (-1) ** bt) * np.maximum(p, 1 - p)
        small = np.minimum(p, 1 - p) < threshold
        mixed[n, small] = flips[n, small]
    halves = build_estimator("ugc", samples=2, threshold=threshold)
    whole = build_estimator("ugc", samples=4, threshold=threshold)
    one, two = moments(problem, "ugc", threshold=threshold), exact_moments(problem, whole)
    np.testing.assert_allclose(two.variance, one.variance / 2, rtol=1e-12)
    assert whole.evaluations_on(problem) == 2 * halves.evaluations_on(problem) == 6
    for name, settings, expected in (
        ("bitflip", {}, flips),
        ("ugc", {"threshold": threshold}, mixed),
        ("ugc", {"threshold": 1.0}, flips),
    ):
        method = build_estimator(name, **settings)
        rows = method.draw(problem, problem.params, DRAWS, Noise(63, dtype=torch.float64))
        np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-13)


def test_ugc_without_threshold_is_disarm_row_by_row():
    problem = objective("golden_bits")
    ours, disarm = (
        method.draw(problem, problem.params, 64, Noise(64, dtype=torch.float64))
        for method in (build_estimator("ugc", threshold=0.0), build_estimator("disarm"))
    )
    assert torch.allclose(ours, disarm, rtol=1e-12, atol=0)


@pytest.mark.parametrize("where", ["golden_bits", "smooth", "normal_quadratic"])
def test_antithetic_score_function_transcribed(where):
    problem = objective(where)
    family, params = problem.family, problem.params
    cost = table_of(problem)
    u = Noise(65, dtype=torch.float64).uniform(DRAWS, 2, *family.uniforms(params))
    z = torch.cat((family.quantile(params, u), family.quantile(params, 1 - u)), 1).numpy()
    expected = np.zeros((DRAWS, *params.shape))
    at = params.numpy()
    for n, k in itertools.product(range(DRAWS), range(4)):
        if where == "golden_bits":
            score = z[n, k] - sigmoid(at)
        elif where == "smooth":
            score = z[n, k] - np.exp(at) / np.exp(at).sum(-1, keepdims=True)
        else:
            eps = (z[n, k] - at[0]) / np.exp(at[1])
            score = np.stack((eps / np.exp(at[1]), eps**2 - 1))
        expected[n] += cost(z[n, k]) * score / 4
    method = build_estimator("antithetic_score_function", samples=4)
    rows = method.draw(problem, params, DRAWS, Noise(65, dtype=torch.float64))
    np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-13)


def test_normal_pairs_are_mirrored_about_the_mean():
    problem = objective("normal_quadratic")
    u = Noise(66, dtype=torch.float64).uniform(50, 1, *problem.family.uniforms(problem.params))
    z = problem.family.quantile(problem.params, ANTITHETIC.with_mirror_images(u))
    middle = problem.family.mean(problem.params).expand(50, -1)
    np.testing.assert_allclose(z.mean(1), middle, rtol=1e-9)


# Items, and terms that do not go through z.

ITEMS = [
    ("digits_vae", "arms"),
    ("digits_vae", "antithetic_score_function"),
    ("digits_vae", "bitflip"),
    ("digits_vae", "ugc"),
    ("digits_vae categorical", "carms"),
    ("digits_vae categorical", "antithetic_score_function"),
]


@pytest.mark.parametrize(("where", "name"), ITEMS)
def test_items_do_not_mix(where, name):
    problem = objective(where)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        cost = problem.cost(z, params)
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype)
        scale[1:] = 100.0
        return cost * scale

    params = problem.params.float()
    quiet = estimator(name).draw(problem, params, 3, Noise(67))
    loud = estimator(name).draw(replace(problem, cost=louder), params, 3, Noise(67))
    assert torch.isfinite(quiet).all()
    torch.testing.assert_close(quiet[:, 0], loud[:, 0])
    assert not torch.allclose(quiet[:, 1], loud[:, 1])


def test_items_have_noise_of_their_own():
    """Equal items must not draw equal bits, orders or flips."""
    params = torch.zeros(4, 3, dtype=torch.float64)
    problem = Objective(
        "items", BERNOULLI, params, lambda z, _: z @ torch.tensor([1.0, 2.0, 4.0], dtype=z.dtype)
    )
    for name in ("arms", "bitflip", "ugc"):
        rows = estimator(name).draw(problem, params, 64, Noise(68, dtype=torch.float64))
        assert not torch.allclose(rows[:, 0], rows[:, 1])


@pytest.mark.parametrize("name", ["bitflip", "ugc", "arms", "antithetic_score_function"])
def test_a_direct_term_that_depends_on_z_is_unbiased(name):
    """J = (w z) (c params): equal weights for both flipped points would be biased."""
    logits = torch.tensor([1.4, -0.6, 0.3], dtype=torch.float64)
    w = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return (z * w.to(z)).sum(-1) * (params * w.flip(0).to(z)).sum(-1)

    problem = Objective("direct", BERNOULLI, logits, cost, direct=True)
    truth = problem.exact_gradient().numpy()
    settings = {"threshold": 0.3} if name == "ugc" else {}
    np.testing.assert_allclose(moments(problem, name, **settings).mean, truth, rtol=1e-9)


def test_coupled_estimators_share_their_first_noise():
    """Common random numbers: what is drawn besides the uniforms comes from a stream of its own."""
    problem = objective("golden_bits")
    params = problem.params.float()
    seen: list[Tensor] = []

    def watching(z: Tensor, params: Tensor) -> Tensor:
        seen.append(z.clone())
        return problem.cost(z, params)

    watched = replace(problem, cost=watching)
    shared, alone = Noise(69), Noise(69)
    for _ in range(3):
        build_estimator("ugc").draw(watched, params, 16, shared)
        build_estimator("disarm").draw(watched, params, 16, alone)
        assert torch.equal(seen[-2][:, :2], seen[-1])
    assert shared.drawn > alone.drawn
