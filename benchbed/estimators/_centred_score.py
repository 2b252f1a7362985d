"""The score function around a baseline per item: what every scalar baseline comes down to."""

from __future__ import annotations

from torch import Tensor

from benchbed.contracts import Objective, add_direct
from benchbed.estimators._weighted_scores import average_score


def centred_score(objective: Objective, params: Tensor, z: Tensor, baseline: Tensor) -> Tensor:
    """Average (J(z) - baseline) d log q(z) / d params over the samples, the direct term added.

    Args:
        objective: its cost is evaluated once at every z.
        params: [*items, *parameter axes].
        z: [draws, samples, *items, *event].
        baseline: broadcasts against the cost [draws, samples, *items].

    Returns:
        [draws, *params].
    """
    found = objective.evaluate(z, params)
    advantage = objective.family.lift(found.cost - baseline.to(found.cost))
    return add_direct(average_score(objective.family, params, z, advantage), found)
