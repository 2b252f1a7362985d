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

from collections.abc import Iterable

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.elementwise import indicator
from benchbed.enumeration import finite_in_z
from benchbed.estimators._weighted_scores import average_score
from benchbed.layout import draws_first, draws_last
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
        return centred(objective, params, both[:, pilot:], torch.split(both[:, :pilot], 1, 1))

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        # A stream of its own, so that z goes on sharing its noise with other estimators.
        apart = noise.child("pilot", noise.drawn)
        fitted_on = (family.sample(params, draws, 1, apart) for _ in range(pilot))
        rows = centred(objective, params, z, fitted_on)
        noise.drawn += apart.drawn
        return rows

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


def centred(objective: Objective, params: Tensor, z: Tensor, pilot: Iterable[Tensor]) -> Tensor:
    """Average the score function of ``z`` around the baseline fitted on other samples.

    z is [draws, samples, *items, *event]; the pilot gives one sample of every draw after another,
    [draws, 1, ...], so that memory holds one. Unbiased if the two are independent.
    """
    lift, score = objective.family.lift, objective.family.score
    top, weight = (draws_first(params.new_zeros(*params.shape, len(z))) for _ in range(2))
    costs = []
    for fitted_on in pilot:
        cost = objective.evaluate(fitted_on, params).cost[:, 0]  # [draws, *items]
        power = score(params, fitted_on)[:, 0].square_()
        top.addcmul_(power, lift(cost))
        weight += power
        costs.append(draws_last(cost))
    # A variable so sure that its score was 0 in the whole pilot, and with it its top: any c will
    # do, the mean cost is sensible. A weight that is positive but rounds its product to 0 gives a
    # finite c all the same.
    none = indicator(torch.le, weight, weight.new_zeros(()))
    mean = lift(draws_first(torch.stack(costs).mean(0)))
    baseline = top.addcmul_(none, mean).div_(weight.add_(none))
    found = objective.evaluate(z, params)
    advantage = lift(found.cost) - baseline[:, None]
    return add_direct(average_score(objective.family, params, z, advantage), found)
