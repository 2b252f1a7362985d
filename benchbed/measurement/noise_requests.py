"""Which random numbers a draw asks its noise for: found once, with others, then drawn beforehand.

A compiled draw takes its random numbers as inputs. Which ones it wants follows from the shapes
alone, unless its noise depends on data (rejection sampling) or is used as a generator; then it
cannot be told beforehand, and ``NotFollowed`` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from torch import Tensor

from benchbed.errors import BenchbedError
from benchbed.rng import Noise, OneStreamNeeded, SideBySide

Name = str | int


class NotFollowed(BenchbedError):
    """Raised where a draw uses its noise in a way that cannot be written down."""


@dataclass(frozen=True)
class SinceStart:
    """A name that counts: the numbers drawn before the call, and ``count`` more."""

    count: int


@dataclass(frozen=True)
class Step:
    """A child stream named ``names``, or uniforms of ``shape``, asked of stream ``stream``."""

    stream: int
    names: tuple[Name | SinceStart, ...] | None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Requests:
    """What a draw asks for, in order; stream 0 is its own, the others its children as they come.

    Attributes:
        steps: the children and the numbers asked for.
        total: by how much the draw raises ``noise.drawn``.
    """

    steps: tuple[Step, ...]
    total: int

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the uniforms, in order."""
        return [step.shape for step in self.steps if step.names is None]

    def drawn_from(self, noise: Noise) -> list[Tensor]:
        """Draw the numbers, the very ones that the draw itself would have drawn."""
        start, streams, found = noise.drawn, [noise], []
        for step in self.steps:
            stream = streams[step.stream]
            if step.names is None:
                found.append(drawn(stream, step.shape))
                continue
            names = (n.count + start if isinstance(n, SinceStart) else n for n in step.names)
            streams.append(stream.child(*names))
        noise.drawn = start + self.total
        return found


def drawn(noise: Noise, shape: tuple[int, ...]) -> Tensor:
    """Draw uniforms; float32 ones as the int32 words they are made of, where the noise has them."""
    gives = noise.dtype == torch.float32 and hasattr(type(noise), "words")
    ask: Callable[..., Tensor] = getattr(noise, "words" if gives else "uniform")
    return ask(*shape)


@dataclass
class _Notes:
    """What was asked so far, and where answers come from."""

    answer: Callable[..., Tensor]  # shape -> uniforms
    sharing: int  # streams side by side
    streams: int = 1
    steps: list[Step] = field(default_factory=list)


class Followed(Noise):
    """A stream that writes down what it is asked for and answers with given tensors.

    Args:
        notes: shared with its children.
        number: of this stream.
        drawn: what its count starts at.
    """

    def __init__(
        self, notes: _Notes, number: int, drawn: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.notes, self.number, self.drawn = notes, number, drawn
        self.dtype, self.device = dtype, device

    def child(self, *path: Name) -> Followed:
        """Note a child of these names."""
        self.notes.steps.append(Step(self.number, path))
        self.notes.streams += 1
        return Followed(self.notes, self.notes.streams - 1, 0, self.dtype, self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Note uniforms of this shape."""
        if shape[0] % self.notes.sharing:
            raise OneStreamNeeded(f"{shape[0]} draws cannot be shared by {self.notes.sharing}")
        self.notes.steps.append(Step(self.number, None, shape))
        self.drawn += math.prod(shape) // self.notes.sharing
        return self.notes.answer(*shape)

    def torch_generator(self) -> NoReturn:
        """Refuse: what a generator is used for cannot be seen."""
        raise NotFollowed("its noise is a torch generator's")

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what tells this stream from others, as its numbers would be made of it."""
        raise NotFollowed(f"its noise is made of the stream's {name.strip('_')}")


def sharing(noise: Noise) -> int:
    """Return how many streams ``noise`` is."""
    return len(noise.streams) if isinstance(noise, SideBySide) else 1


def kind_of(noise: Noise) -> tuple[object, ...]:
    """Return what the memory of its numbers follows from: its types, streams, dtype and device."""
    first = noise.streams[0] if isinstance(noise, SideBySide) else noise
    return type(noise), type(first), sharing(noise), noise.dtype, noise.device


def followed(
    draw: Callable[[Noise], object], noise: Noise, answer: Callable[..., Tensor], start: int
) -> tuple[tuple[Step, ...], int]:
    """Call ``draw`` with noise that answers with ``answer``; return its steps and its count.

    Args:
        draw: takes the noise.
        noise: what it is like; nothing is drawn from it.
        answer: shape -> uniforms.
        start: the numbers said to be drawn before.
    """
    notes = _Notes(answer, sharing(noise))
    stream = Followed(notes, 0, start, noise.dtype, noise.device)
    draw(stream)
    return tuple(notes.steps), stream.drawn - start


def requests_of(
    one: tuple[tuple[Step, ...], int], other: tuple[tuple[Step, ...], int], shift: int
) -> Requests:
    """Tell names that count from those that do not, by two calls with starts ``shift`` apart.

    Args:
        one: what ``followed`` gave from start 0.
        other: what it gave from start ``shift``.
        shift: large and odd, so that no other number differs by it.
    """
    (steps, total), (again, total_again) = one, other
    shape = [(s.stream, s.names is None, s.shape) for s in steps]
    if total != total_again or shape != [(s.stream, s.names is None, s.shape) for s in again]:
        raise NotFollowed("its noise differs from call to call")
    return Requests(tuple(_named(a, b, shift) for a, b in zip(steps, again, strict=True)), total)


def _named(one: Step, other: Step, shift: int) -> Step:
    if one.names is None or other.names is None:
        return one
    names: list[Name | SinceStart] = []
    for a, b in zip(one.names, other.names, strict=True):
        if a == b:
            names.append(a)
        elif isinstance(a, int) and isinstance(b, int) and b - a == shift:
            names.append(SinceStart(a))
        else:
            raise NotFollowed(f"a stream of its noise is named {a}, which depends on data")
    return Step(one.stream, tuple(names))
