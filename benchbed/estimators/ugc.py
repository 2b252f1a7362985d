"""UGC, unbiased gradient variance clipping: BitFlip-1 for bits nearly sure, DisARM for the others.

Kunes, Yin, Land, Haviv, Pe'er and Tavare 2023, "Gradient Estimation for Binary Latent Variables via
Gradient Variance Clipping" (arXiv 2208.06124). An antithetic pair b, bt, and b with one random bit
j flipped: three evaluations of J a pair. Where min(p_i, 1 - p_i) < threshold the estimate is
BitFlip-1's,

    d v_i (J(b[i <- 1]) - J(b[i <- 0])) 1[i = j], v_i = p_i (1 - p_i),

elsewhere DisARM's. j is drawn over ALL d bits of an item, and which bits take which form does not
depend on the draw, so every threshold is unbiased. The abstract says that its variance is uniformly
lower than DisARM's. That does not hold for arbitrary J: among random tables over three bits there
are some where, at 1 / (2 d), a coordinate's variance or the trace is larger than DisARM's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Finite, Objective
from benchbed.errors import BadArgument
from benchbed.estimators._antithetic_bits import even_samples, pair, pair_states
from benchbed.estimators._picked_bit import one_hot, pick
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def ugc(samples: int = 2, threshold: float | None = None) -> Estimator:
    """Use BitFlip-1 for bits with min(p, 1 - p) below ``threshold``, and DisARM for the others.

    Args:
        samples: drawn as antithetic pairs, an even number; each pair has a third, one bit flipped.
        threshold: from 0 (DisARM) to 1 (BitFlip-1 for every bit); None for 1 / (2 d).
    """
    pairs = even_samples("ugc", samples)
    if threshold is not None and not 0 <= threshold <= 1:
        raise BadArgument(
            f"ugc needs a threshold from 0 to 1, got {threshold}; it is compared with min(p, 1 - p)"
            ", leave it out for 1 / (2 d)"
        )

    def estimate(objective: Objective, params: Tensor, u: Tensor, picked: Tensor) -> Tensor:
        """Take u [draws, copies, *params] and the bit picked, [draws, copies, *items]."""
        copies, dimensions = u.shape[1], params.shape[-1]
        both = draws_last(pair(params, u))  # [2 * copies, *items, d, draws]
        b, bt = both[:copies], both[copies:]
        flipped = (b - one_hot(picked, dimensions, params.dtype)).abs_()
        found = objective.evaluate(draws_first(torch.cat((both, flipped))), params)
        # Costs of b, bt and the flipped sample, [copies, *items, 1, draws] each.
        at_b, at_bt, at_flipped = (
            draws_last(found.cost).unsqueeze(-2).split_with_sizes([copies] * 3)
        )
        p, q = params.sigmoid(), torch.sigmoid(-params)
        level = 1 / (2 * dimensions) if threshold is None else threshold
        clipped = (torch.minimum(p, q) < level).to(p)
        # Either difference of bits is 0 where its pair of samples agrees.
        by_pair = (b - bt).mul_((0.5 * torch.maximum(p, q) * (1 - clipped))[..., None])
        by_flip = (b - flipped).mul_((dimensions * p * q * clipped)[..., None])
        rows = by_pair.mul_(at_b - at_bt).addcmul_(by_flip, at_b - at_flipped)
        gradient = mean_over_samples(draws_first(rows))
        if found.direct is None:
            return gradient
        # b and bt have the law of z; the flipped sample has not.
        return gradient + mean_over_samples(found.direct[:, : 2 * copies])

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        u = noise.uniform(draws, pairs, *params.shape)
        return estimate(objective, params, u, pick(params, draws, pairs, noise))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        dimensions = params.shape[-1]
        for probability, u in pair_states(params):
            for bit in range(dimensions):
                picked = torch.full(u.shape[:-1], bit, device=u.device)
                yield probability / dimensions, estimate(objective, params, u, picked)

    def count(_objective: Objective, params: Tensor) -> int:
        return int(params.shape[-1] * 3 ** params.shape[-1])

    return Estimator(
        "ugc",
        draw,
        samples=samples,  # as DisARM's, whose uniforms it shares
        evaluations=3 * pairs,
        unbiased=True,
        families=frozenset({"bernoulli"}),
        citation="Kunes et al. 2023",
        settings={"threshold": threshold},
        finite=Finite(count, outcomes, pairs),
    )
