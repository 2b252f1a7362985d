"""Multi-sample bounds: particles, L_K without sampling, and every estimator made for them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bias_cases import SEED, shrunk
from panel import blocks_of, fresh_blocks, objective

from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Objective
from benchbed.enumeration import marginalize, tuples
from benchbed.errors import BadArgument, IncompatiblePair
from benchbed.estimators._bound_targets import thermodynamic_value, wake_gradient
from benchbed.estimators._log_weights import log_sum_of_others
from benchbed.families import BERNOULLI, CATEGORICAL, NORMAL
from benchbed.families.particles import particles
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

DISCRETE = [
    {"latents": "bernoulli"},
    {"latents": "bernoulli", "particles": 3},
    {"latents": "bernoulli", "particles": 5, "seed": 1},
    {"latents": "categorical", "items": 2},
    {"latents": "categorical", "particles": 3},
]


def iwae(**settings) -> Objective:
    return build_objective("iwae", **settings)


def noise(*path, dtype=torch.float64) -> Noise:
    return Noise(5, "multi-sample", *path, dtype=dtype)


def drawn(problem: Objective, name: str, draws: int = 64, **settings):
    return build_estimator(name, **settings).draw(problem, problem.params, draws, noise())


def relative(found, wanted) -> float:
    found, wanted = (torch.as_tensor(x).flatten().double() for x in (found, wanted))
    return float((found - wanted).norm() / wanted.norm())


def own_bias(problem: Objective, name: str, **settings) -> float:
    """Return |E[estimate] - gradient of its target| / |gradient|, with no sampling."""
    method = build_estimator(name, **settings)
    return relative(exact_moments(problem, method).mean, method.exact_gradient(problem))


# The law of K particles


PARAMS = {
    "bernoulli": torch.tensor([[0.4, -1.3], [0.8, 0.1], [0.0, 2.0]], dtype=torch.float64),
    "categorical": torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 2, 3).sin(),
    "normal": torch.tensor([[[0.3], [-0.5]], [[1.0], [0.2]]], dtype=torch.float64),
}


@pytest.mark.parametrize("base", [BERNOULLI, CATEGORICAL, NORMAL], ids=lambda base: base.name)
def test_particles_are_independent_copies_of_one_law(base):
    law, params = particles(base, 3), PARAMS[base.name]
    z = law.sample(params, 5, 2, noise())
    u = noise().uniform(5, 2, *law.uniforms(params))
    torch.testing.assert_close(z, law.quantile(params, u), rtol=0, atol=0)
    # The same with params of every draw.
    each = params.expand(5, 1, *params.shape)
    torch.testing.assert_close(z, law.quantile(each, u), rtol=1e-14, atol=1e-14)
    assert z.shape == (5, 2, len(params), 3, *z.shape[4:])
    assert z.ndim == 3 + law.event_axes
    apart = [z.select(3, k) for k in range(3)]
    torch.testing.assert_close(
        law.log_prob(params, z), sum(base.log_prob(params, one) for one in apart)
    )
    torch.testing.assert_close(law.score(params, z), sum(base.score(params, one) for one in apart))
    torch.testing.assert_close(law.mean(params).select(1, 2), base.mean(params))
    slope = noise("slope").normal(*z.shape)
    path = law.path(params, 5, 2, 0.7, noise())
    copies = params.unsqueeze(1).expand(-1, 3, *params.shape[1:])
    alone = base.path(copies, 5, 2, 0.7, noise())
    torch.testing.assert_close(path.soft, alone.soft)
    torch.testing.assert_close(path.vjp(slope), alone.vjp(slope).sum(3))
    if base.exact_path:
        torch.testing.assert_close(path.hard, z)
    found = law.mean_vjp(law.mean(params), slope)
    torch.testing.assert_close(
        found, sum(base.mean_vjp(base.mean(params), one) for one in slope.unbind(3))
    )


@pytest.mark.parametrize("base", [BERNOULLI, CATEGORICAL], ids=lambda base: base.name)
def test_the_tuples_of_particles_are_all_there_once(base):
    law, params = particles(base, 2), PARAMS[base.name]
    every = torch.cat(list(tuples(law, params, together=1)))
    assert len(every) == law.states(params) == base.states(params) ** 2
    assert len(every.flatten(1).unique(dim=0)) == len(every)
    total = law.log_prob(params, every).exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total))


# The bound, exactly


@pytest.mark.parametrize("settings", DISCRETE[:2] + DISCRETE[3:], ids=str)
def test_the_bound_of_any_number_of_particles_agrees_with_enumeration(settings):
    problem = iwae(**settings)
    value, gradient = marginalize(problem, problem.params)
    torch.testing.assert_close(problem.exact_value(), value, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(problem.exact_gradient(), gradient, rtol=1e-11, atol=1e-13)


def hermite(count: int, nodes: int):
    """Return (weights [n], eps [n, K]) of a product Gauss-Hermite rule."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    eps = np.stack(np.meshgrid(*[x] * count, indexing="ij"), -1).reshape(-1, count)
    weight = np.stack(np.meshgrid(*[w / w.sum()] * count, indexing="ij"), -1).reshape(-1, count)
    return torch.from_numpy(weight.prod(1)), torch.from_numpy(eps)


def hermite_bound(problem: Objective, count: int, nodes: int):
    weight, eps = hermite(count, nodes)
    point = problem.params.clone().requires_grad_()
    mu, sigma = point[..., 0, :], point[..., 1, :].exp()
    z = mu + sigma * eps.reshape(-1, 1, *(1,) * (point.ndim - 2), count)
    value = (weight @ problem.cost(z[..., None], point).flatten(1)).sum()
    return value.detach(), torch.autograd.grad(value, point)[0]


@pytest.mark.parametrize("settings", [{}, {"seed": 1}, {"items": 2, "distance": 0.5}], ids=str)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_normal_bound_agrees_with_product_quadrature(settings, count):
    problem = iwae(latents="normal", particles=count, **settings)
    coarse, fine = (hermite_bound(problem, count, nodes) for nodes in (30, 80))
    errors = [relative(gradient, problem.exact_gradient()) for _, gradient in (coarse, fine)]
    assert errors[1] < 1e-11
    assert errors[1] <= errors[0] + 1e-14  # and it is the quadrature that converges
    torch.testing.assert_close(problem.exact_value(), fine[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("latents", ["bernoulli", "categorical", "normal"])
def test_the_bound_rises_from_the_elbo_to_the_log_likelihood(latents):
    bounds = [
        float(iwae(latents=latents, particles=k, items=2).exact_value())
        for k in (1, 2, 3, 4, 8, 16, 64, 256)
    ]
    assert all(low < high for low, high in itertools.pairwise(bounds))
    problem = iwae(latents=latents, particles=1, items=2)
    if latents == "normal":  # where q is the posterior every weight is p(x)
        likelihood = float(iwae(latents=latents, items=2, distance=0.0).exact_value())
    else:
        likelihood = float(problem.log_joint(all_values(problem)).logsumexp(-1).sum())
    assert bounds[-1] < likelihood
    # log p - L_K tends to var(w) / (2 K): four times the particles, a quarter of the gap.
    assert 3 < (likelihood - bounds[-2]) / (likelihood - bounds[-1]) < 5
    elbo = thermodynamic_value(problem, problem.params, [0.0, 1.0])
    assert bounds[0] == pytest.approx(float(elbo), rel=1e-12)


def all_values(problem: Objective):
    """Return every value of one particle as particles, [1, 1, *items, states, *event]."""
    base, params = problem.family.particle, problem.params
    z = base.enumerate(params, torch.arange(base.states(params)))
    return z.expand(1, 1, *base.items(params), *z.shape)


def test_at_the_posterior_every_weight_is_the_likelihood():
    problem = iwae(latents="normal", particles=4, items=2, distance=0.0)
    z = problem.family.sample(problem.params, 50, 2, noise())
    cost = problem.cost(z, problem.params)
    torch.testing.assert_close(cost, cost[:1, :1].expand_as(cost), rtol=1e-12, atol=0)
    assert float(problem.exact_gradient().abs().max()) < 1e-13


def test_the_cost_broadcasts_over_params_of_every_draw():
    for latents in ("bernoulli", "categorical", "normal"):
        problem = iwae(latents=latents, particles=3, items=2)
        z = problem.family.sample(problem.params, 4, 2, noise())
        lifted = problem.params.expand(4, 2, *problem.params.shape)
        torch.testing.assert_close(problem.cost(z, lifted), problem.cost(z, problem.params))
        # and the weights of one particle are those of J with K = 1
        alone = iwae(latents=latents, particles=1, items=2)
        each = torch.stack([alone.cost(one, alone.params) for one in z.split(1, 3)], -1)
        expected = each.logsumexp(-1) - math.log(3)
        torch.testing.assert_close(problem.cost(z, problem.params), expected)


# Unbiased on discrete latents: the mean by enumeration


UNBIASED = [
    ("score_function", {}),
    ("vimco", {}),
    ("vimco", {"mean": "geometric"}),
    ("ovis", {"auxiliary": 1}),
    ("ovis", {"kind": "asymptotic"}),
    ("thermodynamic", {"partitions": 1}),
]


@pytest.mark.parametrize(("name", "settings"), UNBIASED, ids=str)
@pytest.mark.parametrize("where", DISCRETE, ids=str)
def test_the_mean_is_the_gradient(where, name, settings):
    assert build_estimator(name, **settings).unbiased is True
    assert own_bias(iwae(**where), name, **settings) < 1e-9


@pytest.mark.parametrize("auxiliary", [2, 3])
def test_ovis_with_more_auxiliary_particles_is_unbiased_for_any_number(auxiliary):
    for count in (1, 2, 3):  # without other particles it is a baseline from a pilot
        problem = iwae(particles=count, dimensions=2)
        assert own_bias(problem, "ovis", auxiliary=auxiliary) < 1e-9


# Trace variances of one estimate on iwae(particles=K): (K = 2, K = 5).
VARIANCES = [
    ("score_function", {}, "20.41425", "39.87446"),
    ("vimco", {}, "0.45995", "0.14632"),
    ("vimco", {"mean": "geometric"}, "0.45995", "0.10606"),
    ("ovis", {"auxiliary": 1}, "0.15808", "0.00656"),
    ("ovis", {"kind": "asymptotic"}, "0.33192", "0.00653"),
    ("ovis", {"kind": "asymptotic", "gamma": 1.0}, "0.51332", "0.06687"),
    ("reweighted_wake_sleep", {}, "0.41368", "0.16288"),
]


@pytest.mark.parametrize(("name", "settings", "two", "five"), VARIANCES, ids=str)
def test_variances_by_enumeration(name, settings, two, five):
    for count, printed in ((2, two), (5, five)):
        found = exact_moments(iwae(particles=count), build_estimator(name, **settings))
        assert f"{found.variance.sum():.5f}" == printed


@pytest.mark.parametrize("samples", [2, 3])
def test_methods_that_know_only_a_law_and_a_cost_work_on_tuples(samples):
    """Their ``samples`` are independent K-tuples of particles."""
    problem = iwae(dimensions=1)  # 4 tuples of 2 particles
    assert own_bias(problem, "leave_one_out", samples=samples) < 1e-12
    method = build_estimator("constant_baseline", kind="optimal", pilot="exact")
    method = method.tune(problem, problem.params, noise())
    found = exact_moments(problem, method)
    assert relative(found.mean, problem.exact_gradient()) < 1e-12
    # The other particles tell more than the best constant.
    best = found.variance.sum()
    assert exact_moments(problem, build_estimator("vimco")).variance.sum() < 0.5 * best


# Biased, and by how much


def test_vimco_without_its_direct_term_is_off_by_more_the_more_particles():
    """Also what gamma = 1 does to OVIS, sample by sample; gamma = 1/2 does half of it."""
    biases = []
    for count in (2, 3, 4, 5):
        problem = iwae(particles=count)
        right, missing, full, half = (
            drawn(problem, name, **settings)
            for name, settings in (
                ("vimco", {}),
                ("reweighted_wake_sleep", {}),
                ("ovis", {"kind": "asymptotic", "gamma": 1.0}),
                ("ovis", {"kind": "asymptotic", "gamma": 0.5}),
            )
        )
        torch.testing.assert_close(full, right + missing, rtol=1e-9, atol=1e-12)
        plain = drawn(problem, "ovis", kind="asymptotic")
        torch.testing.assert_close(half, 0.5 * (full + plain), rtol=1e-9, atol=1e-12)
        method = build_estimator("ovis", kind="asymptotic", gamma=1.0)
        assert method.unbiased is False
        error = exact_moments(problem, method).mean - problem.exact_gradient().numpy()
        biases.append(np.linalg.norm(error))
        # E[sum_k wt_k h_k], which is what was left out
        wake = exact_moments(problem, build_estimator("reweighted_wake_sleep")).mean
        np.testing.assert_allclose(error, wake, rtol=1e-9)
    assert all(low < high for low, high in itertools.pairwise(biases))
    assert [f"{bias:.4f}" for bias in biases] == BIAS_WITHOUT_DIRECT


BIAS_WITHOUT_DIRECT = ["0.1134", "0.1432", "0.1561", "0.1634"]


@pytest.mark.parametrize("latents", ["bernoulli", "categorical"])
def test_wake_sleep_tends_to_the_gradient_of_the_other_divergence(latents):
    most = 5 if latents == "bernoulli" else 4
    biases = [
        own_bias(iwae(latents=latents, particles=count), "reweighted_wake_sleep")
        for count in range(1, most + 1)
    ]
    assert biases[0] == pytest.approx(1, rel=1e-9)  # one particle: mean zero
    assert all(low > high for low, high in itertools.pairwise(biases))
    assert 0.5 < most * biases[-1] / (2 * biases[1]) < 2  # like 1 / K
    problem = iwae(latents=latents)
    point = problem.params.clone().requires_grad_()
    z, base = all_values(problem), problem.family.particle
    posterior = problem.log_joint(z).softmax(-1)
    divergence = -(posterior * base.log_prob(point.unsqueeze(-base.params_axes - 1), z)).sum()
    wanted = -torch.autograd.grad(divergence, point)[0]
    torch.testing.assert_close(wake_gradient(problem), wanted, rtol=1e-12, atol=1e-14)
    # It vanishes at the product of the posterior's marginals, where the bound's own does not.
    closest = iwae(latents=latents, distance=0.0)
    assert float(wake_gradient(closest).abs().max()) < 1e-13
    assert float(closest.exact_gradient().norm()) > 1e-3


def test_the_wake_gradient_of_a_normal_law_has_its_closed_form():
    problem = iwae(latents="normal", items=3, seed=2)
    posterior = iwae(latents="normal", items=3, seed=2, distance=0.0).params
    mu, sigma = problem.params[:, 0], problem.params[:, 1].exp()
    gap, spread = posterior[:, 0] - mu, posterior[:, 1].exp()
    wanted = torch.stack(
        (gap / sigma.square(), (spread.square() + gap.square()) / sigma.square() - 1), 1
    )
    torch.testing.assert_close(wake_gradient(problem), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("partitions", [2, 4])
def test_the_thermodynamic_bias_falls_with_the_particles(partitions):
    biases = [
        own_bias(iwae(particles=count), "thermodynamic", partitions=partitions)
        for count in (2, 3, 4, 5)
    ]
    assert all(low > high for low, high in itertools.pairwise(biases))
    assert 0.6 < 5 * biases[-1] / (4 * biases[-2]) < 1.4  # like 1 / S


@pytest.mark.parametrize("latents", ["bernoulli", "categorical", "normal"])
def test_the_thermodynamic_objective_lies_between_elbo_and_log_likelihood(latents):
    """A left Riemann sum of a rising integrand, whose gradient at one partition is the ELBO's."""
    problem = iwae(latents=latents, particles=1, items=2)

    def value(betas):
        return float(thermodynamic_value(problem, problem.params, betas))

    rising = [value(torch.linspace(0, 1, m + 1).double().tolist()) for m in (1, 2, 4, 8, 2000)]
    assert all(low < high for low, high in itertools.pairwise(rising))
    likelihood = float(iwae(latents=latents, particles=4096, items=2).exact_value())
    assert rising[-1] == pytest.approx(likelihood, abs=2e-3)
    method = build_estimator("thermodynamic", partitions=1)
    torch.testing.assert_close(
        method.exact_gradient(problem), problem.exact_gradient(), rtol=1e-10, atol=1e-12
    )


# Pathwise, on normal latents


def test_identities_along_the_path():
    """IWAE = reparameterization of J = STL - wake-sleep; for one particle STL = DReG."""
    for count in (1, 2, 3):
        problem = iwae(latents="normal", particles=count, items=2)
        plain, generic, landing, wake, double = (
            drawn(problem, name, samples=2)
            for name in (
                "iwae_reparameterization",
                "reparameterization",
                "sticking_the_landing",
                "reweighted_wake_sleep",
                "doubly_reparameterized",
            )
        )
        torch.testing.assert_close(plain, generic, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(plain, landing - wake, rtol=1e-9, atol=1e-11)
        if count == 1:
            torch.testing.assert_close(double, landing, rtol=1e-12, atol=0)
        else:
            assert not torch.allclose(double, landing, rtol=0.1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_at_the_posterior_two_methods_have_no_variance(count):
    problem = iwae(latents="normal", particles=count, items=2, distance=0.0)
    scale = float(drawn(problem, "iwae_reparameterization").abs().max())
    for name in ("sticking_the_landing", "doubly_reparameterized"):
        assert float(drawn(problem, name).abs().max()) < 1e-12 * scale
    for name in ("iwae_reparameterization", "vimco", "reparameterization"):
        if (name, count) != ("vimco", 1):
            assert float(drawn(problem, name).var(0).sum()) > 0.1


def test_signal_to_noise_against_particles():
    """Rainforth et al. 2018: the plain gradient's falls with K; the doubly reparameterized's rises.

    Only the exact mean makes this readable: |mean| / std of R draws cannot fall below 0.8 /
    sqrt(R).
    """
    ratios = {}
    for name in ("iwae_reparameterization", "doubly_reparameterized"):
        for count in (4, 64):
            problem = iwae(latents="normal", particles=count, seed=3)
            rows = drawn(problem, name, draws=16_384)
            ratios[name, count] = float(problem.exact_gradient().norm() / rows.std(0).norm())
    assert ratios["iwae_reparameterization", 64] < 0.5 * ratios["iwae_reparameterization", 4]
    assert ratios["doubly_reparameterized", 64] > 2 * ratios["doubly_reparameterized", 4]


# Continuous noise: the bias test


NORMAL_POINTS = {
    "K=3": {"particles": 3, "seed": 4},
    "K=2, two items": {"items": 2, "seed": 4},
}
ON_NORMAL = [
    ("vimco", {}),
    ("vimco", {"mean": "geometric"}),
    ("ovis", {"auxiliary": 3}),
    ("ovis", {"kind": "asymptotic"}),
    ("iwae_reparameterization", {"samples": 2}),
    ("doubly_reparameterized", {}),
    ("thermodynamic", {"partitions": 1}),
    ("leave_one_out", {"samples": 2}),
]


def verdicts(cells, draws: int):
    """Run the bias test on {name: (objective, estimator)}."""
    blocks = {name: blocks_of(*cell, draws, SEED) for name, cell in cells.items()}
    return judge(blocks, lambda name: fresh_blocks(*cells[name], draws, SEED))


@pytest.mark.parametrize("shrink", [0.0, SHRINK])
def test_unbiased_on_normal_latents(shrink):
    cells = {}
    points = list(NORMAL_POINTS.items())[shrink > 0 :]  # the confirming run is 16 screens
    for (label, settings), (name, options) in itertools.product(points, ON_NORMAL):
        method = build_estimator(name, **options)
        assert method.unbiased is True
        method = shrunk(method, shrink) if shrink else method
        cells[f"{name} {options} on {label}"] = (iwae(latents="normal", **settings), method)
    found = verdicts(cells, 65_536 if shrink else 131_072)
    for name, verdict in found.items():
        print(f"{name}: {verdict.one_line()}")
    outcomes = [verdict.outcome for verdict in found.values()]
    assert outcomes.count("biased" if shrink else "unbiased") >= 0.8 * len(outcomes)
    if not shrink:
        assert "biased" not in outcomes


def test_planted_faults_are_caught():
    """VIMCO without its direct term; squared weights forgotten; the score forgotten."""
    vimco, wake = (build_estimator(name) for name in ("vimco", "reweighted_wake_sleep"))

    def without_direct(objective, params, draws, stream):
        again = Noise(stream.seed, *stream.path, "same", stream.drawn, dtype=stream.dtype)
        copy = Noise(stream.seed, *stream.path, "same", stream.drawn, dtype=stream.dtype)
        stream.drawn += 1  # the next chunk has another stream
        return vimco.draw(objective, params, draws, again) + wake.draw(
            objective, params, draws, copy
        )

    cells = {
        f"{name} on {latents}": (objective(f"iwae {latents}"), method)
        for name, method, places in (
            ("right", vimco, ("bernoulli", "categorical", "normal")),
            (
                "no direct term",
                replace(vimco, draw=without_direct),
                ("bernoulli", "categorical", "normal"),
            ),
            # what DReG is with weights not squared, and the IWAE gradient without the score of q
            ("landing", build_estimator("sticking_the_landing"), ("normal",)),
        )
        for latents in places
    }
    for name, verdict in verdicts(cells, 65_536).items():
        assert verdict.outcome == ("unbiased" if name.startswith("right") else "biased"), name


@pytest.mark.parametrize("shrink", [0.0, SHRINK])
def test_biased_ones_on_normal_latents_have_the_mean_that_quadrature_gives(shrink):
    problem = iwae(latents="normal", seed=4)
    own = {
        name: normal_mean(problem, name)
        for name in ("reweighted_wake_sleep", "thermodynamic", "ovis")
    }
    # Its bias is the mean of what it leaves out.
    own["sticking_the_landing"] = problem.exact_gradient() + own["reweighted_wake_sleep"]
    settings = {"ovis": {"kind": "asymptotic", "gamma": 1.0}}
    cells = {}
    for name, mean in own.items():
        method = build_estimator(name, **settings.get(name, {}))
        assert method.unbiased is not True
        assert relative(mean, method.exact_gradient(problem)) > 0.05
        centred = replace(method, target_gradient=lambda _, mean=mean: mean)
        cells[name] = (problem, shrunk(centred, shrink) if shrink else centred)
    for name, verdict in verdicts(cells, 131_072).items():
        assert verdict.outcome == ("biased" if shrink else "unbiased"), name


def normal_mean(problem: Objective, name: str):
    """Return E[sum_k c_k h_k] for two particles, by a product Gauss-Hermite rule."""
    weight, eps = (x.numpy() for x in hermite(2, 160))
    mu, sigma = float(problem.params[0, 0]), math.exp(float(problem.params[1, 0]))
    log_w = one_particle_log_weights(problem, mu + sigma * eps)
    factor = np.array([particle_factors(name, row) for row in log_w])
    h = np.stack((eps / sigma, eps**2 - 1), 1)  # [n, 2, K]
    return torch.from_numpy((weight[:, None, None] * factor[:, None] * h).sum((0, 2)))[:, None]


def one_particle_log_weights(problem: Objective, z):
    """Return log w of every entry of z, by J with one particle."""
    alone = replace(problem, family=particles(NORMAL, 1))
    at = torch.from_numpy(z.reshape(-1, 1, 1, 1))
    return alone.cost(at, problem.params).numpy().reshape(z.shape)


# Direct transcriptions, particle by particle


def particle_factors(name: str, log_w, further=()) -> list[float]:
    """Return the factor of every particle's score in one K-tuple, straight from the formula."""
    w, count = np.exp(log_w), len(log_w)
    share = w / w.sum()
    factors = []
    for k in range(count):
        rest = np.delete(w, k)
        if name in ("vimco", "vimco geometric"):
            filling = rest.mean() if name == "vimco" else np.exp(np.log(rest).mean())
            base = np.log((rest.sum() + filling) / count)
            factor = np.log(w.mean()) - base - share[k]
        elif name == "ovis":  # gamma = 1
            factor = np.log(w.mean()) - share[k] - (np.log(rest.mean()) - share[k])
        elif name == "ovis 0.3":
            control = np.log(rest.mean()) - 0.3 * share[k] + 0.7 * np.log(1 - 1 / count)
            factor = np.log(w.mean()) - share[k] - control
        elif name == "ovis monte carlo":
            swapped = []
            for other in np.exp(np.asarray(further)):
                total = rest.sum() + other
                swapped.append(np.log(total / count) - other / total)
            factor = np.log(w.mean()) - share[k] - np.mean(swapped)
        elif name == "reweighted_wake_sleep":
            factor = share[k]
        elif name == "thermodynamic":  # two partitions, 0, 0.1, 1
            factor = 0.0
            for low, high in ((0.0, 0.1), (0.1, 1.0)):
                tilted = w**low / (w**low).sum()
                spread = count / (count - 1) * (1 - low) * (log_w[k] - tilted @ log_w)
                factor += (high - low) * tilted[k] * (spread - 1)
        factors.append(float(factor))
    return factors


TRANSCRIBED = [
    ("vimco", "vimco", {}),
    ("vimco geometric", "vimco", {"mean": "geometric"}),
    ("ovis", "ovis", {"kind": "asymptotic", "gamma": 1.0}),
    ("ovis 0.3", "ovis", {"kind": "asymptotic", "gamma": 0.3}),
    ("ovis monte carlo", "ovis", {"auxiliary": 3}),
    ("reweighted_wake_sleep", "reweighted_wake_sleep", {}),
    ("thermodynamic", "thermodynamic", {}),
]


@pytest.mark.parametrize(("formula", "name", "settings"), TRANSCRIBED, ids=str)
def test_against_a_transcription_on_bits(formula, name, settings):
    problem, draws, samples = iwae(particles=4), 9, 2
    rows = drawn(problem, name, draws=draws, samples=samples, **settings).numpy()
    stream = noise()
    z = problem.family.sample(problem.params, draws, samples, stream)
    apart = stream.child("auxiliary", stream.drawn)
    more = particles(BERNOULLI, 3).sample(problem.params, draws, samples, apart)
    p = problem.params.sigmoid().numpy()

    def log_weight(bits):
        """Return log p(x, z) - log q(z) of each particle of one tuple."""
        log_q = [sum(math.log(p[i] if b[i] else 1 - p[i]) for i in range(3)) for b in bits.numpy()]
        return problem.log_joint(bits[None, None])[0, 0].numpy() - np.array(log_q)

    for i in range(draws):
        wanted = np.zeros(3)
        for s in range(samples):
            log_w = log_weight(z[i, s])
            factors = particle_factors(formula, log_w, log_weight(more[i, s]))
            for factor, bits in zip(factors, z[i, s].numpy(), strict=True):
                wanted += factor * (bits - p) / samples
        np.testing.assert_allclose(rows[i], wanted, rtol=1e-10, atol=1e-12)


def test_doubly_reparameterized_against_a_transcription():
    problem, draws = iwae(latents="normal", particles=4), 9
    rows = drawn(problem, "doubly_reparameterized", draws=draws).numpy()
    eps = noise().normal(draws, 1, 4, 1)[:, 0, :, 0].numpy()
    mu, sigma = float(problem.params[0, 0]), math.exp(float(problem.params[1, 0]))
    step = 1e-6
    for i in range(draws):
        z = mu + sigma * eps[i]
        w = np.exp(one_particle_log_weights(problem, z))
        ends = [one_particle_log_weights(problem, z + sign * step) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)  # d log w / dz with q's parameters held
        factor = (w / w.sum()) ** 2 * slope
        wanted = np.array([factor.sum(), (factor * sigma * eps[i]).sum()])
        np.testing.assert_allclose(rows[i, :, 0], wanted, rtol=1e-6, atol=1e-8)


def test_one_partition_is_leave_one_out_over_the_particles():
    several, one = iwae(particles=3), iwae(particles=1)
    rows = drawn(several, "thermodynamic", partitions=1)
    apart = drawn(one, "leave_one_out", samples=3)
    torch.testing.assert_close(rows, apart, rtol=1e-10, atol=1e-12)


def test_log_sums_without_one_particle_keep_their_digits():
    """By subtraction, log(sum - w_k) is log 0 where one particle dominates."""
    log_w = torch.tensor([[[50.0, -3.0, 0.0, -700.0]]], dtype=torch.float64)
    found = log_sum_of_others(log_w)[0, 0]
    wanted = [
        torch.logsumexp(torch.cat((log_w[0, 0, :k], log_w[0, 0, k + 1 :])), 0) for k in range(4)
    ]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-14, atol=0)
    assert log_sum_of_others(log_w[..., :1]).item() == -math.inf


# Items, cost, extremes, refusals


ALL = [
    ("vimco", {}),
    ("vimco", {"mean": "geometric"}),
    ("ovis", {"auxiliary": 3}),
    ("ovis", {"kind": "asymptotic", "gamma": 1.0}),
    ("reweighted_wake_sleep", {}),
    ("thermodynamic", {}),
    ("iwae_reparameterization", {}),
    ("sticking_the_landing", {}),
    ("doubly_reparameterized", {}),
]
DISCRETE_TOO = ALL[:6]
EVERYWHERE = [
    (latents, *method)
    for latents in ("bernoulli", "categorical", "normal")
    for method in (ALL if latents == "normal" else DISCRETE_TOO)
]


@pytest.mark.parametrize(("latents", "name", "settings"), EVERYWHERE, ids=str)
def test_items_do_not_mix(latents, name, settings):
    problem = iwae(latents=latents, particles=3, items=3)

    def other_images(z):
        found = problem.log_joint(z)
        lift = found.new_tensor([0.0, 1.0, 1.0])[:, None]
        flat = z.flatten(found.ndim)
        return found + lift * (flat * (1 + torch.arange(flat.shape[-1]).to(z))).sum(-1) ** 2

    rows = drawn(problem, name, samples=2, **settings)
    changed = drawn(replace(problem, log_joint=other_images), name, samples=2, **settings)
    torch.testing.assert_close(rows[:, 0], changed[:, 0])
    assert not torch.allclose(rows[:, 1:], changed[:, 1:])


@pytest.mark.parametrize(("latents", "name", "settings"), EVERYWHERE, ids=str)
def test_particles_are_counted(latents, name, settings):
    """K particles given to log p(x, z) are one evaluation of J, rounded up."""
    problem, seen = iwae(latents=latents, particles=4), 0

    def counting(z):
        nonlocal seen
        seen += z.shape[0] * z.shape[1] * z.shape[2]
        return problem.log_joint(z)

    method = build_estimator(name, samples=3, **settings)
    counted = replace(problem, log_joint=counting)
    method.draw(counted, problem.params, 5, noise())
    assert math.ceil(seen / (5 * 4)) == method.evaluations_on(problem)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("latents", "name", "settings"), EVERYWHERE, ids=str)
def test_finite_where_q_is_nearly_certain(latents, name, settings, dtype):
    problem = iwae(latents=latents, particles=5, items=2)
    signs = torch.ones_like(problem.params)
    signs.view(-1)[::2] = -1
    for size in (20, -20):
        params = (size * signs).to(dtype)
        if latents == "normal":
            params[:, 1] = -3.0  # and 20 away from the posterior
        rows = build_estimator(name, **settings).draw(problem, params, 512, noise(dtype=dtype))
        assert rows.dtype == dtype
        assert torch.isfinite(rows).all()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("vimco", {"mean": "harmonic"}, "arithmetic or geometric"),
        ("vimco", {"samples": 0}, "samples >= 1"),
        ("ovis", {"kind": "exact"}, "monte_carlo or asymptotic"),
        ("ovis", {"gamma": 0.5}, "add kind: asymptotic"),
        ("ovis", {"auxiliary": 0}, "auxiliary >= 1"),
        ("ovis", {"kind": "asymptotic", "auxiliary": 3}, "leave it out"),
        ("ovis", {"kind": "asymptotic", "gamma": math.nan}, "gamma from 0"),
        ("ovis", {"kind": "asymptotic", "gamma": 1.5}, "gamma from 0"),
        ("thermodynamic", {"first": math.nan}, "strictly between 0 and 1"),
        ("thermodynamic", {"first": 1.0}, "strictly between 0 and 1"),
        ("thermodynamic", {"partitions": 0}, "partitions >= 1"),
    ],
)
def test_refusals_say_what_to_do(name, settings, words):
    with pytest.raises(BadArgument, match=words) as caught:
        build_estimator(name, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latents": "poisson"}, "bernoulli, categorical or normal"),
        ({"particles": 0}, "particles >= 1"),
        ({"items": 0}, "items >= 1"),
        ({"distance": -1.0}, "distance >= 0"),
        ({"distance": math.nan}, "distance: a finite number"),
        ({"latents": "normal", "dimensions": 2}, "1 dimension"),
        ({"dimensions": 0}, "dimensions >= 1"),
        ({"dimensions": 13}, "fewer dimensions"),
        ({"latents": "categorical", "categories": 1}, "categories >= 2"),
    ],
)
def test_the_objective_refuses_what_it_cannot_be(settings, words):
    with pytest.raises(BadArgument, match=words) as caught:
        iwae(**settings)
    assert "\n" not in str(caught.value)


def test_a_bound_too_wide_to_integrate_is_refused():
    problem = iwae(latents="normal")
    with pytest.raises(BadArgument, match="nats"):
        problem.exact_value(problem.params + torch.tensor([[0.0], [5.0]]))


def test_one_particle_has_no_others():
    for name, settings in (("vimco", {}), ("thermodynamic", {}), ("ovis", {"kind": "asymptotic"})):
        with pytest.raises(BadArgument, match="2 or more particles"):
            drawn(iwae(particles=1), name, **settings)


def test_they_need_a_bound_and_some_need_a_path():
    from benchbed.contracts import check_pair

    with pytest.raises(IncompatiblePair, match="multi-sample bound"):
        check_pair(build_objective("golden_bits"), build_estimator("vimco"))
    with pytest.raises(IncompatiblePair, match="no derivative"):
        check_pair(iwae(), build_estimator("doubly_reparameterized"))


def test_weights_that_are_not_finite_are_refused():
    """A NaN is dropped by Python's min and max, so that the span alone would let it through."""
    problem = iwae(latents="normal", distance=1000.0, seed=2)
    with pytest.raises(BadArgument, match="not finite") as caught:
        problem.exact_value()
    assert "\n" not in str(caught.value)
    far = iwae(latents="normal")
    with pytest.raises(BadArgument) as caught:
        far.exact_value(far.params + torch.tensor([[0.0], [100.0]]))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "settings",
    [
        {"latents": "normal"},
        {"latents": "normal", "items": 2, "particles": 3},
        {"latents": "bernoulli", "dimensions": 1},
        {"latents": "categorical", "dimensions": 1},
    ],
)
def test_the_gradient_is_exactly_zero_at_the_posterior(settings):
    problem = iwae(distance=0.0, **settings)
    assert not problem.exact_gradient().any()
    by_formula = gradient_of(problem.value)(problem.params)
    assert by_formula.abs().max() < 1e-12
    assert problem.exact_gradient(problem.params + 0.1).abs().min() > 0


def test_the_closest_of_several_variables_is_no_posterior():
    assert iwae(distance=0.0).exact_gradient().abs().max() > 1e-6
