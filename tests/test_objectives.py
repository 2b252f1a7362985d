"""Objectives: exact values and gradients held against enumeration, differences and quadrature.

Everything here is deterministic and in float64 unless it says otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.polynomial import hermite_e
from torch import Tensor

from benchbed.catalogue import OBJECTIVES, build_objective
from benchbed.contracts import Objective
from benchbed.enumeration import marginalize
from benchbed.errors import BadArgument
from benchbed.objectives import _digits_model, _trained
from benchbed.objectives._digits_model import binary_digits, digits_model
from benchbed.rng import Noise

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "coupled": [
        {"dimensions": 3, "seed": 4},
        {"dimensions": 6},
        {"dimensions": 5, "logits": 0.7, "seed": 1, "extension": "multilinear"},
        {"dimensions": 4, "extension": "cubic"},
    ],
    "digits_vae": [
        {"training_steps": 0, "images": 3},
        {"training_steps": 2, "images": 2, "extension": "cubic"},
        {"training_steps": 0, "images": 2, "extension": "multilinear"},
        {"latents": "categorical", "training_steps": 0, "images": 2},
        {"latents": "categorical", "training_steps": 2, "images": 1, "extension": "multilinear"},
        {"latents": "categorical", "training_steps": 0, "images": 2, "extension": "cubic"},
    ],
    "beta_quadratic": [{}, {"dimensions": 2, "k": 0.2}],
    "dirichlet_quadratic": [{}, {"dimensions": 1, "categories": 4, "seed": 3}],
    "gamma_quadratic": [{}, {"dimensions": 3, "k": -0.5}],
    "poisson_quadratic": [{}, {"dimensions": 2, "k": 0.5}],
    "quantized": [{}, {"dimensions": 3, "codes": 2, "scale": 0.3, "seed": 2}],
    "iwae": [
        {},
        {"latents": "categorical", "items": 2, "distance": 2.0},
        {"latents": "normal", "particles": 2, "seed": 1},
    ],
    "golden_bits": [{}, {"extension": "multilinear"}, {"extension": "cubic"}],
    "normal_cosine": [{}, {"k": 2.5, "dimensions": 3, "mean": -0.4, "scale": 0.7}],
    "normal_exponential": [{}, {"k": 0.8, "dimensions": 2, "mean": 0.3, "scale": 0.7}, {"k": 0.0}],
    "normal_quadratic": [{}, {"k": -1.5, "dimensions": 3, "mean": 0.2, "scale": 0.7}],
    "polynomial": [
        {"dimensions": 3, "categories": 4},
        {"dimensions": 4, "categories": 3, "exponent": 1.5, "target": 0.5, "seed": 2},
        {"dimensions": 5, "categories": 2, "exponent": 3, "extension": "multilinear"},
        {"dimensions": 2, "categories": 5, "spread": 0.0, "extension": "cubic"},
    ],
    "quadratic": [
        {},
        {"dimensions": 1, "target": 0.499},
        {"dimensions": 5, "target": 0.3, "reduce": "sum", "logits": -1.5},
        {"dimensions": 4, "extension": "multilinear"},
        {"dimensions": 4, "extension": "cubic"},
    ],
    "smooth": [
        {"dimensions": 1, "categories": 2},
        {"dimensions": 3, "categories": 4, "seed": 5, "spread": 0.5},
        {"dimensions": 3, "categories": 3, "extension": "multilinear"},
        {"dimensions": 4, "categories": 3, "extension": "cubic"},
    ],
    "table": [{"dimensions": 1, "categories": 3}, {"dimensions": 3, "categories": 4, "seed": 3}],
    "elbo": [
        {},
        {
            "form": "dvae",
            "terms": "total_correlation",
            "latents": "categorical",
            "data": 2,
            "total_correlation": 4.0,
            "mutual_information": 0.5,
        },
        {"form": "maxent", "terms": "sampled", "data": 2, "seed": 1},
    ],
    "log_marginal": [{}, {"latents": "bernoulli", "dimensions": 3, "seed": 1}],
    "expectation_maximization": [{}, {"data": 3, "components": 2, "distance": 2.0, "seed": 1}],
    "prior_bound": [{}, {"latents": "categorical", "dimensions": 2, "seed": 1}],
    "rate_distortion": [
        {},
        {
            "multiplier": 3.0,
            "terms": "exact",
            "latents": "categorical",
            "dimensions": 1,
            "iterations": 2,
        },
    ],
    "adversarial": [
        {},
        {"divergence": "wasserstein", "dimensions": 2, "categories": 3},
        {
            "divergence": "pearson",
            "critic": "network",
            "critic_steps": 20,
            "categories": 3,
            "dimensions": 2,
            "seed": 1,
        },
    ],
    "logistic_regression": [
        {"examples": 16, "training_steps": 2},
        {"examples": 5, "terms": "exact", "training_steps": 0, "prior_scale": 2.0},
    ],
    "step": [{}, {"dimensions": 2, "scale": 0.3, "seed": 2}],
    "snap": [
        {"dimensions": 2, "categories": 3},
        {"dimensions": 1, "categories": 4, "scale": 0.3, "seed": 2},
    ],
    "vector_quantized": [
        {},
        {
            "dimensions": 2,
            "coordinates": 1,
            "codes": 4,
            "commitment": 0.6,
            "task_codes": "frozen",
            "seed": 1,
        },
    ],
    "rainforth": [
        {"particles": 2, "items": 2, "dimensions": 2},
        {
            "particles": 3,
            "gradient": "generative",
            "items": 2,
            "dimensions": 2,
            "perturbation": 0.2,
        },
    ],
    "mixture_prior": [
        {"items": 2, "dimensions": 1},
        {"items": 2, "terms": "component", "separation": 2.0, "seed": 1},
        {"data": "digits", "terms": "exact", "items": 1, "training_steps": 2},
    ],
    "vamp_prior": [
        {"items": 3, "dimensions": 2},
        {"components": "pseudo", "items": 2, "dimensions": 2, "seed": 1},
        {"data": "digits", "components": "pseudo", "count": 1, "items": 1, "training_steps": 2},
    ],
    "hierarchical_prior": [
        {"items": 2},
        {"first": 3, "second": 2, "items": 1, "seed": 1},
        {"latents": "normal", "items": 2},
    ],
    "conditional_prior": [
        {"items": 2},
        {"latents": "chain", "items": 2, "categories": 2, "seed": 1},
    ],
    "nested": [{"categories": 3, "dimensions": 1}, {"dimensions": 2, "scale": 1.2, "seed": 3}],
    "compartmentalized": [
        {"images": 4},
        {"images": 2, "labelled": 0, "style": 2, "labels": 2, "seed": 1},
        {"data": "digits", "images": 2, "training_steps": 0},
    ],
    "rebar_toy": [{}, {"target": 0.499, "logits": 0.5}],
    "arm_toy": [{"p0": 0.51, "logits": -0.4}],
    "shared_logit_toy": [{}, {"logit": -4.0}],
    "reinmax_toy": [{}],
    "carms_toy": [{}, {"alpha": 100.0}],
    "gumbel_rao_toy": [{}],
    "mohamed_toy": [{}, {"cost": "cosine", "k": 2.0}],
    "double_cv_toy": [{}],
    "markov_chain": [
        {"steps": 3, "categories": 3},
        {"steps": 4, "categories": 2, "shared": False, "spread": 0.5, "seed": 3},
    ],
    "hidden_markov": [
        {"steps": 3, "categories": 2, "symbols": 3},
        {"steps": 4, "distance": 2.0, "seed": 1},
    ],
    "binary_tree": [{"leaves": 3}, {"leaves": 4, "labels": 1, "spread": 0.5, "seed": 2}],
    "pcfg": [{"leaves": 3}, {"leaves": 4, "distance": 2.0, "seed": 3}],
}
CASES = [(name, settings) for name, several in SETTINGS.items() for settings in several]
ENDLESS = (
    "normal", "beta", "dirichlet", "gamma", "poisson", "logistic_regression", "rainforth",
    "nested", "compartmentalized", "reinmax_toy", "mohamed_toy", "double_cv_toy")  # fmt: skip
FINITE = [
    case for case in CASES if not case[0].startswith(ENDLESS) and case[1].get("latents") != "normal"
]


def label(case: tuple[str, dict[str, Any]]) -> str:
    return "-".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=label)


def build(case: tuple[str, dict[str, Any]]) -> Objective:
    return build_objective(case[0], **case[1])


def off_the_point(objective: Objective) -> Tensor:
    """Return params other than the objective's own, where no term vanishes by symmetry."""
    noise = Noise(31, "off the point", dtype=torch.float64)
    return objective.params + 0.3 * noise.normal(*objective.params.shape)


def differences(value: Callable[[Tensor], Tensor], params: Tensor, step: float = 1e-3) -> Tensor:
    """Return the central-difference gradient of a scalar function, extrapolated once."""
    gradient = torch.empty_like(params)
    for index in itertools.product(*map(range, params.shape)):
        rates = []
        for size in (step, step / 2):
            move = torch.zeros_like(params)
            move[index] = size
            rates.append((value(params + move) - value(params - move)) / (2 * size))
        gradient[index] = (4 * rates[1] - rates[0]) / 3
    return gradient


def gap(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over the norm of what was expected."""
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


def states(objective: Objective) -> Tensor:
    """Return every z of one item, the same for all items: [states, 1, *items, *event]."""
    family, params = objective.family, objective.params
    z = family.enumerate(params, torch.arange(family.states(params)))
    items = family.items(params)
    z = z.reshape(len(z), 1, *(1,) * len(items), *z.shape[1:])
    return z.expand(len(z), 1, *items, *z.shape[2 + len(items) :]).clone()


def inside(objective: Objective, draws: int, samples: int, dtype=torch.float64) -> Tensor:
    """Return z strictly between the corners (any z, for one that has none)."""
    noise = Noise(32, "inside", dtype=dtype)
    try:
        return objective.family.path(objective.params.to(dtype), draws, samples, 0.8, noise).soft
    except BadArgument:  # a family that has none
        return objective.family.sample(objective.params.to(dtype), draws, samples, noise)


def test_every_objective_is_here():
    assert set(SETTINGS) == set(OBJECTIVES)


@pytest.mark.parametrize("case", FINITE, ids=label)
def test_value_and_gradient_by_enumeration(case):
    objective = build(case)
    for params in (objective.params, off_the_point(objective)):
        value, gradient = marginalize(objective, params)
        assert float(objective.exact_value(params)) == pytest.approx(float(value), rel=1e-12)
        assert gap(objective.exact_gradient(params), gradient) < 1e-11


@pytest.mark.parametrize("name", SETTINGS)
def test_exact_at_float32_params(name):
    """A float32 point is a float64 point that was rounded: the sums stay in float64."""
    objective = build((name, SETTINGS[name][0]))
    rounded = off_the_point(objective).float()
    value, gradient = objective.exact_value(rounded), objective.exact_gradient(rounded)
    assert value.dtype == gradient.dtype == torch.float64
    assert torch.equal(value, objective.exact_value(rounded.double()))
    assert torch.equal(gradient, objective.exact_gradient(rounded.double()))


@EVERY_CASE
class TestExact:
    def test_gradient_by_central_differences(self, case):
        objective = build(case)
        for params in (objective.params, off_the_point(objective)):
            expected = differences(objective.exact_value, params)
            found = objective.exact_gradient(params)
            if expected.norm() < 1e-9:  # normal_exponential at k = 0 is constant
                assert found.norm() < 1e-9
                continue
            assert gap(found, expected) < 1e-7
            assert gap(1.001 * found, expected) > 1e-7

    def test_dtype_shape_and_default_point(self, case):
        objective = build(case)
        assert objective.params.dtype == torch.float64
        value, gradient = objective.exact_value(), objective.exact_gradient()
        assert value.dtype == gradient.dtype == torch.float64
        assert value.shape == ()
        assert gradient.shape == objective.params.shape
        assert not gradient.requires_grad
        assert torch.equal(gradient, objective.exact_gradient(objective.params))


@EVERY_CASE
class TestCost:
    def test_direct_is_declared_where_the_cost_depends_on_params(self, case):
        objective = build(case)
        leaf = objective.params.clone().requires_grad_()
        z = objective.family.sample(objective.params, 5, 2, Noise(33, dtype=torch.float64))
        total = objective.cost(z, leaf).sum()
        depends = False
        if total.requires_grad:
            (slope,) = torch.autograd.grad(total, leaf, allow_unused=True)
            depends = slope is not None and bool(slope.abs().max() > 0)
        assert objective.direct == depends

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    def test_shape_and_dtype_at_corners_and_inside(self, case, dtype):
        objective = build(case)
        params = objective.params.to(dtype)
        corners = objective.family.sample(params, 5, 3, Noise(34, dtype=dtype))
        for z in (corners, inside(objective, 5, 3, dtype)):
            cost = objective.cost(z, params)
            assert cost.shape == (5, 3, *objective.family.items(params))
            assert cost.dtype == dtype
            assert torch.isfinite(cost).all()

    def test_every_draw_and_sample_and_item_is_on_its_own(self, case):
        objective = build(case)
        params = objective.params
        z = inside(objective, 3, 2)
        cost = objective.cost(z, params)
        for i, j in itertools.product(range(3), range(2)):
            alone = objective.cost(z[i : i + 1, j : j + 1], params)[0, 0]
            torch.testing.assert_close(cost[i, j], alone, rtol=1e-12, atol=1e-12)
        if objective.family.items(params):
            moved = z.clone()
            moved[:, :, 0] = 1 - moved[:, :, 0]
            assert (objective.cost(moved, params)[..., 0] != cost[..., 0]).all()
            assert torch.equal(objective.cost(moved, params)[..., 1:], cost[..., 1:])

    def test_params_may_have_the_axes_of_draws_and_samples(self, case):
        """Estimators differentiate the direct term at one copy of params for every sample."""
        objective = build(case)
        z = inside(objective, 3, 2)
        copies = objective.params.expand(3, 2, *objective.params.shape)
        torch.testing.assert_close(
            objective.cost(z, copies), objective.cost(z, objective.params), rtol=1e-13, atol=0
        )

    def test_float32_agrees_with_float64(self, case):
        objective = build(case)
        for z in (
            objective.family.sample(objective.params.float(), 50, 2, Noise(35)),
            inside(objective, 50, 2, torch.float32),
        ):
            single = objective.cost(z, objective.params.float()).double()
            double = objective.cost(z.double(), objective.params)
            assert (single - double).abs().max() < 2e-6 * double.abs().max()

    def test_slope_is_the_derivative_of_cost_in_z(self, case):
        objective = build(case)
        assert objective.differentiable
        z = objective.family.sample(objective.params, 1, 1, Noise(36, dtype=torch.float64))
        found = objective.evaluate(z, objective.params, slope=True)
        expected = differences(lambda x: objective.cost(x, objective.params).sum(), z)
        assert (found.slope - expected).abs().max() < 1e-7 * expected.abs().max().clamp(min=1)
        assert torch.equal(found.cost, objective.cost(z, objective.params))


def test_golden_bits_to_the_printed_digits():
    printed = torch.tensor([0.588006, 0.15837669, 0.71742582], dtype=torch.float64)
    error = (build_objective("golden_bits").exact_gradient() - printed).abs()
    assert (error <= torch.tensor([5e-7, 5e-9, 5e-9])).all(), error


def test_golden_bits_by_hand():
    """All eight terms, written with nothing of the project."""
    total = 0.0
    for b in itertools.product((0, 1), repeat=3):
        probability = math.prod(
            1 / (1 + math.exp(-logit if bit else logit))
            for bit, logit in zip(b, (0.4, -1.3, 0.8), strict=True)
        )
        cost = 0.7 * b[0] - 0.4 * b[1] + 1.1 * b[2]
        cost += 0.5 * b[0] - 0.3 * b[1] + 0.4 * b[2]
        cost += 2 * (0.8 * b[0] * b[1] - 0.6 * b[0] * b[2] + 0.9 * b[1] * b[2])
        cost += 1.5 * b[0] * b[1] * b[2] + math.exp(0.6 * b[0] - 0.5 * b[1] + 0.9 * b[2])
        total += probability * cost
    assert float(build_objective("golden_bits").exact_value()) == pytest.approx(total, rel=1e-14)


def test_table_is_a_contraction_with_the_probabilities():
    """Read at the corners, the entries contracted with each variable's pi give the value."""
    objective = build_objective("table", dimensions=3, categories=4)
    entries = objective.cost(states(objective), objective.params).reshape(4, 4, 4)
    probs = objective.params.softmax(-1)
    expected = torch.einsum("cba,a,b,c->", entries, *probs)  # the first variable runs fastest
    torch.testing.assert_close(objective.exact_value(), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ["normal_cosine", "normal_exponential", "normal_quadratic"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_normal_toys_by_quadrature(name, dimensions):
    """Gauss-Hermite at mean 0.4 and scale 0.7: value, and E of dJ/dz dz/dparams.

    At scale 1 a factor of sigma, or variance for standard deviation, would go unseen.
    """
    mean, scale, k = 0.4, 0.7, 1.3
    objective = build_objective(name, dimensions=dimensions, mean=mean, scale=scale, k=k)
    nodes, weights = (torch.from_numpy(x) for x in hermite_e.hermegauss(90))
    axes = torch.cartesian_prod(*[nodes] * dimensions).reshape(-1, dimensions)
    joint = torch.cartesian_prod(*[weights / weights.sum()] * dimensions).reshape(-1, dimensions)
    weight = joint.prod(-1)
    z = (mean + scale * axes)[:, None]
    found = objective.evaluate(z, objective.params, slope=True)
    value = weight @ found.cost[:, 0]
    by_mean = weight @ found.slope[:, 0]
    by_log_scale = weight @ (found.slope[:, 0] * scale * axes)
    torch.testing.assert_close(objective.exact_value(), value, rtol=1e-11, atol=0)
    assert gap(objective.exact_gradient(), torch.stack([by_mean, by_log_scale])) < 1e-10
    assert gap(objective.exact_gradient(), torch.stack([by_mean, by_log_scale / scale])) > 1e-2


EXTENDED = [
    ("coupled", {"dimensions": 5}),
    ("digits_vae", {"training_steps": 0, "images": 2}),
    ("digits_vae", {"latents": "categorical", "training_steps": 0, "images": 2}),
    ("golden_bits", {}),
    ("polynomial", {"dimensions": 3, "categories": 4, "exponent": 3}),
    ("quadratic", {"dimensions": 4}),
    ("smooth", {"dimensions": 3, "categories": 3}),
]


def extensions(case: tuple[str, dict[str, Any]]) -> tuple[Objective, Objective, Objective]:
    name, settings = case
    kinds = ("native", "multilinear", "cubic")
    native, multilinear, cubic = (
        build_objective(name, **settings, extension=kind) for kind in kinds
    )
    return native, multilinear, cubic


class TestExtensions:
    def test_every_objective_with_an_extension_is_here(self):
        extended = {name for name, several in SETTINGS.items() if "extension" in str(several)}
        assert {name for name, _ in EXTENDED} == extended

    @pytest.mark.parametrize("case", EXTENDED, ids=label)
    def test_the_corners_and_the_exact_gradient_stay(self, case):
        native, *others = extensions(case)
        z = states(native)
        corners = native.cost(z, native.params)
        for other in others:
            torch.testing.assert_close(other.cost(z, other.params), corners, rtol=1e-12, atol=1e-12)
            assert gap(other.exact_gradient(), native.exact_gradient()) < 1e-11

    @pytest.mark.parametrize("case", EXTENDED, ids=label)
    def test_cubic_moves_every_slope_by_a_constant(self, case):
        """At both ends of [0, 1] the slope of a z (1 - z) (z - 1/2) is -a / 2."""
        native, _, cubic = extensions(case)
        z = states(native)
        slopes = (o.evaluate(z, o.params, slope=True).slope for o in (native, cubic))
        moved = -torch.sub(*slopes)
        torch.testing.assert_close(moved, moved[:1].expand_as(moved), rtol=1e-9, atol=1e-10)
        assert (moved[0].abs() > 1e-4).all()
        assert not torch.allclose(*(o.cost(0.3 * z, o.params) for o in (native, cubic)))

    @pytest.mark.parametrize("case", EXTENDED, ids=label)
    def test_multilinear_is_affine_in_each_variable(self, case):
        """Moving one variable alone, from inside to inside, J at the middle is the mean."""
        native, multilinear, _ = extensions(case)
        here, there = inside(native, 6, 2).split(1, dim=1)
        bits = native.family.name == "bernoulli"
        variables = here.shape[-1] if bits else here.shape[-2]
        bent = 0.0
        for i in range(variables):
            one = (..., i) if bits else (..., i, slice(None))
            moved = here.clone()
            moved[one] = there[one]
            for objective in (native, multilinear):
                ends = [objective.cost(z, objective.params) for z in (here, moved)]
                middle = objective.cost((here + moved) / 2, objective.params)
                error = float((middle - sum(ends) / 2).abs().max() / middle.abs().max())
                if objective is multilinear:
                    assert error < 1e-12
                else:
                    bent = max(bent, error)
        assert bent > 1e-6, "the native extension should fail this test"

    def test_multilinear_at_the_mean_is_the_expectation(self):
        """For independent variables E[J] is the multilinear extension at E[z]."""
        for case in EXTENDED:
            _, objective, _ = extensions(case)
            if objective.direct:  # J of digits_vae depends on params, and its log q is not z's
                continue
            z = objective.family.mean(objective.params)[None, None]
            torch.testing.assert_close(
                objective.cost(z, objective.params)[0, 0],
                objective.exact_value(),
                rtol=1e-12,
                atol=0,
            )

    @pytest.mark.parametrize(
        ("name", "settings", "allowed"),
        [
            ("quadratic", {"dimensions": 13}, {"dimensions": 12}),
            ("coupled", {"dimensions": 13}, {"dimensions": 12}),
            ("polynomial", {"dimensions": 4, "categories": 10}, {"dimensions": 6, "categories": 4}),
            ("smooth", {"dimensions": 6, "categories": 5}, {"dimensions": 4, "categories": 8}),
        ],
    )
    def test_multilinear_is_refused_above_4096_states(self, name, settings, allowed):
        with pytest.raises(BadArgument, match=r"more than 4,096.*use fewer") as caught:
            build_objective(name, **settings, extension="multilinear")
        assert "\n" not in str(caught.value)
        build_objective(name, **allowed, extension="multilinear")
        build_objective(name, **settings)

    def test_table_is_refused_above_4096_states(self):
        with pytest.raises(BadArgument, match=r"10,000 are more than 4,096; use fewer"):
            build_objective("table", dimensions=4, categories=10)

    def test_unknown_extension(self):
        with pytest.raises(BadArgument, match="did you mean 'cubic'"):
            build_objective("quadratic", extension="cubik")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("quadratic", {"dimensions": 0}, "dimensions >= 1, got 0"),
        ("quadratic", {"dimensions": 2.5}, "whole dimensions"),
        ("quadratic", {"reduce": "max"}, "mean or sum, got 'max'"),
        ("coupled", {"dimensions": 2}, "dimensions >= 3, got 2"),
        ("polynomial", {"exponent": 1.0}, "exponent > 1, got 1.0"),
        ("polynomial", {"categories": 1}, "categories >= 2, got 1"),
        ("smooth", {"categories": 1}, "categories >= 2"),
        ("table", {"dimensions": 0}, "dimensions >= 1"),
        ("normal_quadratic", {"scale": 0.0}, "scale > 0, got 0.0"),
        ("normal_cosine", {"dimensions": 0}, "dimensions >= 1"),
        ("normal_exponential", {"k": -1.0}, "k >= 0, got -1.0"),
        ("normal_exponential", {"k": math.nan}, "k >= 0, got nan"),
        ("digits_vae", {"latents": "normal"}, "bernoulli or categorical, got 'normal'"),
        ("digits_vae", {"images": 0}, "images >= 1"),
        ("digits_vae", {"training_steps": -1}, "training_steps >= 0"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(BadArgument) as caught:
        build_objective(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_states_are_refused_not_attempted():
    objective = build_objective("quadratic", dimensions=23)
    with pytest.raises(BadArgument, match=r"8,388,608 states, more than the 4,194,304"):
        marginalize(objective, objective.params)
    with pytest.raises(BadArgument, match="cannot be enumerated; give it a closed-form gradient"):
        marginalize(build_objective("normal_cosine"), build_objective("normal_cosine").params)


LATENTS = pytest.mark.parametrize("latents", ["bernoulli", "categorical"])


def elbo_of_weights(objective: Objective, latents: str, steps: int, images: int):
    """Return the enumerated negative ELBO as a function of the encoder's weights, and its model."""
    model = digits_model(latents, steps)
    batch = model.minibatch(images)

    def value(weights: Tensor) -> Tensor:
        return objective.exact_value(model.encode(weights, batch))

    return value, model


class TestDigits:
    def test_the_images(self):
        data = binary_digits()
        assert data.shape == (1797, 64)
        assert set(data.unique().tolist()) == {0.0, 1.0}
        assert 0.3 < float(data.mean()) < 0.4  # neither blank nor inverted

    @LATENTS
    @pytest.mark.parametrize("steps", [0, 40])
    def test_gradient_of_all_encoder_weights(self, latents, steps):
        """Every one of the 1,176 (or 1,380) weights, by central differences of the exact ELBO."""
        objective = build_objective("digits_vae", latents=latents, training_steps=steps, images=3)
        value, model = elbo_of_weights(objective, latents, steps, 3)
        found = objective.pullback(objective.exact_gradient()[None])[0]
        assert found.shape == model.encoder.shape
        assert len(found) == {"bernoulli": 1176, "categorical": 1380}[latents]
        expected = differences(value, model.encoder)
        assert gap(found, expected) < 1e-7
        forgotten = found.clone()
        forgotten[-model.size :] = 0  # the last layer's bias
        assert gap(forgotten, expected) > 1e-3

    @LATENTS
    @pytest.mark.parametrize("steps", [0, 40])
    def test_gradient_along_random_directions_at_the_default_minibatch(self, latents, steps):
        objective = build_objective("digits_vae", latents=latents, training_steps=steps)
        value, model = elbo_of_weights(objective, latents, steps, 16)
        found = objective.pullback(objective.exact_gradient()[None])[0]
        directions = Noise(41, "directions", dtype=torch.float64).normal(20, len(found))
        for direction in directions:
            move = 1e-5 * direction / direction.norm()
            rate = (value(model.encoder + move) - value(model.encoder - move)) / 2e-5
            error = abs(float(rate - found @ direction / direction.norm()))
            assert error < 1e-6 * float(found.norm())

    @LATENTS
    def test_the_value_by_hand(self, latents):
        """The negative ELBO in numpy, image by image and state by state."""
        objective = build_objective("digits_vae", latents=latents, training_steps=2, images=2)
        model = digits_model(latents, 2)
        width = {"bernoulli": 8, "categorical": 20}[latents]
        weights = model.decoder.numpy()
        first, weights = weights[: 32 * width].reshape(32, width), weights[32 * width :]
        bias, weights = weights[:32], weights[32:]
        second, last = weights[: 64 * 32].reshape(64, 32), weights[64 * 32 :]
        if latents == "bernoulli":
            codes = [np.array(bits) for bits in itertools.product((0.0, 1.0), repeat=8)]
        else:
            eye = np.eye(10)
            codes = [np.concatenate([eye[i], eye[j]]) for i in range(10) for j in range(10)]
        total = 0.0
        for x, logits in zip(model.minibatch(2).numpy(), objective.params.numpy(), strict=True):
            if latents == "bernoulli":
                log_pi = np.stack([-np.log1p(np.exp(logits)), -np.log1p(np.exp(-logits))])
            else:
                log_pi = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).ravel()
            for z in codes:
                if latents == "bernoulli":
                    log_q = float((z * log_pi[1] + (1 - z) * log_pi[0]).sum())
                else:
                    log_q = float(z @ log_pi)
                p = 1 / (1 + np.exp(-(second @ np.tanh(first @ (2 * z - 1) + bias) + last)))
                log_p = float((x * np.log(p) + (1 - x) * np.log(1 - p)).sum())
                total += np.exp(log_q) * (log_q + np.log(len(codes)) - log_p)
        assert float(objective.exact_value()) == pytest.approx(total / 2, rel=1e-12)

    @LATENTS
    def test_items_are_images_and_the_jacobian_maps_to_weights(self, latents):
        objective = build_objective("digits_vae", latents=latents, training_steps=0, images=3)
        event = {"bernoulli": (8,), "categorical": (2, 10)}[latents]
        assert objective.params.shape == (3, *event)
        rows = torch.stack([torch.ones_like(objective.params), objective.params])
        found = objective.pullback(rows)
        expected = torch.einsum("n...,...w->nw", rows.flatten(1), objective.jacobian.flatten(0, -2))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert objective.pullback(rows.float()).dtype == torch.float32

    @LATENTS
    def test_training_lowers_the_bound(self, latents):
        start, later, end = (
            float(build_objective("digits_vae", latents=latents, training_steps=n).exact_value())
            for n in (0, 2, 40)
        )
        assert start > later > end
        assert end < 0.7 * start

    def test_the_minibatch_runs_evenly_through_the_data(self):
        batch = digits_model("bernoulli", 0).minibatch(5)
        assert torch.equal(batch, binary_digits()[[0, 449, 898, 1347, 1796]])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point the cache of trained models at an empty folder, and forget those in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    digits_model.cache_clear()
    yield tmp_path / "benchbed"
    digits_model.cache_clear()


def counted_training(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the steps of every training from now on."""
    train, steps_of = _digits_model._train, []

    def counting(start: Any, latents: str, steps: int) -> Any:
        steps_of.append(steps)
        return train(start, latents, steps)

    monkeypatch.setattr(_digits_model, "_train", counting)
    return steps_of


class TestCache:
    def test_a_trained_model_is_kept_and_read_back_bit_for_bit(self, cache, monkeypatch):
        trainings = counted_training(monkeypatch)
        first = digits_model("bernoulli", 1)
        (path,) = cache.iterdir()  # one file, and no temporary one
        assert path.suffix == ".npz"
        digits_model.cache_clear()
        again = digits_model("bernoulli", 1)
        assert trainings == [1]
        assert torch.equal(first.encoder, again.encoder)
        assert torch.equal(first.decoder, again.decoder)

    def test_the_untrained_model_needs_no_cache(self, cache):
        digits_model("bernoulli", 0)
        assert not cache.exists()

    def test_latents_and_steps_have_their_own_files(self, cache):
        for latents, steps in (("bernoulli", 1), ("bernoulli", 2), ("categorical", 1)):
            digits_model(latents, steps)
        assert len(list(cache.iterdir())) == 3

    @pytest.mark.parametrize("left", [0, 3, 50, 20_000, -1])
    def test_a_truncated_file_is_made_again(self, cache, monkeypatch, left):
        """Killed while it was copied, say: with nothing left, a piece, or all but the last byte."""
        trainings = counted_training(monkeypatch)
        first = digits_model("bernoulli", 1)
        (path,) = cache.iterdir()
        whole = path.read_bytes()
        assert len(whole) > 20_000
        path.write_bytes(whole[:left])
        digits_model.cache_clear()
        again = digits_model("bernoulli", 1)
        assert trainings == [1, 1]
        assert torch.equal(first.encoder, again.encoder)
        digits_model.cache_clear()
        digits_model("bernoulli", 1)
        assert trainings == [1, 1], "the file should be whole again"

    def test_a_file_with_flipped_bytes_is_made_again(self, cache, monkeypatch):
        trainings = counted_training(monkeypatch)
        first = digits_model("bernoulli", 1)
        (path,) = cache.iterdir()
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        path.write_bytes(damaged)
        digits_model.cache_clear()
        assert torch.equal(first.encoder, digits_model("bernoulli", 1).encoder)
        assert trainings == [1, 1]

    def test_a_file_of_other_shapes_is_made_again(self, cache, monkeypatch):
        trainings = counted_training(monkeypatch)
        digits_model("bernoulli", 1)
        (path,) = cache.iterdir()
        np.savez(path, encoder=np.zeros(3), decoder=np.zeros(4))
        digits_model.cache_clear()
        assert digits_model("bernoulli", 1).encoder.shape == (1176,)
        assert trainings == [1, 1]

    def test_a_pickle_in_the_cache_is_not_loaded(self, cache, monkeypatch):
        trainings = counted_training(monkeypatch)
        digits_model("bernoulli", 1)
        (path,) = cache.iterdir()
        np.savez(path, encoder=np.array([print], dtype=object), decoder=np.zeros(4))
        digits_model.cache_clear()
        assert digits_model("bernoulli", 1).encoder.shape == (1176,)
        assert trainings == [1, 1]

    def test_a_cache_that_cannot_be_written_is_no_error(self, cache, monkeypatch):
        """A file where the folder should be stops everybody, the superuser too."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent / "taken"))
        (cache.parent / "taken").write_text("not a folder")
        assert digits_model("bernoulli", 1).encoder.shape == (1176,)

    def test_a_read_only_folder_is_no_error(self, cache, monkeypatch):
        """As the operating system would say it; permissions do not bind the superuser."""

        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(_trained.tempfile, "NamedTemporaryFile", refuse)
        cache.mkdir()
        cache.chmod(0o500)
        try:
            assert digits_model("bernoulli", 1).encoder.shape == (1176,)
            assert list(cache.iterdir()) == []
        finally:
            cache.chmod(0o700)
