"""Joint outcomes of one item as strings of values, one value a variable, and how likely each is.

Estimators that sum over, or draw without replacement from, the outcomes of a factorized law never
list them: 2^20 are too many. They work on its factors, ``log_probs`` [*items, variables, values].
A family with no factors known here (any with a finite list of outcomes) is one variable whose
values are its outcomes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.contracts import Family
from benchbed.elementwise import indicator
from benchbed.enumeration import CHUNK, written
from benchbed.errors import BadArgument
from benchbed.layout import compact, draws_first, draws_last
from benchbed.rng import Noise

MOST_LISTED = 2**12  # outcomes of a law that does not factorize: a row of memory a draw each


class Law(NamedTuple):
    """The law of one item's z as independent variables, each with a finite list of values."""

    exact: Tensor  # log-probabilities [*items, variables, values], in float64 always
    cdf: Tensor  # [*items, variables, values - 1], the inner boundaries
    # values, whole numbers [k, *items, variables, n] -> z [n, k, *items, *event]
    build: Callable[[Tensor], Tensor]

    @property
    def log_probs(self) -> Tensor:
        """The log-probabilities in the dtype of the params."""
        return self.exact.to(self.cdf)

    def sample(self, draws: int, samples: int, noise: Noise) -> Tensor:
        """Draw values [samples, *items, variables, draws], on the noise of ``family.sample``."""
        u = noise.uniform(draws, samples, *self.exact.shape[:-1])
        return inverse_cdf(self.cdf, draws_last(u))


def inverse_cdf(cdf: Tensor, u: Tensor) -> Tensor:
    """Return the number of boundaries [..., values - 1] at or below u [..., n], in its dtype."""
    if cdf.shape[-1] > 32:  # a long list: search it
        inner = cdf.expand(*u.shape[:-1], cdf.shape[-1]).contiguous()
        return torch.searchsorted(inner, u.contiguous(), right=True).to(u)
    return indicator(torch.ge, u.unsqueeze(-2), cdf[..., None]).sum(-2)


def law_of(family: Family, params: Tensor) -> Law:
    """Return the factors of ``family`` at ``params``.

    Raises:
        BadArgument: it does not factorize and has more than ``MOST_LISTED`` outcomes.
    """
    if family.name == "bernoulli":
        precise = params.double()
        return Law(
            torch.stack((F.logsigmoid(-precise), F.logsigmoid(precise)), -1),
            torch.sigmoid(-params)[..., None],
            lambda values: draws_first(values.to(params.dtype)),
        )
    if family.name == "categorical":
        return Law(
            params.double().log_softmax(-1),
            _boundaries(params.softmax(-1)),
            lambda values: draws_first(one_hot(values, params)),
        )
    return _listed(family, params)


def one_hot(values: Tensor, params: Tensor) -> Tensor:
    """Return the one-hot of values [..., n] along a new axis before the last: [..., K, n]."""
    axis = torch.arange(params.shape[-1], device=values.device)[:, None].to(params)
    return indicator(torch.eq, values.unsqueeze(-2).to(params), axis)


def _boundaries(probs: Tensor) -> Tensor:
    """Return the inner boundaries of the inverse CDF, never decreasing."""
    return probs.cumsum(-1).cummax(-1).values[..., :-1].contiguous()


def _listed(family: Family, params: Tensor) -> Law:
    assert family.states is not None
    assert family.enumerate is not None
    listing, count = family.enumerate, family.states(params)
    if count > MOST_LISTED:
        raise BadArgument(
            f"{family.name} latents have {written(count)} joint outcomes and no factors are known, "
            f"so at most {MOST_LISTED:,} can be listed; use fewer dimensions or categories"
        )
    items = family.items(params)
    z = listing(params, torch.arange(count, device=params.device))
    event = z.shape[1:]
    states = z.reshape(count, *(1,) * len(items), *event).expand(count, *items, *event)
    exact = family.log_prob(params.double(), states.double()).movedim(0, -1).unsqueeze(-2)

    def build(values: Tensor) -> Tensor:
        lead = values[..., 0, :]  # [k, *items, n]
        found = listing(params, lead.flatten().long()).reshape(*lead.shape, *event)
        return found.movedim(lead.ndim - 1, 0)

    return Law(exact, _boundaries(exact.exp().to(params)), build)


def at_most_states(name: str, what: str, family: Family, params: Tensor, given: int) -> None:
    """Raise BadArgument if ``given`` distinct outcomes are more than there are."""
    assert family.states is not None
    count = family.states(params)
    if given > count:
        raise BadArgument(
            f"{name} needs {what} distinct outcomes and {given} are more than the {count} that z "
            f"has here; use {what}: {count} or fewer"
        )


def most_probable(log_probs: Tensor, top: int) -> Tensor:
    """Return the ``top`` most probable outcomes [*items, top, variables], likeliest first.

    A beam search is exact here: of two beginnings, the likelier one is so with every ending.
    """
    values = log_probs.shape[-1]
    score = log_probs.new_zeros(*log_probs.shape[:-2], 1)  # [*items, kept]
    chosen = torch.empty(*score.shape, 0, dtype=torch.int64, device=log_probs.device)
    for factor in log_probs.unbind(-2):
        children = (score[..., None] + factor[..., None, :]).flatten(-2)  # [*items, kept * values]
        score, index = children.topk(min(top, children.shape[-1]), -1)
        parent = (index // values)[..., None].expand(*index.shape, chosen.shape[-1])
        chosen = torch.cat((chosen.gather(-2, parent), (index % values)[..., None]), -1)
    return chosen


class Departures(NamedTuple):
    """All outcomes outside a set, as disjoint subtrees.

    Each follows a member of the set for a while, departs from the whole set at one variable and is
    free afterwards. Masses are sums of positive numbers: 1 - q(set) would lose all digits.
    """

    log_mass: Tensor  # [*items, subtrees]
    fixed: Tensor  # [*items, variables, subtrees]: the value, or -1 where free


def departures(log_probs: Tensor, chosen: Tensor) -> Departures:
    """Return the subtrees outside the distinct outcomes ``chosen`` [*items, k, variables]."""
    k, variables = chosen.shape[-2:]
    values = log_probs.shape[-1]
    place = torch.arange(variables, device=chosen.device)
    choice = torch.arange(values, device=chosen.device)
    own = log_probs.unsqueeze(-3).expand(*chosen.shape, values)
    step = own.gather(-1, chosen[..., None])[..., 0]  # [*items, k, variables]
    before = step.cumsum(-1) - step  # log-probability of what comes before each variable
    earlier = torch.ones(k, k, device=chosen.device).tril(-1).bool()
    same = torch.ones(*chosen.shape[:-1], k, device=chosen.device).bool()  # [*items, k, k]
    closed = []
    for i in range(variables):  # same: the two agree on all earlier variables
        repeated = (same & earlier).any(-1)  # another member stands for this beginning
        value = chosen[..., i]
        hot = (value[..., None] == choice).to(torch.float32)  # [*items, k, values]
        taken = same.to(torch.float32) @ hot > 0
        closed.append(taken | repeated[..., None])
        same &= value[..., None] == value[..., None, :]
    log_mass = (before[..., None] + own).masked_fill(torch.stack(closed, -2), -torch.inf)
    # What a subtree fixes: the member's values before it departs, the new value, then nothing.
    member = chosen[..., None, None, :].expand(*log_mass.shape, variables)
    fixed = torch.where(place < place[:, None, None], member, -1)
    fixed = torch.where(place == place[:, None, None], choice[:, None], fixed)
    return Departures(log_mass.flatten(-3), fixed.flatten(-4, -2).movedim(-1, -2).contiguous())


def chosen_states(
    family: Family, params: Tensor, chunk: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Return the states numbered in ``chunk`` [n][k], as a sampler would have given them.

    z [n, k, *items, *event], and log q [k, *items, n] in float64.
    """
    assert family.enumerate is not None
    index = torch.tensor(chunk, device=params.device)  # [n, k]
    items = family.items(params)
    z = family.enumerate(params, index.flatten())
    event = z.shape[1:]
    z = z.reshape(*index.shape, *(1,) * len(items), *event).expand(*index.shape, *items, *event)
    z = compact(z)
    return z, draws_last(family.log_prob(params.double(), z.double()))


def in_chunks(tuples: Iterator[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Yield ``tuples`` in lists of at most ``CHUNK``."""
    while chunk := list(itertools.islice(tuples, CHUNK)):
        yield chunk
