"""The exact value and gradient of an objective, computed a second and independent way.

By summing or integrating over every z where they came from a formula, and always by central
differences of the exact value. What can be neither summed nor integrated is held against the mean
cost of samples.
"""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.enumeration import marginalize
from benchbed.errors import BenchbedError, BrokenContract
from benchbed.rng import Noise
from benchbed.verification.check import (
    EXACT,
    FALSE_ALARM,
    MOST_STATES,
    SAMPLES,
    Check,
    beside,
    broken,
    called,
)
from benchbed.verification.differences import MOST_COORDINATES, central_differences, relative_gap
from benchbed.verification.quadrature import integrate

Points = tuple[Tensor, ...]
# The largest share that one sample may have in the sum of squares, and how far the mean may be off
# then: with heavy tails what is missing is not in the standard error either.
SHARES = ((0.02, 1.0), (0.1, 3.0))


def gradient_checks(objective: Objective) -> list[Check]:
    """Return the comparisons of the exact value and the exact gradient.

    At the objective's point and at one beside it, where no term vanishes by symmetry; the larger
    error counts.
    """
    points: Points = (objective.params, beside(objective))
    try:
        gradients = [_gradient(objective, point) for point in points]
    except BenchbedError as error:
        return [broken("exact gradient", error)]
    states = objective.family.states
    few = states is not None and states(objective.params) <= MOST_STATES
    many = states is not None and not few
    integrable = states is None and integrate(objective, points[0]) is not None
    if states is None and objective.value is None:
        if integrable:
            return _by_quadrature(objective, points, gradients)
        advice = "give value=..., too: gradient(params) is held against nothing without it"
        return [broken("exact value", f"it is missing and z cannot be summed over; {advice}")]
    try:
        for point in points:
            _value(objective, point)
    except BenchbedError as error:
        return [broken("exact value", error)]
    found = []
    if few:
        if objective.value or objective.gradient:
            found += _by_sums(objective, points, gradients)
    elif integrable:
        found += _by_quadrature(objective, points, gradients)
    else:
        found.append(_by_samples(objective))
    size = _size(objective)
    most = MOST_COORDINATES
    if many and objective.value is None:  # every value is a sum over all those z
        points, gradients, most = points[1:], gradients[1:], 2
    slopes = [
        central_differences(objective.exact_value, gradient, point, size, most)
        for point, gradient in zip(points, gradients, strict=True)
    ]
    found.append(
        Check(
            "exact gradient",
            "central differences of the exact value",
            max(slopes),
            EXACT,
            "gradient(params) is not the derivative of value(params)",
        )
    )
    return found


def _gradient(objective: Objective, point: Tensor) -> Tensor:
    gradient = called("gradient(params)", lambda: objective.exact_gradient(point))
    return _kept("gradient(params)", gradient, list(point.shape))


def _value(objective: Objective, point: Tensor) -> Tensor:
    return _kept("value(params)", called("value(params)", lambda: objective.exact_value(point)), [])


def _kept(what: str, found: object, shape: list[int]) -> Tensor:
    """Return ``found``, or say that it is no float64 tensor of that shape, or not finite."""
    if not isinstance(found, Tensor) or list(found.shape) != shape or found.dtype != torch.float64:
        told = type(found).__name__
        if isinstance(found, Tensor):
            told = f"{list(found.shape)} in {found.dtype}"
        raise BrokenContract(f"{what} returned {told}; it must return {shape} in torch.float64")
    if not torch.isfinite(found).all():
        raise BrokenContract(f"{what} is NaN or infinite; is the cost, at a z that is rare?")
    return found.detach()


def _size(objective: Objective) -> float:
    """Return the size of the costs at a few z: what E[J] is a sum of, where it is less."""
    noise = Noise(2, "verify", dtype=torch.float64)
    z = objective.family.sample(objective.params, 5, 3, noise)
    cost = objective.costs(z, objective.params).detach()
    return float(cost.abs().reshape(15, -1).sum(1).max())


NOT_THE_VALUE = "value(params) is not E[cost] under the family's law"
NOT_THE_GRADIENT = "gradient(params) is not the derivative of E[cost]; is the direct term in it?"


def _by_sums(objective: Objective, points: Points, gradients: list[Tensor]) -> list[Check]:
    sums, size = [marginalize(objective, point) for point in points], _size(objective)
    values = [
        relative_gap(objective.exact_value(point), value, size)
        for point, (value, _) in zip(points, sums, strict=True)
    ]
    slopes = [
        relative_gap(found, gradient, size)
        for found, (_, gradient) in zip(gradients, sums, strict=True)
    ]
    route = "the sum over every z"
    return [
        Check("exact value", route, max(values), EXACT, NOT_THE_VALUE),
        Check("exact gradient", route, max(slopes), EXACT, NOT_THE_GRADIENT),
    ]


def _by_quadrature(objective: Objective, points: Points, gradients: list[Tensor]) -> list[Check]:
    def value(params: Tensor) -> Tensor:
        found = integrate(objective, params)
        assert found is not None
        return found

    size, route, found = _size(objective), "quadrature over z", []
    if objective.value is not None:
        gaps = [relative_gap(objective.exact_value(x), value(x), size) for x in points]
        found.append(Check("exact value", route, max(gaps), EXACT, NOT_THE_VALUE))
    slopes = [
        central_differences(value, gradient, point, size)
        for point, gradient in zip(points, gradients, strict=True)
    ]
    against = f"differences of {route}"
    return [*found, Check("exact gradient", against, max(slopes), EXACT, NOT_THE_GRADIENT)]


def _by_samples(objective: Objective) -> Check:
    params = objective.params
    noise = Noise(4, "verify", dtype=torch.float64)
    totals = []
    for _ in range(20):  # a large model's z need not be in memory all at once
        z = objective.family.sample(params, SAMPLES // 20, 1, noise)
        totals.append(objective.costs(z, params).detach().reshape(len(z), -1).sum(1))
    cost = torch.cat(totals)
    value, mean = float(objective.exact_value()), float(cost.mean())
    away = (cost - mean).square()
    share = float(away.max() / away.sum()) if bool((away > 0).any()) else 0.0
    wider = [times for largest, times in SHARES if share < largest]
    if not wider:
        route = f"nothing: one of {SAMPLES:,} samples has {share:.0%} of their variance"
        return Check("exact value", route, 0.0, 0.0)
    spread = float(cost.std() / math.sqrt(len(cost)))
    rounding = 1e-9 * max(abs(value), 1e-300)
    gap = abs(mean - value)
    return Check(
        "exact value",
        f"the mean of {SAMPLES:,} samples, in standard errors",
        gap / spread if spread > rounding else (0.0 if gap <= rounding * 10 else math.inf),
        wider[0] * float(stats.norm.isf(FALSE_ALARM / 2)),
        NOT_THE_VALUE,
    )
