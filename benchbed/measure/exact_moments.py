"""Mean and variance of an estimator with no sampling error: the estimator itself marginalized."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.records import Array, Exact

MOST_OUTCOMES = 2**18  # about a second


def exact_moments(
    objective: Objective, estimator: Estimator, most: int = MOST_OUTCOMES
) -> Exact | None:
    """Sum over every outcome of the estimator's randomness, in float64.

    Items of an amortized model are independent, so each is summed over by itself and the variances
    of the items' parts of a network weight add up.

    Args:
        objective: where the gradient is taken.
        estimator: tuned, if it can be.
        most: outcomes that are worth the time.

    Returns:
        The moments of ONE estimate in the coordinates of ``objective.pullback``, or None if the
        randomness is not finite or has more than ``most`` outcomes.
    """
    finite, params = estimator.finite, objective.params
    if finite is None or not 0 < finite.count(objective, params) <= most:
        return None
    family = objective.family
    items = family.items(params)
    maps = _per_item(objective)  # [items, inner, coordinates]
    centre = _apply(objective.exact_gradient().reshape(1, len(maps), -1), maps)  # [1, items, p]
    first = torch.zeros_like(centre[0])
    second = torch.zeros_like(centre[0])
    for probability, gradient in finite.outcomes(objective, params):
        weight = probability.reshape(len(probability), -1, 1)
        if not items:
            weight = weight.reshape(-1, 1, 1)
        error = _apply(gradient.reshape(len(gradient), len(maps), -1), maps) - centre
        first += (weight * error).sum(0)
        second += (weight * error.square()).sum(0)
    mean = (centre[0] + first).sum(0)
    variance = (second - first.square()).clamp_min(0).sum(0) / finite.replicates
    return Exact(_host(mean), _host(variance))


def _per_item(objective: Objective) -> Tensor:
    """Return each item's map from its parameters to the measured coordinates."""
    params = objective.params
    items = objective.family.items(params)
    count = 1
    for size in items:
        count *= size
    if objective.jacobian is not None:
        return objective.jacobian.reshape(count, params.numel() // count, -1)
    # Without a network the coordinates are the parameters: each item owns a slice of them.
    identity = torch.eye(params.numel(), dtype=torch.float64, device=params.device)
    return identity.reshape(count, params.numel() // count, params.numel())


def _apply(gradient: Tensor, maps: Tensor) -> Tensor:
    return torch.einsum("nid,idp->nip", gradient, maps)


def _host(x: Tensor) -> Array:
    return x.detach().cpu().numpy()
