"""Discrete-continuous hybrids: the nested family, nested sampling, and a style beside a label.

An estimator's mean is found here without sampling: its family is made to return every category
times every quadrature node of the noise, and the rows are weighted by their probabilities. Where
draws are compared the false-alarm rate is stated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
import torch.distributions as td
from numpy.polynomial.legendre import leggauss
from panel import blocks_of, fresh_blocks
from scipy import integrate
from test_objectives import differences, gap, off_the_point
from torch import Tensor

from benchbed.analysis.verdict import SHRINK, Verdict, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Family, Objective
from benchbed.errors import BadArgument
from benchbed.families.nested import HIDDEN, inner, nested
from benchbed.families.particles import particles
from benchbed.layout import draws_first, draws_last
from benchbed.objectives import _labelled_digits, _semi_supervised, _trained
from benchbed.objectives._digits_model import binary_digits
from benchbed.objectives._labelled_toy import toy
from benchbed.objectives._points import gradient_of
from benchbed.objectives._semi_supervised import (
    Problem,
    cost_of,
    gauss_hermite,
    gradient_of_value,
    product_rule,
    trapezoidal,
    value_of,
)
from benchbed.objectives._trained import trained
from benchbed.objectives.nested import terms_of
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # the chance that a sound family fails one comparison of frequencies
COUNT = 40_000
K, D = 3, 2
SEEN = torch.tensor([HIDDEN, 2, HIDDEN, 0])  # of four items, two are labelled
POINT = Noise(3, "hybrids", dtype=torch.float64).normal(4, K, 1 + 2 * D).contiguous()


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(22, "hybrids", *path, dtype=dtype)


def drawn(family: Family, params: Tensor, draws: int, samples: int, *path: str) -> Tensor:
    return family.sample(params, draws, samples, noise_of(*path))


# The family.


class TestFamily:
    def test_frequencies_of_the_category_and_of_the_noise_together(self):
        """One chi-square table a hidden item: category times the third that each eps falls in."""
        family = nested(K, D, SEEN)
        for name, z in {
            "sample": drawn(family, POINT, COUNT, 1, "chi"),
            "path": family.path(POINT, COUNT, 1, 0.5, noise_of("path")).hard,
        }.items():
            for item in (0, 2):
                assert self.p_value(z[:, 0, item], POINT[item]) > FALSE_ALARM, name
                moved = POINT[item].clone()
                moved[0, 0] += 0.2
                assert self.p_value(z[:, 0, item], moved) < FALSE_ALARM / 10
                copied = z[:, 0, item].clone()
                copied[:, K + 1] = copied[:, K]  # right laws one by one, not independent
                assert self.p_value(copied, POINT[item]) < FALSE_ALARM / 10
                tied = z[:, 0, item].clone()
                tied[:, K] = tied[:, K].abs() * (2 * tied[:, 0] - 1)  # eps tells the category
                assert self.p_value(tied, POINT[item]) < FALSE_ALARM / 10

    @staticmethod
    def p_value(z: Tensor, params: Tensor) -> float:
        cuts = scipy.stats.norm.ppf([1 / 3, 2 / 3])
        thirds = sum((z[:, K:] > cut).long() for cut in cuts)
        cell = z[:, :K].argmax(-1) * 9 + thirds @ torch.tensor([3, 1])
        counts = torch.bincount(cell, minlength=9 * K).numpy()
        pi = np.repeat(params[:, 0].softmax(0).numpy(), 9) / 9
        return float(scipy.stats.chisquare(counts, pi * len(z)).pvalue)

    def test_the_noise_is_standard_normal(self):
        family = nested(K, D, SEEN)
        eps = drawn(family, POINT, COUNT, 1, "normal")[:, 0, :, K:].flatten(1).numpy()
        for column in eps.T:
            assert scipy.stats.kstest(column, "norm").pvalue > FALSE_ALARM / 8
            assert scipy.stats.kstest(1.1 * column, "norm").pvalue < FALSE_ALARM / 80

    def test_the_inner_law_is_that_of_the_table(self):
        """Z' given z by a KS test against scipy's normal; a scale taken for its log is seen."""
        family = nested(K, D)
        z = drawn(family, POINT[0], COUNT, 1, "inner")
        x = draws_first(inner(POINT[0], z)[0])[:, 0]
        for k, i in itertools.product(range(K), range(D)):
            mine = x[z[:, 0, k] == 1, i].numpy()
            mean, log_scale = float(POINT[0, k, 1 + i]), float(POINT[0, k, 1 + D + i])
            law = scipy.stats.norm(mean, math.exp(log_scale))
            assert scipy.stats.kstest(mine, law.cdf).pvalue > FALSE_ALARM / 6
            wrong = scipy.stats.norm(mean, abs(log_scale))
            assert scipy.stats.kstest(mine, wrong.cdf).pvalue < FALSE_ALARM / 60

    def test_log_prob_by_torch_and_score_by_autograd(self):
        family = nested(K, D)
        z = drawn(family, POINT, 9, 2, "density")
        by_torch = td.OneHotCategorical(logits=POINT[..., 0]).log_prob(z[..., :K])
        by_torch = by_torch + td.Normal(0.0, 1.0).log_prob(z[..., K:]).sum(-1)
        torch.testing.assert_close(family.log_prob(POINT, z), by_torch, rtol=1e-13, atol=1e-13)
        leaf = POINT.expand(9, 2, *POINT.shape).clone().requires_grad_()
        with torch.enable_grad():
            (expected,) = torch.autograd.grad(family.log_prob(leaf, z).sum(), leaf)
        score = family.score(POINT, z)
        torch.testing.assert_close(score, expected, rtol=1e-12, atol=1e-14)
        assert (score[..., 1:] == 0).all()
        uncentred = z[..., :K] - 1 / K
        assert not torch.allclose(score[..., 0], uncentred)
        assert draws_last(score).is_contiguous()
        assert draws_last(z).is_contiguous()

    def test_a_known_category_is_not_drawn(self):
        family, open_family = nested(K, D, SEEN), nested(K, D)
        u = noise_of("u").uniform(50, 2, *family.uniforms(POINT))
        z, free = family.quantile(POINT, u), open_family.quantile(POINT, u)
        hot = torch.nn.functional.one_hot(SEEN[[1, 3]], K).double()
        assert torch.equal(z[:, :, [1, 3], :K], hot.expand(50, 2, 2, K))
        assert torch.equal(z[:, :, [0, 2]], free[:, :, [0, 2]])
        assert torch.equal(z[..., K:], free[..., K:])
        moved = u.clone()
        moved[:, :, [1, 3], 0] = 1 - u[:, :, [1, 3], 0]
        assert torch.equal(family.quantile(POINT, moved), z)
        score = family.score(POINT, z)
        assert (score[:, :, [1, 3]] == 0).all()
        assert torch.equal(score[:, :, [0, 2]], open_family.score(POINT, z)[:, :, [0, 2]])
        log_q, of_eps = family.log_prob(POINT, z), td.Normal(0.0, 1.0).log_prob(z[..., K:]).sum(-1)
        torch.testing.assert_close(log_q[..., [1, 3]], of_eps[..., [1, 3]])
        assert not torch.isclose(log_q[..., [0, 2]], of_eps[..., [0, 2]]).any()
        other = family.log_prob(POINT, free)
        assert torch.isneginf(other[(free != z).any(-1)]).all()
        assert (free != z).any()
        mean = family.mean(POINT)
        assert torch.equal(mean[[1, 3], :K], hot)
        torch.testing.assert_close(mean[[0, 2], :K], POINT[[0, 2], :, 0].softmax(-1))
        assert (mean[:, K:] == 0).all()

    def test_params_of_every_draw(self):
        """What black boxes ask: the same z as one set of params at a time."""
        family = nested(K, D, SEEN)
        points = POINT + 0.5 * noise_of("points").normal(6, 2, *POINT.shape)
        u = noise_of("own").uniform(6, 2, *family.uniforms(POINT))
        together = family.quantile(points, u)
        x, log_scale = (draws_first(part) for part in inner(points, together))
        for n, s in itertools.product(range(6), range(2)):
            alone = family.quantile(points[n, s], u[n : n + 1, s : s + 1])
            assert torch.equal(together[n, s], alone[0, 0])
            own = inner(points[n, s], alone)
            torch.testing.assert_close(x[n, s], draws_first(own[0])[0, 0], rtol=1e-13, atol=1e-15)
            torch.testing.assert_close(log_scale[n, s], draws_first(own[1])[0, 0])

    def test_the_relaxed_path_and_the_mean_have_the_derivatives_they_say(self):
        family, slope = nested(K, D, SEEN), noise_of("slope").normal(5, 2, 4, K + D)

        def soft(params: Tensor) -> Tensor:
            return family.path(params, 5, 2, 0.7, noise_of("relaxed")).soft

        found = family.path(POINT, 5, 2, 0.7, noise_of("relaxed")).vjp(slope)
        assert found.shape == (5, 2, *POINT.shape)
        expected = differences(lambda p: (soft(p) * slope).sum(), POINT, 1e-6)
        torch.testing.assert_close(found.sum((0, 1)), expected, rtol=1e-7, atol=1e-8)
        assert (found[:, :, [1, 3]] == 0).all()
        path = family.path(POINT, 5, 2, 0.7, noise_of("relaxed"))
        assert torch.equal(path.hard[..., K:], path.soft[..., K:])
        assert torch.equal(path.hard[..., :K].argmax(-1), path.soft[..., :K].argmax(-1))
        pulled = family.mean_vjp(family.mean(POINT), slope)
        assert pulled.shape == (5, 2, *POINT.shape)
        expected = differences(lambda p: (family.mean(p) * slope).sum(), POINT, 1e-6)
        torch.testing.assert_close(pulled.sum((0, 1)), expected, rtol=1e-7, atol=1e-8)

    def test_dtypes_and_no_items(self):
        family = nested(K, D)
        for dtype in (torch.float32, torch.float64):
            params = POINT[0].to(dtype)
            z = family.sample(params, 7, 3, noise_of("dtype", dtype=dtype))
            path = family.path(params, 7, 3, 0.5, noise_of("dtype", dtype=dtype))
            for found in (z, path.soft, path.hard, family.score(params, z)):
                assert found.dtype == dtype
            assert z.shape == path.soft.shape == (7, 3, K + D)
            assert family.log_prob(params, z).shape == (7, 3)
            assert torch.isfinite(z).all()

    @pytest.mark.parametrize(
        ("use", "said"),
        [
            (lambda: nested(1, 2), "categories >= 2"),
            (lambda: nested(3, 0), "dimensions >= 1"),
            (lambda: nested(3, 1, torch.tensor([3])), "values from 0 to 2, -1 where z is hidden"),
            (lambda: nested(3, 1, torch.tensor([-2])), "values from 0 to 2"),
            (lambda: nested(3, 1, torch.tensor([0.5])), "int64 tensor"),
            (lambda: nested(3, 1, [0]), "int64 tensor"),
            (lambda: nested(K, D, SEEN).sample(POINT[:3], 2, 1, Noise(0)), "items [4] and params"),
            (lambda: nested(K, D).sample(POINT[..., :4], 2, 1, Noise(0)), "1 + 2 * 2"),
            (
                lambda: particles(nested(K, D, SEEN), 4).sample(POINT, 2, 1, Noise(0)),
                "one value an item",
            ),
        ],
        ids=range(9),
    )
    def test_errors_are_one_line(self, use, said):
        with pytest.raises(BadArgument) as caught:
            use()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


# Means of estimators, without sampling.


def listed(objective: Objective, rule: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return every z of one item, [n, K + d], and the probability of each, [n, *items]."""
    points, weights = rule
    params = objective.params
    categories, width = params.shape[-2:]
    z = torch.cat(
        (
            torch.eye(categories, dtype=torch.float64).repeat_interleave(len(weights), 0),
            points.T.repeat(categories, 1),
        ),
        1,
    )
    assert z.shape[1] == categories + (width - 1) // 2
    outer = objective.family.mean(params)[..., :categories]  # an observed one is certain
    return z, (outer[..., None] * weights).flatten(-2).movedim(-1, 0)


def mean_of(objective: Objective, method: Estimator, rule: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean of an estimator whose only randomness is its ``samples`` of z."""
    states, chances = listed(objective, rule)
    every = torch.cartesian_prod(*[torch.arange(len(states))] * method.samples)
    chosen = every.reshape(-1, method.samples)
    weight = chances[chosen].prod(1)  # [n, *items]
    items = objective.family.items(objective.params)
    z = states[chosen].reshape(*chosen.shape, *(1,) * len(items), -1)
    z = draws_first(draws_last(z.expand(*chosen.shape, *items, -1)).contiguous())
    # An item whose category is known sees that one alone, whatever the list says.
    known = objective.family.mean(objective.params)[..., : objective.params.shape[-2]]
    certain = ((known == 0) | (known == 1)).all(-1)
    z[..., : known.shape[-1]] = torch.where(certain[..., None], known, z[..., : known.shape[-1]])
    family = replace(objective.family, sample=lambda *_: z)
    rows = method.draw(replace(objective, family=family), objective.params, len(z), Noise(0))
    return (objective.family.lift(weight) * rows).sum(0)


SCORED = ["score_function", "leave_one_out", "muprop"]


def settled(name: str) -> Estimator:
    return build_estimator(name, samples=2) if name == "leave_one_out" else build_estimator(name)


# Nested sampling.


NESTED = [
    {},
    {"categories": 2, "dimensions": 1, "scale": 1.5, "seed": 1},
    {"categories": 6, "dimensions": 5, "scale": 0.2, "spread": 0.3, "seed": 2},
]


def closed_form(params: np.ndarray, terms: tuple[np.ndarray, ...], fault: str = "") -> np.ndarray:
    """Return E[J] and its gradient by the moments of a normal law, in numpy."""
    w, a, b, c, e, g = terms
    d = len(a)
    pi = np.exp(params[:, 0]) / np.exp(params[:, 0]).sum()
    m, s = params[:, 1 : 1 + d], np.exp(params[:, 1 + d :])
    if fault == "variance for scale":
        s = s**2
    wave, growth = np.exp(-0.5 * (c * s) ** 2), np.exp((g * m + 0.5 * (g * s) ** 2).sum(1))
    value = w + (a * m + b * (m**2 + s**2) + wave * np.cos(c * m + e)).sum(1) + growth
    by_mean = a + 2 * b * m - wave * c * np.sin(c * m + e) + growth[:, None] * g
    by_scale = (2 * b - c**2 * wave * np.cos(c * m + e) + growth[:, None] * g**2) * s
    total = pi @ value
    outer = pi * (value - (0 if fault == "no baseline" else total))
    by_log_scale = by_scale if fault == "scale for log-scale" else by_scale * s
    if fault == "direct term dropped":
        by_mean, by_log_scale = 0 * by_mean, 0 * by_log_scale
    rows = np.column_stack((outer, pi[:, None] * by_mean, pi[:, None] * by_log_scale))
    return np.concatenate(([total], rows.ravel()))


def exactly(objective: Objective, params: Tensor) -> np.ndarray:
    gradient = objective.exact_gradient(params).flatten()
    return torch.cat((objective.exact_value(params)[None], gradient)).numpy()


def numbers(settings: dict) -> tuple[np.ndarray, ...]:
    sizes = (settings.get("categories", 4), settings.get("dimensions", 3))
    return tuple(part.numpy() for part in terms_of(*sizes, settings.get("seed", 0)))


# What the bias test says of each; of parts that never move it passes nothing.
FAULTS = {
    "direct term dropped": "undecided",
    "direct term halved": "biased",
    "scale for log-scale": "biased",
}


def with_fault(problem: Objective, fault: str) -> Objective:
    """Plant a fault in what is differentiated by means and log-scales; the exact answer stays."""
    exact, cost = problem.exact_gradient(), problem.cost
    dimensions = (problem.params.shape[-1] - 1) // 2

    def halved(z: Tensor, params: Tensor) -> Tensor:
        return cost(z, (params + params.detach()) / 2)

    def as_scale(z: Tensor, params: Tensor) -> Tensor:
        law, log_scale = params[..., : 1 + dimensions], params[..., 1 + dimensions :]
        return cost(z, torch.cat((law, log_scale.abs().log()), -1))

    planted = {
        "": problem,
        "direct term dropped": replace(problem, direct=False),
        "direct term halved": replace(problem, cost=halved),
        "scale for log-scale": replace(problem, cost=as_scale),
    }
    return replace(planted[fault], gradient=lambda _: exact)


KINDS = (
    *("score_function", "leave_one_out", "constant_baseline", "antithetic_score_function"),
    *("quasi_monte_carlo_score_function", "double_control_variates"),
)


def judged_here(problem: Objective, kinds: tuple[str, ...], draws: int) -> dict[str, Verdict]:
    """Run the bias test on several estimators at once; a passing cell could see 5 %."""
    methods = {}
    for name in kinds:
        method = build_estimator(name)
        if method.tune:
            method = method.tune(problem, problem.params.float(), Noise(8, "tune", name))
        methods[name] = method
    cells = {name: blocks_of(problem, method, draws, 9) for name, method in methods.items()}
    return judge(cells, lambda name: fresh_blocks(problem, methods[name], draws, 9))


class TestNested:
    @pytest.mark.parametrize("settings", NESTED)
    def test_value_and_gradient_in_closed_form(self, settings):
        objective, terms = build_objective("nested", **settings), numbers(settings)
        wide = objective.params.clone()
        wide[:, 1 + len(terms[1]) :] += math.log(2)
        for params in (objective.params, off_the_point(objective), wide):
            found = exactly(objective, params)
            expected = closed_form(params.numpy(), terms)
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
            for fault in (
                *("variance for scale", "no baseline", "scale for log-scale"),
                "direct term dropped",
            ):
                wrong = closed_form(params.numpy(), terms, fault)
                assert np.abs(found - wrong).max() > 1e-3, fault

    def test_the_cost_by_hand_at_a_category_and_its_noise(self):
        objective, (w, a, b, c, e, g) = build_objective("nested", **NESTED[2]), numbers(NESTED[2])
        z = drawn(objective.family, objective.params, 20, 2, "cost")
        found, table = objective.cost(z, objective.params), objective.params.numpy()
        for n, s in itertools.product(range(20), range(2)):
            k = int(z[n, s, :6].argmax())
            x = table[k, 1:6] + np.exp(table[k, 6:]) * z[n, s, 6:].numpy()
            cost = w[k] + (a * x + b * x**2 + np.cos(c * x + e)).sum() + np.exp(g @ x)
            assert float(found[n, s]) == pytest.approx(cost, rel=1e-12)

    @pytest.mark.parametrize("name", SCORED)
    def test_estimators_are_exact_on_average_for_all_three_columns(self, name):
        objective = build_objective("nested", categories=3, dimensions=1, seed=5)
        rule = gauss_hermite(14 if name == "leave_one_out" else 40, 1)
        found = mean_of(objective, settled(name), rule)
        assert gap(found, objective.exact_gradient()) < 1e-9
        untold = mean_of(replace(objective, direct=False), settled(name), rule)
        torch.testing.assert_close(untold[:, 0], found[:, 0])  # outside all is well
        assert (untold[:, 1:] == 0).all()  # and the inside is lost

    def test_two_dimensions_at_once(self):
        objective = build_objective("nested", categories=2, dimensions=2, seed=6)
        found = mean_of(objective, build_estimator("score_function"), gauss_hermite(30, 2))
        assert gap(found, objective.exact_gradient()) < 1e-10

    @pytest.mark.parametrize("fault", ["", *FAULTS])
    def test_draws_are_judged(self, fault):
        """By the one bias test: sound kinds pass, and faults of the inside are seen."""
        problem = build_objective("nested", categories=3, dimensions=2, seed=7)
        kinds, draws = (("leave_one_out",), 16_384) if fault else (KINDS, 65_536)
        found = judged_here(with_fault(problem, fault), kinds, draws)
        assert {verdict.outcome for verdict in found.values()} == {FAULTS.get(fault, "unbiased")}

    def test_gumbel_softmax_outside_is_biased_and_less_so_when_cold(self):
        """The nested estimator of the notes: one relaxed z, and one z' of it."""
        problem = build_objective("nested", categories=3, dimensions=1, seed=5)

        def method(temperature: float) -> Estimator:
            found = build_estimator("gumbel_softmax", temperature=temperature)
            return replace(found, families=None)

        warm, cold = (
            verdict_of(problem, method(temperature), 65_536) for temperature in (1.0, 0.1)
        )
        assert warm.outcome == "biased"
        assert cold.bias.high < 0.5 * warm.bias.low

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"categories": 1}, "categories >= 2, got 1"),
            ({"dimensions": 0}, "dimensions >= 1"),
            ({"scale": 0.0}, "from 0.01 to 2, got 0.0"),
            ({"scale": math.nan}, "scale: a finite number"),
            ({"spread": -1.0}, "spread >= 0"),
            ({"categories": 10**9}, "use fewer categories or dimensions"),
            ({"seed": -1}, "seed >= 0"),
        ],
    )
    def test_errors_are_one_line(self, settings, message):
        refused("nested", settings, message)

    def test_a_whole_number_too_large_for_int64_is_a_number_all_the_same(self):
        problem = build_objective("nested", spread=10**30)
        assert torch.isfinite(problem.exact_gradient()).all()


def verdict_of(problem: Objective, method: Estimator, draws: int) -> Verdict:
    cells = {"cell": blocks_of(problem, method, draws, 9)}
    return judge(cells, lambda _: fresh_blocks(problem, method, draws, 9))["cell"]


def refused(name: str, settings: dict, message: str) -> None:
    with pytest.raises(BadArgument) as caught:
        build_objective(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# A style and a label.


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def toy_by_hand(
    settings: dict, params: np.ndarray, classification: float, known: list[int], fault: str = ""
) -> float:
    """Return the objective on the toy, image by image and label by label.

    A pixel's logit is linear in the style, so normal: one integral a pixel in ANY dimension.
    """
    labels, d = settings.get("labels") or 3, settings.get("style", 1)
    model = toy(settings["images"], labels, d, settings.get("seed", 0))
    edges = np.arange(-9, 9, 0.5)  # Gauss-Legendre between them: poles are no trouble
    near, share = leggauss(12)
    nodes = (edges[:, None] + 0.25 * (near + 1)).ravel()
    weights = np.tile(0.25 * share, len(edges)) * scipy.stats.norm.pdf(nodes)
    total = 0.0
    for i, y in enumerate(known):
        x, logits = model.images[i].numpy(), params[i, :, 0]
        log_q = logits - np.log(np.exp(logits).sum())
        mean, log_scale = params[i, :, 1 : 1 + d], params[i, :, 1 + d :]
        scale = log_scale if fault == "scale for log-scale" else np.exp(log_scale)
        bound = np.zeros(labels)
        for k in range(labels):
            slope = model.slopes.numpy()[:, :, k]  # [d, pixels]
            centre = model.offsets.numpy()[:, k] + mean[k] @ slope
            width = np.sqrt(scale[k] ** 2 @ slope**2)
            at = centre[:, None] + width[:, None] * nodes
            bound[k] = softplus(at).sum(0) @ weights - x @ centre
            bound[k] += (0.5 * (mean[k] ** 2 + scale[k] ** 2 - 1) - np.log(np.abs(scale[k]))).sum()
            if fault != "no prior":
                bound[k] -= float(model.log_prior[k])
        if y < 0:
            total += np.exp(log_q) @ (bound + (0 if fault == "no entropy" else log_q))
        else:
            sign = -1 if fault == "classifier rewarded for errors" else 1
            total += bound[y] - sign * classification * log_q[y]
    return total / len(known)


def known_of(objective: Objective) -> list[int]:
    """Read off the family which labels are known, and as what."""
    labels = objective.params.shape[-2]
    mean = objective.family.mean(objective.params)[:, :labels]
    return [int(row.argmax()) if float(row.max()) == 1 else HIDDEN for row in mean]


TOYS = [
    {"images": 4},
    {"images": 3, "labelled": 1, "labels": 5, "classification": 2.0, "seed": 1},
    {"images": 3, "style": 2, "seed": 2},
    {"images": 2, "labelled": 0, "seed": 3},
    {"images": 2, "labelled": 2, "style": 2, "labels": 2, "seed": 4},
]


class TestToy:
    @pytest.mark.parametrize("settings", TOYS)
    def test_value_and_gradient_by_another_rule(self, settings):
        objective = build_objective("compartmentalized", **settings)
        known, weight = known_of(objective), settings.get("classification", 0.2)
        truth = toy(
            settings["images"], settings.get("labels") or 3, settings.get("style", 1),
            settings.get("seed", 0),
        ).truth  # fmt: skip
        assert all(y in (HIDDEN, int(t)) for y, t in zip(known, truth, strict=True))
        wanted = settings.get("labelled", settings["images"] // 2)
        assert sum(y >= 0 for y in known) == wanted

        def by_hand(params: Tensor, fault: str = "") -> float:
            return toy_by_hand(settings, params.numpy(), weight, known, fault)

        for params in (objective.params, off_the_point(objective)):
            assert float(objective.exact_value(params)) == pytest.approx(by_hand(params), rel=1e-9)
            expected = differences(lambda p: torch.tensor(by_hand(p)), params)
            assert gap(objective.exact_gradient(params), expected) < 1e-7
        faults = ["no prior", "scale for log-scale"]
        faults += ["no entropy"] * (wanted < settings["images"])
        faults += ["classifier rewarded for errors"] * (wanted > 0)
        for fault in faults:
            wrong = by_hand(objective.params, fault)
            assert abs(wrong / float(objective.exact_value()) - 1) > 1e-3, fault

    def test_one_bound_by_adaptive_quadrature(self):
        """U(x) of one image as the ELBO is defined: E_q [log p(x, y, s) - log q(y, s | x)]."""
        model = toy(1, 3, 1, 5)
        objective = build_objective("compartmentalized", images=1, labelled=0, seed=5)
        x, params = model.images[0].numpy(), model.params[0].numpy()
        total = 0.0
        for k in range(3):
            log_label = params[k, 0] - np.log(np.exp(params[:, 0]).sum())
            law = scipy.stats.norm(params[k, 1], math.exp(params[k, 2]))
            offset, slope = model.offsets.numpy()[:, k], model.slopes.numpy()[0, :, k]

            def integrand(s: float, k=k, law=law, offset=offset, slope=slope, log_q=log_label):
                logits = offset + slope * s
                log_p = float(x @ logits - softplus(logits).sum() + model.log_prior[k])
                return law.pdf(s) * (log_p + scipy.stats.norm.logpdf(s) - log_q - law.logpdf(s))

            ends = law.mean() - 10 * law.std(), law.mean() + 10 * law.std()
            found = integrate.quad(integrand, *ends, epsabs=1e-13, epsrel=1e-13, limit=200)[0]
            total -= math.exp(log_label) * found
        assert float(objective.exact_value()) == pytest.approx(total, rel=1e-10)

    @pytest.mark.parametrize("name", SCORED)
    def test_estimators_are_exact_on_average_with_labels_and_without(self, name):
        settings = {"images": 2, "labels": 2, "seed": 1}
        objective = build_objective("compartmentalized", **settings)
        assert sorted(y >= 0 for y in known_of(objective)) == [False, True]
        several = name == "leave_one_out"
        step, reach = (0.4, 14) if several else (0.1, 80)
        rule = even(step, reach, 1)
        found = mean_of(objective, settled(name), rule)
        exact = objective.exact_gradient()
        assert gap(found, exact) < (1e-7 if several else 1e-11)
        untold = mean_of(replace(objective, direct=False), settled(name), rule)
        assert gap(untold, exact) > 0.1
        assert (untold[1] == 0).all()  # all that a labelled image has is its direct term

    @pytest.mark.parametrize("fault", ["", *FAULTS])
    def test_draws_are_judged(self, fault):
        problem = build_objective("compartmentalized", images=3, labelled=1, seed=7)
        kinds = ("leave_one_out",) if fault else ("score_function", "leave_one_out")
        found = judged_here(with_fault(problem, fault), kinds, 4_096 if fault else 32_768)
        for name, verdict in found.items():
            print(f"{name} {fault}: {verdict.one_line()}")
        assert {verdict.outcome for verdict in found.values()} == {FAULTS.get(fault, "unbiased")}

    def test_a_shrink_is_caught(self):
        problem = build_objective("compartmentalized", images=2, labels=2)
        sound = build_estimator("leave_one_out")
        shrunk = replace(sound, draw=lambda *given: (1 - SHRINK) * sound.draw(*given))
        assert verdict_of(problem, shrunk, 16_384).outcome == "biased"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"data": "mnist"}, "toy or digits, got 'mnist'"),
            ({"images": 0}, "images >= 1"),
            ({"images": 3, "labelled": 4}, "3 images, got labelled 4"),
            ({"labelled": -1}, "labelled >= 0"),
            ({"style": 3}, "1 or 2 coordinates, got 3"),
            ({"style": 0}, "style >= 1"),
            ({"labels": 1}, "labels >= 2"),
            ({"data": "digits", "images": 1798}, "1,797 digits, got images 1798"),
            ({"images": 10**7}, "use fewer images or labels, or a style of 1"),
            ({"labels": 10**6, "style": 2}, "use fewer images or labels, or a style of 1"),
            ({"data": "digits", "labels": 3}, "10 labels on digits, got 3"),
            ({"classification": -0.1}, "classification >= 0"),
            ({"classification": math.inf}, "a finite number"),
            ({"training_steps": -1}, "training_steps >= 0"),
            ({"seed": 1.5}, "whole seed"),
        ],
    )
    def test_errors_are_one_line(self, settings, message):
        refused("compartmentalized", settings, message)


def even(step: float, reach: int, dimensions: int) -> tuple[Tensor, Tensor]:
    x = step * torch.arange(-reach, reach + 1, dtype=torch.float64)
    return product_rule(x, (-0.5 * x.square()).exp(), dimensions)


def toy_problem(style: int) -> tuple[Problem, Tensor]:
    model = toy(3, 3, style, 0)
    known = torch.tensor([HIDDEN, int(model.truth[1]), HIDDEN])
    return Problem(model.images, known, model.log_prior, model.decode, 0.2), model.params


class TestQuadrature:
    """How far the exact rule is from the limit, which two rules must share."""

    @pytest.mark.parametrize("style", [1, 2])
    def test_it_has_converged(self, style):
        problem, params = toy_problem(style)
        finer = {1: even(0.03, 300, 1), 2: even(0.13, 60, 2)}[style]
        exact, fine = (gradient_of_value(problem, r)(params) for r in (trapezoidal(style), finer))
        assert gap(exact, fine) < 1e-11
        values = [value_of(problem, rule)(params) for rule in (trapezoidal(style), finer)]
        assert gap(*values) < 1e-12

    def test_gauss_hermite_converges_to_it_and_more_slowly(self):
        problem, params = toy_problem(1)
        exact = gradient_of_value(problem, trapezoidal(1))(params)

        def error(rule: tuple[Tensor, Tensor]) -> float:
            return gap(gradient_of_value(problem, rule)(params), exact)

        by_nodes = [error(gauss_hermite(n, 1)) for n in (12, 24, 48, 96)]
        assert by_nodes == sorted(by_nodes, reverse=True)
        assert by_nodes[0] > 1e-5
        assert by_nodes[-1] < 1e-8
        assert error(even(0.2, 40, 1)) < by_nodes[-1]  # with 81 nodes

    def test_the_gradient_image_by_image_is_that_of_the_value(self):
        problem, params = toy_problem(1)
        rule = gauss_hermite(9, 1)
        whole = gradient_of(value_of(problem, rule))(params)
        torch.testing.assert_close(gradient_of_value(problem, rule)(params), whole)

    def test_the_mean_of_the_cost_is_the_value(self):
        """Under one rule the sampled cost and the exact value are one number."""
        problem, params = toy_problem(2)
        rule = even(0.3, 24, 2)
        family = nested(3, 2, problem.known)
        objective = Objective("mine", family, params, cost_of(problem), direct=True)
        states, chances = listed(objective, rule)
        z = states[:, None, None].expand(-1, 1, 3, -1).clone()
        z[:, 0, 1, :3] = family.mean(params)[1, :3]
        cost = objective.cost(z, params)[:, 0]
        total = (chances * cost).sum()
        assert float(total) == pytest.approx(float(value_of(problem, rule)(params)), rel=1e-12)


# Real digits.


def network(weights: np.ndarray, sizes: tuple[int, int, int], x: np.ndarray) -> np.ndarray:
    """Return a two-layer tanh network of ``x`` [inputs, n], in numpy."""
    inputs, hidden, outputs = sizes
    first, weights = weights[: hidden * inputs].reshape(hidden, inputs), weights[hidden * inputs :]
    bias, weights = weights[:hidden, None], weights[hidden:]
    second, last = weights[: outputs * hidden].reshape(outputs, hidden), weights[outputs * hidden :]
    return second @ np.tanh(first @ x + bias) + last[:, None]


DIGITS = {"data": "digits", "images": 3, "labelled": 1}


class TestDigits:
    def test_the_labels_belong_to_the_images(self):
        """The mean image of each digit is the nearest mean for four images in five and more."""
        images, digits = binary_digits(), _labelled_digits.labels()
        assert digits.shape == (1797,)
        assert torch.equal(digits[:10], torch.arange(10))
        means = torch.stack([images[digits == k].mean(0) for k in range(10)])
        found = torch.cdist(images, means).argmin(1)
        assert float((found == digits).double().mean()) > 0.8
        assert float((found == digits.roll(1)).double().mean()) < 0.2

    @pytest.mark.parametrize("style", [1, 2])
    def test_the_value_by_hand(self, style):
        objective = build_objective("compartmentalized", **DIGITS, style=style)
        weights = _labelled_digits.weights_after(20, style, 0.2)
        chosen = [0, 898, 1796]
        images = binary_digits()[chosen].numpy()
        width = 1 + 2 * style
        outputs = network(weights["encoder"].numpy(), (64, 16, 10 * width), (2 * images - 1).T)
        table = outputs.T.reshape(3, 10, width)
        np.testing.assert_allclose(objective.params.numpy(), table, rtol=1e-12, atol=1e-14)
        known = known_of(objective)
        assert [y for y in known if y >= 0] == [int(_labelled_digits.labels()[1796])]
        points, share = (part.numpy() for part in gauss_hermite({1: 90, 2: 36}[style], style))
        total = 0.0
        for i, y in enumerate(known):
            log_q = table[i, :, 0] - np.log(np.exp(table[i, :, 0]).sum())
            for k in range(10) if y < 0 else [y]:
                mean, log_scale = np.split(table[i, k, 1:], 2)
                s = mean[:, None] + np.exp(log_scale)[:, None] * points
                inputs = np.concatenate((np.eye(10)[:, [k]].repeat(s.shape[1], 1), s))
                logits = network(weights["decoder"].numpy(), (10 + style, 32, 64), inputs)
                log_x = images[i] @ logits - softplus(logits).sum(0)
                kl = (0.5 * (mean**2 + np.exp(2 * log_scale) - 1) - log_scale).sum()
                bound = kl + np.log(10) - log_x @ share
                weight = np.exp(log_q[k]) if y < 0 else 1.0
                total += weight * (bound + (1.0 if y < 0 else -0.2) * log_q[k])
        assert float(objective.exact_value()) == pytest.approx(total / 3, rel=1e-9)

    def test_gradient_of_the_encoder_weights(self):
        """Along 20 directions in weight space, by differences of the exact objective."""
        objective = build_objective("compartmentalized", **DIGITS)
        weights = _labelled_digits.weights_after(20, 1, 0.2)["encoder"]
        images = binary_digits()[[0, 898, 1796]]
        found = objective.pullback(objective.exact_gradient()[None])[0]
        assert found.shape == weights.shape == (64 * 16 + 16 + 16 * 30 + 30,)

        def value(at: Tensor) -> Tensor:
            return objective.exact_value(_labelled_digits.encode(at, images, 1))

        for direction in Noise(23, "directions", dtype=torch.float64).normal(20, len(found)):
            move = 1e-5 * direction / direction.norm()
            rate = (value(weights + move) - value(weights - move)) / 2e-5
            error = abs(float(rate - found @ direction / direction.norm()))
            assert error < 1e-6 * float(found.norm())

    def test_draws_of_the_weights_gradient_are_judged(self):
        problem = build_objective("compartmentalized", **DIGITS)
        method = build_estimator("leave_one_out", samples=4)
        assert verdict_of(problem, method, 4_096).outcome == "unbiased"
        wrong = with_fault(problem, "direct term halved")
        assert verdict_of(wrong, method, 1_024).outcome == "biased"

    def test_training_lowers_the_bound_and_teaches_the_labels(self):
        """On every 10th image, half of them labelled; a classifier that guesses has 10 %."""
        images, digits = binary_digits()[::10], _labelled_digits.labels()[::10]
        known = digits.clone()
        known[1::2] = HIDDEN
        bounds, right = [], []
        for steps in (0, 2, 20):
            weights = _labelled_digits.weights_after(steps, 1, 0.2)
            params = _labelled_digits.encode(weights["encoder"], images, 1)
            decode = _labelled_digits.decoder(weights["decoder"], 1)
            problem = Problem(images, known, _labelled_digits.LOG_PRIOR, decode, 0.2)
            bounds.append(float(value_of(problem, gauss_hermite(24, 1))(params)))
            guess = params[1::2, :, 0].argmax(-1)
            right.append(float((guess == digits[1::2]).double().mean()))
        assert bounds[0] > bounds[1] > bounds[2]
        assert bounds[2] < 0.6 * bounds[0]
        assert right[0] < 0.25 < 0.45 < right[2]
        assert float(params[..., 0].softmax(-1).min()) > 1e-3  # nothing too rare to be drawn


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point the cache of trained models at an empty folder, and forget those in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _labelled_digits.weights_after.cache_clear()
    yield tmp_path / "benchbed"
    _labelled_digits.weights_after.cache_clear()


START = {"a": torch.tensor([1.0, 2.0], dtype=torch.float64), "b": torch.zeros(3).double()}


class TestTrained:
    def make(self, calls: list[int], recipe: str = "r", start: dict | None = None) -> dict:
        def train(start: dict[str, Tensor]) -> dict[str, Tensor]:
            calls.append(torch.get_num_threads())
            return {name: tensor + len(calls) for name, tensor in start.items()}

        return trained("mine", recipe, START if start is None else start, train)

    def test_it_is_made_once_on_one_thread_and_read_back(self, cache):
        calls: list[int] = []
        first, again = self.make(calls), self.make(calls)
        assert calls == [1]
        assert all(torch.equal(first[name], again[name]) for name in START)
        assert torch.equal(again["a"], torch.tensor([2.0, 3.0], dtype=torch.float64))
        (path,) = cache.iterdir()
        assert path.suffix == ".npz"

    def test_another_recipe_or_start_is_another_file(self, cache):
        calls: list[int] = []
        self.make(calls)
        self.make(calls, "another")
        self.make(calls, "r", {**START, "b": torch.ones(3).double()})
        assert len(calls) == len(list(cache.iterdir())) == 3

    @pytest.mark.parametrize("left", [0, 3, 100, -1])
    def test_a_damaged_file_is_made_again(self, cache, left):
        calls: list[int] = []
        self.make(calls)
        (path,) = cache.iterdir()
        path.write_bytes(path.read_bytes()[:left])
        self.make(calls)
        self.make(calls)
        assert len(calls) == 2, "made again once, and whole"

    def test_a_file_of_other_shapes_is_made_again(self, cache):
        calls: list[int] = []
        self.make(calls)
        (path,) = cache.iterdir()
        np.savez(path, a=np.zeros(2), b=np.zeros(4))
        assert self.make(calls)["b"].shape == (3,)
        assert len(calls) == 2

    def test_a_folder_that_cannot_be_written_is_no_error(self, tmp_path, monkeypatch):
        blocked = tmp_path / "file"
        blocked.write_text("not a folder")
        monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
        calls: list[int] = []
        self.make(calls)
        assert calls == [1]

    def test_the_digits_are_trained_alike_in_another_process(self, cache):
        """Deterministic bit by bit, whatever the number of threads around it."""
        first = _labelled_digits.weights_after(2, 1, 0.2)
        for path in cache.iterdir():
            path.unlink()
        _labelled_digits.weights_after.cache_clear()
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            again = _labelled_digits.weights_after(2, 1, 0.2)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(threads)
        assert all(torch.equal(first[name], again[name]) for name in first)
        other = _labelled_digits.weights_after(2, 1, 0.5)
        assert not torch.equal(first["encoder"], other["encoder"])
        assert len(list(cache.iterdir())) == 2

    def test_an_edited_recipe_is_another_file(self, cache, monkeypatch, tmp_path):
        _labelled_digits.weights_after(1, 1, 0.2)
        edited = tmp_path / "edited.py"
        edited.write_text(Path(_semi_supervised.__file__).read_text() + "\n")
        monkeypatch.setattr(_semi_supervised, "__file__", str(edited))
        _labelled_digits.weights_after.cache_clear()
        _labelled_digits.weights_after(1, 1, 0.2)
        assert len(list(cache.iterdir())) == 2
        assert _trained.cache_folder() == cache
