"""DisARM-IW: a categorical antithetic pair, weighted by how rare coupling made it.

Dong, Mnih and Tucker 2021, "Coupled Gradient Estimators for Discrete Latent Variables" (arXiv
2106.08056). Leave-one-out of an antithetic pair z, zt (_stick_breaking), each variable
weighted by r = q(z) q(zt) / q(z, zt): with n the first class at which either stopped,

    g = 1/2 (J - Jt) r (D - Dt),   r = 0 where z = zt, else
    r = sigma(|psi_n|) prod_{c < n} (1 - sigma(psi_c))^2 / (1 - 2 sigma(psi_c)).

Every pair of different classes must be possible: sigma(psi_c) < 1/2 for all c < C - 1. Classes are
therefore broken off in ascending order of their logits, where sigma(psi_c) <= 1/3 for those c and
nothing is near 0 / 0. Without (``sort: false``) the estimator is biased wherever a class other than
the last two is likelier than all the later ones together: at logits 1.2, .1, -.3, but not at .6,
.1, -.3. Two classes: DisARM, in either order.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import flag
from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.estimators._antithetic_bits import even_samples
from benchbed.estimators._stick_breaking import (
    one_class,
    stick_logits,
    stick_state_count,
    stick_states,
    sticks,
)
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def disarm_importance_weighted(samples: int = 2, sort: bool = True) -> Estimator:
    """Average ``samples / 2`` antithetic pairs, each variable weighted by its pair's importance.

    Args:
        samples: z in one estimate, an even number.
        sort: break classes off in ascending order of their logits; without, it is biased.
    """
    pairs = even_samples("disarm_importance_weighted", samples)
    flag("disarm_importance_weighted", "sort", sort)

    def ordered(params: Tensor) -> tuple[Tensor, Tensor]:
        """Return psi of the sorted classes, and the place of each class among them."""
        if not sort:
            own = torch.arange(params.shape[-1], device=params.device)
            return stick_logits(params), own.expand_as(params)
        order = params.argsort(-1)
        return stick_logits(params.gather(-1, order)), order.argsort(-1)

    def estimate(objective: Objective, params: Tensor, u: Tensor) -> Tensor:
        if params.shape[-1] == 1:
            return one_class(objective, params, len(u), samples)
        psi, place = ordered(params)
        reached, classes = sticks(psi, u)
        stopped = (classes[0] - classes[1])[..., :-1, :].abs_()
        parting = stopped.mul_(reached[0]).mul_(reached[1])  # one-hot at n, or 0
        classes = _in_order(classes, place)
        found = objective.evaluate(draws_first(classes.flatten(0, 1)), params)
        cost = draws_last(found.cost)  # [2 * pairs, *items, draws]
        half = len(cost) // 2
        gap = 0.5 * (cost[:half] - cost[half:])[..., None, None, :]
        ratio = _importance(psi)[..., None, :] @ parting  # [pairs, *items, d, 1, draws]
        rows = (classes[0] - classes[1]).mul_(ratio.mul_(gap))
        return add_direct(mean_over_samples(draws_first(rows)), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        *inner, classes = params.shape
        return estimate(objective, params, noise.uniform(draws, pairs, *inner, classes - 1))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for probability, u in stick_states(ordered(params)[0]):
            yield probability, estimate(objective, params, u)

    return Estimator(
        "disarm_importance_weighted",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=sort,
        families=frozenset({"categorical"}),
        citation="Dong et al. 2021",
        settings={"sort": sort},
        finite=Finite(lambda _objective, params: stick_state_count(params), outcomes, pairs),
    )


def _in_order(classes: Tensor, place: Tensor) -> Tensor:
    """Put row ``place`` [*items, d, C] of classes [2, pairs, *items, d, C, draws] at each class."""
    count = place.shape[-1]
    start = torch.arange(0, place.numel(), count, device=place.device)
    rows = (place + start.view(*place.shape[:-1], 1)).flatten()
    return classes.flatten(2, -2).index_select(2, rows).view(classes.shape)


def _importance(psi: Tensor) -> Tensor:
    """Return r of pairs that part at n, [*items, d, C - 1 (n)]; 0 where no pair gets so far.

    (1 - s)^2 / (1 - 2 s) = (1 - s) / (1 - exp(psi)) for s = sigma(psi).
    """
    possible = psi < 0
    below = torch.where(possible, psi, -1.0)
    step = F.logsigmoid(-below) - torch.log(-torch.expm1(below))
    step = torch.where(possible, step, -torch.inf)
    before = torch.cat((torch.zeros_like(step[..., :1]), step.cumsum(-1)[..., :-1]), -1)
    return (F.logsigmoid(psi.abs()) + before).exp()
