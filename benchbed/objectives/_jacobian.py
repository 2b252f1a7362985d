"""The Jacobian of a small network, row by row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def jacobian_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return d function(x) / dx, [*outputs, *x.shape], by one reverse pass for each output.

    ``torch.func.jacrev`` finds the same but loads torch's compiler first, which takes longer than
    the passes of a thousand outputs. Each pass costs what all of ``function`` costs: give it one
    item at a time.
    """
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        outputs = function(leaf)
        each = outputs.flatten().unbind()
    rows = [torch.autograd.grad(output, leaf, retain_graph=True)[0] for output in each]
    return torch.stack(rows).reshape(*outputs.shape, *x.shape)
