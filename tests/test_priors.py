"""Priors: the four objectives against plain numpy over every latent, and the chain of two normals.

The plain sides share with an objective the arrays of its model and none of its code; their
gradients are complex steps, Im f(x + i h) / h with h = 1e-30, which lose no digit. Statistical
tests state their false-alarm rate, have literal seeds and are shown a fault.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from bias_cases import shrunk
from panel import blocks_of, fresh_blocks
from torch import Tensor

from benchbed.analysis.verdict import judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Objective, Path
from benchbed.enumeration import marginalize
from benchbed.errors import BadArgument
from benchbed.facts import Fact, evaluate
from benchbed.facts.coverage import ROWS
from benchbed.facts.priors import FACTS
from benchbed.families import BERNOULLI
from benchbed.families.gaussian_chain import GAUSSIAN_CHAIN
from benchbed.layout import draws_last
from benchbed.measurement.cell import measure_cell
from benchbed.measurement.exact_moments import exact_moments
from benchbed.objectives import conditional_prior as conditional
from benchbed.objectives import hierarchical_prior as hierarchical
from benchbed.objectives import mixture_prior as mixture
from benchbed.objectives import vamp_prior as vamp
from benchbed.objectives._digits_model import binary_digits, digits_model
from benchbed.rng import Noise

FALSE_ALARM = 1e-4  # the chance that a sound family fails one chi-square comparison
SEED = 83
Plain = Callable[[np.ndarray], complex]  # params -> the mean negative ELBO


def noise_of(*path: str | int, dtype: torch.dtype = torch.float64) -> Noise:
    return Noise(SEED, "priors", *path, dtype=dtype)


def relative(found: object, wanted: object) -> float:
    found, wanted = (np.asarray(x, dtype=np.float64) for x in (found, wanted))
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def complex_step(value: Plain, params: np.ndarray) -> np.ndarray:
    gradient = np.empty(params.shape)
    for index in np.ndindex(*params.shape):
        moved = params.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = value(moved).imag / 1e-30
    return gradient


# The plain sides


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def likelihood(decoder, inputs: np.ndarray, *where: int) -> float:
    """Return log p(x | z), pixel by pixel."""
    logits = decoder.matrix.numpy() @ inputs + decoder.start.numpy()
    x = decoder.x[where].numpy()
    return float((x * logits - np.log1p(np.exp(logits))).sum())


def plain_mixture(model: tuple, fault: str = "") -> Plain:
    """``model``: what mixture.toy gave. ``inside``: log sum_c p(z | c) p(c) in place of c.

    ``blind``: the divergence alone.
    """
    prior, decoder, point = model
    items, rows, categories = point.shape
    log_c, log_z = prior.log_weights.numpy(), prior.log_components.numpy()

    def value(params: np.ndarray) -> complex:
        total = 0
        for item, law in enumerate(log_softmax(params)):
            for z in itertools.product(range(categories), repeat=rows - 1):
                by_c = log_c + sum(log_z[i, k] for i, k in enumerate(z))
                log_q = sum(law[i, k] for i, k in enumerate(z))
                seen = likelihood(decoder, np.eye(categories)[list(z)].ravel(), item)
                seen = 0.0 if fault == "blind" else seen
                if fault == "inside":
                    total += np.exp(log_q) * (log_q - np.log(np.exp(by_c).sum()) - seen)
                    continue
                for c in range(categories):
                    both = log_q + law[-1, c]
                    total += np.exp(both) * (both - by_c[c] - seen)
        return total / items

    return value


def plain_vamp(decoder, items: int, bits: int, count: int, pseudo: bool) -> Plain:
    codes = np.array(list(itertools.product((0.0, 1.0), repeat=bits)))

    def value(params: np.ndarray) -> complex:
        rows = params.reshape(-1, bits)
        laws = np.array([[bit_law(row, code) for code in codes] for row in rows])
        prior = (laws[items:] if pseudo else laws[:count]).sum(0) / count
        total = 0
        for item in range(items):
            for law, there, code in zip(laws[item], prior, codes, strict=True):
                total += law * (np.log(law / there) - likelihood(decoder, code, item))
        return total / items

    return value


def bit_law(logits: np.ndarray, code: np.ndarray) -> complex:
    on = 1 / (1 + np.exp(-logits))
    return np.where(code == 1, on, 1 - on).prod()


def plain_levels(levels, fault: str = "") -> Plain:
    """``fault``: ``marginal`` ignores z1 in p(z2 | z1)."""
    one, two = levels.second.shape
    log_first, log_second = levels.first.numpy(), levels.second.numpy()
    if fault == "marginal":
        log_second = np.broadcast_to(np.log(np.exp(log_first) @ np.exp(log_second)), (one, two))

    def value(params: np.ndarray) -> complex:
        total = 0
        for item, row in enumerate(params):
            start, moves = log_softmax(row[:one]), log_softmax(row[one:].reshape(one, two))
            for i, j in itertools.product(range(one), range(two)):
                log_q = start[i] + moves[i, j]
                seen = likelihood(levels.decoder, np.r_[np.eye(one)[i], np.eye(two)[j]], item)
                total += np.exp(log_q) * (log_q - log_first[i] - log_second[i, j] - seen)
        return total / len(params)

    return value


def plain_gaussian(model, fault: str = "") -> Plain:
    """Gauss-Hermite in the noise. ``fault``: ``variance`` takes s2 for s2^2 where z2 is drawn."""
    nodes, mass = np.polynomial.hermite_e.hermegauss(9)
    first, second = (grid.ravel() for grid in np.meshgrid(nodes, nodes, indexing="ij"))
    weight = np.outer(mass, mass).ravel() / mass.sum() ** 2
    weights, start = model.weights.numpy(), model.start.numpy()

    def square(x: np.ndarray) -> np.ndarray:
        return x * x + math.log(2 * math.pi)

    def value(params: np.ndarray) -> complex:
        total = 0
        for x, (m1, r1, a, b, r2) in zip(model.x.numpy(), params, strict=True):
            z1 = m1 + np.exp(r1) * first
            z2 = a * z1 + b + np.exp(r2 / 2 if fault == "variance" else r2) * second
            log_q = -0.5 * (square(first) + square(second)) - r1 - r2
            misfit = x - start - np.outer(z1, weights[0]) - np.outer(z2, weights[1])
            prior = square(z1) + square(z2 - model.alpha * z1)
            total += weight @ (log_q + 0.5 * (prior + square(misfit).sum(1)))
        return total / len(params)

    return value


def plain_pairs(pairs, chain: bool, fault: str = "") -> Plain:
    """``fault``: ``label`` takes the prior of the next pair's y."""
    items, steps, categories = pairs.prior.shape
    priors, moves = pairs.prior.numpy(), pairs.moves.numpy()
    if fault == "label":
        priors, moves = np.roll(priors, 1, 0), np.roll(moves, 1, 0)

    def value(params: np.ndarray) -> complex:
        total = 0
        for item, row in enumerate(params):
            for z in itertools.product(range(categories), repeat=steps):
                hot = np.eye(categories)[list(z)]
                if chain:
                    laws = log_softmax(row[categories:].reshape(-1, categories, categories))
                    log_q = log_softmax(row[:categories])[z[0]]
                    log_p = priors[item, 0, z[0]]
                    for t, (i, j) in enumerate(itertools.pairwise(z)):
                        log_q = log_q + laws[t, i, j]
                        log_p += moves[item, t, i, j]
                    seen = sum(likelihood(pairs.decoder, hot[t], item, t) for t in range(steps))
                else:
                    log_q = sum(log_softmax(row)[i, k] for i, k in enumerate(z))
                    log_p = sum(priors[item, i, k] for i, k in enumerate(z))
                    seen = likelihood(pairs.decoder, hot.ravel(), item)
                total += np.exp(log_q) * (log_q - log_p - seen)
        return total / items

    return value


def mixture_case(fault: str = "", **settings) -> tuple[Objective, Plain]:
    given = {"items": 2, "dimensions": 2, "categories": 3, "separation": 1.5, "distance": 1.0}
    given |= {"seed": 3} | settings
    model = mixture.toy(**{key: given[key] for key in given if key != "terms"})
    problem, plain = build_objective("mixture_prior", **given), plain_mixture(model, fault)
    if given.get("terms") != "exact":
        return problem, plain
    level = plain_mixture(model, "blind")(problem.params.numpy())
    return problem, lambda params: plain(params) - level


def vamp_case(components: str = "data", count: int | None = None) -> tuple[Objective, Plain]:
    problem = build_objective(
        "vamp_prior", components=components, count=count, items=3, dimensions=2, seed=5
    )
    pseudo = components == "pseudo"
    number = count or (2 if pseudo else 3)
    return problem, plain_vamp(vamp.toy(3, 2, 5), 3, 2, number, pseudo)


def levels_case(fault: str = "", **settings) -> tuple[Objective, Plain]:
    problem = build_objective("hierarchical_prior", first=3, second=2, seed=4, **settings)
    return problem, plain_levels(hierarchical.levels_model(3, 3, 2, 4), fault)


def gaussian_case(fault: str = "", **settings) -> tuple[Objective, Plain]:
    problem = build_objective("hierarchical_prior", latents="normal", seed=4, **settings)
    return problem, plain_gaussian(hierarchical.gaussian_model(3, 4), fault)


def pairs_case(latents: str, fault: str = "", **settings) -> tuple[Objective, Plain]:
    given = {"items": 3, "labels": 3, "dimensions": 3, "categories": 2} | settings
    problem = build_objective("conditional_prior", latents=latents, seed=6, **given)
    given = {key: given[key] for key in ("items", "labels", "dimensions", "categories")}
    pairs = conditional.pairs_of(latents, seed=6, **given)
    assert len(set(pairs.labels.tolist())) > 1
    return problem, plain_pairs(pairs, latents == "chain", fault)


SOUND = {
    "mixture": mixture_case,
    "mixture component": lambda: mixture_case(terms="component"),
    "mixture exact": lambda: mixture_case(terms="exact", dimensions=1),
    "vamp data": vamp_case,
    "vamp two of the data": lambda: vamp_case(count=2),
    "vamp pseudo": lambda: vamp_case("pseudo"),
    "levels": levels_case,
    "gaussian": gaussian_case,
    "label": lambda: pairs_case("categorical"),
    "label chain": lambda: pairs_case("chain"),
}
FAULTY = {
    "mixture": lambda: mixture_case("inside"),
    "levels": lambda: levels_case("marginal"),
    "gaussian": lambda: gaussian_case("variance"),
    "label": lambda: pairs_case("categorical", "label"),
    "label chain": lambda: pairs_case("chain", "label"),
}
DISCRETE = [name for name in SOUND if name != "gaussian"]


def points(problem: Objective) -> list[Tensor]:
    """Return the objective's own point and one where nothing is special."""
    step = noise_of("points", problem.name).normal(*problem.params.shape)
    return [problem.params, problem.params + 0.3 * step]


def apart(case: tuple[Objective, Plain]) -> float:
    """Return the largest relative error of value and gradient against the plain side."""
    problem, plain = case
    errors = []
    for params in points(problem):
        point = params.numpy()
        errors.append(relative(problem.exact_value(params), plain(point.astype(complex)).real))
        errors.append(relative(problem.exact_gradient(params), complex_step(plain, point)))
    return max(errors)


class TestExact:
    @pytest.mark.parametrize("name", SOUND)
    def test_value_and_gradient_against_plain_numpy(self, name):
        assert apart(SOUND[name]()) < 1e-11

    @pytest.mark.parametrize("name", FAULTY)
    def test_a_wrong_formula_is_seen(self, name):
        assert apart(FAULTY[name]()) > 1e-2

    @pytest.mark.parametrize("name", DISCRETE)
    def test_the_cost_marginalized_is_the_value(self, name):
        """The cost and the closed form are two pieces of code; so are their gradients."""
        problem, _ = SOUND[name]()
        for params in points(problem):
            value, gradient = marginalize(problem, params)
            assert relative(problem.exact_value(params), value) < 1e-13
            assert relative(problem.exact_gradient(params), gradient) < 1e-12

    def test_the_three_costs_of_a_mixture_differ_in_variance_alone(self):
        found = {}
        for terms in ("sampled", "component", "exact"):
            problem, _ = mixture_case(terms=terms)
            moments = exact_moments(problem, build_estimator("leave_one_out"))
            assert relative(moments.mean, problem.exact_gradient().flatten()) < 1e-10
            found[terms] = moments.variance.sum()
        print("variance of leave_one_out:", {key: f"{x:.4g}" for key, x in found.items()})
        assert len({round(x, 6) for x in found.values()}) == 3

    def test_the_score_multiplies_no_closed_form(self):
        """With the divergence's own value in J it would be noise: a variance of 11.1 for 7.0."""
        problem = build_objective("mixture_prior", terms="exact", items=2)
        model = mixture.toy(2, 2, 3, 1.0, 1.0, 0)
        params = problem.params.numpy()
        level = float(plain_mixture(model, "blind")(params))
        value = float(problem.exact_value()) + level
        assert relative(value, plain_mixture(model)(params)) < 1e-12
        whole = replace(problem, cost=lambda z, at: problem.cost(z, at) + level / 2)  # of 2 items
        method = build_estimator("score_function")
        quiet, noisy = (exact_moments(one, method) for one in (problem, whole))
        assert relative(quiet.mean, noisy.mean) < 1e-12
        assert noisy.variance.sum() > 1.5 * quiet.variance.sum()

    def test_the_components_of_the_exact_cost_see_no_sampled_label(self):
        problem, _ = mixture_case(terms="exact")
        z = problem.family.sample(problem.params, 4, 1, noise_of("label"))
        other = z.clone()
        other[..., -1, :] = other[..., -1, :].roll(1, -1)
        assert torch.equal(problem.costs(z, problem.params), problem.costs(other, problem.params))


NEED_DIRECT = ("mixture component", "mixture exact", "vamp two of the data", "vamp pseudo")
ESTIMATORS = ("score_function", "leave_one_out", "unordered_set")


@pytest.mark.parametrize("which", ESTIMATORS)
@pytest.mark.parametrize("name", DISCRETE)
def test_the_estimators_mean_is_the_exact_gradient(name, which):
    """Marginalized themselves: no sampling error. The cost without its direct term is caught."""
    problem, plain = SOUND[name]()
    method = build_estimator(which, samples=2)
    expected = complex_step(plain, problem.params.numpy()).ravel()
    assert relative(exact_moments(problem, method).mean, expected) < 1e-9
    untold = exact_moments(replace(problem, direct=False), method).mean
    if name in NEED_DIRECT:
        assert relative(untold, expected) > 1e-2
    else:  # the direct term is that of log q alone, or of the best prior: its mean is 0
        assert relative(untold, expected) < 1e-9


@pytest.mark.parametrize("name", ["vamp data", "vamp two of the data", "vamp pseudo"])
def test_a_detached_prior_loses_a_part_of_the_gradient(name):
    """The value stays. The gradient does only where the prior is the best one, q_Z itself."""
    problem, plain = SOUND[name]()

    def detached(z: Tensor, params: Tensor) -> Tensor:
        logits, codes = (x.unflatten(-1, (3, 2)) for x in (params[..., :6], z))
        log_q = BERNOULLI.log_prob(logits, codes).mean(-1)
        return problem.cost(z, params.detach()) + log_q - log_q.detach()

    wrong = replace(problem, cost=detached, value=None, gradient=None)
    assert relative(wrong.exact_value(), problem.exact_value()) < 1e-13
    expected = complex_step(plain, problem.params.numpy())
    lost = relative(wrong.exact_gradient(), expected)
    mean = exact_moments(wrong, build_estimator("leave_one_out")).mean
    assert relative(mean, wrong.exact_gradient()) < 1e-9
    print(name, f"detached: off by {lost:.3g} of the gradient's largest entry")
    assert lost < 1e-11 if name == "vamp data" else lost > 0.05


# Bounds on log p(x), from below


def evidence_of_mixture(model: tuple) -> float:
    prior, decoder, point = model
    items, rows, categories = point.shape
    total = 0.0
    for item in range(items):
        mass = 0.0
        for *z, c in itertools.product(range(categories), repeat=rows):
            log_p = prior.log_weights[c] + sum(
                prior.log_components[i, k, c] for i, k in enumerate(z)
            )
            seen = likelihood(decoder, np.eye(categories)[z].ravel(), item)
            mass += math.exp(float(log_p) + seen)
        total += math.log(mass)
    return total / items


def evidence_of_levels(levels) -> float:
    one, two = levels.second.shape
    joint = np.exp(levels.first.numpy()[:, None] + levels.second.numpy())
    found = []
    for item in range(len(levels.decoder.x)):
        mass = 0.0
        for i, j in itertools.product(range(one), range(two)):
            seen = likelihood(levels.decoder, np.r_[np.eye(one)[i], np.eye(two)[j]], item)
            mass += joint[i, j] * math.exp(seen)
        found.append(math.log(mass))
    return float(np.mean(found))


def evidence_of_gaussian(model) -> float:
    """By conditioning one pixel at a time: each is normal given those before it."""
    weights = model.weights.numpy()
    mean, spread = np.zeros(2), np.array([[1, model.alpha], [model.alpha, 1 + model.alpha**2]])
    total = 0.0
    for x in model.x.numpy():
        m, s = mean.copy(), spread.copy()
        for j, pixel in enumerate(x - model.start.numpy()):
            w = weights[:, j]
            variance = w @ s @ w + 1
            total += scipy.stats.norm.logpdf(pixel, w @ m, math.sqrt(variance))
            gain = s @ w / variance
            m, s = m + gain * (pixel - w @ m), s - np.outer(gain, w @ s)
    return total / len(model.x)


def evidence_of_pairs(pairs, chain: bool) -> float:
    items, steps, categories = pairs.prior.shape
    found = []
    for item in range(items):
        mass = 0.0
        for z in itertools.product(range(categories), repeat=steps):
            hot = np.eye(categories)[list(z)]
            if chain:
                log_p = float(pairs.prior[item, 0, z[0]])
                for t, (i, j) in enumerate(itertools.pairwise(z)):
                    log_p += float(pairs.moves[item, t, i, j])
                seen = sum(likelihood(pairs.decoder, hot[t], item, t) for t in range(steps))
            else:
                log_p = sum(float(pairs.prior[item, i, k]) for i, k in enumerate(z))
                seen = likelihood(pairs.decoder, hot.ravel(), item)
            mass += math.exp(log_p + seen)
        found.append(math.log(mass))
    return float(np.mean(found))


def reached(name: str) -> tuple[Callable[[float], Objective], float]:
    """Return a builder by distance, whose q can be the posterior, and E log p(x)."""
    if name == "mixture":
        shape = {"items": 3, "dimensions": 1, "categories": 3, "separation": 0.0, "seed": 2}
        model = mixture.toy(**shape, distance=1.0)
        return lambda d: build_objective("mixture_prior", **shape, distance=d), evidence_of_mixture(
            model
        )
    if name == "levels":
        evidence = evidence_of_levels(hierarchical.levels_model(3, 2, 3, 0))
        return lambda d: build_objective("hierarchical_prior", distance=d), evidence
    if name == "gaussian":
        evidence = evidence_of_gaussian(hierarchical.gaussian_model(3, 0))
        return (
            lambda d: build_objective("hierarchical_prior", latents="normal", distance=d),
            evidence,
        )
    chain = name == "label chain"
    latents = "chain" if chain else "categorical"
    shape = {"items": 4, "labels": 2, "dimensions": 3 if chain else 1, "categories": 3}
    pairs = conditional.pairs_of(latents, **shape, seed=0)
    return (
        lambda d: build_objective("conditional_prior", latents=latents, **shape, distance=d),
        evidence_of_pairs(pairs, chain),
    )


@pytest.mark.parametrize("name", ["mixture", "levels", "gaussian", "label", "label chain"])
def test_the_bound_is_the_evidence_at_the_posterior_and_below_it_elsewhere(name):
    build, evidence = reached(name)
    tight = build(0.0)
    assert relative(-tight.exact_value(), evidence) < 1e-13
    assert (tight.exact_gradient() == 0).all()
    # The formula's own gradient is 0 there too, up to rounding.
    slightly = tight.params + 1e-7
    assert tight.exact_gradient(slightly).abs().max() < 1e-5
    gaps = []
    for distance in (0.1, 1.0, 2.0):
        gaps.append(evidence + float(build(distance).exact_value()))
    print(name, "gap to log p at distances 0.1, 1, 2:", [f"{gap:.4g}" for gap in gaps])
    assert 0 < gaps[0] < gaps[1] < gaps[2]
    assert 50 < gaps[1] / gaps[0] < 200  # quadratic in the distance


def test_a_posterior_that_is_no_product_is_not_reached():
    settings = {"items": 3, "dimensions": 1, "categories": 3, "separation": 2.0, "seed": 2}
    model = mixture.toy(**settings, distance=0.0)
    problem = build_objective("mixture_prior", **settings, distance=0.0)
    assert float(problem.exact_value()) + evidence_of_mixture(model) > 0.01
    assert problem.exact_gradient().abs().max() > 1e-3


@pytest.mark.parametrize(("components", "count"), [("data", None), ("data", 2), ("pseudo", 3)])
def test_the_bound_of_a_vamp_prior_is_below_its_evidence(components, count):
    problem = build_objective("vamp_prior", components=components, count=count, seed=1)
    decoder, codes = vamp.toy(4, 3, 1), np.array(list(itertools.product((0, 1), repeat=3)))
    table = np.array([[likelihood(decoder, code, i) for code in codes] for i in range(4)])
    for params in points(problem):
        laws = np.array([[bit_law(r, c) for c in codes] for r in params.numpy().reshape(-1, 3)])
        prior = (laws[4:] if components == "pseudo" else laws[: count or 4]).mean(0)
        joint = np.exp(table) * prior
        evidence = np.log(joint.sum(1))
        posterior = joint / joint.sum(1, keepdims=True)
        gap = (laws[:4] * np.log(laws[:4] / posterior)).sum(1)
        found = evidence.mean() + float(problem.exact_value(params))
        assert found > 0
        assert relative(found, gap.mean()) < 1e-12


def aggregate(problem: Objective, items: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return q(z | x) of every data point and every z, and the mean of it."""
    codes = np.array(list(itertools.product((0, 1), repeat=bits)))
    rows = problem.params.numpy()[: items * bits].reshape(items, bits)
    laws = np.array([[bit_law(row, code) for code in codes] for row in rows])
    return laws, laws.mean(0)


@pytest.mark.parametrize("data", ["toy", "digits"])
def test_no_prior_beats_every_data_point_as_a_component(data):
    """The bound falls by exactly KL(q_Z || p) under any other p, and q is the same in all."""
    few = {"items": 3} if data == "digits" else {"items": 3, "dimensions": 3, "seed": 2}
    few |= {"data": data, "training_steps": 0}
    best = build_objective("vamp_prior", **few)
    bits = 8 if data == "digits" else 3
    laws, centre = aggregate(best, 3, bits)
    codes = [np.array(code) for code in itertools.product((0, 1), repeat=bits)]
    fewer = build_objective("vamp_prior", **few, count=2)
    pseudo = build_objective("vamp_prior", **few, components="pseudo", count=4)
    point = torch.cat((best.params, pseudo.params[best.params.numel() :]))
    if data == "digits":  # the encoder is one and the same
        assert torch.equal(point, pseudo.params)
    rows = pseudo.params.numpy()[best.params.numel() :].reshape(-1, bits)
    components = np.array([[bit_law(row, code) for code in codes] for row in rows])
    for name, value, prior in (
        ("two of three", fewer.exact_value(best.params), laws[:2].mean(0)),
        ("pseudo-inputs", pseudo.exact_value(point), components.mean(0)),
    ):
        loss = float(value - best.exact_value())
        print(f"{data}: {name} lose {loss:.4g} nats")
        assert loss > 1e-3
        assert relative(loss, (centre * np.log(centre / prior)).sum()) < 1e-10


# The digits


def network(weights: np.ndarray, inputs: int, hidden: int, outputs: int, x: np.ndarray):
    """Two layers, tanh between, of flat weights: matrix, bias, matrix, bias."""
    parts = np.split(weights, np.cumsum([hidden * inputs, hidden, outputs * hidden]))
    inner = np.tanh(x @ parts[0].reshape(hidden, inputs).T + parts[1])
    return inner @ parts[2].reshape(outputs, hidden).T + parts[3]


def digits_of(latents: str, items: int, steps: int):
    """Return the model, its images, every z flat, and log p(x | z) [items, states] by numpy."""
    model = digits_model(latents, steps)
    x = binary_digits()[torch.linspace(0, 1796, items).long()].numpy()
    if latents == "bernoulli":
        z = np.array(list(itertools.product((0.0, 1.0), repeat=8)))
    else:
        pairs = itertools.product(np.eye(10), repeat=2)
        z = np.array([np.concatenate(pair) for pair in pairs])
    logits = network(model.decoder.numpy(), z.shape[1], 32, 64, 2 * z - 1)
    table = x @ logits.T - np.log1p(np.exp(logits)).sum(1)
    return model, x, z, table


def digits_vamp(items: int, count: int) -> tuple[Objective, np.ndarray, Plain]:
    """Return the objective, its weights and pixels, and its value as a function of them."""
    model, x, z, table = digits_of("bernoulli", items, 40)
    settings = {"items": items} | ({"components": "pseudo", "count": count} if count else {})
    problem = build_objective("vamp_prior", data="digits", **settings)
    images = binary_digits()
    picked = Noise(0, "vamp_prior", "digits", dtype=torch.float64).integers(1797, max(count, 1))
    pixels = (0.5 * (images[picked] + images.mean(0))).numpy()[:count]
    size = model.encoder.numel()

    def laws(weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        logits = network(weights, 64, 16, 8, 2 * inputs - 1)
        on = 1 / (1 + np.exp(-logits))[:, None]
        return np.where(z == 1, on, 1 - on).prod(-1)

    def value(at: np.ndarray) -> complex:
        q = laws(at[:size], x)
        prior = laws(at[:size], at[size:].reshape(-1, 64)) if count else q
        return (q * (np.log(q / prior.mean(0)) - table)).sum(1).mean()

    return problem, np.concatenate((model.encoder.numpy(), pixels.ravel())), value


def digits_mixture(terms: str) -> tuple[Objective, np.ndarray, Plain]:
    """Return the objective, its encoder's and head's weights, and its value."""
    model, x, z, table = digits_of("categorical", 3, 40)
    problem = build_objective("mixture_prior", data="digits", items=3, terms=terms)
    noise = Noise(0, "mixture_prior", "digits", dtype=torch.float64)
    head = (noise.normal(10, 64) / 8).numpy()
    codes = network(model.encoder.numpy(), 64, 16, 20, 2 * binary_digits().numpy() - 1)
    codes = np.exp(log_softmax(codes.reshape(-1, 2, 10)))
    joint = np.einsum("nj,nk->jk", codes[:, 0], codes[:, 1]) / len(codes)
    prior = mixture.fitted(torch.from_numpy(joint), 10, noise)
    log_c, log_z = prior.log_weights.numpy(), prior.log_components.numpy()
    by_c = log_c + z @ log_z.reshape(20, 10)  # log p(z, c), [states, 10]
    size = model.encoder.numel()

    def both_parts(at: np.ndarray, seen: np.ndarray) -> complex:
        rows = log_softmax(network(at[:size], 64, 16, 20, 2 * x - 1).reshape(-1, 2, 10))
        log_q = rows.reshape(-1, 20) @ z.T  # [items, states]
        weights = at[size:].reshape(10, 65)
        label = log_softmax((2 * x - 1) @ weights[:, :64].T + weights[:, 64])
        both = log_q[:, :, None] + label[:, None]
        inside = np.exp(both) * (both - by_c - seen[:, :, None])
        return inside.sum((1, 2)).mean()

    head = np.concatenate((head, np.zeros((10, 1))), 1)
    point = np.concatenate((model.encoder.numpy(), head.ravel()))
    level = both_parts(point, 0 * table) if terms == "exact" else 0
    return problem, point, lambda at: both_parts(at, table) - level


DIGITS = {
    "vamp data": lambda: digits_vamp(8, 0),
    "vamp pseudo": lambda: digits_vamp(8, 3),
    "mixture sampled": lambda: digits_mixture("sampled"),
    "mixture exact": lambda: digits_mixture("exact"),
}


@pytest.mark.parametrize("name", DIGITS)
def test_the_digits_gradient_by_weights_and_pixels(name):
    """Value and six directions of the gradient, all by numpy from the flat weights."""
    problem, at, value = DIGITS[name]()
    assert relative(problem.exact_value(), value(at)) < 1e-12
    found = problem.pullback(problem.exact_gradient()[None])[0].numpy()
    assert found.shape == at.shape
    random = np.random.default_rng(5)
    tail = 192 if name == "vamp pseudo" else 650 if name.startswith("mixture") else len(at)
    for direction in random.normal(size=(6, len(at))):
        tails = direction * (np.arange(len(at)) >= len(at) - tail)  # the pixels, or the head
        for step in (direction, tails):
            expected = value(at + 1e-30j * step).imag / 1e-30
            assert relative(found @ step, expected) < 1e-9
    assert relative(found[::-1] @ direction, value(at + 1e-30j * direction).imag / 1e-30) > 1e-2


def test_the_digits_mixture_fits_the_codes():
    """EM brings KL(q_Z || p) of 1,797 digits from a uniform prior's 0.10 nats below 0.001."""
    codes = network(
        digits_model("categorical", 40).encoder.numpy(), 64, 16, 20, 2 * binary_digits().numpy() - 1
    )
    codes = np.exp(log_softmax(codes.reshape(-1, 2, 10)))
    joint = np.einsum("nj,nk->jk", codes[:, 0], codes[:, 1]) / len(codes)
    prior = mixture.fitted(torch.from_numpy(joint), 10, Noise(0, "fit", dtype=torch.float64))
    weights, rows = prior.log_weights.exp().numpy(), prior.log_components.exp().numpy()
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-12)
    fitted = np.einsum("c,jc,kc->jk", weights, *rows)
    assert (joint * np.log(joint / fitted)).sum() < 0.002
    assert (joint * np.log(joint * 100)).sum() > 0.05


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vamp_prior", {"components": "pseudo", "count": 1, "items": 1}),
        ("mixture_prior", {"items": 2}),
        ("mixture_prior", {"items": 2, "terms": "component"}),
    ],
)
def test_the_score_functions_mean_is_exact_on_digits(name, settings):
    problem = build_objective(name, data="digits", **settings)
    expected = problem.pullback(problem.exact_gradient()[None])[0]
    found = exact_moments(problem, build_estimator("score_function", samples=2), most=2**12)
    assert relative(found.mean, expected) < 1e-9
    assert (found.variance > 0).any()


def test_eight_digits_together_can_be_measured():
    """2^64 codes: no list of them is made, and the draws are centred on the exact gradient."""
    problem = build_objective("vamp_prior", data="digits", items=8, training_steps=0)
    method = build_estimator("leave_one_out", samples=4)
    assert exact_moments(problem, method) is None
    blocks = measure_cell(problem, method, draws=4096, timing=0).blocks
    assert blocks.first.shape == (64, problem.jacobian.shape[-1])
    assert not blocks.nonfinite.any()


# The chain of two normals

CHAIN = torch.tensor(
    [[0.4, -0.3, 0.8, -0.6, 0.2], [-1.1, 0.3, -0.5, 0.9, -0.8]], dtype=torch.float64
)  # two items
SHAPES = pytest.mark.parametrize("items", [0, 2])


def chain_of(items: int) -> Tensor:
    return CHAIN if items else CHAIN[0]


def joint_law(row: Tensor):
    """Return scipy's normal law of (z1, z2), of one item."""
    m1, r1, a, b, r2 = row.tolist()
    v1, v2 = math.exp(2 * r1), math.exp(2 * r2)
    spread = [[v1, a * v1], [a * v1, a * a * v1 + v2]]
    return scipy.stats.multivariate_normal([m1, a * m1 + b], spread)


def p_value(z: Tensor, row: Tensor) -> float:
    """Return the chi-square p-value of z [n, 2] in 16 cells that are equally likely under row.

    The cells are quartiles of z1, and of z2 given z1 by the conditional law of the joint normal.
    """
    law = joint_law(row)
    (m1, m2), ((v1, c), (_, v2)) = law.mean, law.cov
    x, y = z.numpy().T
    first = scipy.stats.norm.cdf(x, m1, math.sqrt(v1))
    second = scipy.stats.norm.cdf(y, m2 + c / v1 * (x - m1), math.sqrt(v2 - c * c / v1))
    cells = (4 * first).astype(int) * 4 + (4 * second).astype(int)
    return float(scipy.stats.chisquare(np.bincount(cells, minlength=16)).pvalue)


class TestGaussianChain:
    @SHAPES
    def test_log_prob_is_that_of_a_joint_normal(self, items):
        params = chain_of(items)
        z = GAUSSIAN_CHAIN.sample(params, 20, 3, noise_of("log_prob"))
        found = GAUSSIAN_CHAIN.log_prob(params, z)
        assert found.shape == (20, 3, *params.shape[:-1])
        for item, row in enumerate(CHAIN[: max(items, 1)]):
            at = z[:, :, item] if items else z
            expected = torch.from_numpy(joint_law(row).logpdf(at.numpy()))
            mine = found[:, :, item] if items else found
            torch.testing.assert_close(mine, expected, rtol=1e-11, atol=1e-11)

    @SHAPES
    def test_score_is_the_derivative_of_log_prob(self, items):
        params = chain_of(items)
        z = GAUSSIAN_CHAIN.sample(params, 20, 3, noise_of("score"))
        leaf = params.expand(20, 3, *params.shape).clone().requires_grad_()
        (expected,) = torch.autograd.grad(GAUSSIAN_CHAIN.log_prob(leaf, z).sum(), leaf)
        found = GAUSSIAN_CHAIN.score(params, z)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
        assert draws_last(found).is_contiguous()
        without = found.clone()
        without[..., 2] /= z[..., 0]  # the slope's score without z1
        assert relative(without, expected) > 0.1

    @SHAPES
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    def test_path_is_the_sample_with_its_derivative(self, items, dtype):
        params = chain_of(items).to(dtype)
        path = GAUSSIAN_CHAIN.path(params, 20, 3, 0.5, noise_of("path", dtype=dtype))
        z = GAUSSIAN_CHAIN.sample(params, 20, 3, noise_of("path", dtype=dtype))
        assert path.hard.dtype == dtype
        torch.testing.assert_close(path.hard, z)
        assert torch.equal(path.soft, path.hard)
        assert draws_last(path.hard).is_contiguous()
        assert draws_last(z).is_contiguous()
        # z by its law alone, differentiated at every sample's own copy of params.
        leaf = params.double().expand(20, 3, *params.shape).clone().requires_grad_()
        eps = self.noise_behind(params.double(), path.hard.double())
        m1, r1, a, b, r2 = leaf.unbind(-1)
        first = m1 + r1.exp() * eps[0]
        again = torch.stack((first, a * first + b + r2.exp() * eps[1]), -1)
        slope = noise_of("slope").normal(*z.shape)
        (expected,) = torch.autograd.grad((again * slope).sum(), leaf)
        found = path.vjp(slope.to(dtype)).double()
        assert relative(found, expected) < (1e-5 if dtype == torch.float32 else 1e-12)
        forgotten = found - slope[..., 1:] * params[..., 2:3].double()  # z1's way through z2
        assert relative(forgotten[..., 0], expected[..., 0]) > 0.1

    @staticmethod
    def noise_behind(params: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        m1, r1, a, b, r2 = params.unbind(-1)
        return (z[..., 0] - m1) / r1.exp(), (z[..., 1] - a * z[..., 0] - b) / r2.exp()

    def test_frequencies(self):
        z = GAUSSIAN_CHAIN.sample(CHAIN, 20_000, 2, noise_of("frequencies"))
        hard = GAUSSIAN_CHAIN.path(CHAIN, 20_000, 2, 1.0, noise_of("hard")).hard
        moved = CHAIN + torch.tensor([0, 0, 0.15, 0, 0], dtype=torch.float64)
        for drawn in (z, hard):
            for item, row in enumerate(CHAIN):
                assert p_value(drawn[:, :, item].flatten(0, 1), row) > FALSE_ALARM
                assert p_value(drawn[:, :, item].flatten(0, 1), moved[item]) < FALSE_ALARM / 100
        crossed = torch.stack((z[:, 0, 0, 0], z[:, 1, 0, 1]), -1)  # z2 of another sample
        assert p_value(crossed, CHAIN[0]) < FALSE_ALARM / 100

    def test_items_and_samples_are_independent(self):
        z = GAUSSIAN_CHAIN.sample(CHAIN, 20_000, 2, noise_of("independent"))
        correlations = np.corrcoef(z.flatten(1).numpy().T)
        inside = np.kron(np.eye(4), np.ones((2, 2)))  # of the two variables of one z
        limit = scipy.stats.norm.isf(FALSE_ALARM / 48) / math.sqrt(20_000)
        assert np.abs(correlations[inside == 0]).max() < limit
        within = [correlations[i, i + 1] for i in range(0, 8, 2)]
        expected = []
        for row in CHAIN:
            spread = joint_law(row).cov
            expected.append(spread[0, 1] / math.sqrt(spread[0, 0] * spread[1, 1]))
        assert np.abs(np.array(within) - expected * 2).max() < limit

    @SHAPES
    def test_mean_and_quantile(self, items):
        params = chain_of(items)
        mean = GAUSSIAN_CHAIN.mean(params)
        expected = np.array([joint_law(row).mean for row in CHAIN[: max(items, 1)]])
        np.testing.assert_allclose(mean.numpy(), expected if items else expected[0], rtol=1e-12)
        assert GAUSSIAN_CHAIN.uniforms(params) == (*params.shape[:-1], 2)
        u = noise_of("u").uniform(9, 2, *GAUSSIAN_CHAIN.uniforms(params))
        z = GAUSSIAN_CHAIN.quantile(params, u)
        eps = torch.stack(self.noise_behind(params, z), -1)
        torch.testing.assert_close(torch.special.ndtr(eps), u, rtol=1e-12, atol=1e-13)
        each = params.expand(9, 1, *params.shape)
        torch.testing.assert_close(GAUSSIAN_CHAIN.quantile(each, u), z, rtol=1e-14, atol=1e-14)

    def test_what_it_is(self):
        assert GAUSSIAN_CHAIN.exact_path
        assert (GAUSSIAN_CHAIN.states, GAUSSIAN_CHAIN.mean_vjp) == (None, None)


LINEAR = {"latents": "normal", "items": 2, "seed": 3}
CONTINUOUS = [
    ("score_function", {"samples": 4}),
    ("leave_one_out", {"samples": 4}),
    ("reparameterization", {"samples": 2}),
    ("quasi_monte_carlo_reparameterization", {"samples": 4}),
    ("quasi_monte_carlo_score_function", {"samples": 8}),
]


def test_the_estimators_of_two_gaussian_levels_are_unbiased():
    """The one bias test on all of them together; then on two that are wrong."""
    problem = build_objective("hierarchical_prior", **LINEAR)
    methods = {name: build_estimator(name, **settings) for name, settings in CONTINUOUS}
    wrong = {
        "shrunk": shrunk(methods["reparameterization"], 0.1),
        "z1 does not move z2": methods["reparameterization"],
    }

    def forgetful(params: Tensor, count: int, samples: int, heat: float, noise: Noise) -> Path:
        found = GAUSSIAN_CHAIN.path(params, count, samples, heat, noise)

        def vjp(slope: Tensor) -> Tensor:
            pulled = found.vjp(slope).clone()
            pulled[..., 0] -= params[..., 2] * slope[..., 1]
            return pulled

        return Path(found.hard, found.soft, vjp)

    family = replace(GAUSSIAN_CHAIN, path=forgetful)
    problems = {"z1 does not move z2": replace(problem, family=family)}
    for subjects, outcome, draws in (
        (methods, "unbiased", 131_072),
        (wrong, "biased", 16_384),
    ):
        cells = {
            name: blocks_of(problems.get(name, problem), method, draws, SEED)
            for name, method in subjects.items()
        }
        found = judge(
            cells,
            lambda name, those=subjects, count=draws: fresh_blocks(
                problems.get(name, problem), those[name], count, SEED
            ),
        )
        for name, one in found.items():
            print(f"{name}: {one.one_line()}")
            assert one.outcome == outcome, name


# Facts and errors


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: f"{fact.row}-{fact.name}")
def test_every_fact_holds_and_can_fail(fact):
    assert fact.row in ("S31", "S32", "S33", "S35")
    assert fact.row in ROWS
    left, right = (np.asarray(side(), np.float64) for side in (fact.left, fact.right))

    def passed(one: np.ndarray, other: np.ndarray) -> bool:
        mine: Fact = replace(fact, left=lambda: one, right=lambda: other)
        return evaluate(mine).passed

    assert passed(left, right)
    assert not passed(left * 1.001, right)
    assert not passed(left, right * 1.001)


def test_every_row_has_a_fact_and_says_its_slip():
    assert {fact.row for fact in FACTS} == {"S31", "S32", "S33", "S35"}
    assert {fact.row for fact in FACTS if "encoder" in fact.slip} == {"S31", "S32"}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mixture_prior", {"data": "mnist"}, "toy or digits, got 'mnist'"),
        ("mixture_prior", {"terms": "both"}, "sampled, component or exact, got 'both'"),
        ("mixture_prior", {"items": 0}, "items >= 1, got 0"),
        ("mixture_prior", {"dimensions": 0}, "dimensions >= 1, got 0"),
        ("mixture_prior", {"categories": 1}, "categories >= 2, got 1"),
        ("mixture_prior", {"separation": math.inf}, "separation: a finite number, got inf"),
        ("mixture_prior", {"distance": -1.0}, "distance >= 0, got -1.0; 0 is the closest q"),
        ("mixture_prior", {"dimensions": 6, "categories": 5}, "15,625 are more than 4,096"),
        (
            "mixture_prior",
            {"data": "digits", "categories": 4},
            "takes its categories from the model, got categories 4; leave it out",
        ),
        ("mixture_prior", {"data": "digits", "training_steps": -1}, "training_steps >= 0"),
        ("mixture_prior", {"data": "digits", "distance": 2.0}, "takes its distance from the model"),
        ("mixture_prior", {"data": "digits", "separation": 0.0}, "takes its separation from the"),
        ("mixture_prior", {"categories": 10**9}, "are more than 4,096"),
        ("mixture_prior", {"dimensions": 10**7}, "3^10,000,000 are more than 4,096"),
        ("mixture_prior", {"items": 10**9}, "use fewer items, dimensions or categories"),
        ("mixture_prior", {"dimensions": 1, "categories": 4096}, "an array of 67,108,864 numbers"),
        ("vamp_prior", {"items": 10**9}, "use fewer items, components"),
        ("vamp_prior", {"components": "pseudo", "count": 10**9}, "use fewer items, components"),
        ("hierarchical_prior", {"items": 10**9}, "use fewer items"),
        ("conditional_prior", {"items": 10**9}, "use fewer items, labels"),
        ("vamp_prior", {"dimensions": 10**7}, "2^10,000,000 are more than 4,096; use fewer dim"),
        ("hierarchical_prior", {"first": 10**5, "second": 10**5}, "fewer states of z1 or z2"),
        ("hierarchical_prior", {"latents": "normal", "distance": 1e3}, "beyond the numbers of"),
        ("conditional_prior", {"categories": 10**9}, "are more than 4,096"),
        ("conditional_prior", {"latents": "chain", "categories": 10**5}, "use fewer steps or cat"),
        (
            "conditional_prior",
            {"latents": "chain", "dimensions": 10**7},
            "got steps 10,000,000; use 10,000",
        ),
        ("conditional_prior", {"labels": 10**9}, "labels, dimensions or categories"),
        ("vamp_prior", {"components": "random"}, "data or pseudo, got 'random'"),
        ("vamp_prior", {"items": 3, "count": 4}, "3 data points to take components from, got"),
        ("vamp_prior", {"components": "pseudo", "count": 0}, "count >= 1, got 0"),
        ("vamp_prior", {"dimensions": 13}, "8,192 are more than 4,096; use fewer"),
        ("vamp_prior", {"data": "digits", "dimensions": 4}, "leave it out, or use data: toy"),
        ("hierarchical_prior", {"latents": "bernoulli"}, "categorical or normal, got"),
        ("hierarchical_prior", {"first": 1}, "first >= 2, got 1"),
        (
            "hierarchical_prior",
            {"latents": "normal", "second": 3},
            "with normal latents has no states, got second 3; leave it out",
        ),
        ("hierarchical_prior", {"distance": math.nan}, "distance: a finite number, got nan"),
        ("conditional_prior", {"latents": "normal"}, "categorical or chain, got 'normal'"),
        ("conditional_prior", {"labels": 1}, "labels >= 2, got 1"),
        ("conditional_prior", {"latents": "chain", "dimensions": 1}, "dimensions >= 2, got 1"),
        ("conditional_prior", {"dimensions": 8}, "6,561 are more than 4,096"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(BadArgument) as caught:
        build_objective(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
