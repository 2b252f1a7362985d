"""The doubly reparameterized gradient (DReG) of a multi-sample bound.

Tucker, Lawson, Gu and Maddison 2019, "Doubly Reparameterized Gradient Estimators for Monte Carlo
Objectives" (arXiv 1810.04152), the inference network's gradient:

    sum_k wt_k^2 (d log w_k / dz_k) dz_k / d params,   the parameters inside log q held fixed.

The score term of ``iwae_reparameterization`` is reparameterized a second time, which leaves the
mean alone and lets the signal-to-noise ratio grow with K. For K = 1 it is sticking the landing;
where q is the posterior every estimate is exactly zero. Gradients of the model's own parameters
must not come from this surrogate but from J. Cost: one evaluation of J a sample, K particles each,
and its slope.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.estimators._log_weights import along_path, through_path
from benchbed.rng import Noise


def doubly_reparameterized(samples: int = 1) -> Estimator:
    """Pathwise gradient of a bound with squared weights in place of the score of q.

    Args:
        samples: independent K-tuples in one estimate, each one evaluation of J.
    """
    at_least("doubly_reparameterized", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        path, found = along_path(objective, params, draws, samples, noise)
        return through_path(objective, path, found, found.share.square())

    return Estimator(
        "doubly_reparameterized",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=True,
        needs=frozenset({"log_joint", "exact_path", "differentiable"}),
        citation="Tucker et al. 2019",
    )
