"""The Rao-Blackwellized score function: the most probable outcomes summed, the rest sampled.

Liu, Regier, Tripuraneni, Jordan and McAuliffe 2019, "Rao-Blackwellized Stochastic Gradients for
Discrete Distributions" (arXiv 1810.04777). With C the ``top`` most probable joint
outcomes, Q = 1 - q(C) and e(s) = J(s) score(s),

    g = sum_{s in C} q(s) e(s) + Q mean_j e(s_j),   s_j ~ q given that it is not in C.

Per coordinate Var(g) <= Q Var(e) / samples. With C = all outcomes g is the exact gradient. The
direct term is weighted like e.

C and the law of the rest are found on the factors (_outcomes): the rest is a union of disjoint
subtrees, one of which is drawn first; what it leaves free comes from ``family.sample``'s own noise.
So any number of Bernoulli or categorical variables will do; other laws are listed.

Cost: top + samples evaluations of J. The ``top`` do not depend on the draw: they are made once for
all the rows of a call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Finite, Objective
from benchbed.elementwise import indicator
from benchbed.enumeration import tuples
from benchbed.errors import BadArgument
from benchbed.estimators._outcomes import (
    Law,
    at_most_states,
    departures,
    inverse_cdf,
    law_of,
    most_probable,
)
from benchbed.estimators._weighted_scores import average_score
from benchbed.layout import draws_last, mean_over_samples, sum_over_samples
from benchbed.rng import Noise

MOST_TOP = 1024  # every two of the outcomes are compared, and each leaves its subtrees


class Head(NamedTuple):
    """What is known of the outcomes summed exactly, and of the rest."""

    z: Tensor  # [1, top, *items, *event]
    part: Tensor  # [*params]: sum of q(s) e(s), with its direct term
    rest: Tensor  # Q, [*items]
    cdf: Tensor  # [*items, subtrees - 1], of the subtrees of the rest
    fixed: Tensor  # [*items, variables, subtrees]: the values that each fixes, or -1


def rao_blackwell_score_function(top: int = 1, samples: int = 1) -> Estimator:
    """Sum the score function over the ``top`` most probable outcomes and sample the rest.

    Args:
        top: joint outcomes summed exactly, at most 1,024.
        samples: z in one estimate, from the law of the other outcomes.
    """
    at_least("rao_blackwell_score_function", "top", top, 1, "; with none use score_function")
    if top > MOST_TOP:
        raise BadArgument(
            f"rao_blackwell_score_function needs top <= {MOST_TOP:,}, got {top:,}; it takes "
            "memory like its square; use fewer, or exact where all outcomes can be listed"
        )
    at_least("rao_blackwell_score_function", "samples", samples, 1)

    def head(objective: Objective, params: Tensor, law: Law) -> Head:
        at_most_states("rao_blackwell_score_function", "top", objective.family, params, top)
        chosen = most_probable(law.exact, top)  # [*items, top, variables]
        leaving = departures(law.exact, chosen)
        step = law.exact.unsqueeze(-3).expand(*chosen.shape, law.exact.shape[-1])
        log_q = step.gather(-1, chosen[..., None])[..., 0].sum(-1)  # [*items, top]
        z = law.build(chosen.movedim(-2, 0)[..., None])
        family, found = objective.family, objective.evaluate(z, params)
        weight = log_q.movedim(-1, 0)[None].exp().to(params.dtype)  # [1, top, *items]
        part = family.lift(weight * found.cost) * family.score(params, z)
        if found.direct is not None:
            part = part + family.lift(weight) * found.direct
        # Nothing left over: any outcome will do, its weight is 0.
        share = (leaving.log_mass - leaving.log_mass.amax(-1, keepdim=True).nan_to_num()).exp()
        total = share.cumsum(-1)
        cdf = total / total[..., -1:].clamp_min(1e-300)  # ends at 1 in any dtype
        return Head(
            z,
            sum_over_samples(part)[0],
            leaving.log_mass.exp().sum(-1).to(params.dtype),
            cdf[..., :-1].to(params.dtype),
            leaving.fixed,
        )

    def estimate(objective: Objective, params: Tensor, z: Tensor, known: Head) -> Tensor:
        family, found = objective.family, objective.evaluate(z, params)
        weight = known.rest * found.cost  # [draws, samples, *items]
        total = average_score(family, params, z, family.lift(weight))
        if found.direct is not None:
            total += family.lift(known.rest) * mean_over_samples(found.direct)
        return total.add_(known.part)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        law = law_of(objective.family, params)
        known = head(objective, params, law)
        free = law.sample(draws, samples, noise)  # [samples, *items, variables, draws]
        # A stream of its own, so that what is free goes on sharing its noise with others.
        apart = noise.child("departure", noise.drawn)
        u = draws_last(apart.uniform(draws, samples, *known.rest.shape))
        noise.drawn += apart.drawn
        subtree = inverse_cdf(known.cdf, u).long()  # [samples, *items, draws]
        fixed = _columns(known.fixed.to(free), subtree)
        left_free = indicator(torch.lt, fixed, fixed.new_zeros(()))
        outcome = fixed.clamp_min_(0).addcmul_(left_free, free)
        return estimate(objective, params, law.build(outcome), known)

    def count(objective: Objective, params: Tensor) -> int:
        states = objective.family.states
        return 0 if states is None else states(params)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        family = objective.family
        known = head(objective, params, law_of(family, params))
        if not (known.rest > 0).any():
            nothing = params[None, None].new_ones(1, *family.items(params))
            yield nothing, known.part[None]
            return
        event = tuple(range(-family.event_axes, 0))
        for z in tuples(family, params, together=1):
            inside = (z == known.z).all(event).any(1)  # [n, *items]
            q = family.log_prob(params, z)[:, 0].exp() / known.rest
            yield q.masked_fill(inside, 0), estimate(objective, params, z, known)

    return Estimator(
        "rao_blackwell_score_function",
        draw,
        samples=samples,
        evaluations=top + samples,
        unbiased=True,
        needs=frozenset({"enumerable"}),
        citation="Liu et al. 2019",
        settings={"top": top},
        finite=Finite(count, outcomes, replicates=samples),
    )


def _columns(table: Tensor, number: Tensor) -> Tensor:
    """Return the columns [k, *items, rows, n] of ``table`` [*items, rows, columns].

    ``number`` is [k, *items, n]. One flat list is a tenth of the time of ``gather``.
    """
    *items, rows, columns = table.shape
    start = torch.arange(0, math.prod(items) * columns, columns, device=table.device)
    place = number + start.view(*items, 1)
    found = table.movedim(-2, 0).reshape(rows, -1).index_select(1, place.flatten())
    return found.view(rows, *number.shape).movedim(0, -2)
