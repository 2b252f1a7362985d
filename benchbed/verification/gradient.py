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
from benchbed.errors import BenchbedError
from benchbed.rng import Noise
from benchbed.verification.check import EXACT, FALSE_ALARM, MOST_STATES, SAMPLES, Check, beside
from benchbed.verification.differences import central_differences, relative_gap
from benchbed.verification.quadrature import integrate


def gradient_checks(objective: Objective) -> list[Check]:
    """Return the comparisons of the exact value and the exact gradient.

    At the objective's point and at one beside it, where no term vanishes by symmetry; the larger
    error counts.
    """
    points = (objective.params, beside(objective))
    gradients = [objective.exact_gradient(point) for point in points]
    states = objective.family.states
    found = []
    if states is not None and states(objective.params) <= MOST_STATES:
        if objective.value or objective.gradient:
            found += _by_sums(objective, points, gradients)
    elif integrate(objective, points[0]) is not None:
        found += _by_quadrature(objective, points, gradients)
    else:
        found.append(_by_samples(objective))
    slopes = [
        central_differences(objective.exact_value, gradient, point)
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


NOT_THE_VALUE = "value(params) is not E[cost] under the family's law"
NOT_THE_GRADIENT = "gradient(params) is not the derivative of E[cost]; is the direct term in it?"


def _by_sums(
    objective: Objective, points: tuple[Tensor, ...], gradients: list[Tensor]
) -> list[Check]:
    sums = [marginalize(objective, point) for point in points]
    values = [
        relative_gap(objective.exact_value(point), value)
        for point, (value, _) in zip(points, sums, strict=True)
    ]
    slopes = [
        relative_gap(found, gradient) for found, (_, gradient) in zip(gradients, sums, strict=True)
    ]
    route = "the sum over every z"
    return [
        Check("exact value", route, max(values), EXACT, NOT_THE_VALUE),
        Check("exact gradient", route, max(slopes), EXACT, NOT_THE_GRADIENT),
    ]


def _by_quadrature(
    objective: Objective, points: tuple[Tensor, ...], gradients: list[Tensor]
) -> list[Check]:
    def value(params: Tensor) -> Tensor:
        found = integrate(objective, params)
        assert found is not None
        return found

    values = [relative_gap(objective.exact_value(point), value(point)) for point in points]
    slopes = [
        central_differences(value, gradient, point)
        for point, gradient in zip(points, gradients, strict=True)
    ]
    route = "quadrature over z"
    return [
        Check("exact value", route, max(values), EXACT, NOT_THE_VALUE),
        Check("exact gradient", f"differences of {route}", max(slopes), EXACT, NOT_THE_GRADIENT),
    ]


def _by_samples(objective: Objective) -> Check:
    params = objective.params
    noise = Noise(4, "verify", dtype=torch.float64)
    totals = []
    for _ in range(20):  # a large model's z need not be in memory all at once
        z = objective.family.sample(params, SAMPLES // 20, 1, noise)
        totals.append(objective.costs(z, params).detach().reshape(len(z), -1).sum(1))
    cost = torch.cat(totals)
    try:
        value = float(objective.exact_value())
    except BenchbedError as error:
        return Check("exact value", "samples", math.inf, 0.0, str(error))
    spread = float(cost.std() / math.sqrt(len(cost)))
    away = abs(float(cost.mean()) - value)
    rounding = 1e-9 * max(abs(value), 1e-300)
    return Check(
        "exact value",
        f"the mean of {SAMPLES:,} samples, in standard errors",
        away / spread if spread > rounding else (0.0 if away <= rounding * 10 else math.inf),
        float(stats.norm.isf(FALSE_ALARM / 2)),
        NOT_THE_VALUE,
    )
