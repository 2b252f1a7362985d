"""Sums over the samples of an estimate, each with a weight of its own, in place."""

from __future__ import annotations

from torch import Tensor

from benchbed.contracts import Family
from benchbed.layout import draws_first, draws_last

SCORE_IS_Z_LESS_ITS_MEAN = frozenset({"bernoulli", "categorical"})


def weighted_sum_(x: Tensor, weight: Tensor) -> Tensor:
    """Return sum_k weight_k x_k, [draws, ...], which overwrites ``x`` [draws, samples, ...].

    ``weight`` broadcasts against x. No temporary is as large as x.
    """
    total = x[:, 0].mul_(weight[:, 0])
    for k in range(1, x.shape[1]):
        total.addcmul_(x[:, k], weight[:, k])
    return total


def average_score(family: Family, params: Tensor, z: Tensor, advantage: Tensor) -> Tensor:
    """Average ``advantage`` times d log q(z) / d params over the samples, [draws, *params].

    Args:
        family: whose score gives memory of its own.
        params: [*items, *parameter axes].
        z: [draws, samples, *items, *event].
        advantage: broadcasts against the score [draws, samples, *params].
    """
    samples = z.shape[1]
    weight = advantage if samples == 1 else advantage / samples
    return weighted_sum_(family.score(params, z), weight)


def leave_one_out_score(family: Family, params: Tensor, z: Tensor, cost: Tensor) -> Tensor:
    """Return 1/K sum_k (cost_k - mean of the others' costs) d log q(z_k) / d params.

    Args:
        family: of z.
        params: [*items, *parameter axes].
        z: [draws, K, *items, *event], K at least 2.
        cost: [draws, K, *items].
    """
    # J_k - mean of the others = K / (K - 1) * (J_k - mean of all)
    weight = family.lift(centred_costs(cost) / (z.shape[1] - 1))
    # These sum to 0, so what the scores have in common may be left out of them.
    x = z if family.name in SCORE_IS_Z_LESS_ITS_MEAN else family.score(params, z)
    total, rest = x[:, 0] * weight[:, 0], weight[:, 0]
    for k in range(1, x.shape[1] - 1):
        total.addcmul_(x[:, k], weight[:, k])
        rest = rest + weight[:, k]
    # The last weight as minus the others: exactly 0, not a rounding error, where all bits agree.
    return total.addcmul_(x[:, -1], rest, value=-1)


def centred_costs(cost: Tensor) -> Tensor:
    """Return ``cost`` [draws, samples, *items] less its mean over the samples."""
    inner = draws_last(cost)
    return draws_first(inner - inner.mean(0))


def score_differences(family: Family, params: Tensor, z: Tensor) -> Tensor:
    """Return every sample's score less the last one's, [draws, samples - 1, *params]."""
    at = z if family.name in SCORE_IS_Z_LESS_ITS_MEAN else family.score(params, z)
    return at[:, :-1] - at[:, -1:]
