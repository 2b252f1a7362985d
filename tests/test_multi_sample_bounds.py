"""Multi-sample bounds by multisets, and the linear Gaussian toy of signal against noise."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from bias_cases import SEED, shrunk
from numpy.polynomial.hermite_e import hermegauss
from panel import blocks_of, fresh_blocks
from scipy.special import roots_genlaguerre

from benchbed.analysis.intervals import Interval
from benchbed.analysis.slope import EXACT, MEASURED, log_log_slope, signal_to_noise
from benchbed.analysis.summary import summarize
from benchbed.analysis.verdict import judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import BadArgument, IncompatiblePair
from benchbed.families.normal_mean import normal_mean
from benchbed.families.particles import particles
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives import _multisets
from benchbed.objectives import iwae as iwae_file
from benchbed.objectives import rainforth as rainforth_file
from benchbed.objectives._log_mean_exp import expected_log_mean
from benchbed.objectives._multisets import counts_of, expected_over_multisets, few_multisets
from benchbed.objectives._noncentral import _law_of_radius, expected_log_mean_at_distance
from benchbed.objectives._points import gradient_of
from benchbed.objectives.rainforth import model_of
from benchbed.report.figures import signal_to_noise as figure_file
from benchbed.report.figures.style import Look
from benchbed.rng import Noise

PARTICLES = range(1, 17)
FALSE_ALARM = 1e-4
FEWEST = 32_768  # draws of a bias test's screen


def iwae(**settings: Any) -> Objective:
    return build_objective("iwae", **({"dimensions": 2, "distance": 2.0} | settings))


def rainforth(**settings: Any) -> Objective:
    return build_objective("rainforth", **settings)


def noise(*path: str | int) -> Noise:
    return Noise(7, "bounds", *path, dtype=torch.float64)


def relative(found: Any, wanted: Any) -> float:
    found, wanted = (torch.as_tensor(x).detach().flatten().double() for x in (found, wanted))
    return float((found - wanted).norm() / wanted.norm())


# Multisets


@pytest.mark.parametrize(("values", "count"), [(1, 3), (3, 4), (4, 1), (2, 6)])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_every_multiset_is_listed_once(values, count, chunk):
    parts = list(counts_of(values, count, chunk))
    assert all(len(part) <= chunk for part in parts)
    found = [tuple(row) for row in torch.cat(parts).tolist()]
    every = [n for n in itertools.product(range(count + 1), repeat=values) if sum(n) == count]
    assert sorted(found) == sorted(every)
    assert len(found) == math.comb(count + values - 1, count)


def bits_by_hand(problem: Objective, count: int, *, multiplicity: bool = True):
    """Return L_K on 2 bits and its gradient in q's logits, by multisets and complex steps."""
    bits = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
    joint = problem.log_joint(torch.from_numpy(bits)[None, None])[0, 0].exp().numpy()

    def value(logits):
        p = 1 / (1 + np.exp(-logits))
        q = np.where(bits == 1, p, 1 - p).prod(1)
        total = 0.0
        for chosen in itertools.combinations_with_replacement(range(4), count):
            often = [chosen.count(state) for state in range(4)]
            tuples = math.factorial(count) // math.prod(map(math.factorial, often))
            term = np.log(sum(n * w for n, w in zip(often, joint / q, strict=True)) / count)
            total += (tuples if multiplicity else 1) * math.prod(q**often) * term
        return total

    logits = problem.params.numpy()
    slopes = [value(logits + 1e-30j * np.eye(2)[i]).imag / 1e-30 for i in range(2)]
    return float(value(logits)), np.array(slopes)


def by_the_integral(problem: Objective, monkeypatch: pytest.MonkeyPatch):
    """Return value and gradient with multisets switched off."""
    with monkeypatch.context() as patch:
        patch.setattr(iwae_file, "few_multisets", lambda *_: False)
        return problem.exact_value(), problem.exact_gradient()


def test_two_bits_and_up_to_sixteen_particles_three_ways(monkeypatch):
    bounds = []
    for count in PARTICLES:
        problem = iwae(particles=count)
        assert few_multisets(4, count)
        value, gradient = problem.exact_value(), problem.exact_gradient()
        listed, slopes = bits_by_hand(problem, count)
        whole, integral = by_the_integral(problem, monkeypatch)
        assert float(value) == pytest.approx(listed, rel=1e-12)
        assert float(value) == pytest.approx(float(whole), rel=1e-12)
        assert relative(gradient, slopes) < 1e-9
        assert relative(gradient, integral) < 1e-9
        bounds.append(float(value))
    assert all(low < high for low, high in itertools.pairwise(bounds))
    bits = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)), dtype=torch.float64)
    joint = iwae(particles=1).log_joint(bits[None, None])[0, 0]
    assert bounds[-1] < float(joint.logsumexp(0))
    p = iwae(particles=1).params.sigmoid()
    q = torch.where(bits == 1, p, 1 - p).prod(1)
    assert bounds[0] == pytest.approx(float((q * (joint - q.log())).sum()), rel=1e-13)


def test_multisets_without_their_multiplicity_are_caught():
    problem = iwae(particles=3)
    wrong, slopes = bits_by_hand(problem, 3, multiplicity=False)
    assert abs(wrong / float(problem.exact_value()) - 1) > 0.01
    assert relative(problem.exact_gradient(), slopes) > 0.01


def test_chunks_and_items_change_nothing(monkeypatch):
    law = noise("law").normal(3, 4).softmax(-1).contiguous()
    log_weight = (3 * noise("weights").normal(3, 4) - 500).contiguous()
    whole = expected_over_multisets(law, log_weight, 6)
    monkeypatch.setattr(_multisets, "CHUNK", 5)
    torch.testing.assert_close(expected_over_multisets(law, log_weight, 6), whole)
    alone = [expected_over_multisets(law[i : i + 1], log_weight[i : i + 1], 6) for i in range(3)]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=1e-14, atol=0)
    pairs = zip(law, log_weight, strict=True)
    integral = torch.stack([expected_log_mean(*pair, 6) for pair in pairs])
    torch.testing.assert_close(whole, integral, rtol=1e-13, atol=0)


def test_a_value_that_never_comes_up_spoils_nothing():
    law = torch.tensor([[0.4, 0.6, 0.0]], dtype=torch.float64, requires_grad=True)
    log_weight = torch.tensor([[0.3, -1.0, 800.0]], dtype=torch.float64)
    found = expected_over_multisets(law, log_weight, 4)
    pair = expected_over_multisets(law[:, :2].detach(), log_weight[:, :2], 4)
    torch.testing.assert_close(found.detach(), pair)
    assert torch.isfinite(torch.autograd.grad(found.sum(), law)[0]).all()


def test_the_integral_takes_over_where_multisets_are_many(monkeypatch):
    """64 particles of 3 bits are 1.3 billion multisets."""
    assert not few_multisets(8, 64)
    assert few_multisets(8, 5)

    def refuse(*_):
        raise AssertionError("multisets were listed")

    monkeypatch.setattr(iwae_file, "expected_over_multisets", refuse)
    assert math.isfinite(float(iwae(dimensions=3, particles=64).exact_value()))
    with pytest.raises(AssertionError):
        iwae(dimensions=3, particles=5).exact_value()


# Estimators on 2 bits

FINITE = [
    ("score_function", {}, (1, 2, 5)),
    ("leave_one_out", {"samples": 2}, (1, 2, 3)),
    ("unordered_set", {"samples": 2}, (1, 2)),
    ("vimco", {}, (2, 3, 5)),
    ("vimco", {"mean": "geometric"}, (2, 3, 5)),
    ("ovis", {"auxiliary": 2}, (1, 2, 3)),
    ("ovis", {"kind": "asymptotic", "gamma": 0.0}, (2, 3, 5)),
]


@pytest.mark.parametrize(("name", "settings", "counts"), FINITE, ids=str)
def test_the_mean_on_two_bits_is_the_gradient(name, settings, counts):
    for count in counts:
        problem = iwae(particles=count)
        found = exact_moments(problem, build_estimator(name, **settings))
        assert found is not None
        assert relative(found.mean, problem.exact_gradient()) < 1e-9


def judged(cells: dict[str, tuple[Objective, Estimator]], draws: int) -> dict[str, str]:
    blocks = {name: blocks_of(*cell, draws, SEED) for name, cell in cells.items()}
    found = judge(blocks, lambda name: fresh_blocks(*cells[name], draws, SEED))
    for name, verdict in found.items():
        print(f"{name}: {verdict.one_line()}")
    return {name: verdict.outcome for name, verdict in found.items()}


def without_direct_term() -> Estimator:
    """Return VIMCO of a q that does not hold the parameters: what wake-sleep has is left out."""
    vimco, wake = (build_estimator(name) for name in ("vimco", "reweighted_wake_sleep"))

    def draw(problem, params, draws, stream):
        path = (*stream.path, "same", stream.drawn)
        stream.drawn += 1  # the next chunk has another stream
        again, copy = (Noise(stream.seed, *path, dtype=stream.dtype) for _ in range(2))
        return vimco.draw(problem, params, draws, again) + wake.draw(problem, params, draws, copy)

    return replace(vimco, draw=draw)


def test_sixteen_particles_of_two_bits_by_the_bias_test():
    problem = iwae(particles=16)
    cells = {
        f"{name} {options}": (problem, build_estimator(name, **options))
        for name, options in (
            ("vimco", {}),
            ("vimco", {"mean": "geometric"}),
            ("ovis", {"kind": "asymptotic", "gamma": 0.0}),
            ("ovis", {"auxiliary": 2}),
        )
    }
    assert set(judged(cells, 12 * FEWEST).values()) == {"unbiased"}


def test_faults_at_sixteen_particles_are_caught():
    problem = iwae(particles=16)
    cells = {
        "no direct term": (problem, without_direct_term()),
        "gamma 1": (problem, build_estimator("ovis", kind="asymptotic", gamma=1.0)),
        "2 %, the best seen": (problem, shrunk(build_estimator("ovis", auxiliary=2), 0.02)),
    }
    assert set(judged(cells, FEWEST // 2).values()) == {"biased"}


# The normal law of known scale


@pytest.mark.parametrize("axes", [1, 2])
def test_the_normal_law_of_known_scale(axes):
    law, scale = normal_mean(0.7, axes), 0.7
    params = noise("means").normal(3, *(2,) * axes).contiguous()
    z = law.sample(params, 5, 2, noise())
    assert z.shape == (5, 2, *params.shape)
    assert law.items(params) == (3,)
    wanted = scipy.stats.norm(params.numpy(), scale).logpdf(z.numpy())
    wanted = wanted.reshape(5, 2, 3, -1).sum(-1)
    np.testing.assert_allclose(law.log_prob(params, z).numpy(), wanted, rtol=1e-13)
    leaf = params.clone().requires_grad_()
    (slope,) = torch.autograd.grad(law.log_prob(leaf, z[:1, :1]).sum(), leaf)
    torch.testing.assert_close(law.score(params, z)[0, 0], slope, rtol=1e-13, atol=0)
    assert relative(law.score(params, z)[0, 0] * scale, slope) > 0.1  # sigma for sigma^2
    u = noise().uniform(5, 2, *law.uniforms(params))
    torch.testing.assert_close(law.quantile(params, u), z, rtol=0, atol=0)
    torch.testing.assert_close(law.quantile(params.expand(5, 1, *params.shape), u), z)
    path = law.path(params, 5, 2, 0.5, noise("path"))
    moved = law.path(params + 0.25, 5, 2, 0.5, noise("path"))
    torch.testing.assert_close(moved.hard - path.hard, torch.full_like(z, 0.25))
    assert torch.equal(path.vjp(z), z)
    assert torch.equal(law.mean(params), params)
    assert law.mean_vjp is not None
    assert torch.equal(law.mean_vjp(params, z), z)


def test_samples_of_the_normal_law_have_its_frequencies():
    params = torch.tensor([0.3, -1.0], dtype=torch.float64)
    for law in (normal_mean(0.7), particles(normal_mean(0.7), 2)):
        path = law.path(params, 20_000, 1, 1.0, noise())
        for z in (law.sample(params, 20_000, 1, noise()), path.soft):
            eps = ((z - params) / 0.7).flatten().numpy()
            assert scipy.stats.kstest(eps, "norm").pvalue > FALSE_ALARM
            assert scipy.stats.kstest(eps / 0.7, "norm").pvalue < FALSE_ALARM


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(BadArgument, match="scale") as caught:
        normal_mean(scale)
    assert "\n" not in str(caught.value)


# The exact value and gradient of rainforth

SMALL: dict[str, Any] = {"items": 2, "dimensions": 2, "perturbation": 0.3, "seed": 1}


def arrays(**settings: Any):
    model = model_of(**({"items": 2, "dimensions": 2, "perturbation": 0.3, "seed": 1} | settings))
    return tuple(part.numpy() for part in (model.x, model.means, model.mu))


def elbo(x, means, mu, variance=2 / 3):
    """Return E log p(x, z) + H(q), summed over data points, with q's variance."""
    energy = ((means - mu) ** 2 + (x - means) ** 2 + 2 * variance).sum()
    entropy = 0.5 * x.size * math.log(2 * math.pi * math.e * variance)
    return -0.5 * energy - x.size * math.log(2 * math.pi) + entropy


@pytest.mark.parametrize("dimensions", [1, 2, 20])
def test_one_particle_is_the_elbo(dimensions):
    x, means, mu = arrays(dimensions=dimensions)
    for gradient in ("inference", "generative"):
        settings = SMALL | {"dimensions": dimensions, "gradient": gradient}
        problem = rainforth(particles=1, **settings)
        assert float(problem.exact_value()) == pytest.approx(elbo(x, means, mu), rel=1e-12)
        assert abs(elbo(x, means, mu, variance=4 / 9) / elbo(x, means, mu) - 1) > 1e-3
        slope = (x + mu - 2 * means) if gradient == "inference" else (means - mu).sum(0)
        assert relative(problem.exact_gradient(), slope) < 1e-11


def product_rule(count: int, nodes: int, x, means, mu, variance: float = 2 / 3):
    """Return the sum over data points of E log mean_k w_k and its gradients in m and mu.

    A product Gauss-Hermite rule over the noise of all particles, K D axes, in plain numpy.
    """
    items, dimensions = x.shape
    node, weight = hermegauss(nodes)
    axes = count * dimensions
    eps = np.stack(np.meshgrid(*[node] * axes, indexing="ij"), -1).reshape(-1, count, dimensions)
    chance = np.stack(np.meshgrid(*[weight / weight.sum()] * axes, indexing="ij"), -1)
    chance = chance.reshape(-1, axes).prod(1)
    scale, total = math.sqrt(variance), 0.0
    by_mean, by_mu = np.zeros_like(means), np.zeros_like(mu)
    for i in range(items):
        z = means[i] + scale * eps
        log_q = scipy.stats.norm.logpdf(eps).sum(-1) - dimensions * math.log(scale)
        log_p = (scipy.stats.norm.logpdf(z, mu) + scipy.stats.norm.logpdf(x[i], z)).sum(-1)
        w = np.exp(log_p - log_q)
        share = (w / w.sum(1, keepdims=True))[..., None]
        total += chance @ np.log(w.mean(1))
        # at fixed noise log q does not move with m
        by_mean[i] = chance @ (share * ((mu - z) + (x[i] - z))).sum(1)
        by_mu += chance @ (share * (z - mu)).sum(1)
    return total, by_mean, by_mu


@pytest.mark.parametrize(("dimensions", "count", "nodes"), [(1, 2, 60), (1, 3, 40), (2, 2, 24)])
def test_small_bounds_by_a_product_rule(dimensions, count, nodes):
    numbers = arrays(dimensions=dimensions)
    value, by_mean, by_mu = product_rule(count, nodes, *numbers)
    settings = SMALL | {"dimensions": dimensions, "particles": count}
    problem = rainforth(**settings)
    assert float(problem.exact_value()) == pytest.approx(value, rel=1e-10)
    assert relative(problem.exact_gradient(), by_mean) < 1e-9
    generative = rainforth(gradient="generative", **settings)
    assert float(generative.exact_value()) == pytest.approx(value, rel=1e-10)
    assert relative(generative.exact_gradient(), by_mu) < 1e-9
    # the mistake of published code: 2/3 for the standard deviation
    wrong = product_rule(count, nodes, *numbers, variance=4 / 9)
    assert abs(wrong[0] / value - 1) > 1e-3
    assert relative(problem.exact_gradient(), wrong[1]) > 1e-2


def rule_in_two_variables(x, m, mu, count: int):
    """Return L_K of one data point, log w being alpha + beta eps - |eps|^2 / 6.

    eps along beta is one normal variable, and what is across it one chi-square.
    """
    dimensions, scale = len(x), math.sqrt(2 / 3)
    alpha = -0.5 * (m - mu).square().sum() - 0.5 * (x - m).square().sum()
    alpha = alpha + dimensions * (math.log(scale) - 0.5 * math.log(2 * math.pi))
    beta = (scale * (x + mu - 2 * m)).norm()
    along = torch.linspace(-9, 9, 181, dtype=torch.float64)
    half, mass = (torch.from_numpy(part) for part in roots_genlaguerre(60, (dimensions - 3) / 2))
    chance = torch.outer((-0.5 * along.square()).softmax(0), mass / mass.sum())
    log_weight = alpha + (beta * along - along.square() / 6)[:, None] - half / 3
    return expected_log_mean(chance.flatten(), log_weight.flatten(), count)


@pytest.mark.parametrize("count", [8, 1024])
@pytest.mark.parametrize("perturbation", [0.01, 0.2])
def test_twenty_dimensions_by_a_rule_in_two(count, perturbation):
    model = model_of(2, 20, perturbation, 3)
    settings = {"particles": count, "items": 2, "perturbation": perturbation, "seed": 3}
    m = model.means.clone().requires_grad_()
    mu = model.mu.clone().requires_grad_()
    value = sum(rule_in_two_variables(model.x[i], m[i], mu, count) for i in range(2))
    by_mean, by_mu = torch.autograd.grad(value, (m, mu))
    problem, generative = rainforth(**settings), rainforth(gradient="generative", **settings)
    assert float(problem.exact_value()) == pytest.approx(float(value.detach()), rel=1e-12)
    assert relative(problem.exact_gradient(), by_mean) < 1e-9
    assert relative(generative.exact_gradient(), by_mu) < 1e-9


@pytest.mark.parametrize("shift", [0.0, 3.0, 60.0, 900.0])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 20])
def test_the_law_of_the_radius(shift, dimensions):
    """Its Laplace transform, its derivative in the shift, and the mean of one log weight."""
    radius, probability, slope = _law_of_radius(shift, dimensions)
    for rate in (0.01, 1 / 6, 1.0):
        wide = 1 + 2 * rate
        wanted = wide ** (-dimensions / 2) * math.exp(-shift * rate / wide)
        if wanted < 1e-20:
            continue
        term = (-rate * radius.square()).exp()
        assert float(probability @ term) == pytest.approx(wanted, rel=1e-9, abs=0)
        assert float(slope @ term) == pytest.approx(-wanted * rate / wide, rel=1e-9, abs=0)
        assert float(slope @ term) != pytest.approx(-wanted * rate, rel=1e-3, abs=0)
    point = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    one = expected_log_mean_at_distance(point, dimensions, 1 / 6, 1)
    assert float(one.detach()) == pytest.approx(-(dimensions + shift) / 6, rel=1e-12)
    assert float(torch.autograd.grad(one, point)[0]) == pytest.approx(-1 / 6, rel=1e-11)


def test_the_bound_rises_to_the_likelihood():
    x, _, mu = arrays(dimensions=20, perturbation=0.05)
    settings = SMALL | {"dimensions": 20, "perturbation": 0.05}
    bounds = [float(rainforth(particles=k, **settings).exact_value()) for k in (1, 2, 8, 64, 1024)]
    assert all(low < high for low, high in itertools.pairwise(bounds))
    likelihood = scipy.stats.norm(mu, math.sqrt(2)).logpdf(x).sum()
    assert bounds[-1] < likelihood
    # the gap tends to var(w) / (2 p^2 K) of each data point
    further = float(rainforth(particles=2**16, **settings).exact_value())
    assert 2**16 * (likelihood - further) == pytest.approx(
        1024 * (likelihood - bounds[-1]), rel=0.2
    )


def test_the_published_settings():
    problem = rainforth()
    assert problem.params.shape == (8, 20)
    assert problem.jacobian is not None
    assert problem.jacobian.shape == (8, 20, 420)
    model = model_of(1024, 20, 0.01, 0)
    best = model.x.mean(0)
    for moved, optimum in (
        (model.matrix, torch.eye(20).double() / 2),
        (model.offset, best / 2),
        (model.mu, best),
    ):
        step = (moved - optimum) / 0.01  # N(0, 1)
        assert scipy.stats.kstest(step.flatten().numpy(), "norm").pvalue > FALSE_ALARM
    spread = (model.x - best).flatten().numpy() / math.sqrt(2)
    assert scipy.stats.kstest(spread, "norm").pvalue > FALSE_ALARM
    assert torch.equal(model_of(8, 20, 0.01, 0).x, model.x[:8])


@pytest.mark.parametrize("items", [1, 3])
def test_the_weights_behind_the_means(items):
    """The pulled-back gradient against differences of the value in A and b."""
    settings = {"particles": 3, "items": items, "dimensions": 2, "perturbation": 0.3, "seed": 1}
    problem, model = rainforth(**settings), model_of(items, 2, 0.3, 1)
    found = problem.pullback(problem.exact_gradient()[None])[0]
    weights = torch.cat((model.matrix, model.offset[:, None]), 1)

    def value(weights):
        means = model.x @ weights[:, :2].T + weights[:, 2]
        return problem.exact_value(means.reshape(problem.params.shape))

    torch.testing.assert_close(problem.params, model.means.reshape(problem.params.shape))
    assert relative(found, gradient_of(value)(weights)) < 1e-12
    for i in range(6):
        move = 1e-5 * torch.eye(6).double()[i].reshape(2, 3)
        rate = float(value(weights + move) - value(weights - move)) / 2e-5
        assert float(found[i]) == pytest.approx(rate, abs=1e-8)


def test_at_the_optimum_the_inference_gradient_is_zero():
    assert not rainforth(perturbation=0.0, items=3).exact_gradient().any()


# Estimators on rainforth


def test_rainforth_by_the_bias_test():
    """Twenty dimensions, and what the test catches."""
    settings = {"items": 2, "perturbation": 0.1, "particles": 8, "seed": 2}
    problem, generative = rainforth(**settings), rainforth(gradient="generative", **settings)
    right = ("iwae_reparameterization", "reparameterization", "doubly_reparameterized")
    cells = {name: (problem, build_estimator(name)) for name in right}
    cells["generative"] = (generative, build_estimator("score_function"))
    assert set(judged(cells, FEWEST // 4).values()) == {"unbiased"}


def test_faults_on_rainforth_are_caught(monkeypatch):
    """The score forgotten; sigma for sigma^2 in the exact bound; a direct term too small."""
    settings = {"items": 2, "perturbation": 0.1, "particles": 8, "seed": 2}
    problem, generative = rainforth(**settings), rainforth(gradient="generative", **settings)
    monkeypatch.setattr(rainforth_file, "VARIANCE", math.sqrt(2 / 3))
    wrong = problem.exact_gradient()
    monkeypatch.undo()
    moved = replace(problem, gradient=lambda _: wrong)
    cells = {
        "no score": (problem, build_estimator("sticking_the_landing")),
        "sigma": (moved, build_estimator("doubly_reparameterized")),
        "too small": (generative, shrunk(build_estimator("score_function"), 0.03)),
    }
    assert set(judged(cells, FEWEST // 16).values()) == {"biased"}


def test_the_model_has_no_path():
    generative = rainforth(gradient="generative", **SMALL)
    for name in ("iwae_reparameterization", "vimco"):
        with pytest.raises(IncompatiblePair) as caught:
            check_pair(generative, build_estimator(name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"particles": 0}, "particles >= 1"),
        ({"items": 0}, "items >= 1"),
        ({"items": 1025}, "1,024 data points"),
        ({"dimensions": 0}, "dimensions >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"gradient": "model"}, "inference or generative, got 'model'"),
        ({"perturbation": -0.1}, "perturbation >= 0"),
        ({"perturbation": math.inf}, "perturbation: a finite number"),
        ({"dimensions": 500}, "use fewer dimensions"),
        ({"dimensions": 10**9, "gradient": "generative"}, "use fewer dimensions"),
        ({"particles": 10**30}, "use fewer particles"),
    ],
)
def test_rainforth_refuses_what_it_cannot_be(settings, words):
    with pytest.raises(BadArgument, match=words) as caught:
        rainforth(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("perturbation", [10.0, 1e3, 1e200])
def test_a_q_too_far_away_is_one_line(perturbation):
    """Before anything is allocated for the law of its weights."""
    for gradient in ("inference", "generative"):
        problem = rainforth(perturbation=perturbation, gradient=gradient)
        for exact in (problem.exact_value, problem.exact_gradient):
            with pytest.raises(BadArgument, match=r"perturbation: 0\.01") as caught:
                exact()
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dimensions": 10**9}, "2\\^1000000000 are more than 4,096"),
        ({"dimensions": None, "latents": "categorical", "categories": 10**6}, "1000000\\^2"),
        ({"particles": 10**30}, "at most 1,048,576 particles"),
        ({"items": 10**9}, "use at most 1,048,576 items"),
        ({"items": 10**9, "latents": "normal", "dimensions": 1}, "use at most 3,492 items"),
        ({"distance": "1"}, "distance: a finite number"),
        ({"distance": True}, "distance: a finite number"),
        ({"distance": math.nan}, "distance: a finite number"),
        ({"distance": -1.0}, "distance >= 0"),
    ],
)
def test_iwae_refuses_what_it_cannot_be(settings, words):
    with pytest.raises(BadArgument, match=words) as caught:
        iwae(**settings)
    assert "\n" not in str(caught.value)


# Signal against noise


def test_signal_falls_for_the_network_and_grows_for_the_model():
    """Rainforth et al. 2018, with the exact mean: slopes -1/2 and 1/2, and DReG's does not fall."""
    counts, found = (64, 128, 256, 512), {}
    for name in ("iwae_reparameterization", "doubly_reparameterized", "score_function"):
        gradient = "generative" if name == "score_function" else "inference"
        rows = []
        for count in counts:
            problem = rainforth(gradient=gradient, items=1, particles=count)
            blocks = blocks_of(problem, build_estimator(name), 2048, SEED, "float64")
            whole = summarize(blocks)
            size, spread = whole.gradient_norm, whole.variance
            ends = (spread.value, spread.high, spread.low)
            rows.append(Interval(*(size / math.sqrt(x) for x in ends)))
        slope, _ = log_log_slope(np.array(counts, dtype=np.float64), rows)
        print(name, slope)
        assert slope.high - slope.low < 0.04
        found[name] = slope
    for name, law in (("iwae_reparameterization", -0.5), ("score_function", 0.5)):
        slope = found[name]
        assert abs(slope.value - law) < 2 * (slope.high - slope.low)  # eight standard errors
        assert abs(slope.value + law) > 0.9
    assert found["doubly_reparameterized"].low > 0.4


def test_a_slope_is_the_weighted_fit_and_its_interval_covers():
    rng = np.random.default_rng(11)
    x = np.array([8.0, 32.0, 128.0, 512.0, 2048.0])
    half = np.array([0.02, 0.04, 0.01, 0.08, 0.03])
    covered = trials = 0
    for _ in range(1000):
        level = 0.7 - 0.5 * np.log(x) + half / 1.96 * rng.standard_normal(5)
        readings = [
            Interval(*map(math.exp, (a, a - h, a + h))) for a, h in zip(level, half, strict=True)
        ]
        slope, fitted = log_log_slope(x, readings)
        wanted = np.polyfit(np.log(x), level, 1, w=1 / half)
        assert slope.value == pytest.approx(wanted[0], abs=1e-10)
        np.testing.assert_allclose(np.log(fitted), np.polyval(wanted, np.log(x)), atol=1e-10)
        covered += slope.low <= -0.5 <= slope.high
        trials += 1
    # widened where points scatter by chance, so rather more than 0.95; 4 standard errors below it
    assert covered / trials > 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)
    assert covered / trials < 0.995


def row(count: int, **changed: Any) -> dict[str, Any]:
    """Return a row of the table whose ratio is 0.5 / sqrt(count) if it is unbiased."""
    variance = 4.0 * count
    return {
        "objective_name": "toy",
        "objective.particles": count,
        "estimator": "mine",
        "samples": 1,
        "unbiased": True,
        "gradient_norm": 1.0,
        "variance": variance,
        "variance_low": variance / 1.02,
        "variance_high": variance * 1.02,
        "snr": 0.03,
        "snr_low": 0.02,
        "snr_high": 0.04,
        "snr_floor": 0.025,
    } | changed


def test_the_ratio_of_an_unbiased_estimator_is_read_below_the_floor():
    frame = signal_to_noise(pd.DataFrame([row(count) for count in (64, 4, 256, 1024, 16)]))
    np.testing.assert_allclose(frame["signal"], 0.5 / np.sqrt(frame["objective.particles"]))
    assert set(frame["signal_from"]) == {EXACT}
    np.testing.assert_allclose(frame["signal_slope"], -0.5)
    assert (frame["signal_slope_low"] < -0.5).all()
    assert set(frame["signal_points"]) == {3}  # 64, 256 and 1024: the upper half
    fitted = frame[frame["signal_fitted"] > 0]
    assert sorted(fitted["objective.particles"]) == [64, 256, 1024]
    np.testing.assert_allclose(fitted["signal_fitted"], fitted["signal"])


def test_a_measured_ratio_is_the_summary_s_and_is_not_fitted_below_the_floor():
    rows = [row(count, unbiased=False, snr_low=0.0) for count in (4, 16, 64)]
    strong = {"snr": 0.4, "snr_low": 0.3, "snr_high": 0.5, "snr_floor": 0.3}
    frame = signal_to_noise(pd.DataFrame([*rows, row(256, unbiased="limit", **strong)]))
    assert set(frame["signal_from"]) == {MEASURED}
    assert frame["signal"].tolist()[:3] == [0.03] * 3
    assert frame["signal_low"].tolist()[:3] == [0.0] * 3
    assert frame["signal"].iloc[3] == 0.4
    assert frame["signal_slope"].isna().all()


def test_only_cells_that_differ_in_particles_alone_share_a_line():
    rows = [row(count, samples=samples) for count in (4, 16, 64) for samples in (1, 2)]
    rows += [row(count, **{"objective.items": count}) for count in (4, 16, 64)]
    rows += [row(4, estimator="two"), row(16, estimator="two")]
    rows += [row(4, estimator="no variance", variance=0.0, variance_low=0.0, variance_high=0.0)]
    rows += [row(4, estimator="failed", **dict.fromkeys(("gradient_norm", "variance"), math.nan))]
    frame = signal_to_noise(pd.DataFrame(rows))
    assert frame["signal_slope"].notna().tolist() == [True] * 6 + [False] * 7
    assert frame["signal"].isna().tolist() == [False] * 11 + [True] * 2
    assert "signal_slope" in signal_to_noise(
        pd.DataFrame([row(4)]).drop(columns="objective.particles")
    )


def test_lines_of_one_colour_differ_in_dashes():
    rows = [row(count, objective=f"toy(particles={count})", estimator=name, estimator_name=name)
            for name in ("one", "two", "three") for count in (4, 16, 64, 256)]  # fmt: skip
    looks = dict(
        zip(
            ("one", "two", "three"),
            (Look("C0", "o"), Look("C0", "s"), Look("C1", "o")),
            strict=True,
        )
    )
    (made,) = figure_file.sheets(pd.DataFrame(rows), looks)
    (axes,) = made.figure.axes
    entries = axes.get_legend().get_lines()[:3]
    drawn = {(line.get_color(), line.get_linestyle()) for line in entries}
    assert len(drawn) == 3
    assert len({colour for colour, _ in drawn}) == 2
