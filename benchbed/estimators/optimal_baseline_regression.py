"""The score function with the least-variance baseline of every coordinate, fitted afresh each time.

The optimal baseline E[J S_i^2] / E[S_i^2], S = d log q / d params, is due to Weaver and Tao 2001
and Greensmith, Bartlett and Baxter 2004 ("Variance Reduction Techniques for Gradient Estimates in
Reinforcement Learning", JMLR 5). Every estimate draws ``pilot`` samples of its own, fits

    c_i = sum_j J_j S_ji^2 / sum_j S_ji^2,   [draws, *params],

the weighted regression of J on a constant, and averages (J_k - c_i) S_ki over ``samples`` others.

The pilot is independent of the samples, so the estimate is unbiased for any ``pilot``. Fitting c on
the very samples it is subtracted from costs no pilot but has a bias of order 1 / samples: with one
sample c is J itself and nothing is left of the gradient.

Costs ``samples`` + ``pilot`` evaluations of J.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise

NAME = "optimal_baseline_regression"


def optimal_baseline_regression(samples: int = 1, pilot: int = 8) -> Estimator:
    """Average (J(z) - c_i) times the score, c_i fitted to least variance on a pilot of its own.

    Args:
        samples: z in one estimate.
        pilot: further z, of the same estimate, that c is fitted on.
    """
    at_least(NAME, "samples", samples, 1)
    at_least(NAME, "pilot", pilot, 1)

    def estimate(objective: Objective, params: Tensor, both: Tensor) -> Tensor:
        return centred(objective, params, both[:, pilot:], both[:, :pilot])

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        # A stream of its own, so that z goes on sharing its noise with other estimators.
        apart = noise.child("pilot", noise.drawn)
        fitted_on = family.sample(params, draws, pilot, apart)
        noise.drawn += apart.drawn
        return centred(objective, params, z, fitted_on)

    return Estimator(
        NAME,
        draw,
        samples=samples,
        evaluations=samples + pilot,
        unbiased=True,
        citation="Greensmith et al. 2004",
        settings={"pilot": pilot},
        finite=finite_in_z(estimate, together=samples + pilot),
    )


def centred(objective: Objective, params: Tensor, z: Tensor, fitted_on: Tensor) -> Tensor:
    """Average the score function of ``z`` around the baseline fitted on other samples.

    Both [draws, samples of either, *items, *event]; unbiased if they are independent.
    """
    lift, score = objective.family.lift, objective.family.score
    cost = lift(objective.evaluate(fitted_on, params).cost)  # [draws, pilot, *items, 1...]
    power = score(params, fitted_on).square()
    top, weight = mean_over_samples(cost * power), mean_over_samples(power)
    # A variable so sure that its score was 0 in the whole pilot: any c will do, the mean cost is
    # sensible. A weight that is positive but rounds its product to 0 gives a finite c all the same.
    baseline = torch.where(weight > 0, top / weight, mean_over_samples(cost))
    found = objective.evaluate(z, params)
    advantage = lift(found.cost) - baseline[:, None]
    return add_direct(mean_over_samples(advantage * score(params, z)), found)
