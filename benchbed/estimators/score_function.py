"""The score function (REINFORCE, likelihood ratio) estimator.

Glynn 1990, "Likelihood ratio gradient estimation for stochastic systems"; Williams 1992, "Simple
statistical gradient-following algorithms for connectionist reinforcement learning".
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.estimators._weighted_scores import average_score
from benchbed.rng import Noise


def score_function(samples: int = 1) -> Estimator:
    """Average J(z) d log q(z) / d params over ``samples`` independent z.

    Its variance is NOT invariant to adding a constant to J: see constant_baseline.
    """
    at_least("score_function", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params)  # cost [draws, samples, *items]
        family = objective.family
        return add_direct(average_score(family, params, z, family.lift(found.cost)), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "score_function",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        citation="Williams 1992",
        finite=finite_in_z(estimate, replicates=samples),
    )
