"""E log (1/K) sum_k exp(-c R_k^2), R_k the distance of a D-dimensional normal from a fixed point.

R^2 is noncentral chi-square: a Poisson(lambda / 2) mixture over j of chi-square laws with D + 2 j
degrees of freedom, lambda the squared length of the shift. So a bound whose log weights are one
quadratic form with equal curvature in every direction needs a grid in ONE variable, whatever D is.
With R = log(1 + exp(y)) the integrand is smooth and decays at both ends, and the trapezoid rule
converges faster than any power of its step.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.errors import BadArgument
from benchbed.objectives._log_mean_exp import expected_log_mean

STEP, REACH = 0.05, 12.0  # R has a standard deviation of at most 1
TAIL = 40.0  # exp(-TAIL) is below the rounding of float64
MOST_SHIFT = 20_000.0  # beyond, weights span too many nats, and the mixture has too many terms


def expected_log_mean_at_distance(
    shift: Tensor, dimensions: int, curvature: float, count: int
) -> Tensor:
    """Return E log mean of ``count`` weights exp(-curvature R^2), differentiable in ``shift``.

    Args:
        shift: lambda, a scalar: the squared distance of the normal's mean, in standard deviations.
        dimensions: D.
        curvature: c > 0.
        count: K.

    Raises:
        BadArgument: the normal's mean is further away than is integrated exactly.
    """
    squared = float(shift.detach())
    if not squared <= MOST_SHIFT:  # NaN included
        raise BadArgument(
            f"q(z | x) is {math.sqrt(squared):.3g} of its standard deviations from where its "
            f"weights are largest, more than the {math.sqrt(MOST_SHIFT):.0f} that are integrated "
            "exactly; bring it closer to the posterior, such as perturbation: 0.01"
        )
    with torch.no_grad():
        radius, probability, slope = _law_of_radius(squared, dimensions)
    moving = probability + slope * (shift - shift.detach())  # 0, with the gradient beside it
    return expected_log_mean(moving, -curvature * radius.square(), count)


def _law_of_radius(shift: float, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return R [n], the probability of each and its derivative in ``shift``, all float64."""
    middle = math.sqrt(shift + dimensions)
    step = min(STEP, 2 / middle)  # log w falls faster the further out
    low = -TAIL / dimensions  # the density of R falls like R^(D - 1) towards 0
    if middle - REACH > 0:
        low = max(low, middle - REACH)
    y = torch.arange(low, middle + REACH, step, dtype=torch.float64)
    radius = F.softplus(y, threshold=math.inf)
    stretch = F.logsigmoid(y) + math.log(step)
    half = shift / 2
    width = 10 * math.sqrt(half)
    first = max(0, math.floor(half - width))
    j = torch.arange(first, math.ceil(half + width) + 40, dtype=torch.float64)
    freedom = dimensions + 2 * j
    log_chi = (
        (freedom - 1) * radius.log()[:, None]
        - 0.5 * radius.square()[:, None]
        - (freedom / 2 - 1) * math.log(2)
        - (freedom / 2).lgamma()
    )
    chi = (log_chi + stretch[:, None]).exp()  # [n, j]
    mix, before = _poisson(j, half), _poisson(j - 1, half)
    probability, slope = chi @ mix, 0.5 * (chi @ (before - mix))
    total = probability.sum()  # 1 up to rounding
    return radius, probability / total, slope / total


def _poisson(j: Tensor, mean: float) -> Tensor:
    """Return the Poisson probability of each ``j``, 0 at -1."""
    log_chance = torch.xlogy(j, j.new_tensor(mean)) - mean - (j + 1).lgamma()
    return torch.where(j < 0, 0.0, log_chance.exp())
