"""Stochastic sum-and-sample: k distinct outcomes, all but the last summed exactly.

Liu, Regier, Tripuraneni, Jordan and McAuliffe 2019, "Rao-Blackwellized Stochastic Gradients for
Discrete Distributions" (arXiv 1810.04777), with the summed outcomes themselves drawn without
replacement, as in Kool, van Hoof and Welling 2020 (arXiv 2002.06043). With s_1..s_k
drawn one after another without replacement and e(s) = J(s) score(s),

    g = sum_{j < k} q(s_j) e(s_j) + (1 - sum_{j < k} q(s_j)) e(s_k).

Given s_1..s_{k-1} the last term has the mean of the rest of the sum: unbiased. With k = all
outcomes g is the exact gradient. The direct term of s_j has the weight of e(s_j).

Outcomes are drawn by stochastic beam search (_without_replacement), so any number of Bernoulli or
categorical variables will do; other laws are listed. With many outcomes, none of them likely, g is
nearly the score function of the last one: k evaluations of J for the variance of one. Slow beside a
cheap J (8 to 20 times the score function an evaluation on 20 coupled bits): each variable is a
step of the beam with its own race, selection and bookkeeping.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Finite, Objective
from benchbed.estimators._outcomes import at_most_states, chosen_states, in_chunks, law_of
from benchbed.estimators._unordered_sets import rest_after
from benchbed.estimators._weighted_scores import weighted_sum_
from benchbed.estimators._without_replacement import without_replacement
from benchbed.layout import draws_first, sum_over_samples
from benchbed.rng import Noise


def sum_and_sample(samples: int = 2) -> Estimator:
    """Sum over all but the last of ``samples`` distinct joint outcomes; the last one has the rest.

    Args:
        samples: k, distinct outcomes in one estimate.
    """
    at_least("sum_and_sample", "samples", samples, 2, "; with one sample use score_function")

    def estimate(objective: Objective, params: Tensor, z: Tensor, log_q: Tensor) -> Tensor:
        found = objective.evaluate(z, params)  # cost [draws, samples, *items]
        last = rest_after(log_q[:-1], log_q[-1].exp())
        weight = draws_first(torch.cat((log_q[:-1].exp(), last[None])).to(params.dtype))
        family = objective.family
        total = weighted_sum_(family.score(params, z), family.lift(weight * found.cost))
        if found.direct is not None:
            total += sum_over_samples(family.lift(weight) * found.direct)
        return total

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        at_most_states("sum_and_sample", "samples", objective.family, params, samples)
        law = law_of(objective.family, params)
        z, log_q = without_replacement(law, draws, samples, noise)
        return estimate(objective, params, z, log_q)

    def count(objective: Objective, params: Tensor) -> int:
        states = objective.family.states
        return 0 if states is None else math.perm(states(params), samples)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        family = objective.family
        assert family.states is not None
        orders = itertools.permutations(range(family.states(params)), samples)
        for chunk in in_chunks(orders):
            z, log_q = chosen_states(family, params, chunk)
            log_p = log_q.sum(0)
            for j in range(1, samples):
                log_p = log_p - rest_after(log_q[:j], log_q[j:].exp().sum(0)).log()
            yield log_p.exp().movedim(-1, 0), estimate(objective, params, z, log_q)

    return Estimator(
        "sum_and_sample",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        needs=frozenset({"enumerable"}),
        citation="Liu et al. 2019; Kool et al. 2020",
        finite=Finite(count, outcomes),
    )
