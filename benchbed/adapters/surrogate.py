"""A loss whose autograd gradient is the estimate, as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchbed.adapters._foreign import call, check_call, default_of, name_of, names_in, rows, seeded
from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BrokenContract
from benchbed.layout import compact
from benchbed.rng import Noise


def from_surrogate(
    function: Callable[..., Any],
    *,
    samples: int | None = None,
    evaluations: int | None = None,
    unbiased: bool = False,
    families: str | Sequence[str] | None = None,
    relaxed: bool = False,
    name: str | None = None,
    **arguments: Any,
) -> Estimator:
    """Make an estimator of a loss whose autograd gradient is the estimate.

    Args:
        function: ``function(logits, cost, **arguments) -> loss``. logits are
            [draws, *items, *parameter axes]; ``cost(z)`` takes z [draws, *items, *event] or, for
            several samples, [draws, n, *items, *event]. The loss has one entry a row, [draws] or
            [draws, *items]: each row is an estimate of its own.
        samples: z that one row draws; passed on to a function that has a ``samples``, whose own
            default it is then, and only written into the tables for one that has not.
        evaluations: calls of J that one row makes, for the tables; None for as many as samples.
        unbiased: what you claim; only then is it held to it.
        families: whose parameters it takes; None for any.
        relaxed: True says that it asks for the cost between the corners, too.
        name: for tables; the function's own by default.
        arguments: passed on.
    """
    label = name_of(function, name)
    counted = samples if samples is not None else default_of(function, "samples", 1)
    at_least(label, "samples", counted, 1)
    calls = counted if evaluations is None else evaluations
    at_least(label, "evaluations", calls, 0)
    passed = arguments
    if samples is not None and default_of(function, "samples", None) is not None:
        passed = arguments | {"samples": samples}
    check_call(label, function, 2, passed)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        leaf = rows(params, draws)
        family = objective.family
        rank = 1 + len(family.items(params)) + family.event_axes

        def cost(z: Tensor) -> Tensor:
            if z.ndim not in (rank, rank + 1) or len(z) != draws:
                raise BrokenContract(
                    f"{label} asked for the cost of z {list(z.shape)}; give [draws, *items, "
                    f"*event], {rank} axes with {draws} rows, or [draws, n, *items, *event]"
                )
            if z.ndim == rank:
                return objective.cost(z[:, None], leaf[:, None])[:, 0]
            return objective.cost(z, leaf[:, None])

        with seeded(noise, leaf.numel()), torch.enable_grad():
            loss = call(label, function, leaf, cost, **passed)
        if not isinstance(loss, Tensor) or loss.ndim == 0 or len(loss) != draws:
            given = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise BrokenContract(
                f"{label} returned a loss {given} for {draws} rows; return one entry a row (a mean "
                "over rows would divide every estimate by their number)"
            )
        if not loss.requires_grad:
            raise BrokenContract(
                f"{label} returned a loss without a gradient in the logits; autograd must reach "
                "them, check for a detach or a no_grad"
            )
        (gradient,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss), allow_unused=True)
        if gradient is None:
            raise BrokenContract(f"{label} returned a loss that does not depend on its logits")
        return compact(gradient)

    return Estimator(
        label,
        draw,
        samples=counted,
        evaluations=calls,
        unbiased=unbiased,
        needs=frozenset({"relaxed"} if relaxed else ()),
        families=None if families is None else names_in(label, families),
        settings=dict(arguments),
    )
