"""DisARM-SB: DisARM for categorical latents, on the bits of a stick-breaking.

Dong, Mnih and Tucker 2021, "Coupled Gradient Estimators for Discrete Latent Variables" (arXiv
2106.08056). Of an antithetic pair z, zt (_stick_breaking) with costs J, Jt, the
gradient in the logit psi_c of a bit is 1/2 (J - Jt) times

    (B_c - Bt_c) sigma(|psi_c|)   where both reached class c (DisARM),
    B_c - sigma(psi_c)            where only z did, and minus the same in Bt where only zt did,

the bits that one of the two never looked at being independent of it. The chain to the logits of
classes is d psi_c / d phi_c = 1 and d psi_c / d phi_j = -softmax(phi_{c+1..C})_j for j > c.
Unbiased in any order of the classes. Two classes: DisARM.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.estimators._antithetic_bits import even_samples
from benchbed.estimators._stick_breaking import (
    FEW_CLASSES,
    one_class,
    stick_logits,
    stick_state_count,
    stick_states,
    sticks,
    tails,
)
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def disarm_stick_breaking(samples: int = 2) -> Estimator:
    """Average ``samples / 2`` antithetic pairs, coupled bit by bit of a stick-breaking.

    Args:
        samples: z in one estimate, an even number.
    """
    pairs = even_samples("disarm_stick_breaking", samples)

    def estimate(objective: Objective, params: Tensor, u: Tensor) -> Tensor:
        if params.shape[-1] == 1:
            return one_class(objective, params, len(u), samples)
        psi = stick_logits(params)
        reached, classes = sticks(psi, u)
        found = objective.evaluate(draws_first(classes.flatten(0, 1)), params)
        cost = draws_last(found.cost)  # [2 * pairs, *items, draws]
        half = len(cost) // 2
        gap = 0.5 * (cost[:half] - cost[half:])[..., None, None, :]
        # 1 - sigma(|psi|) is what DisARM takes off where both reached the class.
        off, stop = torch.sigmoid(-psi.abs())[..., None], psi.sigmoid()[..., None]
        weight = (reached[0] * reached[1]).mul_(-off).add_(1)
        bits = (classes[0] - classes[1])[..., :-1, :].mul_(weight)
        bits.addcmul_(reached[0] - reached[1], -stop).mul_(gap)
        bits = draws_last(mean_over_samples(draws_first(bits)))  # [*items, d, C - 1, draws]
        return add_direct(draws_first(_pulled_back(params, bits)), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        *inner, classes = params.shape
        return estimate(objective, params, noise.uniform(draws, pairs, *inner, classes - 1))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for probability, u in stick_states(stick_logits(params)):
            yield probability, estimate(objective, params, u)

    return Estimator(
        "disarm_stick_breaking",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        families=frozenset({"categorical"}),
        citation="Dong et al. 2021",
        finite=Finite(lambda _objective, params: stick_state_count(params), outcomes, pairs),
    )


def _pulled_back(params: Tensor, bits: Tensor) -> Tensor:
    """Return the gradient in the logits of classes of one in those of bits, [.., C - 1, draws]."""
    if params.shape[-1] <= FEW_CLASSES:
        return _chain(params) @ bits
    # sum_{c < j} exp(phi_j - tail_c) bits_c as a running sum, not C^2 products; in float64 its
    # factors stand logits that are 700 apart.
    tail = tails(params).double()
    least = tail.amin(-1, keepdim=True)
    running = (bits * (least - tail).exp()[..., None]).cumsum(-2)
    later = running.mul_((params[..., 1:] - least).exp()[..., None]).to(bits)
    edge = torch.zeros_like(bits[..., :1, :])
    return torch.cat((bits, edge), -2).sub_(torch.cat((edge, later), -2))


def _chain(params: Tensor) -> Tensor:
    """Return d psi_c / d phi_j, [*items, d, C (j), C - 1 (c)]."""
    later = (params[..., :, None] - tails(params)[..., None, :]).exp().tril(-1)
    one = torch.eye(params.shape[-1], dtype=params.dtype, device=params.device)
    return one[:, :-1] - later
