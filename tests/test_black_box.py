"""Estimators that use values of J alone, and randomized quasi-Monte Carlo.

Finite differences, SPSA and evolution strategies are held against their OWN mean, found without
sampling from exact values at moved parameters, by the one bias test, and a 5 % shrink is caught.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from bias_cases import SEED, judged
from panel import blocks_of, fresh_blocks, objective
from scipy import integrate, stats
from torch import Tensor

from benchbed.analysis.bias import predicted_power
from benchbed.analysis.intervals import log_jackknife
from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.estimators import _sobol_points, finite_difference
from benchbed.estimators._sobol_points import sobol_uniforms
from benchbed.families import BERNOULLI
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # of one Monte-Carlo comparison
ONE_BIT = {"name": "quadratic", "dimensions": 1, "target": -0.5, "reduce": "sum"}  # J(1) - J(0) = 2


def variance_of(problem, method, draws: int, seed: int):
    """Return the trace variance with an interval that misses with chance ``FALSE_ALARM``."""
    blocks = blocks_of(problem, method, draws, seed)
    count, first, total = blocks.count.sum(), blocks.first.sum(0), blocks.distance[0].sum()
    rest = count - blocks.count
    spread = total - blocks.distance[0] - np.square(first - blocks.first).sum(-1) / rest
    value = (total - np.square(first).sum() / count) / (count - 1)
    return log_jackknife(float(value), spread / (rest - 1), level=1 - FALSE_ALARM)


def outcome(problem, method, mean: Tensor | None = None, shrink: float = 0.0, draws=65_536) -> str:
    """Run the bias test of one cell, against ``mean`` where that is not the exact gradient."""
    if mean is not None:
        problem = replace(problem, gradient=lambda _: mean)
    if shrink:
        plain = method.draw
        method = replace(method, draw=lambda *given: (1 - shrink) * plain(*given))
    blocks = blocks_of(problem, method, draws, SEED)
    if shrink:
        assert predicted_power(blocks, SHRINK, 0.1) >= 0.99
    found = judge({"cell": blocks}, lambda _: fresh_blocks(problem, method, draws, SEED))
    return found["cell"].outcome


# Golden numbers and closed forms.


@pytest.mark.parametrize(("common", "printed"), [(True, "4.57"), (False, "48")])
def test_finite_difference_of_one_bit(common, printed):
    """(dJ)^2 P (1 - P) / (4 h^2) with common random numbers, P the chance that the bit changes."""
    logit, step = 0.4, 0.1
    up, down = (1 / (1 + math.exp(-logit - move)) for move in (step, -step))
    change = up - down
    spread = change * (1 - change) if common else up * (1 - up) + down * (1 - down)
    expected = 2**2 * spread / (4 * step**2)
    assert f"{expected:.{len(printed.partition('.')[2])}f}" == printed
    problem = build_objective(**ONE_BIT, logits=logit)
    method = build_estimator("finite_difference", step=step, common=common)
    found = variance_of(problem, method, 200_000, 41)
    assert found.low <= expected <= found.high


@pytest.mark.parametrize("common", [True, False])
def test_finite_difference_variance_in_the_step(common):
    """Halving the step doubles the variance with common random numbers, and quadruples it else."""
    problem = build_objective(**ONE_BIT, logits=0.4)
    wide, narrow = (
        variance_of(
            problem, build_estimator("finite_difference", step=h, common=common), 200_000, 42
        )
        for h in (0.1, 0.05)
    )
    assert narrow.value / wide.value == pytest.approx(2 if common else 4, rel=0.1)


def spsa_moments(step: float, common: bool) -> tuple[Tensor, float]:
    """Return SPSA's mean and trace variance on golden_bits, over all signs and pairs of states."""
    problem = objective("golden_bits")
    z = problem.family.enumerate(problem.params, torch.arange(8))
    cost = problem.cost(z, problem.params)
    first, second = torch.zeros(3, dtype=torch.float64), 0.0
    for signs in itertools.product((-1.0, 1.0), repeat=3):
        delta = torch.tensor(signs, dtype=torch.float64)
        p, q = ((problem.params + side * step * delta).sigmoid() for side in (1, -1))
        for i, j in itertools.product(range(8), range(8)):
            a, b = z[i], z[j]
            if common:  # bit = 1[u > 1 - p]: one uniform makes both
                both, neither = torch.minimum(p, q), 1 - torch.maximum(p, q)
                differ = torch.where(a > b, (p - q).clamp_min(0), (q - p).clamp_min(0))
                chance = torch.where(a == b, torch.where(a > 0, both, neither), differ)
            else:
                chance = torch.where(a > 0, p, 1 - p) * torch.where(b > 0, q, 1 - q)
            slope = (cost[i] - cost[j]) / (2 * step)
            weight = chance.prod() / 8
            first += weight * slope * delta
            second += float(weight * 3 * slope**2)
    return first, second - float(first.square().sum())


@pytest.mark.parametrize(("common", "printed"), [(True, "33.1"), (False, "162")])
def test_spsa_on_golden_bits(common, printed):
    mean, variance = spsa_moments(0.2, common)
    assert f"{variance:.{len(printed.partition('.')[2])}f}" == printed
    torch.testing.assert_close(mean, own_mean_spsa(objective("golden_bits"), 0.2))
    method = build_estimator("spsa", step=0.2, common=common)
    found = variance_of(objective("golden_bits"), method, 200_000, 43)
    assert found.low <= variance <= found.high


def parabola(k: float, params: Tensor) -> Objective:
    """J = sum (params - k)^2, which does not look at z."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return (params - k).square().sum(-1) + 0 * z.sum(-1)

    return Objective(
        "parabola", BERNOULLI, params, cost,
        lambda p: (p - k).square().sum(), lambda p: 2 * (p - k), direct=True,
    )  # fmt: skip


def test_evolution_strategies_on_a_parabola_have_variance_8_a_squared():
    """And SPSA of one parameter has none: with a = phi - k both have mean 2 a."""
    a = 1.3
    problem = parabola(-0.5, torch.tensor([a - 0.5], dtype=torch.float64))
    found = variance_of(problem, build_estimator("evolution_strategies", scale=0.3), 200_000, 44)
    assert found.low <= 8 * a**2 <= found.high
    params = problem.params
    rows = build_estimator("spsa").draw(problem, params, 6, Noise(44, dtype=torch.float64))
    torch.testing.assert_close(rows, torch.full_like(rows, 2 * a), rtol=1e-12, atol=0)


def test_spsa_has_the_direct_term_on_average_over_the_signs():
    problem = parabola(0.0, torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64))
    assert outcome(problem, build_estimator("spsa")) == "unbiased"
    assert outcome(problem, build_estimator("evolution_strategies")) == "unbiased"


# Their own means, without sampling.


def own_mean_differences(problem: Objective, step: float) -> Tensor:
    """Return the central difference of the exact value, parameter by parameter."""
    mean = torch.empty_like(problem.params)
    for index in itertools.product(*map(range, problem.params.shape)):
        move = torch.zeros_like(mean)
        move[index] = step
        up, down = (problem.exact_value(problem.params + side * move) for side in (1, -1))
        mean[index] = (up - down) / (2 * step)
    return mean


def own_mean_spsa(problem: Objective, step: float) -> Tensor:
    """Return the mean over all 2^p signs of the central difference of the exact value."""
    params, total = problem.params, torch.zeros_like(problem.params)
    for signs in itertools.product((-1.0, 1.0), repeat=params.numel()):
        delta = torch.tensor(signs, dtype=torch.float64).reshape(params.shape)
        up, down = (problem.exact_value(params + side * step * delta) for side in (1, -1))
        total += (up - down) / (2 * step) * delta
    return total / 2 ** params.numel()


def small(where: str) -> Objective:
    """Return a panel objective, or one with few enough parameters for quadrature."""
    if where.startswith("smooth "):
        dimensions, categories = (int(part) for part in where.split()[1::2])
        return build_objective("smooth", dimensions=dimensions, categories=categories, seed=2)
    if where == "quadratic":
        return build_objective("quadratic", dimensions=2, target=0.3, reduce="sum")
    return objective(where)


@cache
def own_mean_evolution(where: str, scale: float, order: int = 8) -> Tensor:
    """Return the gradient of the Gaussian-smoothed value, by a product Gauss-Hermite rule."""
    problem = small(where)
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    weights = weights / weights.sum()
    params, total = problem.params, torch.zeros_like(problem.params)
    for chosen in itertools.product(range(order), repeat=params.numel()):
        eps = torch.from_numpy(nodes[list(chosen)]).reshape(params.shape)
        total += weights[list(chosen)].prod() * problem.exact_gradient(params + scale * eps)
    return total


def test_the_quadrature_has_converged():
    for where in ("golden_bits", "smooth 1 x 3", "normal_exponential"):
        coarse, fine = (own_mean_evolution(where, 0.8, order) for order in (8, 11))
        assert float((coarse - fine).norm() / fine.norm()) < 1e-3


# (objective, settings, shrink, draws): with a shrink the power to see it is 0.99 or more.
DIFFERENCES = [
    ("golden_bits", {"step": 0.5}, 0.0, 32_768),
    ("golden_bits", {"step": 1.0}, SHRINK, 16_384),
    ("golden_bits", {"step": 1.0, "common": False}, 0.0, 32_768),
    ("golden_bits", {"step": 1.5, "common": False, "samples": 2}, SHRINK, 16_384),
    ("coupled", {"step": 0.5}, 0.0, 32_768),
    ("smooth", {"step": 0.5, "samples": 2}, 0.0, 32_768),
    ("table", {"step": 0.5, "samples": 4}, 0.0, 65_536),
    ("normal_quadratic", {"step": 0.5}, 0.0, 16_384),
    ("normal_quadratic", {"step": 0.5}, SHRINK, 16_384),
    ("normal_cosine", {"step": 0.3}, 0.0, 32_768),
    ("quantized", {"step": 0.5}, 0.0, 32_768),
]


@pytest.mark.parametrize(("where", "settings", "shrink", "draws"), DIFFERENCES)
def test_finite_difference_has_the_central_difference_as_its_mean(where, settings, shrink, draws):
    problem = objective(where)
    mean = own_mean_differences(problem, settings["step"])
    method = build_estimator("finite_difference", **settings)
    expected = "biased" if shrink else "unbiased"
    assert outcome(problem, method, mean, shrink, draws) == expected


def test_a_wide_step_is_seen_to_be_biased_and_the_bias_falls_with_its_square():
    problem = objective("golden_bits")
    method = build_estimator("finite_difference", step=2.0)
    assert outcome(problem, method, draws=16_384) == "biased"
    wide, narrow = (
        float((own_mean_differences(problem, h) - problem.exact_gradient()).norm())
        for h in (0.02, 0.01)
    )
    assert wide / narrow == pytest.approx(4, rel=1e-3)


SIGNS = [
    ("golden_bits", {"step": 1.0, "samples": 4}, 0.0, 32_768),
    ("golden_bits", {"step": 1.0, "samples": 4}, SHRINK, 32_768),
    ("golden_bits", {"step": 1.0, "samples": 4, "common": False}, 0.0, 65_536),
    ("coupled", {"step": 1.0, "samples": 4}, 0.0, 65_536),
    ("table", {"step": 1.0, "samples": 4}, 0.0, 65_536),
    ("smooth 2 x 3", {"step": 1.0, "samples": 4}, 0.0, 65_536),
    ("normal_quadratic", {"step": 0.4}, 0.0, 65_536),
    ("normal_cosine", {"step": 0.4, "samples": 4}, 0.0, 32_768),
    ("normal_cosine", {"step": 0.4, "samples": 4, "common": False}, SHRINK, 32_768),
    ("quantized", {"step": 0.5, "samples": 4}, 0.0, 65_536),
]


@pytest.mark.parametrize(("where", "settings", "shrink", "draws"), SIGNS)
def test_spsa_has_the_mean_over_all_signs(where, settings, shrink, draws):
    problem = small(where)
    method = build_estimator("spsa", **settings)
    mean = own_mean_spsa(problem, settings["step"])
    expected = "biased" if shrink else "unbiased"
    assert outcome(problem, method, mean, shrink, draws) == expected


SMOOTHED = [
    ("golden_bits", {"samples": 4}, 0.0, 65_536),
    ("golden_bits", {"samples": 8}, SHRINK, 16_384),
    ("golden_bits", {"samples": 4, "common": False}, 0.0, 65_536),
    ("smooth 1 x 3", {"samples": 4}, 0.0, 65_536),
    ("quadratic", {"samples": 4}, 0.0, 65_536),
    ("normal_exponential", {"samples": 4}, 0.0, 65_536),
    ("normal_exponential", {"samples": 8, "antithetic": False}, 0.0, 65_536),
    ("normal_exponential", {"samples": 16, "antithetic": False}, SHRINK, 32_768),
]


@pytest.mark.parametrize(("where", "settings", "shrink", "draws"), SMOOTHED)
def test_evolution_strategies_have_the_gradient_of_the_smoothed_value(
    where, settings, shrink, draws
):
    problem, scale = small(where), 0.8
    method = build_estimator("evolution_strategies", scale=scale, **settings)
    mean = own_mean_evolution(where, scale)
    expected = "biased" if shrink else "unbiased"
    assert outcome(problem, method, mean, shrink, draws) == expected


# Two items of two bits, with a direct term: per item exact values by hand.

WEIGHTS = torch.tensor([[1.0, -0.6], [0.4, 1.5]], dtype=torch.float64)


def two_items() -> Objective:
    """J_item = exp(w_item z) + sum z phi^2."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return (z * WEIGHTS.to(z)).sum(-1).exp() + (z * params.square()).sum(-1)

    params = torch.tensor([[0.3, -0.8], [1.1, 0.5]], dtype=torch.float64)
    return Objective("two items", BERNOULLI, params, cost, direct=True)


def value_of_items(problem: Objective, params: Tensor) -> Tensor:
    """Return the exact value of each item, [items]."""
    z = torch.tensor([[[a, b]] for a in (0, 1) for b in (0, 1)], dtype=torch.float64)
    z = z.expand(4, 2, 2)
    return (BERNOULLI.log_prob(params, z).exp() * problem.cost(z, params)).sum(0)


def test_items_have_means_of_their_own_and_a_lost_direct_term_is_caught(monkeypatch):
    problem, step = two_items(), 0.5
    mean = torch.empty_like(problem.params)
    for i in range(2):
        move = torch.zeros(2, dtype=torch.float64)
        move[i] = step
        up, down = (value_of_items(problem, problem.params + side * move) for side in (1, -1))
        mean[:, i] = (up - down) / (2 * step)
    method = build_estimator("finite_difference", step=step)
    assert outcome(problem, method, mean) == "unbiased"

    right = finite_difference.costs_at

    def at_the_old_point(objective: Objective, params: Tensor, point: Tensor, u: Tensor) -> Tensor:
        return right(replace(objective, direct=False), params, point, u)

    monkeypatch.setattr(finite_difference, "costs_at", at_the_old_point)
    assert outcome(problem, method, mean) == "biased"


@pytest.mark.parametrize("where", ["digits_vae", "digits_vae categorical"])
@pytest.mark.parametrize(
    "name",
    ["finite_difference", "spsa", "evolution_strategies", "quasi_monte_carlo_score_function"],
)
def test_items_do_not_mix(name, where):
    problem = objective(where)

    def louder(z: Tensor, params: Tensor) -> Tensor:
        cost = problem.cost(z, params)
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype)
        scale[1:] = 100.0
        return cost * scale

    params, method = problem.params.float(), build_estimator(name)
    quiet = method.draw(problem, params, 3, Noise(45))
    loud = method.draw(replace(problem, cost=louder), params, 3, Noise(45))
    assert torch.isfinite(quiet).all()
    torch.testing.assert_close(quiet[:, 0], loud[:, 0])
    assert not torch.allclose(quiet[:, 1], loud[:, 1])


# The formulas, sample by sample, in numpy.


def golden_cost(b: np.ndarray) -> float:
    """Return J of golden_bits at bits ``b`` [3]."""
    linear, exponent = np.array([0.7, -0.4, 1.1]), np.array([0.6, -0.5, 0.9])
    form = np.array([[0.5, 0.8, -0.6], [0.8, -0.3, 0.9], [-0.6, 0.9, 0.4]])
    return float(linear @ b + b @ form @ b + 1.5 * b.prod() + np.exp(exponent @ b))


def bits(phi: np.ndarray, u: np.ndarray) -> np.ndarray:
    return (u > 1 / (1 + np.exp(phi))).astype(float)


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("name", ["finite_difference", "spsa", "evolution_strategies"])
def test_the_formulas_by_hand(name, common):
    problem, draws, h = objective("golden_bits"), 40, 0.7
    width = {"scale": h} if name == "evolution_strategies" else {"step": h}
    method = build_estimator(name, **width, common=common)
    rows = method.draw(problem, problem.params, draws, Noise(46, dtype=torch.float64))
    noise, phi = Noise(46, dtype=torch.float64), problem.params.numpy()
    u = noise.uniform(draws, 1, 3).numpy()[:, 0]
    street = {"finite_difference": "fresh", "spsa": "signs", "evolution_strategies": "moves"}[name]
    apart = noise.child(street, noise.drawn)
    expected = np.empty((draws, 3))
    if name == "finite_difference":
        for i in range(3):
            move = h * np.eye(3)[i]
            v = u if common or i == 0 else apart.uniform(draws, 1, 3).numpy()[:, 0]
            w = u if common else apart.uniform(draws, 1, 3).numpy()[:, 0]
            for n in range(draws):
                up, down = bits(phi + move, v[n]), bits(phi - move, w[n])
                expected[n, i] = (golden_cost(up) - golden_cost(down)) / (2 * h)
    else:
        if name == "spsa":
            direction = np.sign(apart.uniform(draws, 1, 3).numpy()[:, 0] - 0.5)
        else:
            direction = apart.normal(draws, 1, 3).numpy()[:, 0]
        w = u if common else apart.uniform(draws, 1, 3).numpy()[:, 0]
        for n in range(draws):
            e = direction[n]
            gap = golden_cost(bits(phi + h * e, u[n])) - golden_cost(bits(phi - h * e, w[n]))
            expected[n] = gap / (2 * h) * (1 / e if name == "spsa" else e)
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-9, atol=1e-12)
    assert len(np.unique(expected)) > 5


# Randomized quasi-Monte Carlo.


def points(dimensions: int, draws: int, samples: int, noise: Noise) -> Tensor:
    return sobol_uniforms("test", BERNOULLI, torch.zeros(dimensions), draws, samples, noise)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_points_of_a_draw_are_a_shifted_net(dtype):
    """Each of 2^m points has its own cell, in every dimension and in pairs of the first two."""
    u = points(7, 300, 16, Noise(47, dtype=dtype)).double()
    assert u.shape == (300, 16, 7)
    cells = (u * 16).long().sort(1).values
    assert torch.equal(cells, torch.arange(16)[None, :, None].expand_as(cells))
    for split in range(5):  # elementary intervals of 2^split by 2^(4 - split)
        a, b = (u[..., 0] * 2**split).long(), (u[..., 1] * 2 ** (4 - split)).long()
        both = (a * 2 ** (4 - split) + b).sort(1).values
        assert torch.equal(both, torch.arange(16).expand_as(both))


def test_the_digits_are_added_modulo_2_as_by_hand():
    """Against scipy's Sobol sequence and whole-number XOR, sample by sample."""
    from scipy.stats import qmc

    dimensions, samples, draws = 5, 6, 9
    # scipy's sequence with 30 digits is in Gray-code order, as torch's.
    net = (qmc.Sobol(dimensions, scramble=False, bits=30).random_base2(3) * 2**30).astype(int)
    u = points(dimensions, draws, samples, Noise(48, dtype=torch.float64))
    shift = Noise(48, dtype=torch.float64).uniform(draws, 1, dimensions).numpy()[:, 0]
    for n, k, i in itertools.product(range(draws), range(samples), range(dimensions)):
        digits = int(shift[n, i] * 2**53) ^ (int(net[k, i]) << 23)
        assert float(u[n, k, i]) == digits / 2**53


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_point_alone_is_uniform(dtype):
    """Chi-square over 64 cells of each of 4 points in 3 dimensions, Bonferroni."""
    draws = 65_536
    u = points(3, draws, 4, Noise(49, dtype=dtype))
    assert u.dtype == dtype
    assert 0 < float(u.min()) < float(u.max()) < 1
    for k, i in itertools.product(range(4), range(3)):
        counts = torch.bincount((u[:, k, i] * 64).long(), minlength=64).numpy()
        assert stats.chisquare(counts).pvalue > FALSE_ALARM / 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_point_is_0_or_1_at_the_ends_of_the_shift(dtype):
    ends = {torch.float32: (2.0**-25, 1 - 2.0**-24), torch.float64: (2.0**-54, 1 - 2.0**-53)}

    class Ends(Noise):
        """Every uniform at one end."""

        end = 0.0

        def uniform(self, *shape: int) -> Tensor:
            return torch.full(shape, self.end, dtype=self.dtype)

    for Ends.end in ends[dtype]:
        u = points(4, 3, 64, Ends(0, dtype=dtype))
        assert 0 < float(u.min()) < float(u.max()) < 1


def test_draws_and_items_are_independent_and_a_shared_shift_would_show():
    """Correlations of neighbouring draws, and of items, within 4.9 standard errors."""
    draws, params = 16_384, torch.zeros(2, 3)  # two items of three bits

    def largest(u: Tensor) -> float:
        centred = (u.double() - 0.5) * math.sqrt(12)  # [draws, samples, items, 3]
        lagged = (centred[1:, :, :, :, None] * centred[:-1, :, :, None]).mean((0, 1))
        across = (centred[:, :, 0, :, None] * centred[:, :, 1, None]).mean((0, 1))
        return float(torch.cat((lagged.flatten(), across.flatten())).abs().max())

    u = sobol_uniforms("test", BERNOULLI, params, draws, 4, Noise(50))
    assert u.shape == (draws, 4, 2, 3)
    error = 1 / math.sqrt(draws)  # no less than the true one: samples in a draw are correlated
    assert largest(u) < 4.9 * error
    assert largest(u[:, :, :1].expand(-1, -1, 2, -1)) > 50 * error


@pytest.mark.parametrize(
    ("quasi", "plain", "where"),
    [
        ("quasi_monte_carlo_score_function", "score_function", "golden_bits"),
        ("quasi_monte_carlo_score_function", "score_function", "smooth"),
        ("quasi_monte_carlo_score_function", "score_function", "digits_vae"),
        ("quasi_monte_carlo_reparameterization", "reparameterization", "normal_cosine"),
    ],
)
def test_one_point_is_one_independent_sample(quasi, plain, where):
    """The first point of the net is 0: a draw of one point is the plain estimator's, bit by bit."""
    problem = objective(where)
    both = [
        build_estimator(name, samples=1).draw(
            problem, problem.params, 50, Noise(51, dtype=torch.float64)
        )
        for name in (quasi, plain)
    ]
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-15)


QUASI = {
    "quasi_monte_carlo_score_function": [
        "golden_bits", "coupled", "smooth", "table", "normal_cosine", "normal_quadratic",
        "quantized",
    ],
    "quasi_monte_carlo_reparameterization": [
        "normal_quadratic", "normal_exponential", "normal_cosine",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", QUASI)
def test_quasi_monte_carlo_is_unbiased(name):
    verdicts = judged({(where, name): 32_768 for where in QUASI[name]})
    for which, verdict in verdicts.items():
        print(f"{which}: {verdict.one_line()}")
    assert {verdict.outcome for verdict in verdicts.values()} == {"unbiased"}


@pytest.mark.parametrize("name", QUASI)
def test_a_shrink_of_quasi_monte_carlo_is_caught(name):
    problem, draws = objective("normal_quadratic"), 16_384 if "reparam" in name else 65_536
    method = build_estimator(name, samples=8)
    assert outcome(problem, method, shrink=SHRINK, draws=draws) == "biased"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("quasi_monte_carlo_score_function", "golden_bits"),
        ("quasi_monte_carlo_reparameterization", "normal_cosine"),
    ],
)
@pytest.mark.parametrize("fault", ["no shift", "first digit only"])
def test_a_net_that_is_not_randomized_is_caught(name, where, fault):
    """A net alone is a quadrature rule; a shift of too few digits leaves most of its error."""
    problem, method = objective(where), build_estimator(name, samples=4)

    class Poor(Noise):
        """Uniforms without randomness in all or all but their first digit."""

        def uniform(self, *shape: int) -> Tensor:
            u = super().uniform(*shape)
            return torch.full_like(u, 0.01) if fault == "no shift" else (u * 2).floor() / 2 + 0.01

    plain = method.draw

    def poorly(problem: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        poor = Poor(noise.seed, *noise.path, noise.drawn, dtype=noise.dtype)
        noise.uniform(1)  # moves on, so that chunks differ
        return plain(problem, params, draws, poor)

    faulty = replace(method, draw=poorly)
    for subject, expected in ((faulty, "biased"), (method, "unbiased")):
        found = judge(
            {"cell": blocks_of(problem, subject, 32_768, SEED)},
            lambda _, subject=subject: fresh_blocks(problem, subject, 32_768, SEED),
            certain={"cell"},
        )
        assert found["cell"].outcome == expected


@pytest.mark.parametrize(
    "name", ["quasi_monte_carlo_score_function", "quasi_monte_carlo_reparameterization"]
)
def test_variance_in_one_dimension_is_that_of_one_offset_in_every_cell(name):
    """A shift of 8 points keeps the offset r within the cells, r ~ U(0, 1/8): quadrature in r.

    It is below the closed form of 8 independent samples at (k, mean, scale) = (3, 1, 0.7).
    """
    s, a = 0.7, 1 - 3.0
    scored = "score" in name

    def gradient(u: np.ndarray) -> np.ndarray:
        eps = stats.norm.ppf(u)
        if scored:
            return (a + s * eps) ** 2 * np.array([eps / s, eps**2 - 1])
        return 2 * (a + s * eps) * np.array([np.ones_like(eps), s * eps])

    def square(r: float) -> float:
        return float((gradient(r + np.arange(8) / 8).mean(1) ** 2).sum())

    exact = np.array([2 * a, 2 * s**2])
    parts = [1e-14, 1e-8, 1e-4, 1 / 16, 1 / 8 - 1e-4, 1 / 8 - 1e-8, 1 / 8 - 1e-14]
    second = 8 * sum(
        integrate.quad(square, low, high, limit=200)[0] for low, high in itertools.pairwise(parts)
    )
    expected = second - float(exact @ exact)
    one = {
        True: a**4 / s**2 + 14 * a**2 + 15 * s**2
        + s**2 * (2 * a**4 / s**2 + 60 * a**2 + 74 * s**2),
        False: 4 * s**2 + s**2 * (4 * a**2 + 8 * s**2),
    }[scored]  # fmt: skip
    problem = build_objective("normal_quadratic", k=3.0, mean=1.0, scale=s)
    found = variance_of(problem, build_estimator(name, samples=8), 200_000, 52)
    assert found.low <= expected <= found.high < one / 8


def test_too_many_dimensions_are_refused():
    count = 21_202
    problem = parabola(0.0, torch.zeros(count, dtype=torch.float64))
    method = build_estimator("quasi_monte_carlo_score_function")
    with pytest.raises(BadArgument, match=r"21,202 uniforms .* 21,201"):
        method.draw(problem, problem.params, 1, Noise(53, dtype=torch.float64))


def test_the_net_is_made_without_global_randomness():
    before = torch.get_rng_state()
    assert _sobol_points._net(3, 5, 30).shape == (5, 3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("finite_difference", {"step": 0.0}, "step > 0"),
        ("finite_difference", {"step": math.nan}, "step > 0"),
        ("finite_difference", {"samples": 0}, "samples >= 1"),
        ("spsa", {"step": math.inf}, "step > 0"),
        ("spsa", {"samples": 0}, "samples >= 1"),
        ("evolution_strategies", {"samples": 3}, "even number"),
        ("evolution_strategies", {"samples": 0, "antithetic": False}, "samples >= 1"),
        ("evolution_strategies", {"scale": -0.1}, "scale > 0"),
        ("quasi_monte_carlo_score_function", {"samples": 0}, "samples >= 1"),
        ("quasi_monte_carlo_reparameterization", {"samples": 0}, "samples >= 1"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(BadArgument, match=message) as caught:
        build_estimator(name, **settings)
    assert "\n" not in str(caught.value)


def test_a_quantile_without_a_derivative_is_refused():
    problem = build_objective("normal_quadratic")
    right = problem.family.quantile
    rounded = replace(problem.family, quantile=lambda params, u: right(params, u).detach())
    method = build_estimator("quasi_monte_carlo_reparameterization")
    with pytest.raises(BadArgument, match="differentiable in params") as caught:
        method.draw(
            replace(problem, family=rounded), problem.params, 3, Noise(54, dtype=torch.float64)
        )
    assert "\n" not in str(caught.value)


def test_a_flag_that_is_none_is_refused():
    for given in ("no", math.nan, 1):
        with pytest.raises(BadArgument, match="common: true or false"):
            finite_difference.finite_difference(common=given)
