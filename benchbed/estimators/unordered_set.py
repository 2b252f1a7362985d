r"""The unordered set estimator: sampling without replacement, its order integrated out.

Kool, van Hoof and Welling 2020, "Estimating Gradients for Discrete Random Variables by Sampling
without Replacement" (arXiv 2002.06043). S is a set of k distinct joint outcomes, drawn one after
another without replacement; with R(S, s) the leave-one-out ratio,

    no baseline:  g = sum_{s in S} R(S, s) q(s) J(s) score(s),
    built in:     J(s) becomes J(s) - sum_{s' in S} q(s') R^{D \ s}(S, s') J(s').

R(S, s) q(s) is the probability that s came first, given S: this is the score function of the first
outcome, Rao-Blackwellized over the order. The built-in form is, in pairs,

    g = sum_{s < s'} c_{ss'} (J(s) - J(s')) (score(s) - score(s')),  c as in _unordered_sets,

which shows that adding a constant to J changes nothing. It needs two outcomes: of one, there is no
built-in baseline. With k = all outcomes both are the exact gradient.

Outcomes are drawn by stochastic beam search (_without_replacement), so any number of Bernoulli or
categorical variables will do; other laws are listed. Cost: k evaluations of J, all distinct. The
direct term of s has the weight R(S, s) q(s) in both forms. Slow beside a cheap J (8 to 100 times
the score function an evaluation on 20 coupled bits): each variable is a step of the beam with its
own race, selection and bookkeeping, and beyond k = 10 the weights are integrals over 150 nodes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Finite, Objective
from benchbed.estimators._outcomes import at_most_states, chosen_states, in_chunks, law_of
from benchbed.estimators._unordered_sets import SetWeights, set_weights
from benchbed.estimators._weighted_scores import weighted_sum_
from benchbed.estimators._without_replacement import without_replacement
from benchbed.layout import draws_first, draws_last, sum_over_samples
from benchbed.rng import Noise


def unordered_set(samples: int = 2, baseline: bool = True) -> Estimator:
    """Weigh ``samples`` distinct joint outcomes, drawn without replacement, as a set.

    Args:
        samples: k, distinct outcomes in one estimate.
        baseline: subtract the baseline built from the other outcomes of the set.
    """
    least = 2 if baseline else 1
    hint = "; of one outcome there is no baseline: use baseline: false" if baseline else ""
    flag("unordered_set", "baseline", baseline)
    at_least("unordered_set", "samples", samples, least, hint)

    def estimate(objective: Objective, params: Tensor, z: Tensor, weights: SetWeights) -> Tensor:
        found = objective.evaluate(z, params)  # cost [draws, samples, *items]
        cost = draws_last(found.cost)  # [samples, *items, draws]
        first = weights.first.to(cost)
        if baseline:
            weight = torch.stack(
                [
                    (pairs.to(cost) * (cost[s] - cost)).sum(0)
                    for s, pairs in enumerate(weights.both.unbind(0))
                ]
            )
        else:
            weight = first * cost
        family = objective.family
        total = weighted_sum_(family.score(params, z), family.lift(draws_first(weight)))
        if found.direct is not None:
            total += sum_over_samples(family.lift(draws_first(first)) * found.direct)
        return total

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        at_most_states("unordered_set", "samples", objective.family, params, samples)
        law = law_of(objective.family, params)
        z, log_q = without_replacement(law, draws, samples, noise)
        return estimate(objective, params, z, set_weights(log_q))

    def count(objective: Objective, params: Tensor) -> int:
        states = objective.family.states
        return 0 if states is None else math.comb(states(params), samples)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        family = objective.family
        assert family.states is not None
        sets = itertools.combinations(range(family.states(params)), samples)
        for chunk in in_chunks(sets):
            z, log_q = chosen_states(family, params, chunk)
            weights = set_weights(log_q)
            yield weights.log_p.exp().movedim(-1, 0), estimate(objective, params, z, weights)

    return Estimator(
        "unordered_set",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        needs=frozenset({"enumerable"}),
        citation="Kool et al. 2020",
        settings={"baseline": baseline},
        finite=Finite(count, outcomes),
    )
