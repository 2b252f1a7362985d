"""The three costs of Mohamed, Rosca, Figurnov and Mnih 2020 under a normal law.

"Monte Carlo Gradient Estimation in Machine Learning", JMLR 21 (arXiv 1906.10652), section 3:
(x - k)^2, exp(-k x^2), cos(k x), there with mean and scale 1. Gradients are with respect to the
mean and the LOG-scale. The cosine at a high frequency is where the claim fails that pathwise
gradients have less variance than others: row G3 of benchbed.facts.coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import NORMAL
from benchbed.families.normal import unpack
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._points import gradient_of

CITATION = "Mohamed et al. 2020"


def normal_quadratic(
    k: float = 3.0, dimensions: int = 1, mean: float = 1.0, scale: float = 1.0
) -> Objective:
    """Cost sum_i (x_i - k)^2 with x_i ~ N(mean, scale^2).

    Args:
        k: where the cost is least.
        dimensions: number of independent variables.
        mean: of each.
        scale: standard deviation of each.
    """
    return _toy(
        "normal_quadratic",
        lambda x: (x - k).square(),
        lambda mu, sigma: (mu - k).square() + sigma.square(),
        _point("normal_quadratic", dimensions, mean, scale),
    )


def normal_exponential(
    k: float = 1.0, dimensions: int = 1, mean: float = 1.0, scale: float = 1.0
) -> Objective:
    """Cost sum_i exp(-k x_i^2) with x_i ~ N(mean, scale^2).

    Args:
        k: rate, k >= 0.
        dimensions: number of independent variables.
        mean: of each.
        scale: standard deviation of each.
    """
    if not k >= 0:
        raise BadArgument(f"normal_exponential needs k >= 0, got {k}; its mean is infinite below")

    def expected(mu: Tensor, sigma: Tensor) -> Tensor:
        spread = 1 + 2 * k * sigma.square()
        return (-k * mu.square() / spread).exp() / spread.sqrt()

    return _toy(
        "normal_exponential",
        lambda x: (-k * x.square()).exp(),
        expected,
        _point("normal_exponential", dimensions, mean, scale),
    )


def normal_cosine(
    k: float = 1.0, dimensions: int = 1, mean: float = 1.0, scale: float = 1.0
) -> Objective:
    """Cost sum_i cos(k x_i) with x_i ~ N(mean, scale^2).

    Args:
        k: frequency; at a high one the pathwise gradient is noisier than the score function's.
        dimensions: number of independent variables.
        mean: of each.
        scale: standard deviation of each.
    """
    return _toy(
        "normal_cosine",
        lambda x: (k * x).cos(),
        lambda mu, sigma: (k * mu).cos() * (-0.5 * k**2 * sigma.square()).exp(),
        _point("normal_cosine", dimensions, mean, scale),
    )


def _point(name: str, dimensions: int, mean: float, scale: float) -> Tensor:
    at_least(name, "dimensions", dimensions, 1)
    if not scale > 0:
        raise BadArgument(f"{name} needs scale > 0, got {scale}; it is a standard deviation")
    both = torch.tensor([mean, math.log(scale)], dtype=torch.float64)
    return both[:, None].expand(2, dimensions).contiguous()


def _toy(
    name: str,
    each: Callable[[Tensor], Tensor],
    expected: Callable[[Tensor, Tensor], Tensor],
    params: Tensor,
) -> Objective:
    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return draws_first(draws_last(each(z)).sum(-2))

    def value(params: Tensor) -> Tensor:
        return expected(*unpack(params)).sum()

    return Objective(name, NORMAL, params, cost, value, gradient_of(value), citation=CITATION)
