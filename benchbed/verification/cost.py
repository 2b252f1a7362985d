"""The cost of an objective and the law of its z, held against what contracts.py asks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from scipy import stats
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.rng import Noise
from benchbed.verification.check import (
    EXACT,
    FALSE_ALARM,
    MOST_STATES,
    SAMPLES,
    Check,
    beside,
)
from benchbed.verification.differences import central_differences, relative_gap

MOST_COUNTED = 256  # values of z whose frequencies are compared
LEAST_EXPECTED = 10.0  # draws of a value; rarer ones are taken together
SINGLE = 1e-3  # float32 against float64, of the largest cost


def cost_checks(objective: Objective) -> Iterator[Check]:
    """Yield the checks of the cost alone."""
    params, family = objective.params, objective.family
    z = family.sample(params, 5, 3, Noise(2, "verify", dtype=torch.float64))
    cost = objective.costs(z, params).detach()
    yield Check(
        "cost",
        "a finite number",
        float((~torch.isfinite(cost)).double().mean()),
        0.0,
        "it is NaN or infinite at some z; guard logarithms of 0 and divisions",
    )
    # A Monte-Carlo cost would make every estimate noisier than it says.
    again = objective.costs(z, params).detach()
    yield Check(
        "cost",
        "itself, called again",
        relative_gap(again, cost),
        0.0,
        "the cost is not a function of z and params: does it draw random numbers or keep state?",
    )
    alone = torch.cat([objective.costs(z[i : i + 1, 1:2], params) for i in range(len(z))])
    yield Check(
        "cost of each draw",
        "that draw alone",
        relative_gap(alone[:, 0], cost[:, 1]),
        1e-9,
        "the cost mixes draws or samples; reduce over the trailing axes of z only",
    )
    if family.items(params):
        mixed = z.clone()
        mixed[:, :, 0] = z.roll(1, 0)[:, :, 0]
        kept = objective.costs(mixed, params).detach()[..., 1:]
        yield Check(
            "cost of each item",
            "with another item's z changed",
            relative_gap(kept, cost[..., 1:]),
            1e-9,
            "the cost mixes items; a cost that must has no item axis: params [parameter axes]",
        )
    yield _direct(objective, z)
    copies = params.expand(5, 3, *params.shape)
    if objective.direct:
        yield Check(
            "cost at params of every draw",
            "at shared params",
            relative_gap(objective.costs(z, copies), cost),
            1e-9,
            "params may have the axes of draws and samples in front: index them from the right",
        )
    single = objective.costs(z.float(), params.float())
    advice = "the cost loses digits in float32: subtract large numbers before they meet"
    if single.dtype != torch.float32:
        single, advice = single * math.nan, f"it returns {single.dtype} for a float32 z"
    worst = float((single.double() - cost).abs().max() / cost.abs().max().clamp(min=1e-300))
    yield Check("cost in float32", "in float64", worst, SINGLE, advice)
    if objective.differentiable:
        one = z[:1, :1]
        slope = objective.evaluate(one, params, slope=True).slope
        assert slope is not None
        gap = central_differences(lambda x: objective.costs(x, params).sum(), slope, one)
        yield Check(
            "slope dJ/dz",
            "central differences of the cost",
            gap,
            EXACT,
            "autograd does not follow the cost; write differentiable=False if it has no slope",
        )


def _direct(objective: Objective, z: Tensor) -> Check:
    """Compare the declared dependence of J on params with the real one."""
    leaf = objective.params.clone().requires_grad_()
    with torch.enable_grad():
        total = objective.costs(z, leaf).sum()
    moved = objective.costs(z, beside(objective))
    depends = relative_gap(moved, objective.costs(z, objective.params)) > 0
    followed = total.requires_grad
    if depends and not objective.direct:
        advice = "the cost depends on params: write direct=True, or its gradient lacks that term"
    elif depends and not followed:
        advice = "the cost depends on params in a way autograd cannot follow"
    else:
        return Check("direct term", "the cost at other params", 0.0, 0.0)
    return Check("direct term", "the cost at other params", math.inf, 0.0, advice)


def law_checks(objective: Objective) -> Iterator[Check]:
    """Yield the checks of the family at the objective's point."""
    family, params = objective.family, objective.params
    z = family.sample(params, 6, 1, Noise(3, "verify", dtype=torch.float64))
    leaf = params.expand(6, 1, *params.shape).clone().requires_grad_()
    with torch.enable_grad():
        total = family.log_prob(leaf, z).sum()
    expected = torch.zeros_like(leaf)
    if total.requires_grad:
        (found,) = torch.autograd.grad(total, leaf, allow_unused=True)
        expected = expected if found is None else found
    yield Check(
        "score",
        "autograd of log_prob",
        relative_gap(family.score(params, z), expected),
        1e-6,
        "family.score is not d log_prob / d params",
    )
    if family.states is not None and family.states(params) <= MOST_STATES:
        assert family.enumerate is not None
        index = torch.arange(family.states(params))
        every = family.enumerate(params, index)
        items = family.items(params)
        every = every.reshape(len(index), 1, *(1,) * len(items), *every.shape[1:])
        log_prob = family.log_prob(
            params, every.expand(-1, 1, *items, *every.shape[2 + len(items) :])
        )
        off = float((log_prob.exp().sum(0) - 1).abs().max())
        yield Check(
            "total probability",
            "1",
            off,
            1e-9,
            "the listed z are not all of them, or not once each",
        )
        if len(index) <= MOST_COUNTED and not items:
            yield _frequencies(objective, every, log_prob.exp()[:, 0])


def _frequencies(objective: Objective, every: Tensor, probability: Tensor) -> Check:
    """Compare how often each z is drawn with its probability, by a chi-square statistic."""
    family, params = objective.family, objective.params
    z = family.sample(params, SAMPLES, 1, Noise(6, "verify", dtype=torch.float64))
    apart = torch.cdist(z.reshape(SAMPLES, -1), every.reshape(len(every), -1))
    unlisted = float((apart.min(1).values > 1e-9).double().sum())
    counts = torch.bincount(apart.argmin(1), minlength=len(every)).double()
    expected = SAMPLES * probability
    common = expected >= LEAST_EXPECTED
    counts = torch.cat((counts[common], counts[~common].sum()[None]))
    expected = torch.cat((expected[common], expected[~common].sum()[None]))
    seen = expected > 0
    statistic = float(((counts - expected).square() / expected)[seen].sum())
    impossible = unlisted + float(counts[~seen].sum())
    return Check(
        "samples",
        f"the law, {SAMPLES:,} draws, chi-square",
        math.inf if impossible else statistic,
        float(stats.chi2.isf(FALSE_ALARM, max(1, int(seen.sum()) - 1))),
        "family.sample does not follow family.log_prob",
    )
