"""Distinct joint outcomes drawn one after another without replacement, none of them listed.

The stochastic beam search of Kool, van Hoof and Welling 2019 (arXiv 1903.06059), told as a race
instead of with Gumbels: outcome s arrives after an Exp(q(s)) time, and the first ``samples`` to
arrive are those of sequential sampling without replacement, in that order. A beginning of an
outcome arrives with the first of its endings. Given that time t, the value that comes first is a
draw from the factor, and by the memoryless property any other value c arrives at t + Exp(q(.., c)).
Only the ``samples`` earliest beginnings can lead to the winners: ``samples`` x variables x values
numbers, whatever the number of outcomes. Where the first one arrives does not matter: it gets t = 0
and its values come from ``family.sample``'s own noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.estimators._outcomes import Law, inverse_cdf
from benchbed.layout import draws_last
from benchbed.rng import Noise

MOST_TOGETHER = 2**17  # waiting times of a listed law that are drawn at once: some 10 MB


def without_replacement(law: Law, draws: int, samples: int, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return (z [draws, samples, *items, *event], log q [samples, *items, draws] in float64)."""
    leading = law.sample(draws, 1, noise)[0]  # [*items, variables, draws]: the first to arrive
    # A stream of its own, so that the first outcome goes on sharing its noise with others.
    apart = noise.child("race", noise.drawn)
    *items, variables, choices = law.exact.shape
    rows = draws
    if variables == 1:  # a list of outcomes, which may be long
        rows = max(1, MOST_TOGETHER // (math.prod(items) * choices))
    parts = [_race(law, some, samples, apart) for some in torch.split(leading, rows, -1)]
    noise.drawn += apart.drawn
    values, log_q = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    return law.build(values), log_q


def _race(law: Law, leading: Tensor, samples: int, noise: Noise) -> tuple[Tensor, Tensor]:
    factors = law.log_probs
    *items, variables, choices = factors.shape
    draws = leading.shape[-1]
    # Of the beginnings kept, earliest first: logarithm of the time, and of the probability.
    time = factors.new_full((*items, 1, draws), -torch.inf)
    log_p = torch.zeros_like(time)
    axis = torch.arange(choices, device=leading.device)[:, None]
    history = []
    for i in range(variables):
        kept = time.shape[-2]
        waits = draws_last(noise.exponential(draws, *items, kept, choices))
        first = leading[..., i, :].unsqueeze(-2)
        if kept > 1:
            u = draws_last(noise.uniform(draws, *items, kept - 1))
            first = torch.cat((first, inverse_cdf(law.cdf[..., i, :].unsqueeze(-2), u)), -2)
        children = log_p.unsqueeze(-2) + factors[..., i, :][..., None, :, None]
        later = waits.log_().sub_(children)
        later.masked_fill_(first.unsqueeze(-2) == axis, -torch.inf)  # what comes first adds 0
        arrival = torch.logaddexp(time.unsqueeze(-2), later).flatten(-3, -2)
        time, index = _earliest(arrival, min(samples, kept * choices))
        log_p = children.flatten(-3, -2).gather(-2, index)
        history.append(index)
    # Walk back from the winners to the values they took.
    row = torch.arange(samples, device=leading.device)[:, None].expand(*items, samples, draws)
    log_q = law.exact.new_zeros(*items, samples, draws)
    taken = []
    for i in reversed(range(variables)):
        index = history[i].gather(-2, row)
        row = index // choices
        value = index - row * choices
        factor = law.exact[..., i, :, None].expand(*items, choices, draws)
        log_q += factor.gather(-2, value)
        taken.append(value.movedim(-2, 0))
    return torch.stack(taken[::-1], -2), log_q.movedim(-2, 0)


def _earliest(arrival: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` smallest of [..., m, n] along m with where they stand, in order."""
    if count > 8:
        times, index = arrival.movedim(-2, -1).topk(count, -1, largest=False)
        return times.movedim(-1, -2), index.movedim(-1, -2)
    places = torch.arange(arrival.shape[-2], device=arrival.device)[:, None]
    found, where = [], []
    for _ in range(count):
        found.append(arrival.amin(-2, keepdim=True))
        # As ``min`` with its index, in vector operations; of equals the last one.
        where.append(((arrival == found[-1]) * places).amax(-2, keepdim=True))
        arrival = arrival.masked_fill(places == where[-1], torch.inf)
    return torch.cat(found, -2), torch.cat(where, -2)
