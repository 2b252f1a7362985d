"""Squared distance from one number, in two passes over memory with its derivative and not five."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def squared_from(z: Tensor, target: float) -> Tensor:
    """Return (z - target)^2, elementwise, of a contiguous z: its derivative is laid out so."""
    return F.mse_loss(z, z.new_tensor(target).expand_as(z), reduction="none")
