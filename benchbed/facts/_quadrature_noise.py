"""Samplers and estimators integrated, not sampled: their noise is the nodes of a quadrature."""

from __future__ import annotations

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from benchbed.contracts import Estimator
from benchbed.objectives.normal_toys import normal_cosine
from benchbed.rng import Noise

Array = NDArray[np.float64]
MEAN, SCALE = 0.4, 0.7


class Nodes(Noise):
    """Noise that is a quadrature's nodes, [draws, samples] numbers of the standard normal law."""

    def __init__(self, eps: Array) -> None:
        super().__init__(0, "nodes", dtype=torch.float64)
        self._eps = torch.from_numpy(eps)

    def normal(self, *shape: int) -> Tensor:
        return self._eps.reshape(shape).clone()

    def uniform(self, *shape: int) -> Tensor:
        below: Tensor = torch.special.ndtr(self._eps.reshape(shape))
        return below


def hermite(nodes: int = 80) -> tuple[Array, Array]:
    """Return nodes [n, 1] and weights of the standard normal law."""
    eps, weight = hermegauss(nodes)
    return eps[:, None], weight / weight.sum()


def trapezoid() -> tuple[Array, Array]:
    """Return the same, evenly spaced and within what a uniform in float64 can say: +-8."""
    eps = np.linspace(-8, 8, 129)
    return eps[:, None], softmax(-(eps**2) / 2)


def rows(method: Estimator, k: float, eps: Array, mean: float = MEAN) -> Array:
    """Return an estimator's gradients of E cos(k z) in (mean, log-scale), a row for every node."""
    problem = normal_cosine(k=k, mean=mean, scale=SCALE)
    found = method.draw(problem, problem.params, len(eps), Nodes(eps))
    return np.asarray(found[..., 0].numpy())


def spread(rows: Array, weight: Array) -> Array:
    mean = weight @ rows
    return np.asarray(weight @ (rows - mean) ** 2)
