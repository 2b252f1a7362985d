"""A labelled binary tree over n leaves, with the law of a weighted grammar.

params are flat, ``[*items, n]``: a score for every span and label, [spans, L], then one for every
rule A -> B C, [L, L, L]. With ``spans`` = n (n + 1) / 2 of all widths, leaves included, in the
order of families/_spans.py, z is ``[..., *items, spans, L]``: 1 where the tree has a span with that
label. A tree's score is the sum of those of its 2 n - 1 spans and n - 1 rules, and

    log q(z) = <span scores, z> + <rule scores, rules of z> - log Z,

Z summed over all Catalan(n - 1) L^(2 n - 1) trees by the inside algorithm, in O(n^3 L^3).

The law is normalized as a whole, not rule by rule: conditioned on its sentence, a probabilistic
context-free grammar is exactly of this kind (root and words give the scores of the last span and of
the leaves), while the probabilities of its rules, which sum to one over trees of EVERY size, are no
law over trees of n leaves. Scores are therefore redundant: only their differences between trees
count. Kim, Dyer and Rush 2019 (arXiv 1906.10225) sum over the same trees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.families._grown_trees import grown
from benchbed.families._inside import expected, inside, rules_of
from benchbed.families._spans import bracketings, spans
from benchbed.layout import compact, draws_first, draws_last
from benchbed.rng import Noise

NAME = "binary_tree"
MOST_LEAVES_LISTED = 12  # 58,786 bracketings


def size(leaves: int, labels: int) -> int:
    """Return how many parameters one item has."""
    return spans(leaves).number * labels + labels**3


def unpack(params: Tensor, leaves: int, labels: int) -> tuple[Tensor, Tensor]:
    """Return the scores of spans [..., spans, L] and of rules [..., L, L, L]: views."""
    own = spans(leaves).number * labels
    return (
        torch.unflatten(params[..., :own], -1, (-1, labels)),
        torch.unflatten(params[..., own:], -1, (labels,) * 3),
    )


def log_partition(params: Tensor, leaves: int, labels: int) -> Tensor:
    """Return log Z, [...] of params [..., n], by the inside algorithm."""
    span, rule = _last(params, leaves, labels)
    chart = inside(span, rule, spans(leaves, span.device))
    return _first(chart[..., -1, :, :].logsumexp(-2), params)


def expectations(params: Tensor, leaves: int, labels: int) -> Tensor:
    """Return the expected uses of every span and rule: [..., n] like params, d log Z / d params."""
    span, rule = _last(params, leaves, labels)
    used, rules = expected(span, rule, spans(leaves, span.device))
    return _first(torch.cat((used.flatten(-3, -2), rules.flatten(-4, -2)), -2), params)


def statistics(z: Tensor, leaves: int) -> Tensor:
    """Return the uses of every span and rule by z [draws, ..., spans, L]: [draws, ..., n]."""
    inner = draws_last(z)
    rules = rules_of(inner, spans(leaves, inner.device))
    return draws_first(torch.cat((inner.flatten(-3, -2), rules.flatten(-4, -2)), -2))


def catalan(n: int) -> int:
    """Return the number of binary bracketings of n + 1 leaves."""
    return math.comb(2 * n, n) // (n + 1)


def binary_tree(leaves: int, labels: int) -> Family:
    """Return the law of a tree over ``leaves`` leaves.

    Args:
        leaves: n, at least 2.
        labels: L, that a span can have.
    """
    at_least(NAME, "number of leaves", leaves, 2)
    at_least(NAME, "number of labels", labels, 1)
    table, count = spans(leaves), size(leaves, labels)

    def checked(params: Tensor) -> Tensor:
        if params.shape[-1] != count:
            raise BadArgument(
                f"{NAME} of {leaves} leaves and {labels} labels has {count} parameters an item, "
                f"got params {list(params.shape)}"
            )
        return params

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def uniforms(params: Tensor) -> tuple[int, ...]:
        """Return [*items, leaves]: one for the label of the root, one for each split."""
        return (*params.shape[:-1], leaves)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        """Return the tree that the inverse CDFs give, split after split from the root down.

        Splits are taken in the order in which they were made, left before right, and each draws
        its place and both labels with one uniform, exactly, from the inside weights (in float64).
        """
        span, rule = _last(checked(params).double(), leaves, labels)
        chart = _first(inside(span, rule, spans(leaves, span.device)).flatten(-3, -2), params)
        rules = _first(rule.flatten(-3, -2), params)  # [..., L, L * L]
        lead = u.shape[:-1]
        z = grown(
            chart.expand(*lead, chart.shape[-1]),
            rules.expand(*lead, *rules.shape[-2:]),
            u.double().contiguous(),
            leaves,
            labels,
        )
        return compact(torch.unflatten(z.to(params.dtype), -1, (-1, labels)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        score = (statistics(z, leaves) * checked(params)).sum(-1)
        return score - log_partition(params, leaves, labels)

    def score(params: Tensor, z: Tensor) -> Tensor:
        """Return what z uses minus what is expected, [draws, ..., *items, n]."""
        return statistics(z, leaves) - expectations(checked(params), leaves, labels)

    def mean(params: Tensor) -> Tensor:
        """Return how likely every span is in the tree with each label, [*items, spans, L]."""
        return unpack(expectations(checked(params), leaves, labels), leaves, labels)[0]

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        del params, draws, samples, temperature, noise
        raise BadArgument(
            f"{NAME} latents have no relaxed or differentiable sample; "
            "use score_function, leave_one_out or unordered_set"
        )

    def state_count(params: Tensor) -> int:
        del params
        return int(catalan(leaves - 1) * labels ** (2 * leaves - 1))

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        """Return the trees numbered ``index`` [n], bracketings fastest: [n, spans, L]."""
        if leaves > MOST_LEAVES_LISTED:
            raise BadArgument(
                f"{NAME} of {leaves} leaves has {catalan(leaves - 1):,} bracketings, too many to "
                f"list; use {MOST_LEAVES_LISTED} leaves or fewer"
            )
        every = bracketings(leaves).to(index.device)
        nodes = every[index % len(every)]  # [n, 2 leaves - 1]
        digits = index // len(every)
        z = params.new_zeros(len(index), table.number * labels)
        for node in nodes.unbind(1):
            z.scatter_(1, (node * labels + digits % labels)[:, None], 1.0)
            digits = digits // labels
        return torch.unflatten(z, 1, (-1, labels))

    return Family(
        name=NAME,
        params_axes=1,
        event_axes=2,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=False,
        states=state_count,
        enumerate=enumerate_states,
        uniforms=uniforms,
        quantile=quantile,
    )


def _last(params: Tensor, leaves: int, labels: int) -> tuple[Tensor, Tensor]:
    """Return the scores with the first axis of params last, or with an axis of 1 if it has none."""
    inner = draws_last(params) if params.ndim > 1 else params[:, None]
    own = spans(leaves).number * labels
    span, rule = inner[..., :own, :], inner[..., own:, :]
    return torch.unflatten(span, -2, (-1, labels)), torch.unflatten(rule, -2, (labels,) * 3)


def _first(x: Tensor, params: Tensor) -> Tensor:
    """Undo the move of ``_last``."""
    return draws_first(x) if params.ndim > 1 else x[..., 0]
