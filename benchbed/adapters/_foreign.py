"""Calling code that never heard of benchbed: its arguments, its errors and its randomness."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchbed.errors import BadArgument, BenchbedError, BrokenContract, one_line
from benchbed.rng import Noise


def name_of(function: Callable[..., Any], name: str | None) -> str:
    return name or str(getattr(function, "__name__", type(function).__name__))


def default_of(function: Callable[..., Any], name: str, otherwise: Any) -> Any:
    """Return the default of a function's argument, or ``otherwise`` where it has none such."""
    try:
        found = inspect.signature(function).parameters[name].default
    except (TypeError, ValueError, KeyError):
        return otherwise
    return otherwise if found is inspect.Parameter.empty else found


def names_in(name: str, families: str | Sequence[str]) -> frozenset[str]:
    names = [families] if isinstance(families, str) else families
    if not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names):
        raise BadArgument(f"{name} needs families: a name or a list of names, got {families!r}")
    return frozenset(names)


def rows(params: Tensor, *lead: int) -> Tensor:
    """Return the parameters once a row, contiguous, as a leaf of autograd."""
    return params.detach().expand(*lead, *params.shape).contiguous().requires_grad_()


def check_call(
    name: str,
    function: Callable[..., Any],
    positional: Literal[1, 2],
    arguments: Mapping[str, Any],
) -> None:
    """Raise BadArgument unless ``function`` can be called like this."""
    if not callable(function):
        raise BadArgument(f"{function!r} is no function; give the function itself, not its name")
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


def call(name: str, function: Callable[..., Any], *given: Any, **arguments: Any) -> Any:
    try:
        return function(*given, **arguments)
    except BenchbedError:
        raise
    except Exception as error:
        raise BrokenContract(
            f"{name} failed on logits {list(given[0].shape)}: {one_line(error)}"
        ) from error


@contextmanager
def seeded(noise: Noise, numbers: int) -> Iterator[None]:
    """Run foreign code on global generators that are seeded from ``noise`` and put back after.

    ``numbers`` stands for what it drew, which cannot be counted: one for each parameter.
    """
    # Both are Mersenne Twisters: under one seed they would give the same numbers.
    seed, other = (
        noise.child("foreign", library, noise.drawn).torch_generator().initial_seed()
        for library in ("torch", "numpy")
    )
    noise.drawn += numbers
    before = np.random.get_state()
    on_cuda = noise.device.type == "cuda"
    with torch.random.fork_rng(devices=[noise.device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch every device
        if on_cuda:
            torch.cuda.manual_seed(seed)
        np.random.seed(other % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
