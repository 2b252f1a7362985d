"""Does the moment that an interval needs exist? Read from the largest draw of each block.

The largest of many draws of a law with tail index a has a Gumbel logarithm of scale 1 / a. Block
maxima therefore show the index, where the largest share of a sum shows one lucky draw.
"""

from __future__ import annotations

import math

import numpy as np

from benchbed.records import Blocks

# r = |e|^2 has a finite second moment, and s^2 a standard error, for tail indices of r above 2.
LARGEST_SCALE = 0.5


def tail_scale(blocks: Blocks) -> float:
    """Return 1 / (tail index) of the squared distance |g - exact|^2; 0 for bounded draws."""
    largest = blocks.distance[2]
    if not (largest > 0).all():
        return 0.0
    return float(np.log(largest).std(ddof=1) * math.sqrt(6) / math.pi)


def variance_is_uncertain(blocks: Blocks) -> bool:
    """Say whether the variance's own standard error may not exist: no ratio can be tested."""
    return tail_scale(blocks) > LARGEST_SCALE
