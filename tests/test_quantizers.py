"""STEP, SNAP and a learned codebook, of noisy inputs: their laws, objectives and straight-through.

Values and gradients are held against plain numpy sums over everything that can happen, whose
derivatives are imaginary steps (no digits lost), written with nothing of the families.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED
from panel import blocks_of, fresh_blocks
from scipy import integrate, special, stats
from torch import Tensor

from benchbed.analysis.bias import predicted_power
from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Family, Objective, check_pair
from benchbed.errors import BadArgument, BenchbedError
from benchbed.families.learned_codebook import learned_codebook
from benchbed.families.snap import log_masses, snap
from benchbed.families.step import step
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives._coupled_blocks import CoupledCost, coupled_cost
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # of one chi-square comparison
WIDTH = 0.4  # standard deviation of the noise of the families here


def wide(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


# The third: codes of the second coordinate stand in no order.
INPUTS = {
    "step": (step(WIDTH), wide(0.3, -0.5, 0.1)),
    "snap": (snap(WIDTH), wide(0.3, -0.2, 0.5, -0.9, 0.1, 0.2).reshape(2, 3)),
    "learned_codebook": (
        learned_codebook(2, 2, 3, WIDTH),
        wide(0.3, -0.2, -0.9, 0.5, -1.0, 0.1, 1.2, 0.9, -0.4, 0.3),
    ),
}
EVERY = pytest.mark.parametrize("name", INPUTS)


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(67, "quantizers", *path, dtype=dtype)


def every_state(family: Family, params: Tensor) -> Tensor:
    return family.enumerate(params, torch.arange(family.states(params)))


# Laws, in numpy; f may be complex, for derivatives by an imaginary step.


def step_masses(f: np.ndarray, width: float) -> np.ndarray:
    """Return P(0), P(1) of every bit, [d, 2]."""
    return np.stack((special.ndtr(-f / width), special.ndtr(f / width)), -1)


def snap_masses(f: np.ndarray, width: float) -> np.ndarray:
    """Integrate over the winner's own noise on a plain grid, [d, K]."""
    u = np.linspace(-12, 12, 1201)
    found = np.ones(f.shape, dtype=f.dtype)
    for i, k in itertools.product(*map(range, f.shape)):
        integrand = np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi)
        for j in range(f.shape[1]):
            if j != k:
                integrand = integrand * special.ndtr((f[i, k] - f[i, j]) / width + u)
        found[i, k] = integrand.sum() * (u[1] - u[0])
    return found


def code_masses(f: np.ndarray, codes: np.ndarray, width: float) -> np.ndarray:
    """Return P of every code, f [d, D], codes [D, K]: Phi between the middles, [d, D, K]."""
    found = np.zeros((*f.shape, codes.shape[1]), dtype=np.result_type(f, codes))
    for i, j in itertools.product(*map(range, f.shape)):
        order = np.argsort(codes[j].real)
        ordered = codes[j][order]
        below = special.ndtr(((ordered[1:] + ordered[:-1]) / 2 - f[i, j]) / width)
        found[i, j, order] = np.diff(np.concatenate(([0], below, [1])))
    return found


def masses_of(name: str, params: np.ndarray, width: float = WIDTH) -> np.ndarray:
    """Return the chance of every value of every variable, [variables, values]."""
    if name == "step":
        return step_masses(params, width)
    if name == "snap":
        return snap_masses(params, width)
    return code_masses(params[:4].reshape(2, 2), params[4:].reshape(2, 3), width).reshape(4, 3)


def values_of(name: str, z: Tensor) -> np.ndarray:
    """Return which value every variable has, [n, variables]."""
    return (z.argmax(-1) if name == "snap" else z.flatten(1)).long().numpy()


def slopes_of(value: Callable[[np.ndarray], complex], params: np.ndarray) -> np.ndarray:
    """Differentiate by an imaginary step."""
    found = np.zeros(params.shape)
    for index in itertools.product(*map(range, params.shape)):
        moved = params.astype(complex)
        moved[index] += 1e-20j
        found[index] = value(moved).imag / 1e-20
    return found


@EVERY
def test_log_prob_is_the_mass_of_each_cell(name):
    family, params = INPUTS[name]
    z = every_state(family, params)
    assert len(z.unique(dim=0)) == family.states(params)
    masses = masses_of(name, params.numpy())
    np.testing.assert_allclose(masses.sum(-1), 1, rtol=1e-12)
    expected = np.take_along_axis(masses[None], values_of(name, z)[..., None], 2)[..., 0].prod(1)
    found = family.log_prob(params, z).exp().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    mean = torch.einsum("n,n...->...", torch.from_numpy(expected), z)
    torch.testing.assert_close(family.mean(params), mean, rtol=1e-12, atol=1e-14)


@EVERY
def test_the_score_is_the_derivative_of_log_prob_and_has_mean_zero(name):
    family, params = INPUTS[name]
    z = every_state(family, params)
    score = family.score(params, z[:, None])[:, 0]
    leaf = params.clone().requires_grad_()
    log_prob = family.log_prob(leaf, z)
    for n in range(len(z)):
        (slope,) = torch.autograd.grad(log_prob[n], leaf, retain_graph=True)
        torch.testing.assert_close(score[n], slope, rtol=1e-11, atol=1e-12)
    mean = torch.einsum("n,n...->...", log_prob.detach().exp(), score)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-13)
    by_numpy = slopes_of(
        lambda p: np.log(
            np.take_along_axis(masses_of(name, p), values_of(name, z[7:8]).T, 1)
        ).sum(),
        params.numpy(),
    )
    np.testing.assert_allclose(score[7].numpy(), by_numpy, rtol=1e-10, atol=1e-12)


@EVERY
def test_samples_follow_log_prob_and_a_shift_is_seen(name):
    family, params = INPUTS[name]
    draws, states = 40_000, every_state(family, params)
    expected = draws * family.log_prob(params, states).exp()

    def p_value(at: Tensor) -> float:
        z = family.sample(at, draws, 1, noise_of("law", name))[:, 0]
        same = (z[:, None] == states).flatten(2).all(-1)
        assert (same.sum(1) == 1).all()
        counts = same.sum(0).double()
        kept = expected > 5
        pair = [x[kept].numpy() for x in (counts, expected)]
        if not kept.all():
            rest = (x[~kept].sum().item() for x in (counts, expected))
            pair = [np.append(x, r) for x, r in zip(pair, rest, strict=True)]
        return float(stats.chisquare(*pair).pvalue)

    assert p_value(params) > FALSE_ALARM
    wrong = params.clone()
    wrong.view(-1)[-1] += 0.1
    assert p_value(wrong) < FALSE_ALARM / 10


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_path_is_the_sample_and_its_jacobian_is_1(name, dtype):
    family, params = INPUTS[name][0], INPUTS[name][1].to(dtype)
    z = family.sample(params, 50, 3, noise_of("path", dtype=dtype))
    path = family.path(params, 50, 3, 1.0, noise_of("path", dtype=dtype))
    assert z.dtype == path.soft.dtype == dtype
    assert torch.equal(z, path.hard)
    slope = noise_of("slope", dtype=dtype).normal(*z.shape)
    pulled = path.vjp(slope)
    assert pulled.shape == (50, 3, *params.shape)
    if name == "learned_codebook":
        assert torch.equal(pulled[..., :4], slope.flatten(2))
        assert (pulled[..., 4:] == 0).all()
        eps = noise_of("path", dtype=dtype).normal(50, 3, 4).reshape(50, 3, 2, 2)
        x = params[:4].reshape(2, 2) + WIDTH * eps
        distance = (x[..., None] - params[4:].reshape(2, 3)).abs()
        assert torch.equal(z, distance.argmin(-1).to(dtype))
        return
    assert torch.equal(pulled, slope)
    eps = noise_of("path", dtype=dtype).normal(50, 3, *params.shape)
    torch.testing.assert_close(path.soft, params + WIDTH * eps)
    if name == "snap":
        assert torch.equal(z.argmax(-1), path.soft.argmax(-1))
        assert (z.sum(-1) == 1).all()
    else:
        assert torch.equal(z, (path.soft > 0).to(dtype))


@EVERY
def test_params_may_have_axes_of_draws_and_samples_and_items(name):
    family, params = INPUTS[name]
    moved = params + 0.3 * noise_of("moved").normal(4, 2, *params.shape)
    u = noise_of("uniforms").uniform(4, 2, *family.uniforms(params))
    z = family.quantile(moved, u)
    log_prob, score = family.log_prob(moved, z), family.score(moved, z)
    several = moved[0].contiguous()  # two items
    of_items = family.quantile(several, u[:, None])
    item_log_prob, item_score = family.log_prob(several, of_items), family.score(several, of_items)
    for n, k in itertools.product(range(4), range(2)):
        alone = family.quantile(moved[n, k], u[n : n + 1, k : k + 1])
        assert torch.equal(z[n, k], alone[0, 0])
        torch.testing.assert_close(log_prob[n, k], family.log_prob(moved[n, k], alone)[0, 0])
        torch.testing.assert_close(score[n, k], family.score(moved[n, k], alone)[0, 0])
        item = of_items[n : n + 1, :, k]
        assert torch.equal(item, family.quantile(several[k], u[n : n + 1, k : k + 1]))
        torch.testing.assert_close(item_log_prob[n, 0, k], family.log_prob(several[k], item)[0, 0])
        torch.testing.assert_close(item_score[n, 0, k], family.score(several[k], item)[0, 0])


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1e-6, 0.05, 1e6])
def test_finite_far_out_and_at_the_ends_of_the_scale(name, dtype, width):
    made = {"step": step, "snap": snap}.get(name, lambda w: learned_codebook(2, 2, 3, w))
    family, params = made(width), INPUTS[name][1].clone()
    for place in (0.0, 20.0):
        params.view(-1)[:2] += place
        at = params.to(dtype)
        z = every_state(family, at)[:, None]
        leaf = at.clone().requires_grad_()
        log_prob = family.log_prob(leaf, z)
        (slope,) = torch.autograd.grad(log_prob.sum(), leaf)
        for found in (log_prob, slope, family.score(at, z), family.mean(at)):
            assert found.dtype == dtype
            assert torch.isfinite(found).all()


# SNAP's integral.


@pytest.mark.parametrize("gap", [0.0, 0.3, -2.0, 9.0, -40.0])
def test_snap_of_two_is_a_probit_of_the_difference(gap):
    params = wide(gap, 0.0).reshape(1, 2)
    at = gap / (WIDTH * math.sqrt(2))
    expected = special.log_ndtr(np.array([at, -at]))
    found = log_masses(WIDTH, params)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    rate = math.sqrt(2 / math.pi) / special.erfcx(-at / math.sqrt(2)) / (WIDTH * math.sqrt(2))
    score = snap(WIDTH).score(params, wide(1.0, 0.0).reshape(1, 1, 1, 2))[0, 0, 0]
    np.testing.assert_allclose(score.numpy(), [rate, -rate], rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize(("categories", "spread"), [(3, 0.5), (5, 0.3), (10, 1.0), (30, 0.2)])
def test_snaps_masses_by_gauss_hermite_and_by_adaptive_quadrature(categories, spread):
    """Other rules, other code: within 1e-12 of P where Gauss-Hermite has its digits."""
    f = spread * noise_of("masses", categories).normal(1, categories).numpy()
    found = log_masses(WIDTH, torch.from_numpy(f))[0].exp().numpy()
    assert abs(found.sum() - 1) < 1e-12
    nodes, weights = np.polynomial.hermite_e.hermegauss(160)
    for k in range(categories):
        a = (f[0, k] - np.delete(f[0], k)) / WIDTH
        product = special.log_ndtr(a[:, None] + nodes).sum(0)
        gauss = float(np.exp(product) @ weights) / math.sqrt(2 * math.pi)

        def integrand(u: float, a: np.ndarray = a) -> float:
            exponent = -u * u / 2 + special.log_ndtr(a + u).sum()
            return math.exp(exponent) / math.sqrt(2 * math.pi)

        pieces = itertools.pairwise([-9, -3, 0, 1, 2, 3, 4, 6, 12])
        adaptive = math.fsum(
            integrate.quad(integrand, *ends, epsabs=0, epsrel=1e-13)[0] for ends in pieces
        )
        assert found[k] == pytest.approx(adaptive, rel=1e-12, abs=1e-15)
        assert found[k] == pytest.approx(gauss, rel=1e-9, abs=1e-12)


def test_snaps_tails_keep_their_digits():
    """Far out P(k) is integrated around its own mode: log P = -5,295 here, to 12 digits."""
    f = np.array([1.2, 0.4, -1.0])
    found = log_masses(0.02, torch.from_numpy(f)[None])[0].numpy()
    a = (f[2] - f[:2]) / 0.02

    def exponent(u: float) -> float:
        return -u * u / 2 + float(special.log_ndtr(a + u).sum())

    grid = np.linspace(0, 120, 240_001)
    top = max(map(exponent, grid[::100]))
    values = np.exp(-(grid**2) / 2 + special.log_ndtr(a[:, None] + grid).sum(0) - top)
    expected = top + math.log(values.sum() * grid[1] / math.sqrt(2 * math.pi))
    assert expected < -1000
    assert found[2] == pytest.approx(expected, rel=1e-13, abs=1e-10)


def test_a_coarse_rule_is_seen(monkeypatch):
    params = INPUTS["snap"][1]
    fine = log_masses(WIDTH, params)
    monkeypatch.setattr("benchbed.families.snap.SHARPEST", 2.0)
    assert (log_masses(WIDTH, params) - fine).abs().max() > 1e-9


def test_the_jacobian_of_the_threshold_mean():
    family, params = INPUTS["step"]
    slope = wide(0.7, -1.2, 2.0)
    leaf = params.clone().requires_grad_()
    (expected,) = torch.autograd.grad(
        (torch.erfc(-leaf / (WIDTH * math.sqrt(2))) / 2 * slope).sum(), leaf
    )
    found = family.mean_vjp(family.mean(params), slope)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


# Objectives: value and gradient by numpy sums over everything.


def numpy_task(task: CoupledCost) -> Callable[[np.ndarray], complex]:
    a, form, e = (x.numpy() for x in task)
    return lambda u: a @ u + u @ form @ u + np.exp(e @ u)


CASES = [
    ("step", {"dimensions": 3}),
    ("step", {"dimensions": 4, "scale": 0.3, "seed": 2}),
    ("snap", {"dimensions": 2, "categories": 3}),
    ("snap", {"dimensions": 1, "categories": 5, "scale": 0.3, "seed": 1}),
    ("vector_quantized", {}),
    ("vector_quantized", {"task_codes": "frozen", "commitment": 0.7, "seed": 3}),
    ("vector_quantized", {"dimensions": 3, "coordinates": 1, "codes": 4, "scale": 0.8}),
]


def by_hand(
    name: str, settings: dict[str, object], fault: str = ""
) -> Callable[[np.ndarray], complex]:
    """Return E[J] of numpy params by a sum over all values of all variables."""
    problem, width = build_objective(name, **settings), settings.get("scale", 0.5)
    root = Noise(settings.get("seed", 0), name, dtype=torch.float64)
    point = problem.params.numpy()
    if name != "vector_quantized":
        task = numpy_task(coupled_cost(point.size, root.child("cost")))
        masses_at = step_masses if name == "step" else snap_masses

        def value(params: np.ndarray) -> complex:
            masses = masses_at(params, width**2 if fault == "variance" else width)
            variables, count = masses.shape
            found = 0j
            for v in itertools.product(range(count), repeat=variables):
                z = np.array(v) if name == "step" else np.eye(count)[list(v)].flatten()
                found += np.prod(masses[np.arange(variables), list(v)]) * task(z)
            return found

        return value
    d, size = settings.get("dimensions", 2), settings.get("coordinates", 2)
    weight = settings.get("commitment", 0.25)
    task = numpy_task(coupled_cost(d * size, root.child("task")))
    f0, c0 = point[: d * size].reshape(d, size), point[d * size :].reshape(size, -1)

    def value_with_codes(params: np.ndarray) -> complex:
        f, codes = params[: d * size].reshape(d, size), params[d * size :].reshape(size, -1)
        masses = code_masses(f, c0 if fault == "still boundaries" else codes, width)
        found = 0j
        for v in itertools.product(range(codes.shape[1]), repeat=d * size):
            chosen = np.zeros((d, size), dtype=complex)
            frozen, chance = np.zeros((d, size)), 1.0 + 0j
            for (i, j), k in zip(itertools.product(range(d), range(size)), v, strict=True):
                chosen[i, j], frozen[i, j] = codes[j, k], c0[j, k]
                chance = chance * masses[i, j, k]
            read = frozen if settings.get("task_codes") == "frozen" else chosen
            codebook = ((f if fault == "no stop" else f0) - chosen) ** 2
            commitment = 0 if fault == "no commitment" else weight * (f - frozen) ** 2
            found += chance * (task(read.flatten()) + (codebook + commitment).sum())
        return found

    return value_with_codes


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_value_and_gradient_by_hand(name, settings):
    problem, value = build_objective(name, **settings), by_hand(name, settings)
    step_off = 0.2 * noise_of("off").normal(*problem.params.shape)
    for params in (problem.params, problem.params + step_off):
        expected = value(params.numpy()).real
        assert float(problem.exact_value(params)) == pytest.approx(float(expected), rel=1e-11)
        slopes = slopes_of(value, params.numpy())
        np.testing.assert_allclose(
            problem.exact_gradient(params).numpy(), slopes, rtol=1e-9, atol=1e-10
        )


@pytest.mark.parametrize(
    ("name", "settings", "fault"),
    [
        ("step", CASES[0][1], "variance"),
        ("snap", CASES[2][1], "variance"),
        ("vector_quantized", {}, "still boundaries"),
        ("vector_quantized", {}, "no stop"),
        ("vector_quantized", {}, "no commitment"),
    ],
)
def test_the_comparison_above_sees_a_fault(name, settings, fault):
    problem, value = build_objective(name, **settings), by_hand(name, settings, fault)
    slopes = slopes_of(value, problem.params.numpy())
    gap = np.abs(problem.exact_gradient().numpy() - slopes).max() / np.abs(slopes).max()
    assert gap > 0.01


@pytest.mark.parametrize("name", ["step", "snap"])
def test_without_noise_the_gradient_is_0_almost_everywhere(name):
    quiet, noisy = (
        float(build_objective(name, scale=scale).exact_gradient().norm()) for scale in (1e-3, 0.5)
    )
    assert quiet < 1e-12 < 0.1 < noisy


def test_the_gradient_of_snap_sums_to_0_over_the_categories_and_straight_through_does_not():
    problem = build_objective("snap", dimensions=2, categories=3)
    assert problem.exact_gradient().sum(-1).abs().max() < 1e-14
    found = exact_moments(problem, build_estimator("vq_straight_through")).mean.reshape(2, 3)
    assert abs(found.sum(-1)).min() > 0.1


# Estimators.

SMALL = [("step", {"dimensions": 3}), ("snap", {"dimensions": 2, "categories": 3})]
SMALL += [("vector_quantized", {}), ("vector_quantized", {"task_codes": "frozen", "seed": 2})]


@pytest.mark.parametrize(("name", "settings"), SMALL)
@pytest.mark.parametrize("which", ["score_function", "leave_one_out", "unordered_set"])
def test_score_estimators_are_unbiased_exactly(name, settings, which):
    problem = build_objective(name, **settings)
    found = exact_moments(problem, build_estimator(which, samples=2))
    assert found is not None
    truth = problem.exact_gradient().flatten().numpy()
    np.testing.assert_allclose(found.mean, truth, rtol=1e-9, atol=1e-11)


def test_a_law_that_forgets_the_boundaries_is_caught():
    """The score in the codes left out, as if the codebook were beside the law."""
    problem = build_objective("vector_quantized")
    right = problem.family.score

    def forgetful(params: Tensor, z: Tensor) -> Tensor:
        found = right(params, z).clone()
        found[..., 4:] = 0
        return found

    wrong = replace(problem, family=replace(problem.family, score=forgetful))
    found = exact_moments(wrong, build_estimator("score_function")).mean
    gap = np.abs(found - problem.exact_gradient().numpy())
    assert gap[:4].max() < 1e-10
    assert gap[4:].max() > 0.1


def outcome(problem: Objective, method, mean: Tensor, shrink: float = 0.0) -> str:
    """Run the bias test of one cell against ``mean``."""
    problem = replace(problem, gradient=lambda _: mean)
    if shrink:
        plain = method.draw
        method = replace(method, draw=lambda *given: (1 - shrink) * plain(*given))
    blocks = blocks_of(problem, method, 32_768, SEED)
    if shrink:
        assert predicted_power(blocks, SHRINK, 0.1) >= 0.99
    found = judge({"cell": blocks}, lambda _: fresh_blocks(problem, method, 32_768, SEED))
    return found["cell"].outcome


@pytest.mark.parametrize(("name", "settings"), SMALL[:3])
def test_draws_agree_with_the_exact_means(name, settings):
    problem = build_objective(name, **settings)
    unbiased = build_estimator("leave_one_out", samples=4)
    assert outcome(problem, unbiased, problem.exact_gradient()) == "unbiased"
    assert outcome(problem, unbiased, problem.exact_gradient(), SHRINK) == "biased"
    straight = build_estimator("vq_straight_through")
    mean = torch.from_numpy(exact_moments(problem, straight).mean).reshape(problem.params.shape)
    assert outcome(problem, straight, mean) == "unbiased"
    assert outcome(problem, straight, problem.exact_gradient()) == "biased"


@pytest.mark.parametrize("samples", [1, 3])
def test_straight_through_is_the_published_update_to_the_letter(samples):
    """The loss as printed, with detach for sg and z_q = f + sg(C_z - f), by torch's autograd."""
    problem, draws = build_objective("vector_quantized", task_codes="frozen"), 40
    rows = build_estimator("vq_straight_through", samples=samples).draw(
        problem, problem.params, draws, noise_of("published")
    )
    task = coupled_cost(4, Noise(0, "vector_quantized", dtype=torch.float64).child("task"))
    eps = noise_of("published").normal(draws, samples, 4).reshape(draws, samples, 2, 2)
    leaf = problem.params.expand(draws, samples, 10).clone().requires_grad_()
    f, codes = leaf[..., :4].unflatten(-1, (2, 2)), leaf[..., 4:].unflatten(-1, (2, 3))
    x = (f + 0.5 * eps).detach()
    number = (x[..., None] - codes[..., None, :, :]).abs().argmin(-1, keepdim=True)
    each = codes[..., None, :, :].expand(draws, samples, 2, 2, 3)
    chosen = each.gather(-1, number)[..., 0]
    quantized = f + (chosen - f).detach()
    loss = task.at(quantized.flatten(-2)).sum()
    loss = loss + (f.detach() - chosen).square().sum()
    loss = loss + 0.25 * (f - chosen.detach()).square().sum()
    loss.backward()
    torch.testing.assert_close(rows, leaf.grad.mean(1), rtol=1e-11, atol=1e-12)


def test_two_items_with_a_codebook_each_have_the_moments_of_each_alone():
    family, params = INPUTS["learned_codebook"]
    both = torch.stack((params, params + 0.3 * noise_of("items").normal(10)))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return z.sum(-1).prod(-1) + (z * params[..., :4].unflatten(-1, (2, 2))).sum((-2, -1)).sin()

    method = build_estimator("vq_straight_through")
    together, *alone = (
        exact_moments(Objective("items", family, at, cost, direct=True), method)
        for at in (both, *both)
    )
    for name in ("mean", "variance"):
        expected = np.concatenate([getattr(found, name) for found in alone])
        np.testing.assert_allclose(getattr(together, name), expected, rtol=1e-12, atol=1e-14)


def test_with_learned_codes_the_task_trains_them_too():
    """Sample by sample the rows differ by the task's slope at the code, and at the codes only."""
    learned, frozen = (
        build_objective("vector_quantized", task_codes=kind) for kind in ("learned", "frozen")
    )
    method, draws = build_estimator("vq_straight_through"), 30
    one, two = (
        method.draw(problem, problem.params, draws, noise_of("codes"))
        for problem in (learned, frozen)
    )
    z = learned.family.sample(learned.params, draws, 1, noise_of("codes"))
    slope = learned.evaluate(z, learned.params, slope=True).slope[:, 0]
    hot = torch.nn.functional.one_hot(z[:, 0].long(), 3).to(slope)
    moved = torch.einsum("nij,nijk->njk", slope, hot).flatten(1)
    torch.testing.assert_close(one[:, 4:] - two[:, 4:], moved, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(one[:, :4], two[:, :4], rtol=1e-12, atol=0)


def test_straight_through_by_the_threshold_mean_is_exact_for_a_multilinear_cost():
    """And not for one with squares: there only the slopes at 0 and 1 are known."""
    family, params = INPUTS["step"]
    form = wide(0, 0.4, -0.7, 0.4, 0, 1.1, -0.7, 1.1, 0).reshape(3, 3)
    for diagonal, exact in ((0.0, True), (0.8, False)):
        q = form + diagonal * torch.eye(3, dtype=torch.float64)

        def cost(z: Tensor, params: Tensor, q: Tensor = q) -> Tensor:
            del params
            return ((z @ q.to(z)) * z).sum(-1)

        problem = Objective("pairs", family, params, cost)
        found = exact_moments(problem, build_estimator("straight_through")).mean
        gap = np.abs(found - problem.exact_gradient().numpy()).max()
        assert (gap < 1e-12) == exact
        crude = exact_moments(problem, build_estimator("vq_straight_through")).mean
        assert np.abs(crude - problem.exact_gradient().numpy()).max() > 0.1


def test_rotating_from_a_noisy_input_to_its_unit_vector():
    """Row by row with a rotation matrix: in the plane of x and e_k, |e_k| / |x| times R^T."""
    problem = build_objective("snap", dimensions=2, categories=3)
    rows = build_estimator("rotation_trick").draw(problem, problem.params, 40, noise_of("turn"))
    x = (problem.params + 0.5 * noise_of("turn").normal(40, 1, 2, 3)[:, 0]).numpy()
    hard = torch.nn.functional.one_hot(torch.from_numpy(x).argmax(-1), 3).double()
    slope = problem.evaluate(hard[:, None], problem.params, slope=True).slope[:, 0].numpy()
    for n, i in itertools.product(range(40), range(2)):
        start, code = x[n, i] / np.linalg.norm(x[n, i]), hard[n, i].numpy()
        cosine = start @ code
        across = np.outer(code, start) - np.outer(start, code)  # turns start towards code
        turn = np.eye(3) + across + across @ across / (1 + cosine)
        np.testing.assert_allclose(turn @ start, code, atol=1e-12)
        expected = turn.T @ slope[n, i] / np.linalg.norm(x[n, i])
        np.testing.assert_allclose(rows[n, i].numpy(), expected, rtol=1e-9, atol=1e-11)


# Errors.


def test_a_whole_number_too_large_for_int64_is_a_number_all_the_same():
    problem = build_objective("vector_quantized", commitment=10**30)
    assert torch.isfinite(problem.exact_gradient()).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("step", {"dimensions": 0}, "dimensions >= 1"),
        ("step", {"seed": -1}, "seed >= 0"),
        ("snap", {"categories": 1}, "categories >= 2"),
        ("vector_quantized", {"codes": 1}, "codes >= 2"),
        ("vector_quantized", {"coordinates": 0}, "coordinates >= 1"),
        ("step", {"dimensions": 10**6}, "use 4,472 dimensions or fewer"),
        ("snap", {"categories": 10**5}, "284,667,153,300,000 numbers.*fewer categories"),
        ("snap", {"categories": 1000}, "use fewer categories or dimensions"),
        ("snap", {"dimensions": 10**5}, "use fewer categories or dimensions"),
        ("vector_quantized", {"codes": 10**5}, "use fewer codes, coordinates or dimensions"),
        ("vector_quantized", {"dimensions": 10**5}, "fewer codes, coordinates or dimensions"),
        ("vector_quantized", {"commitment": -0.1}, "commitment >= 0"),
        ("vector_quantized", {"commitment": math.inf}, "finite number"),
        ("vector_quantized", {"task_codes": "trained"}, "learned or frozen"),
        *(
            (name, {"scale": scale}, name + r" needs scale > 0, from 1e-06 to 1e\+06.* try 0\.5")
            for name in ("step", "snap", "vector_quantized")
            for scale in (0.0, -1.0, 1e7, math.nan)
        ),
    ],
)
def test_bad_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(BadArgument, match=message) as caught:
        build_objective(name, **settings)
    assert "\n" not in str(caught.value)
    assert "cannot be built" not in str(caught.value)  # as after a MemoryError


@pytest.mark.parametrize("scale", [True, "wide"])
@pytest.mark.parametrize("family", [step, snap, lambda s: learned_codebook(1, 1, 2, s)])
def test_a_scale_that_is_no_number_is_refused(family, scale):
    with pytest.raises(BadArgument, match="needs scale > 0"):
        family(scale)


@pytest.mark.parametrize(
    ("name", "which", "said"),
    [
        ("snap", "straight_through", "not snap"),
        ("snap", "muprop", "mean of z, which snap latents do not offer"),
        ("vector_quantized", "rotation_trick", "quantized and snap latents, not learned_codebook"),
        ("vector_quantized", "reparameterization", "no derivative in its parameters"),
    ],
)
def test_what_does_not_fit_is_refused(name, which, said):
    with pytest.raises(BenchbedError, match=said):
        check_pair(build_objective(name), build_estimator(which))
