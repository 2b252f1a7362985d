"""Parameters beside those of the law: their gradient is the direct term and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchbed.catalogue import build_estimator
from benchbed.contracts import Objective
from benchbed.errors import BadArgument, IncompatiblePair
from benchbed.families import BERNOULLI, CATEGORICAL, NORMAL
from benchbed.families.extended import extended, fixed
from benchbed.measurement.cell import measure_cell
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

POINT = torch.tensor([0.3, -0.8, 0.5, 1.5], dtype=torch.float64)  # two logits, two weights


def scaled(z: Tensor, params: Tensor) -> Tensor:
    """(w . z)^2 + w_0 over the last two parameters."""
    weights = params[..., 2:]
    return (z * weights).sum(-1).square() + weights[..., 0]


def by_hand(params: Tensor) -> Tensor:
    p, w = params[:2].sigmoid(), params[2:]
    return (
        p[0] * (1 - p[1]) * w[0] ** 2
        + p[1] * (1 - p[0]) * w[1] ** 2
        + p[0] * p[1] * (w[0] + w[1]) ** 2
        + w[0]
    )


def gradient_by_hand() -> Tensor:
    leaf = POINT.clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(by_hand(leaf), leaf)[0]


def test_enumeration_finds_both_kinds_of_gradient():
    problem = Objective("mine", extended(BERNOULLI, (2,), 2), POINT, scaled, direct=True)
    torch.testing.assert_close(problem.exact_value(), by_hand(POINT), rtol=1e-13, atol=0)
    torch.testing.assert_close(problem.exact_gradient(), gradient_by_hand(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["score_function", "leave_one_out", "unordered_set"])
def test_estimators_are_unbiased_for_both(name):
    problem = Objective("mine", extended(BERNOULLI, (2,), 2), POINT, scaled, direct=True)
    found = exact_moments(problem, build_estimator(name, samples=2))
    assert found is not None
    torch.testing.assert_close(
        torch.from_numpy(found.mean), gradient_by_hand(), rtol=1e-10, atol=1e-12
    )
    untold = Objective("mine", extended(BERNOULLI, (2,), 2), POINT, scaled)  # direct left out
    wrong = exact_moments(untold, build_estimator(name, samples=2))
    assert wrong is not None
    assert abs(wrong.mean[2:]).max() < 1e-12


@pytest.mark.parametrize(
    ("base", "shape"), [(BERNOULLI, (3,)), (CATEGORICAL, (2, 3)), (NORMAL, (2, 3))]
)
def test_the_law_is_that_of_the_base(base, shape):
    """Sample by sample, with items, and the score is 0 at the parameters beside."""
    noise = Noise(3, "point", dtype=torch.float64)
    inner = noise.normal(4, *shape).contiguous()
    params = torch.cat((inner.flatten(1), noise.normal(4, 5)), 1)
    wide = extended(base, shape, 5)
    z = wide.sample(params, 7, 2, Noise(4, "z", dtype=torch.float64))
    assert torch.equal(z, base.sample(inner, 7, 2, Noise(4, "z", dtype=torch.float64)))
    torch.testing.assert_close(wide.log_prob(params, z), base.log_prob(inner, z))
    score = wide.score(params, z)
    assert score.shape == (7, 2, *params.shape)
    torch.testing.assert_close(score[..., :-5], base.score(inner, z).flatten(3))
    assert (score[..., -5:] == 0).all()
    path = wide.path(params, 7, 2, 0.7, Noise(5, dtype=torch.float64))
    plain = base.path(inner, 7, 2, 0.7, Noise(5, dtype=torch.float64))
    slope = torch.ones_like(z)
    torch.testing.assert_close(path.vjp(slope)[..., :-5], plain.vjp(slope).flatten(3))


def test_a_fixed_law_leaves_the_direct_term_alone():
    at = torch.tensor([[0.4, -0.6]], dtype=torch.float64)[0]
    family = fixed(BERNOULLI, at)
    problem = Objective(
        "mine", family, POINT[2:], lambda z, w: (z * w).sum(-1).square() + w[..., 0], direct=True
    )
    whole = torch.cat((at, POINT[2:]))
    leaf = whole.clone().requires_grad_()
    with torch.enable_grad():
        expected = torch.autograd.grad(by_hand(leaf), leaf)[0][2:]
    torch.testing.assert_close(problem.exact_gradient(), expected, rtol=1e-12, atol=0)
    found = exact_moments(problem, build_estimator("score_function"))
    assert found is not None
    torch.testing.assert_close(torch.from_numpy(found.mean), expected, rtol=1e-12, atol=0)
    blocks = measure_cell(problem, build_estimator("leave_one_out"), draws=4096, timing=0).blocks
    assert blocks.first.shape == (64, 2)


def test_what_does_not_fit_is_said_in_one_line():
    with pytest.raises(BadArgument, match="2 axes of one item's categorical params"):
        extended(CATEGORICAL, (3,), 1)
    family = fixed(NORMAL, torch.zeros(2, 1))
    problem = Objective("mine", family, POINT, lambda z, w: z[..., 0] * w[..., 0], direct=True)
    with pytest.raises(IncompatiblePair, match="differentiates through the sample"):
        measure_cell(problem, build_estimator("reparameterization"), draws=256, timing=0)
    with pytest.raises(BadArgument, match="no path through z"):
        family.path(POINT, 2, 1, 1.0, Noise(0))
