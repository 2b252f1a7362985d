"""Trees drawn from the inside weights, from the root down, all draws at once."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.families._spans import spans


def grown(chart: Tensor, rules: Tensor, u: Tensor, leaves: int, labels: int) -> Tensor:
    """Grow trees from the root down.

    Args:
        chart: inside weights [*lead, spans * L].
        rules: scores [*lead, L, L * L].
        u: uniforms [*lead, leaves].
        leaves: n.
        labels: L.

    Returns:
        z, [*lead, spans * L].
    """
    first = spans(leaves).first.to(u.device)
    label = torch.arange(labels, device=u.device)
    split = torch.arange(1, leaves, device=u.device)  # widths of a left part
    count = chart.shape[-1] // labels
    z = torch.zeros(chart.shape, dtype=torch.float64, device=u.device)
    cdf = chart[..., -labels:].softmax(-1).cumsum(-1)
    root = _below(cdf[..., :-1], u[..., :1])  # [*lead, 1]
    z.scatter_(-1, (count - 1) * labels + root, 1.0)
    # What is still to be split: first leaf, width and label of each, in the order of their making.
    # The last place takes what needs no splitting.
    queue = torch.zeros(*u.shape[:-1], 3, leaves, dtype=torch.int64, device=u.device)
    queue[..., 1, 0], queue[..., 2, 0] = leaves, root[..., 0]
    made = torch.ones_like(root)
    for step in range(leaves - 1):
        start, width, top = queue[..., step : step + 1].unbind(-2)  # each [*lead, 1]
        # Parts of every width; those that the span is too narrow for are closed off below.
        left = (first[split] + start).clamp(max=count - 1)  # [*lead, splits]
        right = (first[(width - split).clamp(min=1)] + start + split).clamp(max=count - 1)
        weight = _rows(chart, left, label).unsqueeze(-1)  # [*lead, splits, B, 1]
        weight = weight + _rows(chart, right, label).unsqueeze(-2)
        rule = rules.gather(-2, top[..., None].expand(*top.shape, labels**2))
        weight = weight.flatten(-2) + rule  # [*lead, splits, B C]
        weight = weight.masked_fill((split >= width)[..., None], -torch.inf)
        cdf = weight.flatten(-2).softmax(-1).cumsum(-1)
        ways = (width - 1) * labels**2
        chosen = torch.minimum(_below(cdf[..., :-1], u[..., step + 1 : step + 2]), ways - 1)
        place, pair = chosen // labels**2, chosen % labels**2
        parts = (
            (left, start, place + 1, pair // labels),
            (right, start + place + 1, width - place - 1, pair % labels),
        )
        for number, begin, wide, name in parts:
            z.scatter_(-1, number.gather(-1, place) * labels + name, 1.0)
            where = torch.where(wide > 1, made, leaves - 1).unsqueeze(-2)
            child = torch.stack((begin, wide, name), -2)
            queue.scatter_(-1, where.expand_as(child), child)
            made = made + (wide > 1)
    return z


def _below(boundaries: Tensor, u: Tensor) -> Tensor:
    """Return how many boundaries [..., k] are at or below u [..., 1]: [..., 1], int64."""
    return (u >= boundaries).sum(-1, keepdim=True)


def _rows(chart: Tensor, number: Tensor, label: Tensor) -> Tensor:
    """Return the inside weights of spans [*lead, k] with every label: [*lead, k, L]."""
    at = (number[..., None] * len(label) + label).flatten(-2)
    return torch.unflatten(chart.gather(-1, at), -1, (number.shape[-1], -1))
