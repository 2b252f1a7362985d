"""Leave-one-out REINFORCE (RLOO, VarGrad): each sample's baseline is the others' mean cost.

Salimans and Knowles 2014 (arXiv 1401.1022); Kool, van Hoof and Welling 2019, "Buy 4 REINFORCE
samples, get a baseline for free!".
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.estimators._weighted_scores import leave_one_out_score
from benchbed.rng import Noise


def leave_one_out(samples: int = 2) -> Estimator:
    """Average ``samples`` score-function terms, each centred by the others' mean cost."""
    at_least("leave_one_out", "samples", samples, 2, "; with one sample use score_function")

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params)  # cost [draws, samples, *items]
        return add_direct(leave_one_out_score(objective.family, params, z, found.cost), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "leave_one_out",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        citation="Kool et al. 2019",
        finite=finite_in_z(estimate, together=samples),
    )
