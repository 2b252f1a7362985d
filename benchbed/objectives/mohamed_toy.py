"""The numerical comparison of Mohamed, Rosca, Figurnov and Mnih 2020, at its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from benchbed.arguments import finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument, nearest
from benchbed.objectives.normal_toys import normal_cosine, normal_exponential, normal_quadratic

COSTS = {
    "quadratic": normal_quadratic,
    "exponential": normal_exponential,
    "cosine": normal_cosine,
}


def mohamed_toy(
    cost: Literal["quadratic", "exponential", "cosine"] = "quadratic", k: float = 1.0
) -> Objective:
    """Cost (x - k)^2, exp(-k x^2) or cos(k x) of ONE x ~ N(1, 1): the review's figure 2.

    "Monte Carlo Gradient Estimation in Machine Learning", JMLR 21 (arXiv 1906.10652), section 3.
    There k is -3 to 3 (quadratic), 0.1 to 10 (exponential) and 0.5 to 5 (cosine).

    Args:
        cost: quadratic, exponential or cosine.
        k: its parameter.
    """
    if cost not in COSTS:
        raise BadArgument(
            f"mohamed_toy needs cost: quadratic, exponential or cosine, got '{cost}'"
            f"{nearest(str(cost), COSTS)}"
        )
    k = finite_number("mohamed_toy", "k", k)
    return replace(COSTS[cost](k=k, dimensions=1, mean=1.0, scale=1.0), name="mohamed_toy")
