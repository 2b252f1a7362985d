"""A smooth, coupled cost of the one-hots of noisy inputs' largest entries.

SNAP(u) is the one-hot of the largest u_k, the "multidimensional step function" of Stratos' notes:
with a deterministic input, d J(SNAP(f)) / d f is 0 almost everywhere. So the input has Gaussian
noise, x = f + scale * eps, and the objective is E[J(SNAP(x))], to be lowered, whose gradient is
exact: the chance of a category is a one-dimensional integral (families/snap.py). In the backward
pass SNAP(x) is linearized as x, which ``vq_straight_through`` does. The true gradient sums to 0
over the categories of a variable, as moving all of f_i moves nothing; straight-through's does not.
Row S42 of benchbed.facts.coverage.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.families.snap import integrand_size, log_masses
from benchbed.families.snap import snap as snap_family
from benchbed.objectives._affordable import affordable
from benchbed.objectives._coupled_blocks import coupled_cost
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise


def snap(dimensions: int = 3, categories: int = 4, scale: float = 0.5, seed: int = 0) -> Objective:
    """Cost a z + z^T Q z + exp(e z) of the one-hot arg-maxes z of noisy inputs.

    Args:
        dimensions: number of variables.
        categories: of each; params are the inputs f [dimensions, categories].
        scale: standard deviation of the noise, from 1e-6 to 1e6; without it the gradient is 0
            almost everywhere.
        seed: of the coefficients and the inputs.
    """
    at_least("snap", "dimensions", dimensions, 1)
    at_least("snap", "categories", categories, 2)
    at_least("snap", "seed", seed, 0)
    largest = max(dimensions * integrand_size(categories), (dimensions * categories) ** 2)
    affordable("snap", largest, "use fewer categories or dimensions")
    family = snap_family(scale)
    noise = Noise(seed, "snap", dtype=torch.float64)
    params = 0.5 * noise.normal(dimensions, categories).contiguous()
    task = coupled_cost(dimensions * categories, noise.child("cost"))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return task.at(z.flatten(-2))

    def value(params: Tensor) -> Tensor:
        corners = torch.eye(categories).to(params).expand(dimensions, categories, categories)
        return task.mean(log_masses(scale, params).exp(), corners)

    return Objective(
        "snap", family, params, cost, value, gradient_of(value), citation="Bengio et al. 2013"
    )
