"""The linear Gaussian toy on which tighter bounds were found not to be better.

Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh 2018, "Tighter Variational Bounds are Not
Necessarily Better" (arXiv 1802.04537): z ~ N(mu, I), x | z ~ N(z, I), q(z | x) = N(A x + b, 2/3 I),
1,024 data points of 20 dimensions. At the optimum A = I / 2, b = mu / 2 and mu is the mean of the
data; every parameter is moved from there by N(0, 0.01^2). As K grows the signal-to-noise ratio of
the inference network's gradient falls like 1 / sqrt(K), and mu's rises like sqrt(K).

2/3 is q's VARIANCE, wider than the posterior's 1/2, so that weights are bounded. The code published
with OVIS (arXiv 2008.01998) takes it as the standard deviation, and its weights are not.

Exact for every K and D: with d = A x + b - (x + mu) / 2 and eps the standard normal behind z,
completing the square gives, per data point,

    log w = 3 |d|^2 - |x - mu|^2 / 4 + D log(sigma / sqrt(2 pi)) - |eps - 6 sigma d|^2 / 6,

and |eps - 6 sigma d|^2 is noncentral chi-square, one variable however many dimensions z has.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families.extended import fixed
from benchbed.families.normal_mean import normal_mean
from benchbed.families.particles import particles as particles_of
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._noncentral import expected_log_mean_at_distance
from benchbed.objectives._points import gradient_of
from benchbed.objectives.iwae import bound
from benchbed.rng import Noise

CITATION = "Rainforth et al. 2018"
POINTS = 1024  # of data
VARIANCE = 2 / 3  # of q
SCALE = math.sqrt(VARIANCE)
MOST_NUMBERS = 2**26  # in one z, the data or the Jacobian: 512 MiB
CURVATURE = VARIANCE - 0.5  # log w = ... - CURVATURE |eps + ...|^2


class Model(NamedTuple):
    """The minibatch and the moved parameters, float64."""

    x: Tensor  # [items, D]
    matrix: Tensor  # A, [D, D]
    offset: Tensor  # b, [D]
    mu: Tensor  # [D]

    @property
    def means(self) -> Tensor:
        """Return the mean of q for every data point, [items, D]."""
        return self.x @ self.matrix.T + self.offset


def rainforth(
    particles: int = 8,
    gradient: Literal["inference", "generative"] = "inference",
    items: int = 8,
    dimensions: int = 20,
    perturbation: float = 0.01,
    seed: int = 0,
) -> Objective:
    """Bound L_K of a linear Gaussian model whose gradients gain or lose signal with K, exact.

    To be raised, and summed over the data points. Rows S26 and S27 of benchbed.facts.coverage.

    Args:
        particles: K.
        gradient: ``inference``: params are the means of q(z | x), [items, dimensions], and what is
            measured are the weights behind them, row by row of A with that row's entry of b last.
            ``generative``: params are mu, [dimensions]; q does not move, so that the gradient is
            the direct term alone, and score_function gives it.
        items: data points in the minibatch, the first of the 1,024; 1: params are [dimensions].
        dimensions: D, of z and x.
        perturbation: standard deviation by which A, b and mu are moved from the optimum.
        seed: of the data and the moves.
    """
    at_least("rainforth", "particles", particles, 1)
    at_least("rainforth", "items", items, 1)
    at_least("rainforth", "dimensions", dimensions, 1)
    at_least("rainforth", "seed", seed, 0)
    if gradient not in ("inference", "generative"):
        raise BadArgument(
            f"rainforth needs gradient: inference or generative, got '{gradient}'; inference is "
            "the gradient in A and b, generative that in mu"
        )
    if items > POINTS:
        raise BadArgument(
            f"rainforth has {POINTS:,} data points, got items {items:,}; use {POINTS} for all"
        )
    if finite_number("rainforth", "perturbation", perturbation) < 0:
        raise BadArgument(
            f"rainforth needs perturbation >= 0, got {perturbation}; 0 is the optimum"
        )
    jacobian = items * dimensions**2 * (dimensions + 1) if gradient == "inference" else 0
    data, one_z = dimensions * max(POINTS, dimensions), particles * items * dimensions
    if max(data, one_z, jacobian) > MOST_NUMBERS:
        what = "particles" if one_z > max(data, jacobian) else "dimensions"
        raise BadArgument(
            f"rainforth with {particles:.6g} particles, {items} items and {dimensions:.6g} "
            f"dimensions needs more than {MOST_NUMBERS:,} numbers in memory; use fewer {what}"
        )
    model = model_of(items, dimensions, perturbation, seed)
    make = _inference if gradient == "inference" else _generative
    return make(model, particles)


def model_of(items: int, dimensions: int, perturbation: float, seed: int) -> Model:
    """Return the first data points and the parameters, moved from their optimum."""
    noise = Noise(seed, "rainforth", dtype=torch.float64)
    truth = noise.normal(dimensions)
    z = truth + noise.normal(POINTS, dimensions)
    data = (z + noise.normal(POINTS, dimensions)).contiguous()
    best = data.mean(0)

    def moved(optimum: Tensor, name: str) -> Tensor:
        step = noise.child(name).normal(*optimum.shape)
        return (optimum + perturbation * step).contiguous()

    half = 0.5 * torch.eye(dimensions, dtype=torch.float64)
    return Model(data[:items], moved(half, "A"), moved(best / 2, "b"), moved(best, "mu"))


def _inference(model: Model, count: int) -> Objective:
    x, params = model.x, model.means
    items, dimensions = params.shape
    row = torch.cat((x, torch.ones_like(x[:, :1])), 1)  # d mean_d / d (A_d, b_d)
    jacobian = torch.einsum("de,ij->idej", torch.eye(dimensions).to(row), row).flatten(2)
    if items == 1:
        x, params, jacobian = x[0], params[0], jacobian[0]
    target = (x + model.mu) / 2  # the posterior's mean
    rest = -0.25 * (x - model.mu).square().sum(-1) - dimensions * math.log(2 * math.pi)

    def log_joint(z: Tensor) -> Tensor:
        """Return log p(x, z) of z [..., items, K, D]."""
        gap = draws_last(z - target.to(z).unsqueeze(-2))  # [..., items, K, D, draws]
        return draws_first(-gap.square().sum(-2)) + rest.to(z)[..., None]

    def value(params: Tensor) -> Tensor:
        return _exact_bound(params.reshape(items, dimensions), model.x, model.mu, count)

    base = normal_mean(SCALE)
    return Objective(
        "rainforth",
        particles_of(base, count),
        params,
        bound(base, log_joint),
        value,
        gradient_of(value),
        direct=True,
        jacobian=jacobian,
        log_joint=log_joint,
        citation=CITATION,
    )


def _generative(model: Model, count: int) -> Objective:
    """Return the bound as a function of mu: one z holds the particles of every data point."""
    x, means = model.x, model.means

    def cost(z: Tensor, params: Tensor) -> Tensor:
        """Return J at z [..., K, items, D] and mu [..., D]."""
        prior = z - params[..., None, None, :]
        square = ((z - means.to(z)) / SCALE).square() - (z - x.to(z)).square() - prior.square()
        log_weight = 0.5 * draws_last(square).sum(-2)  # [..., K, items, draws]
        return draws_first((log_weight.logsumexp(-3) + constant).sum(-2))

    constant = x.shape[1] * (math.log(SCALE) - 0.5 * math.log(2 * math.pi)) - math.log(count)

    def value(params: Tensor) -> Tensor:
        return _exact_bound(means, x, params, count)

    return Objective(
        "rainforth",
        fixed(particles_of(normal_mean(SCALE, axes=2), count), at=means),
        model.mu,
        cost,
        value,
        gradient_of(value),
        direct=True,
        citation=CITATION,
    )


def _exact_bound(means: Tensor, x: Tensor, mu: Tensor, count: int) -> Tensor:
    """Return the sum of L_K over data points; means and x are [items, D], mu [D]."""
    dimensions = x.shape[1]
    off = (means - (x + mu) / 2).square().sum(-1)  # |d|^2, [items]
    shifts = VARIANCE / CURVATURE**2 * off
    inner = [expected_log_mean_at_distance(shift, dimensions, CURVATURE, count) for shift in shifts]
    constant = dimensions * (math.log(SCALE) - 0.5 * math.log(2 * math.pi))
    outer = off / (2 * CURVATURE) - 0.25 * (x - mu).square().sum(-1) + constant
    return (outer + torch.stack(inner)).sum()
