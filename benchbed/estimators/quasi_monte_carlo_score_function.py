"""The score function on a randomized Sobol net instead of independent samples.

Buchholz, Wenzel and Mandt 2018, "Quasi-Monte Carlo Variational Inference" (arXiv 1807.01604),
section 3. The mean over k of J(z_k) d log q(z_k) / d params, z_k the quantile at the k-th point
u_k of a Sobol net [samples, uniforms]. Every estimate randomizes the net anew (_sobol_points), so
that estimates are unbiased and independent: a net that is not randomized is a quadrature rule, with
an error that no repetition shows. The variance is that of whole nets, never that of one net's
points, which are not independent. It falls fast in few dimensions; where the uniforms outnumber
log2(samples) by far, pairs of them move together in one net, and the gain goes (8 points for 8
variables of 10 categories have the variance of 8 independent samples).
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.estimators._sobol_points import sobol_uniforms
from benchbed.estimators._weighted_scores import average_score
from benchbed.layout import compact
from benchbed.rng import Noise

NAME = "quasi_monte_carlo_score_function"


def quasi_monte_carlo_score_function(samples: int = 8) -> Estimator:
    """Average J(z) times the score over a randomized Sobol net of ``samples`` points.

    Args:
        samples: points of one net, best a power of two; 1 is score_function itself.
    """
    at_least(NAME, "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        assert family.quantile is not None
        u = sobol_uniforms(NAME, family, params, draws, samples, noise)
        z = compact(family.quantile(params, u))
        found = objective.evaluate(z, params)  # cost [draws, samples, *items]
        return add_direct(average_score(family, params, z, family.lift(found.cost)), found)

    return Estimator(
        NAME,
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        needs=frozenset({"quantile"}),
        citation="Buchholz et al. 2018",
    )
