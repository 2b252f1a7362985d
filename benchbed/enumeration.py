"""Sums over everything that can happen, in chunks, so that memory does not grow with 2^d."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import torch
from torch import Tensor

from benchbed.contracts import Family, Finite, Objective
from benchbed.errors import BadArgument
from benchbed.layout import compact

CHUNK = 4096  # outcomes at a time
MOST_STATES = 2**22  # what an exact gradient may enumerate: a minute or two


def marginalize(objective: Objective, params: Tensor) -> tuple[Tensor, Tensor]:
    """Return E[J] and its gradient by summing over every z, in float64.

    Args:
        objective: any objective with a finite support.
        params: [*items, *parameter axes].

    Returns:
        A scalar (summed over items) and a tensor shaped like ``params``.

    Raises:
        BadArgument: the support is infinite or has more than ``MOST_STATES`` values.
    """
    family = objective.family
    if family.states is None:
        raise BadArgument(
            f"{objective.name} has {family.name} latents, which cannot be enumerated; "
            "give it a closed-form gradient"
        )
    if family.states(params) > MOST_STATES:
        raise BadArgument(
            f"{objective.name} has {written(family.states(params))} states, more than the "
            f"{MOST_STATES:,} that can be enumerated; use fewer dimensions or categories"
        )
    point = params.detach().double().requires_grad_()
    value = torch.zeros((), dtype=torch.float64, device=params.device)
    gradient = torch.zeros_like(point)
    for z in tuples(family, point, together=1):
        with torch.enable_grad():
            weight = family.log_prob(point, z).exp()  # [n, 1, *items]
            part = (weight * objective.costs(z, point)).sum()
        gradient += torch.autograd.grad(part, point)[0]
        value += part.detach()
    return value, gradient


def written(count: int) -> str:
    """Return a count as a person reads it: 4,194,304, and above 10^15 as 1.6e+60."""
    return f"{count:,}" if count <= 10**15 else f"{Decimal(count):.1e}"


def tuples(family: Family, params: Tensor, together: int) -> Iterator[Tensor]:
    """Yield every ``together``-tuple of z as ``[n, together, *items, *event]``, in chunks."""
    assert family.states is not None
    assert family.enumerate is not None
    states = family.states(params)
    total = states**together
    items = family.items(params)
    for start in range(0, total, CHUNK):
        index = torch.arange(start, min(start + CHUNK, total), device=params.device)
        columns = []
        for _ in range(together):
            columns.append(index % states)
            index = index // states
        z = family.enumerate(params, torch.stack(columns, 1).flatten())
        event = z.shape[1:]
        z = z.reshape(-1, together, *(1,) * len(items), *event)
        yield compact(z.expand(-1, together, *items, *event))


Estimate = Callable[[Objective, Tensor, Tensor], Tensor]


def finite_in_z(estimate: Estimate, *, together: int = 1, replicates: int = 1) -> Finite:
    """Describe an estimator whose only randomness is ``together`` independent samples of z.

    Args:
        estimate: (objective, params, z [n, together, ...]) -> [n, *params.shape].
        together: samples that one outcome couples.
        replicates: independent copies that the estimator averages.
    """

    def count(objective: Objective, params: Tensor) -> int:
        states = objective.family.states
        return 0 if states is None else states(params) ** together

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for z in tuples(objective.family, params, together):
            weight = objective.family.log_prob(params, z).sum(1).exp()  # [n, *items]
            yield weight, estimate(objective, params, z)

    return Finite(count, outcomes, replicates)
