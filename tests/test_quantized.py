"""Vector quantization of a noisy encoder: the law of the codes, the objective, three estimators.

All three estimators are biased: each is held against its OWN mean, found without sampling, by the
one bias test, and a 5 % shrink of it is caught.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED
from panel import blocks_of, fresh_blocks, objective
from scipy import integrate, stats
from torch import Tensor

from benchbed.analysis.bias import predicted_power
from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Objective
from benchbed.enumeration import marginalize
from benchbed.errors import BadArgument
from benchbed.estimators import rotation_trick
from benchbed.estimators.gumbel_vq import gumbel_vq
from benchbed.estimators.rotation_trick import rotate_back
from benchbed.families.quantized import log_masses, quantized, scores
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # of one chi-square comparison
CODES = torch.tensor([[-1.0, 0.0, 1.2], [-0.4, 0.3, 0.9]], dtype=torch.float64)  # [D, codes]
OUTPUT = torch.tensor([[0.3, -0.2], [-0.9, 0.5]], dtype=torch.float64)  # f, [d, D]
ESTIMATORS = ["vq_straight_through", "rotation_trick", "gumbel_vq"]


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(61, "quantized", *path, dtype=dtype)


def outcome(problem, method, mean: Tensor, shrink: float = 0.0, draws: int = 32_768) -> str:
    """Run the bias test of one cell against ``mean``."""
    problem = replace(problem, gradient=lambda _: mean)
    if shrink:
        plain = method.draw
        method = replace(method, draw=lambda *given: (1 - shrink) * plain(*given))
    blocks = blocks_of(problem, method, draws, SEED)
    if shrink:
        assert predicted_power(blocks, SHRINK, 0.1) >= 0.99
    found = judge({"cell": blocks}, lambda _: fresh_blocks(problem, method, draws, SEED))
    return found["cell"].outcome


# The law of the codes.


def every_state(family, params: Tensor) -> Tensor:
    return family.enumerate(params, torch.arange(family.states(params)))


def test_masses_are_those_of_voronoi_cells():
    family = quantized(CODES, 0.5)
    z = every_state(family, OUTPUT)
    assert z.shape == (81, 2, 2)
    assert len(z.unique(dim=0)) == 81
    expected = np.ones(81)
    for i, j in itertools.product(range(2), range(2)):
        edges = np.concatenate(([-np.inf], (CODES[j, 1:] + CODES[j, :-1]).numpy() / 2, [np.inf]))
        mass = np.diff(stats.norm.cdf(edges, float(OUTPUT[i, j]), 0.5))
        expected *= mass[np.searchsorted(CODES[j].numpy(), z[:, i, j].numpy())]
    np.testing.assert_allclose(family.log_prob(OUTPUT, z).exp().numpy(), expected, rtol=1e-12)
    assert float(family.log_prob(OUTPUT, z).exp().sum()) == pytest.approx(1, rel=1e-13)
    mean = torch.einsum("n,nij->ij", family.log_prob(OUTPUT, z).exp(), z)
    torch.testing.assert_close(family.mean(OUTPUT), mean, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("place", [-20.0, -3.0, -0.4, 0.1, 2.0, 20.0])
def test_masses_and_scores_keep_their_digits_in_both_tails(place):
    """P of [l, h] = phi(e) times the integral of exp(-e t - t^2 / 2) from the near end e."""
    scale, codes = 0.05, torch.tensor([[-1.0, -0.3, 0.4, 1.0]], dtype=torch.float64)
    params = torch.full((1, 1), place, dtype=torch.float64)
    found, slope = log_masses(codes, scale, params)[0, 0], scores(codes, scale, params)[0, 0]
    edges = [-math.inf, -0.65, 0.05, 0.7, math.inf]
    for k, (low, high) in enumerate(itertools.pairwise((x - place) / scale for x in edges)):
        if low * high > 0:  # the whole cell on one side: measured from its near end
            near, far = sorted((abs(low), abs(high)))
            width = min(far - near, 40 / near)
            rest = integrate.quad(lambda t, e=near: math.exp(-e * t - t * t / 2), 0, width)[0]
            expected = -(near**2) / 2 - math.log(2 * math.pi) / 2 + math.log(rest)
            ratio = (1 - math.exp(-near * (far - near) - (far - near) ** 2 / 2)) / rest
            rate = (ratio if low > 0 else -ratio) / scale  # (phi(l') - phi(h')) / (scale P)
            assert float(slope[k]) == pytest.approx(rate, rel=1e-7)
        else:
            expected = math.log1p(-stats.norm.cdf(low) - stats.norm.sf(high))
        assert float(found[k]) == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_the_score_is_the_derivative_of_log_prob_and_has_mean_zero():
    family, params = quantized(CODES, 0.5), OUTPUT.clone().requires_grad_()
    z = every_state(family, OUTPUT)
    log_prob = family.log_prob(params, z)
    score = family.score(OUTPUT, z)
    for n in range(0, 81, 7):
        (slope,) = torch.autograd.grad(log_prob[n], params, retain_graph=True)
        torch.testing.assert_close(score[n], slope, rtol=1e-9, atol=1e-12)
    mean = torch.einsum("n,nij->ij", log_prob.detach().exp(), score)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_far_out_and_with_little_noise(dtype):
    family = quantized(CODES, 0.05)
    for place in (-20.0, 0.05, 20.0):
        params = torch.full((2, 2), place, dtype=dtype)
        z = every_state(family, params)
        leaf = params.clone().requires_grad_()
        log_prob = family.log_prob(leaf, z)
        (slope,) = torch.autograd.grad(log_prob.sum(), leaf)
        for found in (log_prob, slope, family.score(params, z), family.mean(params)):
            assert found.dtype == dtype
            assert torch.isfinite(found).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_are_the_nearest_codes_of_a_noisy_output(dtype):
    family, params = quantized(CODES, 0.5), OUTPUT.to(dtype)
    z = family.sample(params, 50, 3, noise_of("nearest", dtype=dtype))
    path = family.path(params, 50, 3, 1.0, noise_of("nearest", dtype=dtype))
    assert z.dtype == dtype
    assert z.shape == (50, 3, 2, 2)
    assert torch.equal(z, path.hard)
    codes = CODES.to(dtype)
    closest = (path.soft[..., None] - codes).abs().argmin(-1, keepdim=True)
    assert torch.equal(z, codes.expand(*z.shape, 3).gather(-1, closest)[..., 0])
    slope = noise_of("slope", dtype=dtype).normal(*z.shape)
    assert torch.equal(path.vjp(slope), slope)  # x = f + scale * eps
    eps = noise_of("nearest", dtype=dtype).normal(50, 3, 2, 2)
    torch.testing.assert_close(path.soft, params + 0.5 * eps)


def test_samples_follow_log_prob():
    family, draws = quantized(CODES, 0.5), 100_000
    z = family.sample(OUTPUT, draws, 1, noise_of("law"))
    states = every_state(family, OUTPUT)
    expected = draws * family.log_prob(OUTPUT, states).exp()
    columns = [
        torch.searchsorted(CODES[j], z[:, 0, i, j].contiguous()) for i in (0, 1) for j in (0, 1)
    ]
    number = sum(column * 3**k for k, column in enumerate(columns))
    counts = torch.bincount(number, minlength=81)
    kept = expected > 5
    pair = [torch.cat((x[kept], x[~kept].sum()[None])).numpy() for x in (counts.double(), expected)]
    assert stats.chisquare(*pair).pvalue > FALSE_ALARM


def test_params_may_have_axes_of_draws_and_samples():
    family, draws, samples = quantized(CODES, 0.5), 6, 2
    moved = OUTPUT + 0.4 * noise_of("moved").normal(draws, samples, 2, 2)
    u = noise_of("uniforms").uniform(draws, samples, *family.uniforms(OUTPUT))
    z = family.quantile(moved, u)
    log_prob, score = family.log_prob(moved, z), family.score(moved, z)
    for n, k in itertools.product(range(draws), range(samples)):
        alone = family.quantile(moved[n, k], u[n : n + 1, k : k + 1])
        assert torch.equal(z[n, k], alone[0, 0])
        torch.testing.assert_close(log_prob[n, k], family.log_prob(moved[n, k], alone)[0, 0])
        torch.testing.assert_close(score[n, k], family.score(moved[n, k], alone)[0, 0])


def test_a_codebook_of_vectors_in_any_order():
    family = quantized(torch.tensor([1.0, -1.0, 0.0]), 0.5)
    assert family.codebook is not None
    assert family.codebook.tolist() == [[-1.0, 0.0, 1.0]]
    assert quantized(CODES, 0.5).codebook.shape == (2, 3)


@pytest.mark.parametrize(
    ("codes", "scale", "message"),
    [
        ([1.0], 0.5, "2 or more"),
        ([0.0, math.nan], 0.5, "finite"),
        ([[[0.0, 1.0]]], 0.5, "codebook"),
        ([0.0, 1.0, 0.0], 0.5, "differ"),
        ([0.0, 1.0], 0.0, "scale > 0"),
        ([0.0, 1.0], math.nan, "scale > 0"),
    ],
)
def test_bad_codebooks_are_refused_in_one_line(codes, scale, message):
    with pytest.raises(BadArgument, match=message) as caught:
        quantized(torch.tensor(codes), scale)
    assert "\n" not in str(caught.value)


# The objective.


@pytest.mark.parametrize(
    "settings", [{}, {"dimensions": 1, "codes": 2}, {"dimensions": 2, "codes": 4, "seed": 3}]
)
def test_value_and_gradient_by_enumeration(settings):
    problem = build_objective("quantized", **settings, scale=0.6)
    for params in (problem.params, problem.params + 0.3):
        value, gradient = marginalize(problem, params)
        assert float(problem.exact_value(params)) == pytest.approx(float(value), rel=1e-11)
        torch.testing.assert_close(problem.exact_gradient(params), gradient, rtol=1e-9, atol=1e-11)


def test_without_noise_the_gradient_is_0_almost_everywhere():
    quiet, noisy = (
        float(build_objective("quantized", scale=scale).exact_gradient().norm())
        for scale in (0.003, 0.5)
    )
    assert quiet < 1e-12 < 0.1 < noisy


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("score_function", {}),
        ("leave_one_out", {"samples": 2}),
        ("constant_baseline", {"kind": "optimal", "pilot": "exact"}),
    ],
)
def test_score_estimators_are_unbiased_exactly(name, settings):
    problem = build_objective("quantized", dimensions=1, codes=3)
    method = build_estimator(name, **settings)
    if method.tune:
        method = method.tune(problem, problem.params, noise_of("tune"))
    found = exact_moments(problem, method)
    assert found is not None
    truth = problem.exact_gradient().flatten().numpy()
    np.testing.assert_allclose(found.mean, truth, rtol=1e-9, atol=1e-12)


# Straight-through.


def numpy_states(problem: Objective) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every state [n, d, D], its mass by scipy, and J' there by central differences."""
    family, params = problem.family, problem.params
    z, codes = every_state(family, params), family.codebook[0].numpy()
    edges = np.concatenate(([-np.inf], (codes[1:] + codes[:-1]) / 2, [np.inf]))
    chance = np.ones(len(z))
    for index in itertools.product(*map(range, params.shape)):
        mass = np.diff(stats.norm.cdf(edges, float(params[index]), 0.5))
        chance *= mass[np.searchsorted(codes, z[(slice(None), *index)].numpy())]
    slope, step = np.zeros(z.shape), 1e-4
    for index in itertools.product(*map(range, params.shape)):
        move = torch.zeros_like(params)
        move[index] = step
        up, down = (problem.cost(z + side * move, params) for side in (1, -1))
        slope[(slice(None), *index)] = ((up - down) / (2 * step)).numpy()
    return z.numpy(), chance, slope


def test_straight_through_has_the_mean_slope_over_the_codes():
    problem = objective("quantized")
    _, chance, slope = numpy_states(problem)
    expected = np.einsum("n,nij->ij", chance, slope)
    method = build_estimator("vq_straight_through", samples=2)
    found = exact_moments(problem, method)
    assert found is not None
    np.testing.assert_allclose(found.mean, expected.flatten(), rtol=1e-6, atol=1e-8)
    spread = np.einsum("n,nij->", chance, (slope - expected) ** 2) / 2
    assert found.variance.sum() == pytest.approx(spread, rel=1e-6)
    mean = torch.from_numpy(found.mean).reshape(problem.params.shape)
    assert outcome(problem, method, mean) == "unbiased"
    assert outcome(problem, method, mean, SHRINK) == "biased"
    assert outcome(problem, method, problem.exact_gradient()) == "biased"


def test_straight_through_is_exact_for_a_linear_cost_on_a_fine_codebook():
    """Then d E[q] / d f = gap sum_k phi(b_k), 1 but for 2 exp(-2 pi^2 (scale / gap)^2).

    On a coarse codebook of gap 2 at scale 0.5, f = 0.2 it is 2 phi(-0.4) / 0.5 = 1.473.
    """
    weights = torch.tensor([0.7, -1.9], dtype=torch.float64)
    params = torch.tensor([[0.2, -0.3]], dtype=torch.float64)

    def linear(codes: Tensor) -> Objective:
        return Objective(
            "linear",
            quantized(codes, 0.5),
            params,
            lambda z, _: (z[..., 0, :] * weights.to(z)).sum(-1),
        )

    method = build_estimator("vq_straight_through")
    for codes, exact in (
        (torch.linspace(-6, 6, 49, dtype=torch.float64), True),
        (torch.tensor([-1.0, 1.0]), False),
    ):
        problem = linear(codes)
        found = exact_moments(problem, method)
        assert found is not None
        np.testing.assert_allclose(found.mean, weights.numpy(), rtol=1e-12)
        ratio = problem.exact_gradient()[0] / weights
        if exact:
            torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-10, atol=0)
        else:
            expected = torch.from_numpy(2 * stats.norm.pdf(params[0].numpy() / 0.5) / 0.5)
            torch.testing.assert_close(ratio, expected, rtol=1e-10, atol=0)
            assert float(ratio[0]) == pytest.approx(1.473, abs=5e-4)


# The rotation trick.


def matrix_of(e: Tensor, q: Tensor) -> Tensor:
    """Return |q| / |e| R for every pair, [n, D, D]: R^T of the basis vectors are R's rows."""
    size = e.shape[-1]
    basis = torch.eye(size, dtype=e.dtype)
    return torch.stack([rotate_back(e, q, basis[i].expand_as(e)) for i in range(size)], 1)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_r_is_a_rotation_that_takes_the_output_to_its_code(size):
    e, q = (noise_of("vectors", name, size).normal(200, size) for name in "eq")
    # Nearly opposite, exactly opposite, equal, and at right angles.
    q[0], q[1], q[2] = -2 * e[0] + 1e-5, -0.7 * e[1], e[2]
    q[3] = q[3] - e[3] * (e[3] @ q[3]) / (e[3] @ e[3])
    scaled = matrix_of(e, q)
    lengths = q.norm(dim=-1) / e.norm(dim=-1)
    rotation = scaled / lengths[:, None, None]
    eye = torch.eye(size, dtype=e.dtype).expand_as(rotation)
    torch.testing.assert_close(rotation.mT @ rotation, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(200, dtype=e.dtype))
    torch.testing.assert_close((scaled @ e[..., None])[..., 0], q, rtol=0, atol=1e-9)
    torch.testing.assert_close(rotation[2], eye[2], rtol=0, atol=1e-12)


def test_vectors_of_length_0():
    g = noise_of("g").normal(1, 3)
    e, zero = noise_of("e").normal(1, 3), torch.zeros(1, 3, dtype=torch.float64)
    assert torch.equal(rotate_back(e, zero, g), zero)
    assert torch.equal(rotate_back(zero, e, g), g)
    assert torch.equal(rotate_back(zero, zero, g), g)


def test_it_is_straight_through_where_the_output_is_its_code(monkeypatch):
    problem, params = objective("quantized"), objective("quantized").params
    monkeypatch.setattr(rotation_trick, "rotate_back", lambda e, q, g: rotate_back(q + 0 * e, q, g))
    rows, plain = (
        build_estimator(name, samples=2).draw(problem, params, 50, noise_of("equal"))
        for name in ("rotation_trick", "vq_straight_through")
    )
    z = problem.family.sample(params, 50, 2, noise_of("equal"))
    nonzero = (z != 0).any(-1).all(1)  # a code at the origin passes no gradient
    assert nonzero.sum() > 20
    # The code at 0 is left as it is when e = q = 0.
    torch.testing.assert_close(rows[nonzero], plain[nonzero], rtol=1e-12, atol=1e-12)


def test_the_rotation_by_hand():
    problem, params, draws = objective("quantized"), objective("quantized").params, 60
    rows = build_estimator("rotation_trick").draw(problem, params, draws, noise_of("hand"))
    x = (params + 0.5 * noise_of("hand").normal(draws, 1, 2, 2)[:, 0]).numpy()
    expected = np.zeros((draws, 2, 2))
    for n in range(draws):
        q = np.clip(np.round(x[n]), -1, 1)  # codes -1, 0, 1
        slope = problem.evaluate(torch.from_numpy(q)[None, None], params, slope=True).slope[0, 0]
        for i in range(2):
            if (q[i] == 0).all():
                continue
            turn = math.atan2(q[i, 1], q[i, 0]) - math.atan2(x[n, i, 1], x[n, i, 0])
            r = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
            stretch = np.linalg.norm(q[i]) / np.linalg.norm(x[n, i])
            expected[n, i] = stretch * r.T @ slope[i].numpy()
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-9, atol=1e-12)


def own_mean_rotation(problem: Objective) -> Tensor:
    """Return E[|q| / |x| R^T J'(q)]: quadrature over each cell of a vector, sum over states."""
    z, chance, slope = numpy_states(problem)
    params, codes = problem.params.numpy(), problem.family.codebook[0].numpy()
    edges = np.concatenate(([-np.inf], (codes[1:] + codes[:-1]) / 2, [np.inf]))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    mean = np.zeros(params.shape)
    for i in range(len(params)):
        for pair in itertools.product(range(len(codes)), repeat=2):
            q = codes[list(pair)]
            ends = [
                np.clip([edges[k], edges[k + 1]], f - 4.5, f + 4.5)  # 9 standard deviations
                for k, f in zip(pair, params[i], strict=True)
            ]
            x = [(b - a) / 2 * nodes + (a + b) / 2 for a, b in ends]
            mass = [
                (b - a) / 2 * weights * stats.norm.pdf(points, f, 0.5)
                for (a, b), points, f in zip(ends, x, params[i], strict=True)
            ]
            first, second = np.meshgrid(*x, indexing="ij")
            weight = np.outer(*mass)
            turn = math.atan2(q[1], q[0]) - np.arctan2(second, first)
            weight = weight * np.linalg.norm(q) / np.hypot(first, second)
            c, s = (weight * np.cos(turn)).sum(), (weight * np.sin(turn)).sum()
            here = (z[:, i] == q).all(-1)
            inside = np.prod([m.sum() for m in mass])
            if inside < 1e-30:
                continue
            # J' given this vector's code: the other vectors are independent of x_i.
            given = (chance[here, None] * slope[here, i]).sum(0) / inside
            mean[i] += np.array([[c, s], [-s, c]]) @ given
    return torch.from_numpy(mean)


def test_the_rotation_trick_has_the_mean_that_quadrature_gives(monkeypatch):
    problem, method = objective("quantized"), build_estimator("rotation_trick", samples=2)
    mean = own_mean_rotation(problem)
    assert outcome(problem, method, mean) == "unbiased"
    assert outcome(problem, method, mean, SHRINK) == "biased"
    assert outcome(problem, method, problem.exact_gradient()) == "biased"
    # R instead of its transpose: turned the wrong way.
    monkeypatch.setattr(
        rotation_trick,
        "rotate_back",
        lambda e, q, g: rotate_back(q, e, g) * q.norm(dim=-1, keepdim=True) ** 2
        / e.norm(dim=-1, keepdim=True) ** 2,
    )  # fmt: skip
    assert outcome(problem, method, mean) == "biased"


def test_one_coordinate_cannot_be_rotated():
    family = quantized(torch.tensor([-1.0, 0.0, 1.0]), 0.5)
    params = torch.zeros(2, 1, dtype=torch.float64)
    problem = Objective("line", family, params, lambda z, _: z.sum((-2, -1)))
    with pytest.raises(BadArgument, match="2 or more coordinates"):
        build_estimator("rotation_trick").draw(problem, params, 2, noise_of("line"))


# Gumbel-VQ.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_vq_is_autograd_of_the_mixture(hard, dtype):
    """Torch's own derivative of softmax((logits + G) / tau) @ codes, sample by sample."""
    problem, draws, samples, tau, width = objective("quantized"), 30, 2, 0.7, 0.6
    method = build_estimator(
        "gumbel_vq", samples=samples, temperature=tau, width=width, straight_through=hard
    )
    params = problem.params.to(dtype)
    rows = method.draw(problem, params, draws, noise_of("gumbel", dtype=dtype))
    gumbel = noise_of("gumbel", dtype=dtype).gumbel(draws, samples, 2, 2, 3)
    leaf = params.expand(draws, samples, 2, 2).clone().requires_grad_()
    codes = problem.family.codebook[0].to(dtype)
    noisy = gumbel - (leaf[..., None] - codes) ** 2 / (2 * width**2)
    z = (noisy / tau).softmax(-1) @ codes
    if hard:
        z = codes[noisy.argmax(-1)] + z - z.detach()
    problem.cost(z, params).sum().backward()
    tight = (
        {"rtol": 1e-9, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 1e-4}
    )
    torch.testing.assert_close(rows, leaf.grad.mean(1), **tight)


def two_codes(place: list[float]) -> Objective:
    """Return a smooth, coupled cost of one vector of two coordinates with two codes each."""

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        a, b = z[..., 0, 0], z[..., 0, 1]
        return 1.3 * a - 0.4 * b + 0.8 * a * b + (0.6 * a - 0.5 * b).exp()

    params = torch.tensor([place], dtype=torch.float64)
    return Objective("two codes", quantized(torch.tensor([-1.0, 1.0]), 0.5), params, cost)


def own_mean_gumbel(problem: Objective, tau: float, width: float, hard: bool) -> Tensor:
    """Two Gumbels' difference is logistic: a product trapezoid rule in the two of them.

    A step where the code changes lies at the end of a panel.
    """
    weights_of, points_of, params = [], [], problem.params[0].numpy()
    nodes, weights = np.polynomial.legendre.leggauss(24)
    for f in params:
        change = -2 * f / width**2  # logit of code 1 is 2 f / width^2
        ends = change + np.concatenate((-np.geomspace(40, 0.2, 12), [0], np.geomspace(0.2, 40, 12)))
        half, middle = np.diff(ends)[:, None] / 2, (ends[1:] + ends[:-1])[:, None] / 2
        points = (half * nodes + middle).flatten()
        points_of.append(points + 2 * f / width**2)
        weights_of.append((half * weights).flatten() * stats.logistic.pdf(points))
    a, b = np.meshgrid(*points_of, indexing="ij")
    share = np.stack([1 / (1 + np.exp(-x / tau)) for x in (a, b)], -1)
    rate = 4 * share * (1 - share) / (tau * width**2)  # Var_w(c) = 4 w (1 - w)
    z = np.where(np.stack((a, b), -1) > 0, 1.0, -1.0) if hard else 2 * share - 1
    growth = 0.6 * z[..., 0] - 0.5 * z[..., 1]
    slope = np.stack(
        (
            1.3 + 0.8 * z[..., 1] + 0.6 * np.exp(growth),
            -0.4 + 0.8 * z[..., 0] - 0.5 * np.exp(growth),
        ),
        -1,
    )
    return torch.from_numpy(np.einsum("ab,abi->i", np.outer(*weights_of), slope * rate))[None]


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(("place", "tau"), [([0.3, -0.1], 0.5), ([-0.2, 0.15], 1.0)])
def test_gumbel_vq_has_the_mean_that_quadrature_gives(place, tau, hard):
    problem = two_codes(place)
    method = build_estimator(
        "gumbel_vq", samples=2, temperature=tau, width=0.8, straight_through=hard
    )
    mean = own_mean_gumbel(problem, tau, 0.8, hard)
    assert outcome(problem, method, mean, draws=65_536) == "unbiased"
    assert outcome(problem, method, mean, SHRINK, draws=65_536) == "biased"


def test_gumbel_vq_samples_another_law_than_the_nearest_code():
    problem = objective("quantized")
    codes = problem.family.codebook
    nearest = log_masses(codes, 0.5, problem.params).exp()
    distances = (-(problem.params[..., None] - codes).square() / (2 * 0.5**2)).softmax(-1)
    assert 0.02 < float((nearest - distances).abs().max()) < 0.3


# What every estimator of quantized latents promises.


@pytest.mark.parametrize("settings", [{}, {"straight_through": True}], ids=["soft", "hard"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_direct_term_is_part_of_it(name, settings):
    def cost(z: Tensor, params: Tensor) -> Tensor:
        return z.sum((-2, -1)) * 0 + params.square().sum((-2, -1))

    params = OUTPUT
    problem = Objective("direct", quantized(CODES, 0.5), params, cost, direct=True)
    method = build_estimator(name, **(settings if name == "gumbel_vq" else {}))
    rows = method.draw(problem, params, 4, noise_of("direct"))
    torch.testing.assert_close(rows, (2 * params).expand_as(rows), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_finite_far_out_at_a_low_temperature(name, dtype):
    problem = objective("quantized")
    method = build_estimator(name, **({"temperature": 0.05} if name == "gumbel_vq" else {}))
    for place in (-20.0, 0.0, 20.0):
        params = torch.full((2, 2), place, dtype=dtype)
        rows = method.draw(problem, params, 500, noise_of("far", dtype=dtype))
        assert rows.dtype == dtype
        assert torch.isfinite(rows).all()


@pytest.mark.parametrize("name", [*ESTIMATORS, "score_function", "finite_difference", "spsa"])
def test_items_do_not_mix(name):
    """Three items, each with a cost of its own: scaling the others' leaves the first as it was."""
    params = torch.stack((OUTPUT, OUTPUT + 0.4, -OUTPUT)).float()

    def problem(others: float) -> Objective:
        scale = torch.tensor([1.0, others, others])

        def cost(z: Tensor, params: Tensor) -> Tensor:
            del params
            return scale.to(z) * (0.5 * z.sum(-1).prod(-1) + z.sum((-2, -1)).exp())

        return Objective("items", quantized(CODES, 0.5), params.double(), cost)

    method = build_estimator(name)
    quiet, loud = (
        method.draw(problem(k), params, 20, noise_of("items", dtype=torch.float32))
        for k in (1.0, 100.0)
    )
    assert quiet.shape == (20, 3, 2, 2)
    torch.testing.assert_close(quiet[:, 0], loud[:, 0])
    assert not torch.allclose(quiet[:, 1], loud[:, 1])


def test_items_have_the_exact_moments_of_each_alone():
    both = torch.stack((OUTPUT, 0.5 - OUTPUT))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return z.sum(-1).prod(-1) + (z[..., 0, 0] - z[..., 1, 1]).exp()

    family, method = quantized(CODES, 0.5), build_estimator("vq_straight_through")
    together = exact_moments(Objective("both", family, both, cost), method)
    alone = [exact_moments(Objective("one", family, params, cost), method) for params in both]
    for name in ("mean", "variance"):
        expected = np.concatenate([getattr(found, name) for found in alone])
        np.testing.assert_allclose(getattr(together, name), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vq_straight_through", {"samples": 0}, "samples >= 1"),
        ("rotation_trick", {"samples": 0}, "samples >= 1"),
        ("gumbel_vq", {"samples": 0}, "samples >= 1"),
        ("gumbel_vq", {"temperature": 0.0}, "temperature > 0"),
        ("gumbel_vq", {"width": math.nan}, "width > 0"),
        ("gumbel_vq", {"width": 1e200}, "width > 0"),
        ("gumbel_vq", {"width": 1e-200}, "width > 0"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(BadArgument, match=message) as caught:
        build_estimator(name, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-10, 1e20, 1e300, math.nan, True])
def test_a_scale_without_an_exact_gradient_is_refused_in_one_line(scale):
    with pytest.raises(BadArgument, match=r"quantized needs scale > 0.* try 0\.5") as caught:
        build_objective("quantized", scale=scale) if scale is not True else quantized(CODES, scale)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_ends_of_the_scale_have_a_finite_gradient_and_score(scale):
    problem = build_objective("quantized", scale=scale)
    assert torch.isfinite(problem.exact_gradient()).all()
    for dtype in (torch.float32, torch.float64):
        params = problem.params.to(dtype)
        rows = build_estimator("score_function").draw(problem, params, 200, Noise(7, dtype=dtype))
        assert torch.isfinite(rows).all()


@pytest.mark.parametrize("width", [1e-6, 1e6])
def test_gumbel_vq_is_finite_at_the_ends_of_its_width(width):
    problem = build_objective("quantized")
    for dtype in (torch.float32, torch.float64):
        params = problem.params.to(dtype)
        rows = gumbel_vq(width=width).draw(problem, params, 200, Noise(7, dtype=dtype))
        assert torch.isfinite(rows).all()


@pytest.mark.parametrize("settings", [{"width": True}, {"straight_through": "no"}])
def test_gumbel_vq_refuses_what_has_the_wrong_type(settings):
    with pytest.raises(BadArgument, match="gumbel_vq needs") as caught:
        gumbel_vq(**settings)
    assert "\n" not in str(caught.value)
