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

from benchbed.elementwise import indicator, log_
from benchbed.estimators._outcomes import Law, inverse_cdf
from benchbed.layout import draws_last
from benchbed.rng import Noise

MOST_TOGETHER = 2**17  # waiting times of a listed law that are drawn at once: some 10 MB
MOST_BY_PASSES = 20  # so many of the earliest are found faster one by one than by ``topk``


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
    # Of the beginnings kept, the leading one first, then by their time: the logarithms of their
    # probability and, of all but the leading one, which is at 0, of the time.
    log_p = factors.new_zeros(*items, 1, draws)
    time = log_p[..., :0, :]
    values = torch.arange(choices, device=leading.device)[:, None].to(factors)
    history = []
    for i in range(variables):
        kept = log_p.shape[-2]
        waits = draws_last(noise.exponential(draws, *items, kept, choices))
        first = leading[..., i, :].unsqueeze(-2)
        if kept > 1:
            u = draws_last(noise.uniform(draws, *items, kept - 1))
            first = torch.cat((first, inverse_cdf(law.cdf[..., i, :].unsqueeze(-2), u)), -2)
        children = log_p.unsqueeze(-2) + factors[..., i, :][..., None, :, None]
        arrival = log_(waits).sub_(children)
        endless = _endless_at(first.unsqueeze(-2), values)
        arrival[..., 0, :, :] += endless[..., 0, :, :]  # the leading child: not one of the rest
        if kept > 1:  # what comes first adds 0 to its parent's time
            later = arrival[..., 1:, :, :].sub_(endless[..., 1:, :, :])
            arrival[..., 1:, :, :] = torch.logaddexp(time.unsqueeze(-2), later)
        time, index = _earliest(arrival.flatten(-3, -2), min(samples, kept * choices) - 1)
        index = torch.cat((first[..., :1, :], index), -2)
        log_p = children.flatten(-3, -2).gather(-2, index.long())
        history.append(index)
    # Walk back from the winners to the values they took; the leading one's are known.
    row = torch.arange(1, samples, device=leading.device)[:, None].expand(*items, -1, draws)
    taken = []
    for index in reversed(history):
        place = index.gather(-2, row)
        parent = ((place + 0.5) / choices).floor_()  # exact: place < 2^22
        taken.append(place.sub_(parent, alpha=choices).movedim(-2, 0))
        row = parent.long()
    outcomes = torch.cat((leading[None], torch.stack(taken[::-1], -2)))
    return outcomes, _log_q(law, outcomes)


def _log_q(law: Law, outcomes: Tensor) -> Tensor:
    """Return the float64 log-probability [k, *items, n] of ``outcomes`` [k, *items, variables, n].

    Looked up in one flat list, which is a tenth of the time of ``gather``.
    """
    *inner, choices = law.exact.shape
    start = torch.arange(0, law.exact.numel(), choices, device=outcomes.device).view(*inner, 1)
    place = outcomes.long().add_(start).flatten()
    return law.exact.flatten().index_select(0, place).view(outcomes.shape).sum(-2)


def _earliest(arrival: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` smallest of [..., m, n] along m with where they stand, in order.

    Places are numbers in the dtype of the times. ``arrival`` is overwritten.
    """
    if count == 0:
        return arrival[..., :0, :], arrival[..., :0, :]
    if count > MOST_BY_PASSES:
        times, index = arrival.movedim(-2, -1).topk(count, -1, largest=False)
        return times.movedim(-1, -2), index.movedim(-1, -2).to(arrival)
    places = torch.arange(arrival.shape[-2], device=arrival.device)[:, None].to(arrival)
    found: list[Tensor] = []
    where: list[Tensor] = []
    for _ in range(count):
        if where:  # that one is out
            arrival += _endless_at(where[-1], places)
        found.append(arrival.amin(-2, keepdim=True))
        # As ``min`` with its index, in vector operations; of equals the last one.
        where.append(indicator(torch.eq, arrival, found[-1]).mul_(places).amax(-2, keepdim=True))
    return torch.cat(found, -2), torch.cat(where, -2)


def _endless_at(place: Tensor, places: Tensor) -> Tensor:
    """Return infinity at ``place`` and 0 at the other places: a mask without a boolean."""
    return indicator(torch.ne, place, places).reciprocal_().sub_(1)
