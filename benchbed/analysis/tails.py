"""Does the moment that an interval needs exist? Read from the largest draw of each block.

The largest of many draws of a law with tail index a has a Gumbel logarithm of scale 1 / a. Block
maxima therefore show the index, where the largest share of a sum shows one lucky draw.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize

from benchbed.records import Array, Blocks

# r = |e|^2 has a finite second moment, and s^2 a standard error, for tail indices of r above 2: a
# scale of 1/2. A block of few draws has not reached the limit and reads more. At 64 blocks of 1,024
# draws the threshold takes Student's t with 3 degrees of freedom (no fourth moment) and log-normal
# draws of sigma 1 (one out of reach of the draws) 19 times in 20 or more, and t with 5 one time in
# 30 or fewer (results/proof/calibration.md). Blocks of 64 draws cannot tell an exponential law from
# t with 3: more draws can.
LARGEST_SCALE = 0.52
EXCESS_OF_FEW = 4.3  # added to it, over the draws of a block
# A bounded law whose rarest value some blocks miss has a few maxima far BELOW the others, which a
# scale takes for spread. The upper half of the maxima must look heavy as well, if less clearly.
LARGEST_UPPER_SCALE = 0.3
UPPER_EXCESS = 1.18  # mean of a Gumbel law of scale 1 above its median, less that median
LARGEST_SHARE = 0.9  # of the sum of r^2, in ONE draw: the standard error of s^2 is that draw


def tail_scale(blocks: Blocks) -> float:
    """Return 1 / (tail index) of the squared distance r = |g - exact|^2; 0 for bounded draws.

    The Gumbel scale of the blocks' largest log r, by maximum likelihood; blocks whose draws are
    all exact have no logarithm and are left out.
    """
    logs = _log_maxima(blocks)
    spread = float(logs.std(ddof=1)) if len(logs) > 1 else 0.0
    if spread <= 1e-6:  # all of one size, but for rounding
        return 0.0
    centred = (logs - logs.mean()) / spread

    def slope(scale: float) -> float:
        """Say how far a scale is off the likelihood's stationary point; increasing."""
        weight = np.exp((centred.min() - centred) / scale)
        return scale + float(centred @ weight / weight.sum())

    return spread * float(optimize.brentq(slope, 0.01, 10.0 + float(np.abs(centred).max())))


def variance_is_uncertain(blocks: Blocks) -> bool:
    """Say whether the variance's own standard error may not exist: no ratio can be tested."""
    maxima, squares = blocks.distance[2], float(blocks.distance[1].sum())
    if squares == 0:
        return False
    if float(maxima.max()) ** 2 > LARGEST_SHARE * squares or float(np.median(maxima)) == 0:
        return True  # one draw, or events that most blocks never met, decide
    largest_scale = LARGEST_SCALE + EXCESS_OF_FEW / float(blocks.count.mean())
    return tail_scale(blocks) > largest_scale and _upper_scale(blocks) > LARGEST_UPPER_SCALE


def _upper_scale(blocks: Blocks) -> float:
    """Return the scale as the upper half of the log maxima shows it, 0 where they are equal."""
    logs = _log_maxima(blocks)
    middle = float(np.median(logs))
    upper = np.sort(logs)[len(logs) // 2 :]
    return float((upper - middle).mean()) / UPPER_EXCESS


def _log_maxima(blocks: Blocks) -> Array:
    largest = blocks.distance[2]
    logs: Array = np.log(largest[largest > 0])
    return logs
