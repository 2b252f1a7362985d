"""The bias of one cell: p-values, the smallest bias that could have been seen, and where.

Every test is on block means, of the coordinates whose variance the draws have seen and of their
projection on the exact gradient. analysis/verdict.py makes the procedure of them.

``variance``, where given, is the exact variance [p] of ONE estimate (records.Exact): the draws have
not seen a coordinate that varied by less than half of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchbed.analysis.summary import ROUNDING, TAIL_GATE
from benchbed.records import Array, Blocks

POWER = 0.99  # of the smallest bias said to be visible
SEEN = 0.5  # of a coordinate's exact variance, at least, for its standard error to mean anything
Mask = NDArray[np.bool_]


def screen(blocks: Blocks, variance: Array | None = None) -> tuple[float, int]:
    """Return the screen's p-value and the coordinate furthest off (-1: the projection)."""
    mean, error = _means(blocks, variance)
    t = np.abs(mean) / error
    worst = int(t.argmax())
    tail = float(stats.t.sf(t[worst], len(blocks.count) - 1))
    place = -1 if worst == len(t) - 1 else int(np.flatnonzero(_sound(blocks, variance))[worst])
    return min(1.0, 2 * len(t) * tail), place


def sign_flip(blocks: Blocks, flips: int, seed: int, variance: Array | None = None) -> float:
    """Return the p-value of max |t| when every block's sign is flipped at random.

    Under no bias a block's mean is as likely above as below: exact for symmetric block means,
    which they are nearly, each being the mean of many draws.
    """
    values = _block_means(blocks, variance)
    rng = np.random.default_rng(seed)
    count, reached, second = len(values), 0, np.square(values).sum(0)
    floor = np.square(least_error(blocks))

    def largest(signs: Array) -> Array:
        means = signs @ values / count
        spread = np.maximum(second / count - means**2, 0) / (count - 1) + floor
        statistic: Array = (np.abs(means) / np.sqrt(spread)).max(1)
        return statistic

    observed = largest(np.ones((1, count)))[0]
    for start in range(0, flips, 2_000):
        signs = rng.choice((-1.0, 1.0), size=(min(2_000, flips - start), count))
        reached += int((largest(signs) >= observed * (1 - 1e-9)).sum())
    return (reached + 1) / (flips + 1)


def visible_shrink(blocks: Blocks, level: float, variance: Array | None = None) -> float:
    """Return the smallest shrink of the whole gradient that the screen sees with power 0.99.

    A shrink by a share s moves coordinate j by s |exact_j| and the projection by s |exact|; the
    best of them decides. The screen alone is counted at ``level``: the confirming run has sixteen
    times the draws. The standard error is itself estimated, which the root below allows for
    (the noncentral t to first order).
    """
    _, error = _means(blocks, variance)
    freedom = len(blocks.count) - 1
    critical = float(stats.t.isf(level / (2 * len(error)), freedom))
    needed = critical + stats.norm.ppf(POWER) * math.sqrt(1 + critical**2 / (2 * freedom))
    with np.errstate(divide="ignore"):
        return float((needed * error / _sizes(blocks, variance)).min())


def predicted_power(blocks: Blocks, shrink: float, level: float) -> float:
    """Return the chance that the screen at ``level`` sees a gradient shrunk by ``shrink``."""
    _, error = _means(blocks)
    freedom = len(blocks.count) - 1
    critical = float(stats.t.isf(level / (2 * len(error)), freedom))
    shift = shrink * float((_sizes(blocks) / error).max())
    return float(stats.norm.sf((critical - shift) / math.sqrt(1 + critical**2 / (2 * freedom))))


def never_varied(blocks: Blocks) -> bool:
    """Say whether no draw differed from another and yet their mean is off: a rare event unseen."""
    mean, error = _means(blocks)
    spread = (blocks.first / blocks.count[:, None]).std(0, ddof=1)
    return not (spread > rounding_error(blocks)).any() and bool((np.abs(mean) > 10 * error).any())


def nothing_seen(blocks: Blocks, variance: Array) -> bool:
    """Say whether no coordinate varied by half of what its exact variance says, though it should.

    No test means anything then, however far off the mean is.
    """
    return bool((variance > 0).any()) and not (_seen(blocks, variance) & (variance > 0)).any()


def unheard(blocks: Blocks, variance: Array | None = None) -> float:
    """Return how far off the coordinates are that no test looks at, as a share of |exact|.

    They depend on an event rarer than the draws, or an estimator forgets them.
    """
    left_out = ~_sound(blocks, variance)
    off = np.linalg.norm((blocks.first.sum(0) / blocks.count.sum())[left_out])
    return float(off) / (float(np.linalg.norm(blocks.exact)) or 1.0)


def _sound(blocks: Blocks, variance: Array | None = None) -> Mask:
    """Return the coordinates whose variance the draws have seen, [p] bool.

    One that never varied, or whose sum of squares sits in a single draw, depends on an event
    rarer than the draws: its standard error means nothing, and no test can use it. Where NO
    coordinate varied there is nothing else to look at, and all are kept.
    """
    squares = blocks.powers[0].sum(0)
    varied = _variance(blocks) > rounding_error(blocks) ** 2
    share = np.square(blocks.largest.max(0)) / np.where(squares > 0, squares, 1)
    sound: Mask = varied & (share <= TAIL_GATE)
    if variance is not None:
        sound &= _seen(blocks, variance)
    return sound if sound.any() else np.ones_like(sound)


def _seen(blocks: Blocks, variance: Array) -> Mask:
    """Return the coordinates that varied by half of their exact variance at least, [p] bool."""
    seen: Mask = _variance(blocks) >= SEEN * variance
    return seen


def _variance(blocks: Blocks) -> Array:
    """Return the sampled variance of one estimate, per coordinate, [p]."""
    count = blocks.count.sum()
    variance: Array = blocks.powers[0].sum(0) / count - (blocks.first.sum(0) / count) ** 2
    return variance


def _means(blocks: Blocks, variance: Array | None = None) -> tuple[Array, Array]:
    """Return mean error and standard error of every sound coordinate and of the projection."""
    values = _block_means(blocks, variance)
    count = len(values)
    error = values.std(0, ddof=1) / math.sqrt(count)
    return values.mean(0), np.hypot(error, least_error(blocks))


def _block_means(blocks: Blocks, variance: Array | None = None) -> Array:
    """Return the sound coordinates' block means with their projection on the exact gradient.

    The projection, the last column of [B, sound + 1], is where a shrink shows best.
    """
    sound = _sound(blocks, variance)
    values = (blocks.first / blocks.count[:, None])[:, sound]
    exact = blocks.exact[sound]
    norm = float(np.linalg.norm(exact)) or 1.0
    return np.concatenate([values, (values @ exact / norm)[:, None]], 1)


def _sizes(blocks: Blocks, variance: Array | None = None) -> Array:
    """Return by how much a shrink of 1 would move each column of ``_block_means``."""
    exact = np.abs(blocks.exact[_sound(blocks, variance)])
    return np.append(exact, np.linalg.norm(exact))


def least_error(blocks: Blocks) -> float:
    """Return the least standard error of a mean: rounding, and one draw that was not met.

    A coordinate of a nearly certain z hardly varies until z flips, and its mean is off by that
    event's share until then: by hundreds of its own standard errors, if the flip has a chance of
    1e-9. What another coordinate's draw could be, this one's could: a mean is not known better than
    to the largest error of any coordinate, met once in all the draws. Where a coordinate varies as
    much as the others this adds nothing (a thousandth at 65,536 normal draws).
    """
    return math.hypot(rounding_error(blocks), float(blocks.largest.max() / blocks.count.sum()))


def rounding_error(blocks: Blocks) -> float:
    """Return a standard error that stands for the rounding of float32 draws."""
    size = float(np.linalg.norm(blocks.exact))
    typical = math.sqrt(float(blocks.distance[0].sum() / blocks.count.sum()))
    return ROUNDING * 0.1 * (size or typical or 1.0)
