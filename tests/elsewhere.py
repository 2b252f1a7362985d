"""A device that no machine has: tensors that say they are elsewhere, computed on the CPU.

What a GPU would refuse is refused (an operation on tensors here and there), and what it would have
to wait for is noted: numbers brought here, tensors sent there. Unlike torch's own ``meta`` tensors
these have values, so code that asks for one goes on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import benchbed
from benchbed.rng import Noise

HOUSE = str(Path(benchbed.__file__).parent)
THERE = torch.device("meta")  # what they say; torch lets nobody name a device of his own
aten = torch.ops.aten
WAITS = {  # the size or the branch depends on values
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default,
    aten._unique2.default, aten.unique_dim.default, aten.equal.default, aten.is_nonzero.default,
    aten.unique_consecutive.default, aten.repeat_interleave.Tensor, aten.bincount.default,
}  # fmt: skip
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class Mixed(AssertionError):
    """An operation on tensors of two devices, which a GPU refuses."""


class Away(Tensor):
    """A tensor elsewhere; ``here`` holds its values."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Away:
        made: Away = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=THERE,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{func} outside of Elsewhere")

    def __repr__(self) -> str:
        return f"Away({self.here!r})"


class Elsewhere(TorchDispatchMode):
    """While it holds, tensors may be ``send``-ed elsewhere and computed with.

    Attributes:
        sent: tensors copied there, by the line that did it.
        waited: values and tensors brought here, likewise.
        bytes_sent: their sizes, likewise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.bytes_sent: Counter[str] = Counter()
        self._constructors = _Constructors()

    def __enter__(self) -> Elsewhere:
        self._constructors.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)
        self._constructors.__exit__(*reason)

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        flat, form = tree_flatten((args, kwargs or {}))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        there = any(isinstance(x, Away) for x in tensors)
        self._refuse_mixture(func, args, tensors, there)
        wanted = (kwargs or {}).get("device")
        goes = there if wanted is None else torch.device(wanted) == THERE
        if func is aten._to_copy.default and goes != there:
            self._note(args[0], goes)
        if func is aten.copy_.default:
            self._note_copy(*args[:2])
            goes = isinstance(args[0], Away)
        if there and (func in WAITS or _by_mask(func, args)):
            self.waited[_line()] += 1
        homes = {id(x.here): x for x in tensors if isinstance(x, Away)}
        plain, named = tree_unflatten([_here(x) for x in flat], form)
        if wanted is not None:
            named["device"] = "cpu"
        found = func(*plain, **named)

        def wrapped(x: Any) -> Any:
            if not isinstance(x, Tensor) or not goes:
                return x
            return homes[id(x)] if id(x) in homes else Away(x)

        return tree_map(wrapped, found)

    def send(self, x: Tensor) -> Tensor:
        """Return ``x`` elsewhere."""
        return x.to(THERE)

    def _refuse_mixture(self, func: Any, args: Any, tensors: list[Tensor], there: bool) -> None:
        if not there or func is aten.copy_.default:
            return
        left = [x for x in tensors if not isinstance(x, Away)]
        if torch.Tag.pointwise in func.tags:
            left = [x for x in left if x.ndim]  # a GPU takes a CPU's single number
        if left and func in INDEXING and isinstance(args[0], Away):
            for x in left:
                self._note(x, goes=True)  # and the CPU's indices
            return
        if left:
            shapes = [("there" if isinstance(x, Away) else "here", *x.shape) for x in tensors]
            raise Mixed(f"{func} of tensors on two devices, {shapes}, at {_line()}")

    def _note_copy(self, target: Tensor, source: Tensor) -> None:
        if isinstance(target, Away) and not isinstance(source, Away):
            self._note(source, goes=True)
        elif isinstance(source, Away) and not isinstance(target, Away):
            self._note(source, goes=False)

    def _note(self, x: Tensor, goes: bool) -> None:
        line = _line()
        (self.sent if goes else self.waited)[line] += 1
        if goes:
            self.bytes_sent[line] += x.numel() * x.element_size()


class _Constructors(TorchFunctionMode):
    """torch.tensor([...], device=there) loses its values below; make it here and send it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        wanted = kwargs.get("device")
        made = func in (torch.tensor, torch.as_tensor)
        if made and wanted is not None and torch.device(wanted) == THERE:
            return func(*args, **(kwargs | {"device": "cpu"})).to(THERE)
        if func is Tensor.new_tensor and isinstance(args[0], Away):
            return torch.tensor(*args[1:], **({"dtype": args[0].dtype} | kwargs)).to(THERE)
        return func(*args, **kwargs)


class AwayNoise(Noise):
    """Noise elsewhere."""

    def child(self, *path: str | int) -> Noise:
        return AwayNoise(self.seed, *self.path, *path, dtype=self.dtype, device=self.device)

    def _seeded(self, device: torch.device) -> torch.Generator:
        assert device == THERE
        return super()._seeded(torch.device("cpu"))


def _here(x: Any) -> Any:
    return x.here if isinstance(x, Away) else x


def _by_mask(func: Any, args: Any) -> bool:
    """Say whether an indexing is by booleans, whose count decides the size."""
    if func not in INDEXING:
        return False
    return any(x is not None and x.dtype == torch.bool for x in args[1])


def _line() -> str:
    """Return the line of benchbed's that is being run."""
    frame: Any = sys._getframe()
    outside = None
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(HOUSE) and not name.endswith("layout.py"):
            return f"{name[len(HOUSE) + 1 :]}:{frame.f_lineno}"
        outside, frame = outside or f"{name}:{frame.f_lineno}", frame.f_back
    return str(outside)
