"""A sampler that autograd can differentiate, as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchbed.adapters._foreign import call, check_call, name_of, names_in, rows, seeded
from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BrokenContract
from benchbed.layout import compact, mean_over_samples
from benchbed.rng import Noise


def from_sampler(
    function: Callable[..., Any],
    *,
    samples: int = 1,
    families: str | Sequence[str] = "categorical",
    relaxed: bool = True,
    name: str | None = None,
    **arguments: Any,
) -> Estimator:
    """Make an estimator of a sampler that autograd can differentiate, such as gumbel_softmax.

    J is differentiated at the value that the sampler returns, and the sampler by autograd.

    Args:
        function: ``function(logits, **arguments) -> z``, z shaped like the logits
            [draws, samples, *items, *parameter axes] and different in every row; of a tuple the
            first is taken.
        samples: z in one estimate.
        families: whose parameters it takes. ``categorical`` logits have the categories last;
            ``bernoulli`` ones are one number a bit.
        relaxed: False says that every value is a corner, so that J need not exist between them.
        name: for tables; the function's own by default.
        arguments: passed on.
    """
    label = name_of(function, name)
    at_least(label, "samples", samples, 1)
    check_call(label, function, 1, arguments)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        leaf = rows(params, draws, samples)
        with seeded(noise, leaf.numel()), torch.enable_grad():
            found = call(label, function, leaf, **arguments)
            z = found[0] if isinstance(found, tuple) and found else found
        if not isinstance(z, Tensor) or z.shape != leaf.shape or z.dtype != leaf.dtype:
            given = f"{z.dtype} {list(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise BrokenContract(
                f"{label} returned {given} for logits {leaf.dtype} {list(leaf.shape)}; a sampler "
                "returns one z in the shape and dtype of its logits"
            )
        if not z.requires_grad:
            raise BrokenContract(
                f"{label} returned a z without a gradient in its logits; a sampler must be "
                "differentiable by autograd, or use from_surrogate"
            )
        at = objective.evaluate(compact(z.detach()), params, slope=True)
        assert at.slope is not None
        (pulled,) = torch.autograd.grad(z, leaf, at.slope, allow_unused=True)
        if pulled is None:
            raise BrokenContract(f"{label} returned a z that does not depend on its logits")
        return add_direct(mean_over_samples(compact(pulled)), at)

    return Estimator(
        label,
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        needs=frozenset({"differentiable", "relaxed"} if relaxed else {"differentiable"}),
        families=names_in(label, families),
        settings=dict(arguments),
    )
