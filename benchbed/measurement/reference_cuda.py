"""The frozen reference kernel of a GPU: the work of ``reference.py`` by torch's own operations.

Never edit a version: add the next one and bump ``VERSION``. A ratio to this kernel says how many
times longer an estimate takes than a row of the same work on the same GPU; it does not compare with
one to the CPU's kernel, which the version's name keeps apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

VERSION = "reference-1-cuda"
ROWS = 2**18  # 84 MB a tensor: more than a GPU's cache, so that its memory is what is measured


def reference_kernel(device: torch.device) -> Tensor:
    """Draw 8 x 10 x ROWS uniforms on ``device``, turn them into Gumbels and a softmax, sum them.

    A row is the unit of ``cpu_ratio``, as on the CPU. The sum stays on the device: bringing it here
    would wait for it.
    """
    generator = torch.Generator(device).manual_seed(1)
    u = torch.rand((8, 10, ROWS), generator=generator, dtype=torch.float32, device=device)
    gumbels = u.clamp_(min=2.0**-25).log_().neg_().log_().neg_()
    return gumbels.softmax(1).sum()
