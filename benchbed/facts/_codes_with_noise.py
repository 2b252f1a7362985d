"""The nearest code to an output with Gaussian noise, by quadrature: sides of row S4B."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.families.learned_codebook import learned_codebook
from benchbed.objectives.vector_quantized import vector_quantized

Array = NDArray[np.float64]
SIGMA = 0.6
OUTPUT, CODES = 0.35, np.array([0.8, -0.9, 0.1])  # an encoder's output, codes in no order
BETA = 0.25  # of the commitment loss


def _cell(code: int, weight: Callable[[float], float]) -> float:
    """Integrate weight(x) times the density of x over where a code is the nearest."""
    grid = sorted([*((CODES[:, None] + CODES) / 2)[np.triu_indices(3, 1)], -8.0, 8.0])
    total = 0.0
    for low, high in itertools.pairwise(grid):
        middle = (low + high) / 2
        if np.abs(CODES - middle).argmin() == code:
            for ends in itertools.pairwise(np.linspace(low, high, 9)):
                density = quad(
                    lambda x: weight(x) * float(norm.pdf(x, OUTPUT, SIGMA)), *ends, epsabs=1e-15
                )
                total += density[0]
    return total


def masses() -> Array:
    """Return the mass of every code's cell."""
    return np.array([_cell(k, lambda _: 1.0) for k in range(3)])


def quantizer() -> Objective:
    """Return the catalogue's objective of one number and three codes."""
    return vector_quantized(1, 1, 3, SIGMA, seed=2)


def point() -> Tensor:
    """Return (f, C) as flat params."""
    return torch.from_numpy(np.append(OUTPUT, CODES))


def at_every_code(objective: Objective) -> tuple[Array, Array]:
    """Return J at every code, and its slopes in (f, C) with the code held."""
    z = torch.arange(3, dtype=torch.float64).reshape(3, 1, 1, 1)
    found = objective.evaluate(z, point())
    assert found.direct is not None
    return found.cost[:, 0].numpy(), found.direct[:, 0].numpy()


def quantizer_gradient() -> Array:
    """Return E[J eps / sigma] to f; to C the slopes, and the mass that crosses each boundary."""
    cost, direct = at_every_code(quantizer())
    gradient = masses() @ direct
    gradient[0] += sum(cost[k] * _cell(k, lambda x: (x - OUTPUT) / SIGMA**2) for k in range(3))
    order = np.argsort(CODES)
    for low, high in itertools.pairwise(order):
        crossing = norm.pdf((CODES[low] + CODES[high]) / 2, OUTPUT, SIGMA) / 2
        gradient[[1 + low, 1 + high]] += crossing * (cost[low] - cost[high])
    return np.asarray(gradient)


def _published(z: Tensor, params: Tensor) -> Tensor:
    """Cost exp(q) + sg losses with everything inside sg frozen at the point, z numbers of codes."""
    number = z.detach().round()[..., 0, 0].long()
    own = params[..., 1:].expand(*number.shape, 3).gather(-1, number[..., None])[..., 0]
    frozen = torch.from_numpy(CODES).to(z)[number]
    q = frozen + z[..., 0, 0] - number
    return q.exp() + (OUTPUT - own).square() + BETA * (params[..., 0] - frozen).square()


def published_by_hand() -> Array:
    """Return the mean of exp(C_z) + 2 beta (f - C_z) to f and 2 (C_z - f) to the code chosen."""
    chance = np.diff(norm.cdf(np.array([-np.inf, -0.4, 0.45, np.inf]), OUTPUT, SIGMA))[[2, 0, 1]]
    to_f = np.exp(CODES) + 2 * BETA * (OUTPUT - CODES)
    return np.append(chance @ to_f, chance * 2 * (CODES - OUTPUT))


def published_problem() -> Objective:
    """Return a toy whose straight-through is the published update."""
    law = learned_codebook(1, 1, 3, SIGMA)
    return Objective("toy", law, point(), _published, direct=True)


def stopped() -> Array:
    """Differentiate the losses as code writes them, with detach, summed over the three codes."""
    f = torch.tensor(OUTPUT, dtype=torch.float64, requires_grad=True)
    codes = torch.from_numpy(CODES).requires_grad_()
    loss = (f.detach() - codes).square() + BETA * (f - codes.detach()).square()
    return np.append(*(x.numpy() for x in torch.autograd.grad(loss.sum(), (f, codes))))


def frozen() -> Array:
    """Differentiate, by an imaginary step, the losses with the stopped parts held as constants."""

    def loss(at: NDArray[np.complex128]) -> complex:
        codebook, commitment = (OUTPUT - at[1:]) ** 2, (at[0] - CODES) ** 2
        return complex((codebook + BETA * commitment).sum())

    start = np.append(OUTPUT, CODES)
    return np.array([loss(start + 1e-20j * one).imag / 1e-20 for one in np.eye(4)])
