"""Code that people already have, as estimators: differentiable samplers and surrogate losses.

Both run under a forked and seeded copy of torch's and numpy's global generators, so that code which
draws from them is reproducible here and leaves no trace. torch's CPU generator keeps 32 bits of its
seed: over very many chunks two can share their numbers, which benchbed's own noise never does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BadArgument, BenchbedError, BrokenContract, one_line
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
    label = _name(function, name)
    at_least(label, "samples", samples, 1)
    _binds(label, function, 1, arguments)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        leaf = _rows(params, draws, samples)
        with _seeded(noise, leaf.numel()), torch.enable_grad():
            found = _call(label, function, leaf, **arguments)
            z = found[0] if isinstance(found, tuple) else found
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
        (pulled,) = torch.autograd.grad(z, leaf, at.slope)
        return add_direct(mean_over_samples(compact(pulled)), at)

    return Estimator(
        label,
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        needs=frozenset({"differentiable", "relaxed"} if relaxed else {"differentiable"}),
        families=_set(families),
        settings=dict(arguments),
    )


def from_surrogate(
    function: Callable[..., Any],
    *,
    samples: int = 1,
    evaluations: int = 1,
    unbiased: bool = False,
    families: str | Sequence[str] | None = None,
    name: str | None = None,
    **arguments: Any,
) -> Estimator:
    """Make an estimator of a loss whose autograd gradient is the estimate.

    Args:
        function: ``function(logits, cost, **arguments) -> loss``. logits are
            [draws, *items, *parameter axes]; ``cost(z)`` takes z [draws, *items, *event] or, for
            several samples, [draws, n, *items, *event]. The loss has one entry a row, [draws] or
            [draws, *items]: each row is an estimate of its own.
        samples: z that one row draws, for the tables.
        evaluations: calls of J that one row makes, for the tables.
        unbiased: what you claim; only then is it held to it.
        families: whose parameters it takes; None for any.
        name: for tables; the function's own by default.
        arguments: passed on.
    """
    label = _name(function, name)
    _binds(label, function, 2, arguments)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        leaf = _rows(params, draws)
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

        with _seeded(noise, leaf.numel()), torch.enable_grad():
            loss = _call(label, function, leaf, cost, **arguments)
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
        (gradient,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss))
        return compact(gradient)

    return Estimator(
        label,
        draw,
        samples=samples,
        evaluations=evaluations,
        unbiased=unbiased,
        families=None if families is None else _set(families),
        settings=dict(arguments),
    )


ADAPTERS: Mapping[str, Callable[..., Estimator]] = {
    "sampler": from_sampler,
    "surrogate": from_surrogate,
}


def adapted(
    kind: str, name: str, function: Callable[..., Any], settings: Mapping[str, Any]
) -> Estimator:
    """Return the estimator that ``function`` is as a ``kind``: sampler or surrogate."""
    if kind not in ADAPTERS:
        raise BadArgument(
            f"estimator {name} cannot be taken as {kind!r}; write as: sampler for "
            "f(logits, ...) -> z, or as: surrogate for f(logits, cost, ...) -> loss"
        )
    return ADAPTERS[kind](function, name=name, **settings)


def _name(function: Callable[..., Any], name: str | None) -> str:
    return name or str(getattr(function, "__name__", type(function).__name__))


def _set(families: str | Sequence[str]) -> frozenset[str]:
    return frozenset([families] if isinstance(families, str) else families)


def _rows(params: Tensor, *lead: int) -> Tensor:
    """Return the parameters once a row, contiguous, as a leaf of autograd."""
    return params.detach().expand(*lead, *params.shape).contiguous().requires_grad_()


def _binds(
    name: str,
    function: Callable[..., Any],
    positional: Literal[1, 2],
    arguments: Mapping[str, Any],
) -> None:
    """Raise BadArgument unless ``function`` can be called like this."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C: the call itself will tell
        return
    try:
        signature.bind(*range(positional), **arguments)
    except TypeError as error:
        wanted = "(logits, ...)" if positional == 1 else "(logits, cost, ...)"
        raise BadArgument(
            f"{name}{signature} cannot be called as {wanted} with "
            f"{', '.join(arguments) or 'no further arguments'}: {error}"
        ) from None


def _call(name: str, function: Callable[..., Any], *given: Any, **arguments: Any) -> Any:
    try:
        return function(*given, **arguments)
    except BenchbedError:
        raise
    except Exception as error:
        raise BrokenContract(
            f"{name} failed on logits {list(given[0].shape)}: {one_line(error)}"
        ) from error


@contextmanager
def _seeded(noise: Noise, numbers: int) -> Iterator[None]:
    """Run foreign code on global generators that are seeded from ``noise`` and put back after.

    ``numbers`` stands for what it drew, which cannot be counted: one for each parameter.
    """
    seed = noise.child("foreign", noise.drawn).torch_generator().initial_seed()
    noise.drawn += numbers
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[noise.device] if noise.device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
