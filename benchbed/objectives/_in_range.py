"""Settings so far out that a number overflows: refused, not measured as NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.errors import BadArgument


def in_range(objective: Objective, *more: Tensor) -> Objective:
    """Return the objective, or say that float32, in which estimators draw, cannot hold it.

    Args:
        objective: its params, exact value and exact gradient are looked at.
        more: what else its cost is made of.
    """
    held = (objective.params, objective.exact_value(), objective.exact_gradient(), *more)
    if not all(torch.isfinite(found.float()).all() for found in held):
        raise BadArgument(
            f"{objective.name} is beyond the numbers of float32 at this point; "
            "use settings nearer to their defaults, such as a smaller distance"
        )
    return objective
