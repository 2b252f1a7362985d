"""E log (1/K) sum_k w_k for independent weights of S values, by listing the MULTISETS of particles.

log mean only asks how often each value came up: of S^K tuples, C(K + S - 1, K) multisets of counts
n = (n_1 .. n_S) are left, each standing for K! / prod_s n_s! tuples. 16 particles of 2 bits are
969 multisets and 4.3 billion tuples. _log_mean_exp.py has the integral for more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 2**18  # counts in memory at a time
MOST = 2**14  # multisets that are listed
MOST_COUNTS = 2**20  # multisets times values


def few_multisets(values: int, count: int) -> bool:
    """Say whether the multisets of ``count`` particles of ``values`` values are worth listing."""
    number = math.comb(count + values - 1, count)
    return number <= MOST and number * values <= MOST_COUNTS


def expected_over_multisets(probability: Tensor, log_weight: Tensor, count: int) -> Tensor:
    """Return E log mean of ``count`` weights, [items] float64, differentiable (once) in both.

    The gradient is summed chunk by chunk beside the value, so that memory stays bounded.

    Args:
        probability: [items, S], of every value of one weight; sums to 1.
        log_weight: [items, S].
        count: K.
    """
    with torch.no_grad():
        centre = (probability * log_weight).sum(-1)  # [items]; far from 0, it would cost digits
        spread = log_weight - centre[:, None]
        value = centre.clone()
        by_log_probability, by_log_weight = (torch.zeros_like(probability) for _ in range(2))
        for counts in counts_of(probability.shape[-1], count, CHUNK // probability.numel()):
            often = counts.to(probability)[:, None]  # [n, 1, S]
            tuples = math.lgamma(count + 1) - (often + 1).lgamma().sum(-1)
            chance = (tuples + torch.xlogy(often, probability).sum(-1)).exp()  # [n, items]
            inner = often.log() + spread
            log_mean = inner.logsumexp(-1) - math.log(count)
            value += (chance * log_mean).sum(0)
            by_log_probability += ((chance * log_mean)[..., None] * often).sum(0)
            by_log_weight += (chance[..., None] * inner.softmax(-1)).sum(0)
        slope = torch.where(probability > 0, by_log_probability / probability, 0.0)
    moves = slope * (probability - probability.detach())  # 0, with the gradient beside it
    return value + (moves + by_log_weight * (log_weight - log_weight.detach())).sum(-1)


def counts_of(values: int, count: int, chunk: int) -> Iterator[Tensor]:
    """Yield every (n_1 .. n_S) with sum ``count`` once, [n, S] int64, in chunks.

    S - 1 bars among ``count`` stars: n_s are the stars between two bars.
    """
    bars = itertools.combinations(range(count + values - 1), values - 1)
    while part := list(itertools.islice(bars, max(1, chunk))):
        inner = torch.tensor(part, dtype=torch.int64).reshape(len(part), values - 1)
        ends = inner.new_tensor([[-1, count + values - 1]]).expand(len(part), 2)
        yield torch.cat((ends[:, :1], inner, ends[:, 1:]), 1).diff(dim=1) - 1
