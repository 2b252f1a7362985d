"""VIMCO: score-function terms of a multi-sample bound, each centred by the other particles.

Mnih and Rezende 2016, "Variational inference for Monte Carlo objectives" (arXiv 1602.06725). With
l_k = log w_k, [draws, samples, *items, K], and J = LSE(l) - log K,

    sum_k (J - base_k - wt_k) h_k,   base_k = LSE(l with l_k replaced by m_k) - log K,

m_k the log of the arithmetic or of the geometric mean of the other K - 1 weights. With the
arithmetic mean base_k is log mean_{j != k} w_j itself; with K = 2 the two agree. The term
-wt_k h_k is d log w_k / d params at fixed z: without it, as in code written for a q that does not
hold the parameters, the estimate is off by E[sum_k wt_k h_k], which grows with K. Cost: one
evaluation of J a sample, K particles each.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import finite_in_z
from benchbed.errors import BadArgument
from benchbed.estimators._log_weights import (
    log_mean,
    log_sum_of_others,
    log_weights,
    needs_others,
    weighted_scores,
)
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def vimco(samples: int = 1, mean: Literal["arithmetic", "geometric"] = "arithmetic") -> Estimator:
    """Score-function gradient of a multi-sample bound with baselines made of the other particles.

    Args:
        samples: independent K-tuples in one estimate, each one evaluation of J.
        mean: of the other weights, which stands for the weight left out.
    """
    at_least("vimco", "samples", samples, 1)
    if mean not in ("arithmetic", "geometric"):
        raise BadArgument(f"vimco needs mean: arithmetic or geometric, got '{mean}'")

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = log_weights(objective, params, z)
        count = needs_others("vimco", found.each, "score_function")
        others = log_sum_of_others(found.each)
        if mean == "arithmetic":
            base = others - math.log(count - 1)
        else:
            inner = draws_last(found.each)
            geometric = draws_first((inner.sum(-2, keepdim=True) - inner) / (count - 1))
            base = torch.logaddexp(others, geometric) - math.log(count)
        centred = log_mean(found.each) - base - found.share
        return weighted_scores(objective, params, z, centred)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "vimco",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        needs=frozenset({"log_joint"}),
        citation="Mnih and Rezende 2016",
        settings={"mean": mean},
        finite=finite_in_z(estimate, replicates=samples),
    )
