"""Quadratic costs under gamma, beta, Dirichlet and Poisson laws, with closed-form gradients.

The counterparts of normal_quadratic where reparameterization must be implicit or is impossible.
Gradients are with respect to the LOGARITHMS of concentrations and rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Family, Objective
from benchbed.errors import BadArgument
from benchbed.families import BETA, DIRICHLET, GAMMA, POISSON
from benchbed.families import beta as beta_law
from benchbed.families import gamma as gamma_law
from benchbed.layout import linear
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise


def gamma_quadratic(
    k: float = 0.0, dimensions: int = 1, concentration: float = 1.7, rate: float = 1.0
) -> Objective:
    """Cost sum_i (x_i - k)^2 with x_i ~ Gamma(concentration, rate).

    At k = 0 and rate 1 the gradient in the concentration a itself is 2 a + 1.

    Args:
        k: where the cost is least.
        dimensions: number of independent variables.
        concentration: of each.
        rate: of each; the mean is concentration / rate.
    """
    name = "gamma_quadratic"
    _finite(name, "k", k)
    point = _rows(name, dimensions, {"concentration": concentration, "rate": rate})

    def value(params: Tensor) -> Tensor:
        a, b = gamma_law.unpack(params)
        return (a / b.square() + (a / b - k).square()).sum()

    return _toy(name, GAMMA, point, lambda z: (z - k).square().sum(-1), value)


def beta_quadratic(
    k: float = 0.3, dimensions: int = 1, first: float = 1.5, second: float = 2.5
) -> Objective:
    """Cost sum_i (x_i - k)^2 with x_i ~ Beta(first, second).

    Args:
        k: where the cost is least.
        dimensions: number of independent variables.
        first: concentration at 1; the mean is first / (first + second). Above 0.2 for a score
            function in float32, which is biased below (see the family).
        second: concentration at 0. Above 0.5 for a score function in float32.
    """
    name = "beta_quadratic"
    _finite(name, "k", k)
    point = _rows(name, dimensions, {"first": first, "second": second})

    def value(params: Tensor) -> Tensor:
        a, b = beta_law.unpack(params)
        mean = a / (a + b)
        return (mean * (1 - mean) / (a + b + 1) + (mean - k).square()).sum()

    return _toy(name, BETA, point, lambda z: (z - k).square().sum(-1), value)


def dirichlet_quadratic(
    dimensions: int = 1, categories: int = 4, concentration: float = 1.0, seed: int = 0
) -> Objective:
    """Cost sum_i w_i x_i + (a_i x_i)^2 with x_i ~ Dirichlet, w and a normal.

    E[x_k x_l] = (c_k c_l + 1[k = l] c_k) / (s (s + 1)) for concentrations c of sum s.

    Args:
        dimensions: number of independent vectors x_i.
        categories: entries of each, at least 2.
        concentration: geometric middle of the concentrations, which spread by e^(+-1/2) about it.
            The least above 0.2, so this above 0.35, for a score function in float32, which is
            biased below (see the family).
        seed: of w and a.
    """
    name = "dirichlet_quadratic"
    at_least(name, "dimensions", dimensions, 1)
    at_least(name, "categories", categories, 2)
    _positive(name, "concentration", concentration)
    noise = Noise(seed, name, dtype=torch.float64)
    weights = noise.normal(dimensions, categories).contiguous()
    form = noise.normal(dimensions, categories).contiguous()
    spread = torch.linspace(-0.5, 0.5, categories, dtype=torch.float64)
    point = (math.log(concentration) + spread).expand(dimensions, categories).contiguous()

    def cost(z: Tensor) -> Tensor:
        inner = (z * form.to(z)).sum(-1)
        return linear(weights.flatten(), z.flatten(-2)) + inner.square().sum(-1)

    def value(params: Tensor) -> Tensor:
        c = params.exp()
        s = c.sum(-1)
        second = (form * c).sum(-1).square() + (form.square() * c).sum(-1)
        return ((weights * c).sum(-1) / s + second / (s * (s + 1))).sum()

    return _toy(name, DIRICHLET, point, cost, value)


def poisson_quadratic(k: float = 1.5, dimensions: int = 1, rate: float = 2.3) -> Objective:
    """Cost sum_i (n_i - k)^2 with n_i ~ Poisson(rate).

    Args:
        k: where the cost is least.
        dimensions: number of independent counts.
        rate: mean of each.
    """
    name = "poisson_quadratic"
    _finite(name, "k", k)
    point = _rows(name, dimensions, {"rate": rate})[0]

    def value(params: Tensor) -> Tensor:
        return (params.exp() + (params.exp() - k).square()).sum()

    return _toy(name, POISSON, point, lambda z: (z - k).square().sum(-1), value)


def _toy(
    name: str,
    family: Family,
    params: Tensor,
    formula: Callable[[Tensor], Tensor],
    value: Callable[[Tensor], Tensor],
) -> Objective:
    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return formula(z)

    return Objective(name, family, params, cost, value, gradient_of(value))


def _rows(name: str, dimensions: int, given: dict[str, float]) -> Tensor:
    """Return the logarithms of what was given, each repeated for every variable, [rows, d]."""
    at_least(name, "dimensions", dimensions, 1)
    for what, number in given.items():
        _positive(name, what, number)
    logs = torch.tensor([math.log(number) for number in given.values()], dtype=torch.float64)
    return logs[:, None].expand(-1, dimensions).contiguous()


def _positive(name: str, what: str, given: float) -> None:
    if not 0 < given < math.inf:
        raise BadArgument(f"{name} needs a finite {what} > 0, got {given}; try 1.0")


def _finite(name: str, what: str, given: float) -> None:
    if not math.isfinite(given):
        raise BadArgument(f"{name} needs a finite {what}, got {given}; try 1.0")
