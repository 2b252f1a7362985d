"""Families: the law of z, its density and score, and its relaxed paths with their derivatives.

Statistical tests state their false-alarm rate, have literal seeds and are shown a fault.
Derivatives are compared with central differences at the same noise (a Noise made again at the same
address gives the same numbers) in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
import torch.distributions as td
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.families import BERNOULLI, CATEGORICAL, NORMAL
from benchbed.families.categorical import one_hot_of_largest, softmax_vjp
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # the chance that a sound family fails one chi-square or one KS comparison
COUNT = 40_000
STEP = 1e-6  # of the central differences, whose own error is then about 1e-9
DISCRETE = [BERNOULLI, CATEGORICAL]
FAMILIES = [*DISCRETE, NORMAL]


def wide(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


class Case(NamedTuple):
    family: Family
    params: Tensor
    samples: int = 1


# Small enough that the joint outcome of all samples, items and variables is one chi-square table.
CASES = {
    "bernoulli": Case(BERNOULLI, wide(-1.2, 0.3, 0.8), samples=2),
    "bernoulli items": Case(BERNOULLI, wide(0.4, -0.7, 1.1, 0.2).reshape(2, 2), samples=2),
    "categorical": Case(CATEGORICAL, wide(0.5, -0.6, 0, 0.2, 0.9, -0.1).reshape(2, 3), samples=2),
    "categorical items": Case(
        CATEGORICAL,
        wide(0.5, -0.6, 0, 0.2, 0.9, -0.1, 0, 0.3, -0.8, 0.4, 0.1, 0.6).reshape(2, 2, 3),
    ),
    "normal": Case(NORMAL, wide(0.5, -2, -0.4, 0.6).reshape(2, 2), samples=2),
    "normal items": Case(NORMAL, wide(0.5, -2, -0.4, 0.6, 1, 3, 0.2, -1).reshape(2, 2, 2)),
}
EVERY_CASE = pytest.mark.parametrize("name", CASES)
EVERY_DISCRETE_CASE = pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.family is not NORMAL]
)
EVERY_DISCRETE = pytest.mark.parametrize("family", DISCRETE, ids=lambda family: family.name)


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(21, "families", *path, dtype=dtype)


def support(case: Case) -> tuple[Tensor, Tensor]:
    """Return every joint z of all items, [n, *items, *event], and log q of each item, [n, *items].

    ``enumerate`` gives one item's states; items are crossed here, by itertools.
    """
    family, params = case.family, case.params
    assert family.states is not None
    assert family.enumerate is not None
    states = family.enumerate(params, torch.arange(family.states(params)))
    items = int(np.prod(family.items(params), dtype=int))
    crossed = torch.tensor(list(itertools.product(range(len(states)), repeat=items)))
    z = states[crossed].reshape(-1, *family.items(params), *states.shape[1:])
    return z, family.log_prob(params, z)


def shares(case: Case) -> np.ndarray:
    """Return the exact probability of every cell of ``cells``, all samples together."""
    if case.family is NORMAL:
        variables = case.samples * case.params.numel() // 2
        return np.full(3**variables, 3.0**-variables)
    assert case.family.states is not None
    _, log_q = support(case)
    one = log_q.reshape(len(log_q), -1).sum(1).exp().numpy()
    joint = np.ones(1)
    for _ in range(case.samples):
        joint = np.multiply.outer(joint, one).ravel()
    return joint


def cells(case: Case, z: Tensor) -> Tensor:
    """Number the joint outcome of each row of z [draws, samples, ...], as ``shares`` does.

    A normal variable falls into one of three cells of equal probability by scipy's quantiles.
    """
    if case.family is NORMAL:
        mu, scale = case.params[..., 0, :], case.params[..., 1, :].exp()
        cuts = scipy.stats.norm.ppf([1 / 3, 2 / 3])
        code = sum(((z - mu) / scale > cut).long() for cut in cuts)
        radix = 3 ** torch.arange(code[0].numel())
        return (code.flatten(1) * radix).sum(1)
    known, _ = support(case)
    flat = known.flatten(1)
    found = torch.full(z.shape[:2], -1)
    for number, state in enumerate(flat):
        found[(z.flatten(2) == state).all(-1)] = number
    assert (found >= 0).all(), "a sample outside the support"
    radix = len(flat) ** torch.arange(case.samples - 1, -1, -1)
    return (found * radix).sum(1)


def p_value(case: Case, z: Tensor) -> float:
    """Return the chi-square p-value of samples z against the exact joint probabilities."""
    expected = shares(case) * len(z)
    assert expected.min() > 5, "too few draws for a chi-square table"
    counts = torch.bincount(cells(case, z), minlength=len(expected)).numpy()
    return float(scipy.stats.chisquare(counts, expected).pvalue)


def shifted(case: Case) -> Case:
    """Return the case with its first parameter 0.2 too high."""
    params = case.params.clone()
    params.view(-1)[0] += 0.2
    return case._replace(params=params)


class TestSample:
    @EVERY_CASE
    def test_frequencies_are_the_joint_probabilities(self, name):
        case = CASES[name]
        z = case.family.sample(case.params, COUNT, case.samples, noise_of("sample", name))
        assert p_value(case, z) > FALSE_ALARM

    @EVERY_CASE
    def test_frequencies_of_the_hard_path_are_the_joint_probabilities(self, name):
        case = CASES[name]
        path = case.family.path(case.params, COUNT, case.samples, 0.5, noise_of("path", name))
        assert p_value(case, path.hard) > FALSE_ALARM

    @EVERY_CASE
    def test_the_tests_above_see_wrong_params(self, name):
        case, wrong = CASES[name], shifted(CASES[name])
        noise = noise_of("sample", name)
        z = wrong.family.sample(wrong.params, COUNT, case.samples, noise)
        assert p_value(case, z) < FALSE_ALARM / 10
        path = wrong.family.path(wrong.params, COUNT, case.samples, 0.5, noise_of("path", name))
        assert p_value(case, path.hard) < FALSE_ALARM / 10

    @EVERY_CASE
    def test_the_tests_above_see_shared_noise(self, name):
        """Right marginals, wrong joint law: every sample (or every item) is a copy of the first."""
        case = CASES[name]
        axis = 1 if case.samples > 1 else 2
        if axis == 2:
            case = case._replace(params=case.params[:1].expand_as(case.params))
        z = case.family.sample(case.params, COUNT, case.samples, noise_of("sample", name))
        copied = z.narrow(axis, 0, 1).expand_as(z)
        assert p_value(case, z) > FALSE_ALARM
        assert p_value(case, copied) < FALSE_ALARM / 10

    @EVERY_CASE
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    def test_shape_dtype_and_corners(self, name, dtype):
        family, params, _ = CASES[name]
        params = params.to(dtype)
        event = params[..., 0, :].shape if family is NORMAL else params.shape
        z = family.sample(params, 7, 3, noise_of("shape", dtype=dtype))
        assert z.shape == (7, 3, *event)
        assert z.dtype == dtype
        assert family.log_prob(params, z).shape == (7, 3, *family.items(params))
        assert family.score(params, z).shape == (7, 3, *params.shape)
        assert family.mean(params).shape == event
        if family is not NORMAL:
            assert ((z == 0) | (z == 1)).all()
        if family is CATEGORICAL:
            assert (z.sum(-1) == 1).all()


def reference_log_prob(case: Case, z: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return log q(z) per item by torch.distributions and by scipy.stats."""
    params, x = case.params, z.numpy()
    if case.family is BERNOULLI:
        by_torch = td.Bernoulli(logits=params).log_prob(z)
        by_scipy = scipy.stats.bernoulli.logpmf(x, params.sigmoid().numpy())
        return by_torch.sum(-1), by_scipy.sum(-1)
    if case.family is CATEGORICAL:
        by_torch = td.OneHotCategorical(logits=params).log_prob(z)
        by_scipy = scipy.stats.multinomial.logpmf(x, 1, params.softmax(-1).numpy())
        return by_torch.sum(-1), by_scipy.sum(-1)
    mu, scale = params[..., 0, :], params[..., 1, :].exp()
    by_scipy = scipy.stats.norm.logpdf(x, mu.numpy(), scale.numpy())
    return td.Normal(mu, scale).log_prob(z).sum(-1), by_scipy.sum(-1)


class TestDensity:
    @EVERY_CASE
    def test_log_prob(self, name):
        case = CASES[name]
        z = case.family.sample(case.params, 50, 2, noise_of("log_prob"))
        found = case.family.log_prob(case.params, z).numpy()
        by_torch, by_scipy = reference_log_prob(case, z)
        np.testing.assert_allclose(found, by_torch.numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found, by_scipy, rtol=1e-12, atol=1e-12)

    def test_the_second_normal_parameter_is_the_log_scale(self):
        params = wide(1.5, np.log(0.7)).reshape(2, 1)
        found = NORMAL.log_prob(params, wide(2.0)).item()
        assert found == pytest.approx(scipy.stats.norm(1.5, 0.7).logpdf(2.0), rel=1e-14)

    @EVERY_CASE
    def test_score_is_the_derivative_of_log_prob(self, name):
        case = CASES[name]
        z = case.family.sample(case.params, 50, 2, noise_of("score"))
        leaf = case.params.expand(50, 2, *case.params.shape).clone().requires_grad_()
        (expected,) = torch.autograd.grad(case.family.log_prob(leaf, z).sum(), leaf)
        found = case.family.score(case.params, z)
        assert (found - expected).abs().max() < 1e-12 * expected.abs().max().clamp(min=1)

    @EVERY_DISCRETE_CASE
    def test_states_are_distinct_and_their_probabilities_sum_to_one(self, name):
        case = CASES[name]
        family, params = case.family, case.params
        states = family.enumerate(params, torch.arange(family.states(params)))
        assert len({tuple(state.flatten().tolist()) for state in states}) == len(states)
        assert len(states) == (2 ** params.shape[-1] if family is BERNOULLI else 3**2)
        assert states.dtype == params.dtype
        z = states.reshape(-1, *(1,) * len(family.items(params)), *states.shape[1:])
        total = family.log_prob(params, z).exp().sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-13, atol=0)

    @EVERY_DISCRETE_CASE
    def test_states_can_be_asked_for_in_any_order(self, name):
        family, params, _ = CASES[name]
        every = family.enumerate(params, torch.arange(family.states(params)))
        index = torch.tensor([3, 0, 3, family.states(params) - 1])
        assert torch.equal(family.enumerate(params, index), every[index])

    @EVERY_DISCRETE_CASE
    def test_mean_by_enumeration(self, name):
        case = CASES[name]
        z, log_q = support(case)
        weight = log_q.reshape(len(z), -1).sum(1).exp()
        expected = (weight[(...,) + (None,) * (z.ndim - 1)] * z).sum(0)
        torch.testing.assert_close(case.family.mean(case.params), expected, rtol=1e-13, atol=0)

    def test_mean_and_total_of_the_normal_by_quadrature(self):
        params = CASES["normal items"].params[0]
        axis = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
        for i in range(2):
            density = NORMAL.log_prob(params[:, i : i + 1], axis[:, None]).exp()
            total = torch.trapezoid(density, axis)
            first = torch.trapezoid(density * axis, axis)
            torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-10, atol=0)
            torch.testing.assert_close(NORMAL.mean(params)[i], first, rtol=1e-10, atol=0)

    @EVERY_DISCRETE
    def test_off_the_corners_log_prob_is_linear(self, family):
        """The relaxed density is <z, log pi>: halfway between two corners it is their mean."""
        params = CASES[family.name].params
        a, b = family.enumerate(params, torch.tensor([1, 2]))
        middle = family.log_prob(params, (a + b) / 2)
        expected = (family.log_prob(params, a) + family.log_prob(params, b)) / 2
        torch.testing.assert_close(middle, expected, rtol=1e-13, atol=0)


Make = Callable[[Tensor], Path]  # params -> the path at fixed noise (and fixed hard z)


def worst_vjp_error(make: Make, params: Tensor, pulled: Tensor, slope: Tensor) -> float:
    """Return the largest gap between ``pulled`` and central differences, over the largest entry."""
    expected = torch.empty_like(pulled)
    lead = pulled.shape[:2]
    for index in itertools.product(*map(range, params.shape)):
        step = torch.zeros_like(params)
        step[index] = STEP
        rate = (make(params + step).soft - make(params - step).soft) / (2 * STEP)
        expected[(..., *index)] = (rate * slope).reshape(*lead, -1).sum(-1)
    return float((pulled - expected).abs().max() / expected.abs().max())


def noise_like(z: Tensor) -> Tensor:
    """Return slopes for a vector-Jacobian product, a different one for every draw and entry."""
    return noise_of("slopes").normal(*z.shape)


def conditional_rate_of_one(case: Case, path: Path, slope: Tensor, temperature: float) -> Tensor:
    """Return the classic mistake: d zt / d params = 1, as on the unconditional path."""
    if case.family is BERNOULLI:
        return slope * path.soft * (1 - path.soft) / temperature
    return softmax_vjp(path.soft, slope) / temperature


class TestPath:
    @EVERY_CASE
    @pytest.mark.parametrize("temperature", [0.5, 1.3])
    def test_vjp_is_the_derivative_of_soft(self, name, temperature):
        case = CASES[name]

        def make(params: Tensor) -> Path:
            return case.family.path(params, 40, 2, temperature, noise_of("vjp", name))

        path = make(case.params)
        slope = noise_like(path.soft)
        assert worst_vjp_error(make, case.params, path.vjp(slope), slope) < 1e-7
        assert worst_vjp_error(make, case.params, 1.01 * path.vjp(slope), slope) > 1e-3

    @EVERY_DISCRETE_CASE
    def test_soft_and_vjp_by_autograd_of_the_formula(self, name):
        """Concrete and Gumbel-Softmax written again, from the same noise."""
        case, temperature = CASES[name], 0.6
        lead = (30, 2)
        path = case.family.path(case.params, *lead, temperature, noise_of("formula", name))
        again = noise_of("formula", name)
        leaf = case.params.expand(*lead, *case.params.shape).clone().requires_grad_()
        if case.family is BERNOULLI:
            relaxed = ((leaf + again.uniform(*leaf.shape).logit()) / temperature).sigmoid()
        else:
            relaxed = ((leaf + again.gumbel(*leaf.shape)) / temperature).softmax(-1)
        torch.testing.assert_close(path.soft, relaxed.detach(), rtol=1e-12, atol=1e-14)
        slope = noise_like(path.soft)
        (expected,) = torch.autograd.grad(relaxed, leaf, slope)
        torch.testing.assert_close(path.vjp(slope), expected, rtol=1e-10, atol=1e-13)

    @EVERY_DISCRETE_CASE
    def test_soft_is_inside_and_hard_is_its_nearest_corner(self, name):
        case = CASES[name]
        path = case.family.path(case.params, COUNT, 1, 0.7, noise_of("inside", name))
        assert_soft_agrees(case, path)

    def test_the_normal_path_is_its_sample(self):
        """Hard and soft are one tensor, the sample at the same noise; temperature plays no part."""
        params = CASES["normal items"].params
        cold, hot = (NORMAL.path(params, 9, 2, t, noise_of("normal")) for t in (0.1, 10.0))
        assert torch.equal(cold.hard, cold.soft)
        assert torch.equal(cold.hard, hot.hard)
        assert torch.equal(cold.hard, NORMAL.sample(params, 9, 2, noise_of("normal")))

    def test_only_finite_families_have_states_and_a_conditional_path(self):
        assert (NORMAL.states, NORMAL.enumerate, NORMAL.conditional_path) == (None, None, None)
        assert NORMAL.exact_path
        for family in DISCRETE:
            assert not family.exact_path
            assert None not in (family.states, family.enumerate, family.conditional_path)


def assert_soft_agrees(case: Case, path: Path) -> None:
    """Hold soft inside the open cube or simplex, and hard at the corner nearest to it."""
    assert (path.soft > 0).all()
    assert (path.soft < 1).all()
    if case.family is BERNOULLI:
        assert torch.equal(path.hard, (path.soft > 0.5).double())
    else:
        torch.testing.assert_close(path.soft.sum(-1), torch.ones(path.soft.shape[:-1]).double())
        assert torch.equal(path.hard.argmax(-1), path.soft.argmax(-1))
        assert (path.hard.sum(-1) == 1).all()


def two_sample_p_values(a: Tensor, b: Tensor) -> list[float]:
    """Return the Kolmogorov-Smirnov p-value of each coordinate of [draws, coordinates] pairs."""
    pairs = zip(a.flatten(1).T.numpy(), b.flatten(1).T.numpy(), strict=True)
    return [float(scipy.stats.ks_2samp(*pair).pvalue) for pair in pairs]


class TestConditionalPath:
    @EVERY_DISCRETE_CASE
    @pytest.mark.parametrize("temperature", [0.5, 1.0])
    def test_soft_given_hard_has_the_law_of_soft(self, name, temperature):
        """Hard from one path, soft drawn again given it; compared with an independent path."""
        family, params, _ = CASES[name]
        hard = family.path(params, COUNT, 1, temperature, noise_of("first", name)).hard
        again = family.conditional_path(params, hard, temperature, noise_of("second", name)).soft
        other = family.path(params, COUNT, 1, temperature, noise_of("third", name)).soft
        assert min(two_sample_p_values(again, other)) > FALSE_ALARM

    @EVERY_DISCRETE_CASE
    def test_soft_given_hard_has_the_law_of_soft_where_hard_fell(self, name):
        """The same for the first coordinate's 0s and 1s apart: the conditional laws themselves."""
        family, params, _ = CASES[name]
        first = family.path(params, COUNT, 1, 0.8, noise_of("first", name))
        again = family.conditional_path(params, first.hard, 0.8, noise_of("second", name)).soft
        other = family.path(params, COUNT, 1, 0.8, noise_of("third", name))
        for value in (0, 1):
            mine = again.flatten(1)[first.hard.flatten(1)[:, 0] == value]
            theirs = other.soft.flatten(1)[other.hard.flatten(1)[:, 0] == value]
            assert min(two_sample_p_values(mine, theirs)) > FALSE_ALARM

    @EVERY_DISCRETE_CASE
    def test_the_tests_above_see_wrong_params(self, name):
        family, params, _ = CASES[name]
        wrong = shifted(CASES[name]).params
        hard = family.path(params, COUNT, 1, 0.5, noise_of("first", name)).hard
        again = family.conditional_path(wrong, hard, 0.5, noise_of("second", name)).soft
        other = family.path(params, COUNT, 1, 0.5, noise_of("third", name)).soft
        assert min(two_sample_p_values(again, other)) < FALSE_ALARM / 10

    @EVERY_DISCRETE_CASE
    def test_soft_is_inside_and_hard_is_its_nearest_corner(self, name):
        case = CASES[name]
        hard = case.family.sample(case.params, COUNT, 1, noise_of("hard", name))
        path = case.family.conditional_path(case.params, hard, 0.7, noise_of("inside", name))
        assert torch.equal(path.hard, hard)
        assert_soft_agrees(case, path)

    @EVERY_DISCRETE_CASE
    @pytest.mark.parametrize("temperature", [0.5, 1.3])
    def test_vjp_is_the_derivative_of_soft_at_fixed_noise_and_hard(self, name, temperature):
        case = CASES[name]
        hard = case.family.sample(case.params, 40, 2, noise_of("hard", name))

        def make(params: Tensor) -> Path:
            return case.family.conditional_path(params, hard, temperature, noise_of("vjp", name))

        path = make(case.params)
        slope = noise_like(path.soft)
        assert worst_vjp_error(make, case.params, path.vjp(slope), slope) < 1e-7
        wrong = conditional_rate_of_one(case, path, slope, temperature)
        assert worst_vjp_error(make, case.params, wrong, slope) > 0.1


class TestExtremes:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    @pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
    def test_everything_is_finite_at_30(self, family, dtype):
        params = {
            "bernoulli": wide(30, -30, 0, 17, -17),
            "categorical": wide(30, -30, 0, -30, -30, 30, 30, 30, -30).reshape(3, 3),
            "normal": wide(30, -30, 0, -30, 30, 10).reshape(2, 3),
        }[family.name].to(dtype)
        z = family.sample(params, 2_000, 2, noise_of("extreme", dtype=dtype))
        found = [z, family.log_prob(params, z), family.score(params, z), family.mean(params)]
        for temperature in (0.1, 1.0):
            path = family.path(params, 2_000, 2, temperature, noise_of("path", dtype=dtype))
            found += [path.hard, path.soft, path.vjp(torch.ones_like(path.soft))]
        for value in found:
            assert value.dtype == dtype
            assert torch.isfinite(value).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    @EVERY_DISCRETE
    def test_the_conditional_path_is_finite_given_even_the_rarest_state(self, family, dtype):
        params = {
            "bernoulli": wide(30, -30, 0),
            "categorical": wide(30, -30, 0, -30, -30, 30).reshape(2, 3),
        }[family.name].to(dtype)
        states = family.enumerate(params, torch.arange(family.states(params)))
        hard = states.repeat(200, 1, *(1,) * (states.ndim - 1)).reshape(-1, 1, *params.shape)
        for temperature in (0.1, 1.0):
            noise = noise_of("rare", dtype=dtype)
            path = family.conditional_path(params, hard, temperature, noise)
            pulled = path.vjp(torch.ones_like(path.soft))
            assert torch.isfinite(path.soft).all()
            assert torch.isfinite(pulled).all()
            assert path.soft.min() >= 0
            assert path.soft.max() <= 1

    def test_a_category_that_cannot_happen_is_not_drawn(self):
        params = wide(-800, 0, -800, 0, -800).reshape(1, 5)
        z = CATEGORICAL.sample(params, COUNT, 1, noise_of("impossible"))
        assert (z.sum((0, 1, 2)) > 0).tolist() == [False, True, False, True, False]

    def test_ties_give_one_hot(self):
        """The first of the equals wins, in every position and with every layout."""
        x = torch.tensor([[2.0, 2, 1], [1, 2, 2], [2, 1, 2], [2, 2, 2], [0, 1, 2]])
        expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
        assert torch.equal(one_hot_of_largest(x), expected)
        stacked = torch.stack([x, x.flip(-1)], 1)
        assert (one_hot_of_largest(stacked).sum(-1) == 1).all()
        assert torch.equal(one_hot_of_largest(stacked)[:, 0], expected)
        assert torch.equal(one_hot_of_largest(torch.zeros(4, 2, 3)).sum(-1), torch.ones(4, 2))


@pytest.mark.parametrize("logit", [20.0, 25.0, 30.0, 36.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_bits_keep_their_digits(logit, sign):
    """D log q / d logit at z = 1 is 1 - p = sigmoid(-logit), tiny but not 0 nor of wrong sign."""
    params = torch.tensor([sign * logit], dtype=torch.float64, requires_grad=True)
    for bit in (0.0, 1.0):
        z = torch.tensor([bit], dtype=torch.float64)
        expected = math.exp(-logit) / (1 + math.exp(-logit))
        if (bit == 1) == (sign == -1):
            expected = 1 - expected
        expected *= 1 if bit else -1
        (found,) = torch.autograd.grad(BERNOULLI.log_prob(params, z).sum(), params)
        assert float(found) == pytest.approx(expected, rel=1e-12)
        assert float(BERNOULLI.score(params.detach(), z)) == pytest.approx(expected, rel=1e-12)
