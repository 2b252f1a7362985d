"""Reweighted wake-sleep, the wake update of the inference network (wake-phi).

Bornschein and Bengio 2015, "Reweighted Wake-Sleep" (arXiv 1406.2751); Le, Kosiorek, Siddharth, Teh
and Wood 2019 (arXiv 1805.10469):

    sum_k wt_k h_k,   wt = softmax_k(log w),   h_k = d log q(z_k) / d params.

It follows the gradient of -KL(p(z | x) || q), which is E_{p(z | x)}[h], not that of the bound. The
self-normalized weights are biased by O(1 / K) in the particles K, entirely for K = 1, where the
mean is zero. Cost: one evaluation of J a sample, K particles each.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import finite_in_z
from benchbed.estimators._bound_targets import wake_gradient
from benchbed.estimators._log_weights import log_weights, weighted_scores
from benchbed.rng import Noise


def reweighted_wake_sleep(samples: int = 1) -> Estimator:
    """Self-normalized gradient of -KL(posterior || q): sum_k wt_k d log q(z_k) / d params.

    Args:
        samples: independent K-tuples in one estimate, each one evaluation of J.
    """
    at_least("reweighted_wake_sleep", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        share = log_weights(objective, params, z).share
        return weighted_scores(objective, params, z, share)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "reweighted_wake_sleep",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased="limit",  # as the particles grow
        target="wake",
        target_gradient=wake_gradient,
        needs=frozenset({"log_joint"}),
        citation="Bornschein and Bengio 2015",
        finite=finite_in_z(estimate, replicates=samples),
    )
