r"""How likely a SET of outcomes is without replacement, and which of them came first.

For S = {s_1..s_k} drawn without replacement and A inside S, let h(A) be the probability that S \ A
comes next once A is gone. Then p(S) = h({}), and Kool et al. 2020's leave-one-out ratios are
R(S, s) = h({s}) / h({}) and R^{D \ s}(S, s') = h({s, s'}) / h({s}). One recursion over the 2^k
subsets gives them all, where the paper sums over k! orders:
    h(A) = sum_{s in S \ A} q(s) / (1 - q(A)) h(A + s),   h(S) = 1.
With g(A) = h(A) / prod_{S \ A} q(s), which cannot underflow, what estimators need is
    first_s = q(s) h({s}) / h({}) = g({s}) / g({}), the probability that s came first, given S;
    both_{st} = q(s) q(t) h({s, t}) / h({}) = g({s, t}) / g({}), symmetric: 1 - q(s) times the
    probability that s came first and t second.

For k > 10, the race: outcomes arrive at rates q(s), and S \ A must arrive before all of D \ S,
whose rate is r = 1 - q(S). With t the arrival of the first of those, in units of 1 / r,
    h(A) = int_0^inf prod_{s in S \ A} (1 - exp(-t q(s) / r)) exp(-t) dt,
the paper's integral over the Gumbel threshold. By the trapezoid rule in y = log t, whose step
shrinks with k as the peak does, so that the error stays below 1e-10. All in float64.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

MOST_BY_SUBSETS = 10
TOLERANCE = 1e-10  # relative error of the integrals
NODES_TOGETHER = 16
# 1 - q(A) has an absolute error of 1e-16, except for a single outcome. Below this the outcomes left
# are so rare that no gradient holds them.
LEAST_REST = 1e-30


class SetWeights(NamedTuple):
    """What is known of the order in which the outcomes of a set were drawn."""

    first: Tensor  # [k, ...]: P(s came first | S), sums to 1 over k
    both: Tensor  # [k, k, ...]: q(s) q(t) h({s, t}) / h({}), symmetric, 0 on the diagonal
    log_p: Tensor  # [...]: log p(S)


def set_weights(log_q: Tensor) -> SetWeights:
    """Return the weights of sets of outcomes with log-probabilities ``log_q`` [k, ...]."""
    if log_q.shape[0] > MOST_BY_SUBSETS:
        return _by_quadrature(log_q)
    return _by_subsets(log_q)


def rest_after(log_q: Tensor, least: Tensor) -> Tensor:
    """Return 1 - sum_k q_k >= ``least``, exact in relative terms for a single outcome."""
    alone = len(log_q) == 1
    rest = -torch.expm1(log_q[0]) if alone else 1 - log_q.exp().sum(0)
    return torch.maximum(rest, least).clamp_min(LEAST_REST)


def _by_subsets(log_q: Tensor) -> SetWeights:
    k, shape = log_q.shape[0], log_q.shape[1:]
    flat = log_q.reshape(k, -1)
    q = flat.exp()
    g = torch.ones_like(q[:1])  # g(S); then of all subsets with m members, in lexical order
    pairs = g
    for m in reversed(range(1, k)):
        members, larger = (table.to(q.device) for table in _subsets(k, m))
        if m == 1:  # one outcome: no digits lost
            rest = torch.maximum(-torch.expm1(flat), q.sum(0) - q)
        else:
            rest = torch.maximum(1 - members @ q, (1 - members) @ q)
        g = g[larger].sum(1) / rest.clamp_min(LEAST_REST)
        pairs = g if m == 2 else pairs
    first, whole = g, g.sum(0)
    both = q.new_zeros(k, *q.shape)
    if k > 1:
        one, other = torch.triu_indices(k, k, 1, device=q.device)
        both[one, other] = both[other, one] = pairs / whole
    log_p = whole.log() + flat.sum(0)
    return SetWeights(
        (first / whole).reshape(k, *shape), both.reshape(k, k, *shape), log_p.reshape(shape)
    )


@functools.cache
def _subsets(k: int, m: int) -> tuple[Tensor, Tensor]:
    """Return the subsets with m members of k, and where they are after one more joined.

    Masks [subsets, k] in float64, and numbers [subsets, k - m] among those with m + 1 members.
    """
    every = list(itertools.combinations(range(k), m))
    place = {members: i for i, members in enumerate(itertools.combinations(range(k), m + 1))}
    masks = torch.zeros(len(every), k, dtype=torch.float64)
    masks.scatter_(1, torch.tensor(every), 1.0)
    larger = [
        [place[tuple(sorted((*members, s)))] for s in range(k) if s not in members]
        for members in every
    ]
    return masks, torch.tensor(larger)


def _by_quadrature(log_q: Tensor) -> SetWeights:
    k, shape = log_q.shape[0], log_q.shape[1:]
    flat = log_q.reshape(k, -1)
    q = flat.exp()
    r = (1 - q.sum(0)).clamp_min(1e-200)
    rate = (q / r).clamp_min(1e-290)  # where q underflows: 1 - exp(-t q / r) is linear anyway
    scale = -torch.expm1(-rate * (k + 1))  # keeps long products near 1 at the integrand's peak
    right = math.log(2 * k + 60)
    step = _step(k)
    # To the left the integrand falls at least as fast as exp(y).
    nodes = torch.arange(math.log(TOLERANCE), right, step, dtype=q.dtype, device=q.device)
    none = q.new_zeros(q.shape[1])
    one = torch.zeros_like(q)
    two = q.new_zeros(q.shape[1], k, k)
    for y in torch.split(nodes, NODES_TOGETHER):
        t = y.exp()[:, None]
        missed = -torch.expm1(-t[..., None] * rate) / scale  # [nodes, k, n]
        weight = (y[:, None] - t).exp() * missed.prod(1)
        inverse = missed.reciprocal()
        none += weight.sum(0)
        one += (weight[:, None] * inverse).sum(0)
        columns = inverse.permute(2, 1, 0)  # [n, k, nodes]
        two += (columns * weight.T[:, None]) @ columns.mT
    share = r * rate / scale  # q(s) / scale(s), with its limit where q underflows
    first = share * one / none
    both = share[:, None] * share * two.permute(1, 2, 0) / none
    both.diagonal(dim1=0, dim2=1).zero_()
    log_p = (none * step).log() + scale.log().sum(0)
    return SetWeights(first.reshape(k, *shape), both.reshape(k, k, *shape), log_p.reshape(shape))


@functools.cache
def _step(k: int) -> float:
    """Return the step at which the trapezoid rule has integrated the narrowest peak.

    That is exp((k + 1) y - exp(y)), all of S rare. By Poisson summation its relative error is
    2 |Gamma(k + 1 + i w)| / Gamma(k + 1) at w = 2 pi / step.
    """
    w = 10.0
    while True:
        error = 0.5 * math.log(2 * math.pi * w) - math.pi * w / 2
        error += 0.5 * sum(math.log1p((w / j) ** 2) for j in range(1, k + 1))
        if error < math.log(TOLERANCE / 2):
            return 2 * math.pi / w
        w += 0.5
