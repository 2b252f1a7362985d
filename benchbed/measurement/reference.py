"""The frozen reference kernel: a fixed piece of work that CPU times are divided by.

Not one of the estimators, so that making those faster cannot look like a regression of the others.
Never edit a version: add the next one and bump ``VERSION``; ratios to different versions do not
compare.
"""

from __future__ import annotations

import numpy as np
import torch

VERSION = "reference-1"
ROWS = 2048


def reference_kernel() -> float:
    """Draw 8 x 10 x 2,048 uniforms, turn them into Gumbels and a softmax, return a checksum.

    A row of it is the unit of ``cpu_ratio``: roughly the noise and one normalization of a
    categorical estimate with 8 variables of 10 categories, on one thread.
    """
    generator = np.random.Generator(np.random.SFC64(1))
    u = torch.from_numpy(generator.random((8, 10, ROWS), dtype=np.float32)).clamp_(min=2.0**-25)
    gumbels = u.log_().neg_().log_().neg_()
    return float(gumbels.softmax(1).sum())
