"""The inside algorithm and its way back: sums over all labelled binary trees in O(n^3 L^3).

A tree over n leaves weighs exp(sum of span[i, A] over its spans i, labelled A, + sum of
rule[A, B, C] over its splits of an A into a B and a C). Tensors end in an axis of N independent
problems, which vectorizes: span scores are [..., spans, L, N], rules [..., L, L, L, N]. Baker
1979, "Trainable grammars for speech recognition"; the spans are numbered as in _spans.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.families._spans import Spans


def inside(span: Tensor, rule: Tensor, spans: Spans) -> Tensor:
    """Return the log weight of all trees over each span with each label, [..., spans, L, N].

    The span's own score is included: log Z is the logsumexp of the last span's row.
    """
    chart = span[..., : spans.leaves, :, :]
    for width in range(2, spans.leaves + 1):
        below = _splits(chart, rule, spans, width).logsumexp((-6, -3, -2))
        chart = torch.cat((chart, span[..., spans.of_width(width), :, :] + below), -3)
    return chart


def expected(span: Tensor, rule: Tensor, spans: Spans) -> tuple[Tensor, Tensor]:
    """Return the expected uses of spans [..., spans, L, N] and of rules [..., L, L, L, N].

    From the top down: how often a label is at a span, times how it splits, given that it is there.
    """
    chart = inside(span, rule, spans)
    top = torch.tensor([spans.number - 1], device=chart.device)
    used = torch.zeros_like(chart)
    used = used.index_copy(-3, top, chart[..., -1:, :, :].softmax(-2))
    rules = torch.zeros_like(rule)
    for width in range(spans.leaves, 1, -1):
        here = spans.of_width(width)
        splits = _splits(chart, rule, spans, width)  # [..., split, i, A, B, C, N]
        # Summed again: the chart less the span's own score would lose digits to a large score.
        flow = (splits - splits.logsumexp((-6, -3, -2), keepdim=True)).exp()
        flow = flow * used[..., None, here, :, None, None, :]
        rules = rules + flow.sum((-6, -5))
        for part, axes in ((spans.left, (-4, -2)), (spans.right, (-4, -3))):
            share = flow.sum(axes).flatten(-4, -3)  # [..., split * i, L, N]
            used = used.index_add(-3, part[width - 2].flatten(), share)
    return used, rules


def rules_of(z: Tensor, spans: Spans) -> Tensor:
    """Return how often the tree z [..., spans, L, N] uses each rule, [..., L, L, L, N].

    A span, its left and its right part are all in a tree only where it splits there, because the
    spans of a tree never cross: z_i^A z_l^B z_r^C, summed, counts, and extends off the corners.
    """
    total = z.new_zeros(*z.shape[:-3], *(z.shape[-2],) * 3, z.shape[-1])
    for width in range(2, spans.leaves + 1):
        left, right = _parts(z, spans, width)
        pairs = (left[..., :, None, :] * right[..., None, :, :]).sum(-5)  # [..., i, B, C, N]
        top = z[..., spans.of_width(width), :, :]
        total = total + (top[..., None, None, :] * pairs[..., None, :, :, :]).sum(-5)
    return total


def _splits(chart: Tensor, rule: Tensor, spans: Spans, width: int) -> Tensor:
    """Return the log weight below each span of a width by split and labels.

    [..., split, i, A, B, C, N].
    """
    left, right = _parts(chart, spans, width)
    pairs = left[..., None, :, None, :] + right[..., None, None, :, :]
    return pairs + rule[..., None, None, :, :, :, :]


def _parts(x: Tensor, spans: Spans, width: int) -> tuple[Tensor, Tensor]:
    """Return x [..., spans, L, N] at the left and the right parts: [..., split, i, L, N]."""

    def at(part: Tensor) -> Tensor:
        return torch.unflatten(x.index_select(-3, part.flatten()), -3, part.shape)

    return at(spans.left[width - 2]), at(spans.right[width - 2])
