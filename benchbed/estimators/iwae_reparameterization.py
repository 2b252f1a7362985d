"""The reparameterization gradient of a multi-sample bound, weight by weight.

Burda, Grosse and Salakhutdinov 2016, "Importance Weighted Autoencoders" (arXiv 1509.00519),
with both ways in which log w_k holds the parameters written out:

    sum_k wt_k [(d log w_k / dz_k) dz_k / d params - h_k],   z_k = mu + sigma * eps_k.

Sample by sample it is ``reparameterization`` of J. Its signal-to-noise ratio falls like
1 / sqrt(K) (Rainforth et al. 2018, arXiv 1802.04537): see doubly_reparameterized. Cost: one
evaluation of J a sample, K particles each, and its slope.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.estimators._log_weights import along_path, through_path, weighted_scores
from benchbed.rng import Noise


def iwae_reparameterization(samples: int = 1) -> Estimator:
    """Pathwise gradient of a multi-sample bound: sum_k wt_k d log w_k / d params.

    Args:
        samples: independent K-tuples in one estimate, each one evaluation of J.
    """
    at_least("iwae_reparameterization", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        path, found = along_path(objective, params, draws, samples, noise)
        share = found.share
        direct = weighted_scores(objective, params, path.hard, share)
        return through_path(objective, path, found, share).sub_(direct)

    return Estimator(
        "iwae_reparameterization",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=True,
        needs=frozenset({"log_joint", "exact_path", "differentiable"}),
        citation="Burda et al. 2016",
    )
