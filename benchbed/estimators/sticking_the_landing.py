"""Sticking the landing (STL): the pathwise gradient of a bound without its score term.

Roeder, Wu and Duvenaud 2017, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators
for Variational Inference" (arXiv 1703.09194):

    sum_k wt_k (d log w_k / dz_k) dz_k / d params,   the parameters inside log q held fixed.

What is left out, -sum_k wt_k h_k, has mean zero for K = 1 only. For K > 1 the mean is the gradient
of the bound PLUS that of ``reweighted_wake_sleep`` with K particles, contrary to the paper's
extension to importance-weighted bounds (Tucker et al. 2019, arXiv 1810.04152). Where q is the
posterior log w is constant in z, and every estimate is exactly zero. Cost: one evaluation of J a
sample, K particles each, and its slope.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.estimators._log_weights import along_path, through_path
from benchbed.rng import Noise


def sticking_the_landing(samples: int = 1) -> Estimator:
    """Pathwise gradient of a bound without the score of q: unbiased for one particle only.

    Args:
        samples: independent K-tuples in one estimate, each one evaluation of J.
    """
    at_least("sticking_the_landing", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        path, found = along_path(objective, params, draws, samples, noise)
        return through_path(objective, path, found, found.share)

    return Estimator(
        "sticking_the_landing",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"log_joint", "exact_path", "differentiable"}),
        citation="Roeder et al. 2017",
    )
