"""The thermodynamic variational objective (TVO) and its covariance gradient.

Masrani, Le and Wood 2019, "The Thermodynamic Variational Objective" (arXiv 1907.00031). log p(x)
is the integral over b from 0 to 1 of E_b[l], l = log p(x, z) / q(z), E_b under the law
proportional to p^b q^(1 - b); the TVO is its left Riemann sum over 0 = b_0 < ... < b_M = 1. With
the S particles of the bound and self-normalized weights wb_k, proportional to w_k^b, the gradient
of one term is

    E_b[dl] + Cov_b(d log law, l)  by  -sum_k wb_k h_k
        + S / (S - 1) (1 - b) sum_k wb_k (l_k - sum_j wb_j l_j) h_k.

The weights are biased by O(1 / S), except at b = 0 (``partitions`` = 1), where the TVO is the ELBO
and the estimate is leave-one-out REINFORCE over the particles. Its target is the TVO, not the
objective's bound. Cost: one evaluation of J a sample, S particles each, for all partitions.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import finite_in_z
from benchbed.errors import BadArgument
from benchbed.estimators._bound_targets import thermodynamic_gradient
from benchbed.estimators._log_weights import log_weights, needs_others, weighted_scores
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def thermodynamic(samples: int = 1, partitions: int = 2, first: float = 0.1) -> Estimator:
    """Covariance gradient of the thermodynamic variational objective (TVO).

    Args:
        samples: independent tuples of particles in one estimate, each one evaluation of J.
        partitions: M, terms of the left Riemann sum; 1 is the ELBO.
        first: b_1, the first temperature above 0; from there to 1 they are spaced evenly in the
            logarithm. With one partition it plays no part.
    """
    at_least("thermodynamic", "samples", samples, 1)
    at_least("thermodynamic", "partitions", partitions, 1)
    if not 0 < first < 1:
        raise BadArgument(f"thermodynamic needs first strictly between 0 and 1, got {first}")
    steps = partitions - 1
    betas = [0.0, *(first ** (1 - step / steps) for step in range(steps)), 1.0]
    unbiased: bool | Literal["limit"] = True if partitions == 1 else "limit"

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = log_weights(objective, params, z)
        count = needs_others("thermodynamic", found.each, "score_function")
        inner = draws_last(found.each)  # [samples, *items, S, draws]
        weight = torch.zeros_like(inner)
        for low, high in itertools.pairwise(betas):
            share = (low * inner).softmax(-2)
            centred = inner - (share * inner).sum(-2, keepdim=True)
            factor = (1 - low) * count / (count - 1)
            weight += (high - low) * share * (factor * centred - 1)
        return weighted_scores(objective, params, z, draws_first(weight))

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "thermodynamic",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=unbiased,  # "limit": as the particles grow
        target="tvo",
        target_gradient=lambda objective: thermodynamic_gradient(objective, betas),
        needs=frozenset({"log_joint"}),
        citation="Masrani et al. 2019",
        settings={"partitions": partitions, "first": first},
        finite=finite_in_z(estimate, replicates=samples),
    )
