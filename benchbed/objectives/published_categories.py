"""The categorical toys of the papers, with the settings they print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.layout import linear
from benchbed.objectives._points import gradient_of
from benchbed.objectives.polynomial import polynomial
from benchbed.rng import Noise, address

REINMAX_VARIABLES, REINMAX_WIDTH = 128, 0.01
CARMS_VARIABLES, CARMS_CATEGORIES = 3, 3
SIMPLEX = 3


def reinmax_toy(exponent: float = 1.5, seed: int = 0) -> Objective:
    """Cost mean of |v_i - 0.45|^exponent over 128 variables of 2 categories: ReinMax's polynomial.

    Liu et al. 2023 (arXiv 2304.08612), section 6: exponents 1.5, 2 and 3, logits U(-0.01, 0.01).
    To be lowered; the optimum is 0.45^exponent.

    Args:
        exponent: p.
        seed: of the logits (the paper has 10).
    """
    at_least("reinmax_toy", "seed", seed, 0)
    exponent = finite_number("reinmax_toy", "exponent", exponent)
    if not exponent > 1:
        raise BadArgument(
            f"reinmax_toy needs exponent > 1, got {exponent}; the paper has 1.5, 2 and 3"
        )
    noise = Noise(seed, "reinmax_toy", dtype=torch.float64)
    logits = REINMAX_WIDTH * (2 * noise.uniform(REINMAX_VARIABLES, 2) - 1)
    toy = polynomial(dimensions=REINMAX_VARIABLES, categories=2, exponent=exponent)
    return replace(toy, name="reinmax_toy", params=logits.contiguous())


def carms_toy(alpha: float = 1.0, seed: int = 0) -> Objective:
    """Cost linear in 3 one-hots of 3 categories, weights 3, 6, ..., 27: CARMS's toy.

    Dimitriev and Zhou 2021, "CARMS: Categorical-Antithetic-REINFORCE Multi-Sample Gradient
    Estimator", figure 1: probabilities drawn from Dirichlet(alpha, alpha, alpha) with alpha of 1,
    10, 100 and 1,000, 3 samples. The weights are those of its code: 1 to 9, times the categories.

    Args:
        alpha: concentration; the larger, the nearer to equal probabilities.
        seed: of the probabilities.
    """
    if not finite_number("carms_toy", "alpha", alpha) > 0:
        raise BadArgument(f"carms_toy needs alpha > 0, got {alpha}; the paper has 1 to 1000")
    at_least("carms_toy", "seed", seed, 0)
    # numpy's gamma numbers, keyed like every other stream: the concentration may be large.
    key = int.from_bytes(address(seed, "carms_toy"), "little")
    shape = (CARMS_VARIABLES, CARMS_CATEGORIES)
    pieces = np.random.Generator(np.random.SFC64(key)).standard_gamma(alpha, shape)
    pieces = np.maximum(pieces, np.finfo(np.float64).tiny)
    params = torch.from_numpy(pieces).log().log_softmax(-1)
    weights = torch.arange(1, 10, dtype=torch.float64).reshape(shape) * CARMS_CATEGORIES

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return linear(weights.flatten(), z.flatten(-2))

    def value(params: Tensor) -> Tensor:
        return (params.softmax(-1) * weights).sum()

    return Objective(
        "carms_toy",
        CATEGORICAL,
        params,
        cost,
        value,
        gradient_of(value),
        citation="Dimitriev and Zhou 2021b",
    )


def gumbel_rao_toy(spread: float = 1.0, seed: int = 0) -> Objective:
    """Cost (z - 1/3)^T Q (z - 1/3) of one variable of 3 categories, Q_ij = exp(-2 |i - j|).

    Paulus, Maddison and Krause 2021 (arXiv 2010.04838), the quadratic program on the simplex, in
    this project's reading of it: the matrix does not move with the parameters. To be lowered. The
    cost is quadratic in the one-hot, so ReinMax's mean is exact and straight-through's is not.

    Args:
        spread: standard deviation of the logits; 0 is the centre of the simplex.
        seed: of the logits.
    """
    at_least("gumbel_rao_toy", "seed", seed, 0)
    places = torch.arange(SIMPLEX, dtype=torch.float64)
    form = (-2 * (places[:, None] - places).abs()).exp()
    noise = Noise(seed, "gumbel_rao_toy", dtype=torch.float64)
    logits = finite_number("gumbel_rao_toy", "spread", spread) * noise.normal(1, SIMPLEX)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        away = z[..., 0, :] - 1 / SIMPLEX
        return (linear(form, away) * away).sum(-1)

    def value(params: Tensor) -> Tensor:
        away = torch.eye(SIMPLEX, dtype=torch.float64) - 1 / SIMPLEX
        return (params.softmax(-1)[0] * ((away @ form) * away).sum(-1)).sum()

    return Objective(
        "gumbel_rao_toy",
        CATEGORICAL,
        logits.contiguous(),
        cost,
        value,
        gradient_of(value),
        citation="Paulus et al. 2021",
    )
