"""Mean and variance of an estimator with no sampling error: the estimator itself marginalized."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.records import Array, Exact

MOST_OUTCOMES = 2**18  # outcomes times items: about a second
MOST_PRODUCTS = 2**24  # of parameters, held where a jacobian mixes them


def exact_moments(
    objective: Objective, estimator: Estimator, most: int = MOST_OUTCOMES
) -> Exact | None:
    """Sum over every outcome of the estimator's randomness, in float64.

    Items of an amortized model are independent, so each is summed over by itself and the variances
    of the items' parts of a network weight add up.

    Args:
        objective: where the gradient is taken.
        estimator: tuned, if it can be.
        most: outcomes, times items, that are worth the time.

    Returns:
        The moments of ONE estimate in the coordinates of ``objective.pullback``, or None if the
        randomness is not finite, or it has more outcomes or parameters than are worth it.
    """
    finite, params = estimator.finite, objective.params
    items = math.prod(objective.family.items(params))
    if finite is None or not 0 < finite.count(objective, params) * items <= most:
        return None
    inner = params.numel() // items  # parameters of one item
    if objective.jacobian is not None and items * inner**2 > MOST_PRODUCTS:
        return None
    centre = estimator.exact_gradient(objective).reshape(items, inner)
    first = torch.zeros_like(centre)  # E[e], e = gradient - exact
    # E[e^2], or E[e e^T] where weights mix the parameters of an item
    second = centre.new_zeros(items, inner, *(inner,) * (objective.jacobian is not None))
    for probability, gradient in finite.outcomes(objective, params):
        weight = probability.reshape(-1, items)
        error = gradient.reshape(-1, items, inner) - centre
        first += torch.einsum("ni,nid->id", weight, error)
        if objective.jacobian is None:
            second += torch.einsum("ni,nid->id", weight, error.square())
        else:
            second += torch.einsum("ni,nid,nie->ide", weight, error, error)
    if objective.jacobian is None:
        mean = (centre + first).flatten()
        variance = ((second - first.square()) / finite.replicates).flatten()
    else:
        covariance = (second - first[:, :, None] * first[:, None, :]) / finite.replicates
        maps = objective.jacobian.reshape(items, inner, -1)
        mean = torch.einsum("id,idp->p", centre + first, maps)
        variance = torch.einsum("idp,ide,iep->p", maps, covariance, maps)
    return Exact(_host(mean), _host(variance.clamp_min(0)))


def _host(x: Tensor) -> Array:
    return x.detach().cpu().numpy()
