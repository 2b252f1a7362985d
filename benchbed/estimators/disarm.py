"""DisARM (also U2G): ARM with its uniform integrated out given the pair of samples.

Dong, Mnih and Tucker 2020, "DisARM: An Antithetic Gradient Estimator for Binary Latent Variables"
(arXiv 2006.10680), equation 8; Yin et al. 2020 (arXiv 2006.06448). Its variance is at most ARM's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.estimators._antithetic_bits import even_samples, pair, pair_states
from benchbed.estimators._weighted_scores import weighted_sum_
from benchbed.rng import Noise


def disarm(samples: int = 2) -> Estimator:
    """Average ``samples / 2`` antithetic pairs.

    One pair gives 1/2 (J(b) - J(bt)) (b_i - bt_i) max(p_i, 1 - p_i): zero where the bits agree.
    """
    pairs = even_samples("disarm", samples)

    def estimate(objective: Objective, params: Tensor, u: Tensor) -> Tensor:
        half = u.shape[1]
        z = pair(params, u)  # [draws, 2 * half, *params]
        found = objective.evaluate(z, params)
        gap = found.cost[:, :half] - found.cost[:, half:]  # [draws, half, *items]
        differ = weighted_sum_(z[:, :half] - z[:, half:], objective.family.lift(gap / half))
        return add_direct(differ.mul_(0.5 * torch.sigmoid(params.abs())), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, noise.uniform(draws, pairs, *params.shape))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for probability, u in pair_states(params):
            yield probability, estimate(objective, params, u)

    return Estimator(
        "disarm",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        families=frozenset({"bernoulli"}),
        citation="Dong et al. 2020",
        finite=Finite(lambda _objective, params: int(3 ** params.shape[-1]), outcomes, pairs),
    )
