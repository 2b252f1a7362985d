"""No structure at all: a random number for every joint outcome."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.objectives._extension import MOST_CORNERS, multilinear
from benchbed.objectives._points import categorical_point
from benchbed.rng import Noise


def table(
    dimensions: int = 2, categories: int = 10, spread: float = 1.0, seed: int = 0
) -> Objective:
    """Cost read from a standard normal table of K^d entries, multilinear between the corners.

    Args:
        dimensions: number of variables.
        categories: K, at least 2; K^d at most 4,096.
        spread: standard deviation of the logits.
        seed: of the table and the logits.
    """
    at_least("table", "dimensions", dimensions, 1)
    at_least("table", "categories", categories, 2)
    states = categories**dimensions
    if states > MOST_CORNERS:
        raise BadArgument(
            f"table holds categories^dimensions entries and {states:,} are more than "
            f"{MOST_CORNERS:,}; use fewer"
        )
    params = categorical_point(dimensions, categories, spread, seed)
    entries = Noise(seed, "table", dtype=torch.float64).normal(states)
    function = multilinear(entries, CATEGORICAL)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return function(z)

    return Objective("table", CATEGORICAL, params, cost)
