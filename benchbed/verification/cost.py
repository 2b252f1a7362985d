"""The cost of an objective, held against what contracts.py asks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.rng import Noise
from benchbed.verification.check import EXACT, Check, beside
from benchbed.verification.differences import central_differences, relative_gap

SINGLE = 1e-3  # float32 against float64, of the largest cost


def cost_checks(objective: Objective) -> Iterator[Check]:
    """Yield the checks of the cost alone."""
    params, family = objective.params, objective.family
    z = family.sample(params, 5, 3, Noise(2, "verify", dtype=torch.float64))
    kept = z.clone()
    cost = objective.costs(z, params).detach().clone()
    again = objective.costs(kept.clone(), params).detach()
    sound = list(_function(z, kept, cost, again))
    yield from sound
    if not all(check.passed for check in sound):
        return  # whatever else fails, fails because of it
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
    # A cost that is 0 up to rounding at this point alone has no digits to lose here.
    size = torch.cat((cost, objective.costs(z, beside(objective)).detach())).abs().max()
    worst = float((single.double() - cost).abs().max() / size.clamp(min=1e-300))
    yield Check("cost in float32", "in float64", worst, SINGLE, advice)
    if objective.differentiable:
        yield _slope(objective, z)


def _function(z: Tensor, kept: Tensor, cost: Tensor, again: Tensor) -> Iterator[Check]:
    """Ask for a function of z, before anything is asked of its values."""
    strange = float((~torch.isfinite(cost)).double().mean())
    advice = "it is NaN or infinite at some z; guard logarithms of 0 and divisions"
    yield Check("cost", "a finite number", strange, 0.0, advice)
    if strange:
        return
    if not torch.equal(z, kept):
        yield Check("cost", "z as it was", math.inf, 0.0, "the cost changes z in place; copy it")
    # A Monte-Carlo cost would make every estimate noisier than it says.
    yield Check(
        "cost",
        "itself, called again",
        relative_gap(again, cost),
        0.0,
        "the cost is not a function of z and params: does it draw random numbers or keep state?",
    )


def _slope(objective: Objective, z: Tensor) -> Check:
    """Compare dJ/dz with differences: between the corners, if J is defined there."""
    params = objective.params
    if objective.relaxed:
        z = 0.7 * z + 0.3 * objective.family.mean(params)
    one = z[:1, :1]
    slope = objective.evaluate(one, params, slope=True).slope
    assert slope is not None
    gap = central_differences(lambda x: objective.costs(x, params).sum(), slope, one)
    advice = "autograd does not follow the cost; write differentiable=False if it has no slope"
    every = objective.evaluate(z, params, slope=True)
    assert every.slope is not None
    if not every.slope.any() and bool((every.cost != every.cost[:1, :1]).any()):
        gap = math.inf
        advice = (
            "the cost changes with z and its slope is 0 everywhere, as of an argmax or a "
            "threshold: write differentiable=False, relaxed=False"
        )
    return Check("slope dJ/dz", "central differences of the cost", gap, EXACT, advice)


def _direct(objective: Objective, z: Tensor) -> Check:
    """Compare the declared dependence of J on params with the real one."""
    leaf = objective.params.clone().requires_grad_()
    with torch.enable_grad():
        total = objective.costs(z, leaf).sum()
    moved = objective.costs(z, beside(objective))
    depends = relative_gap(moved, objective.costs(z, objective.params)) > 1e-12
    followed = total.requires_grad
    if depends and not objective.direct:
        advice = "the cost depends on params: write direct=True, or its gradient lacks that term"
    elif depends and not followed:
        advice = "the cost depends on params in a way autograd cannot follow"
    else:
        return Check("direct term", "the cost at other params", 0.0, 0.0)
    return Check("direct term", "the cost at other params", math.inf, 0.0, advice)
