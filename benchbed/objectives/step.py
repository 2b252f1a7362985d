"""A smooth, coupled cost of the bits that noisy inputs are thresholded to.

STEP(a) = 1[a > 0], the first non-differentiable operation of Stratos' notes: with a deterministic
input, d J(STEP(f)) / d f is 0 almost everywhere, so there is nothing for an estimator to be right
or wrong about. So the input has Gaussian noise, x = f + scale * eps, and the objective is
E[J(STEP(x))], to be lowered: P(z_i = 1) = Phi(f_i / scale), and the gradient is exact. In the
backward pass STEP(x) is linearized as x: ``vq_straight_through``, whose mean E[J'(z)] lacks the
factor d P / d f = phi(f / scale) / scale. Row S41 of benchbed.facts.coverage.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.families.step import step as step_family
from benchbed.objectives._affordable import affordable
from benchbed.objectives._coupled_blocks import coupled_cost
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise


def step(dimensions: int = 4, scale: float = 0.5, seed: int = 0) -> Objective:
    """Cost a z + z^T Q z + exp(e z) of noisy inputs that a threshold turns into bits z.

    Args:
        dimensions: number of bits; params are the inputs f [dimensions].
        scale: standard deviation of the noise, from 1e-6 to 1e6; without it the gradient is 0
            almost everywhere.
        seed: of the coefficients and the inputs.
    """
    at_least("step", "dimensions", dimensions, 1)
    at_least("step", "seed", seed, 0)
    affordable("step", dimensions**2, "use 4,472 dimensions or fewer")
    family = step_family(scale)
    noise = Noise(seed, "step", dtype=torch.float64)
    params = 0.5 * noise.normal(dimensions).contiguous()
    task = coupled_cost(dimensions, noise.child("cost"))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return task.at(z)

    def value(params: Tensor) -> Tensor:
        p = torch.stack((-params, params), -1) / scale  # [dimensions, 2]
        bits = torch.tensor([0.0, 1.0]).to(params)[:, None].expand(dimensions, 2, 1)
        return task.mean(torch.special.ndtr(p), bits)

    return Objective(
        "step", family, params, cost, value, gradient_of(value), citation="Bengio et al. 2013"
    )
