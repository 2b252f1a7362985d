"""A smooth, coupled cost of the code vectors that a noisy encoder output is rounded to.

van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning" (arXiv
1711.00937), without the decoder: J of the nearest codes q of d encoder vectors f. With a
deterministic encoder J(q(f)) is constant between the boundaries of the Voronoi cells: its gradient
in f is 0 almost everywhere and "bias" means nothing. So the encoder has Gaussian noise,
x = f + scale * eps, and the objective is the smoothed E[J(q(x))], whose gradient is exact: the mass
of a cell of a grid codebook is a product of intervals of the normal law. Row S4B of
benchbed.facts.coverage, with vector_quantized, where the codebook is learned.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Objective
from benchbed.families.quantized import log_masses
from benchbed.families.quantized import quantized as quantized_family
from benchbed.layout import linear
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

COORDINATES = 2  # of one code vector


def quantized(dimensions: int = 2, codes: int = 3, scale: float = 0.5, seed: int = 0) -> Objective:
    """Cost a z + z^T Q z + exp(e z) over the flattened codes z of a noisy encoder's vectors.

    Args:
        dimensions: number of encoder vectors, of 2 coordinates each.
        codes: of each coordinate, evenly from -1 to 1, so that a vector has codes^2. With an even
            number no code is at the origin, and rotation_trick has no finite variance.
        scale: standard deviation of the encoder's noise, from 1e-6 to 1e6; without it the
            gradient is 0 almost everywhere.
        seed: of the coefficients and the encoder's output.
    """
    at_least("quantized", "dimensions", dimensions, 1)
    at_least("quantized", "codes", codes, 2)
    codebook = torch.linspace(-1, 1, codes, dtype=torch.float64)
    family = quantized_family(codebook, scale)
    noise = Noise(seed, "quantized", dtype=torch.float64)
    size = dimensions * COORDINATES
    params = 0.7 * noise.normal(dimensions, COORDINATES).contiguous()
    slopes = noise.normal(size)
    root = noise.normal(size, size)
    form = (root + root.T) / (2 * math.sqrt(size))
    exponent = noise.normal(size) / math.sqrt(size)
    off = form - form.diag().diag()

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        flat = z.flatten(-2)
        pairs = (linear(form, flat) * flat).sum(-1)
        return linear(slopes, flat) + pairs + linear(exponent, flat).exp()

    def value(params: Tensor) -> Tensor:
        mass = log_masses(codebook[None], scale, params).exp().flatten(0, 1)  # [size, codes]
        c = codebook.to(params)
        first, second = mass @ c, mass @ c.square()
        growth = (mass * (exponent.to(params)[:, None] * c).exp()).sum(-1).prod()
        single = slopes.to(params) @ first + form.diag().to(params) @ second
        return single + first @ off.to(params) @ first + growth

    return Objective(
        "quantized",
        family,
        params,
        cost,
        value,
        gradient_of(value),
        citation="van den Oord et al. 2017",
    )
