"""An estimator's draws compiled by torch: its noise, J, J's derivative and itself in a few loops.

The same random numbers give the same gradients but for rounding, which is checked on the first
chunk of every size. Where nothing can be compiled, or this estimator cannot, draws go on as they
were and ``compile_facts`` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchbed.contracts import Draw, Estimator, Objective
from benchbed.errors import BenchbedError, one_line
from benchbed.layout import draws_last
from benchbed.measurement.draw_graph import graph_of
from benchbed.measurement.float32_functions import of_words
from benchbed.measurement.inductor import (
    NoCompiler,
    check_compiler,
    compile_graph,
    use_cache_folder,
)
from benchbed.measurement.noise_requests import (
    Requests,
    drawn,
    followed,
    kind_of,
    requests_of,
)
from benchbed.rng import Noise

SHIFT = 10_000_019  # between two starts of a count
LONGEST = 200  # characters of a reason
# Rounding can turn an arg-max or a threshold over, in a draw of many.
MOST_TURNED = 1e-3
AGREE = 1e-3  # of a draw's largest coordinate


def compiled(estimator: Estimator) -> Estimator:
    """Return the estimator with its draws compiled when they are first asked for.

    One that finds a single number for all draws is returned as it is. A tuned estimator has to be
    tuned before.
    """
    if estimator.constant:
        return estimator
    return replace(estimator, draw=CompiledDraw(estimator.name, estimator.draw))


def compile_facts(estimator: Estimator) -> dict[str, object]:
    """Return whether its draws were ``compiled``, and why not where they should have been."""
    draw = estimator.draw
    if not isinstance(draw, CompiledDraw) or not (draw.compiled or draw.why_not):
        return {"compiled": False}
    return {"compiled": False, "not_compiled": draw.why_not} if draw.why_not else {"compiled": True}


@dataclass
class _Compiled:
    """A draw of one objective, size and dtype; its inputs are found anew for other params."""

    objective: Objective
    draws: int
    noise: tuple[object, ...]
    requests: Requests
    point: Callable[[Tensor], list[Tensor]]
    main: Callable[..., tuple[Tensor]]
    params: Tensor
    version: int
    small: list[Tensor]

    def fits(self, objective: Objective, params: Tensor, draws: int, noise: Noise) -> bool:
        """Say whether it was compiled for these."""
        if objective is not self.objective or draws != self.draws:
            return False
        return _kind(params) == _kind(self.params) and kind_of(noise) == self.noise

    def gradients(self, params: Tensor, numbers: list[Tensor]) -> Tensor:
        """Return gradients [draws, *params.shape] made of the random numbers."""
        if params is not self.params or _version(params) != self.version:
            small = zip(self.point(params), self.small, strict=True)
            # Compiled loops do not look where they read: what is laid out otherwise is copied.
            self.small = [_laid_out_as(x, old) for x, old in small]
            self.params, self.version = params, _version(params)
        (found,) = self.main(*numbers, *self.small)
        return found


def _kind(params: Tensor) -> tuple[object, ...]:
    return params.shape, params.dtype, params.device


def _version(x: Tensor) -> int:
    """Return how often ``x`` was changed in place; -1 where torch does not count."""
    return -1 if x.is_inference() else x._version


def _laid_out_as(x: Tensor, other: Tensor) -> Tensor:
    """Return ``x`` with the strides of ``other``."""
    if x.stride() == other.stride():
        return x
    return torch.empty_strided(other.shape, other.stride(), dtype=x.dtype).copy_(x)


class CompiledDraw:
    """A ``Draw`` that compiles another at its first call, and goes on plainly if it cannot.

    Attributes:
        why_not: why draws are not compiled, or not any more; empty if they are.
        compiled: the compiled draws of some objectives, sizes and noises, the latest first.
    """

    def __init__(self, name: str, plain: Draw) -> None:
        self.name, self.plain = name, plain
        self.why_not = ""
        self.compiled: list[_Compiled] = []

    def __call__(self, objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        """Draw [draws, *params.shape], compiled if that can be."""
        if self.why_not:
            return self.plain(objective, params, draws, noise)
        for made in self.compiled:
            if made.fits(objective, params, draws, noise):
                return made.gradients(params, made.requests.drawn_from(noise))
        try:
            made = self._made(objective, params, draws, noise)
        except Exception as error:  # the compiler's are of many kinds
            found = self.plain(objective, params, draws, noise)  # which may say more
            self.why_not = _reason(self.name, error)
            return found
        self.compiled.insert(0, made)
        numbers = made.requests.drawn_from(noise)
        found = made.gradients(params, numbers)
        given = (x.clone() if x.is_floating_point() else of_words(x) for x in numbers)
        expected = _replayed(self.plain, objective, params, draws, noise, lambda *_: next(given))
        if not _agree(found, expected):
            self.why_not = f"{self.name}: compiled, its draws were others than the plain ones"
            return expected
        return found

    def _made(self, objective: Objective, params: Tensor, draws: int, noise: Noise) -> _Compiled:
        """Compile the draw of this objective and size; nothing is drawn from ``noise``."""
        use_cache_folder()
        check_compiler(params.device)
        requests = self._requests(objective, params, draws, noise)
        some = Noise(0, "traced", dtype=noise.dtype)
        numbers = [drawn(some, shape) for shape in requests.shapes]

        def function(*inputs: Tensor) -> Tensor:
            given = (uniform.clone() for uniform in inputs[:-1])
            return _replayed(
                self.plain, objective, inputs[-1], draws, noise, lambda *_: next(given)
            )

        graph = graph_of(function, numbers, params, draws)
        small = graph.point(params)
        main = compile_graph(graph.main, [*numbers, *small])
        of = objective, draws, kind_of(noise), requests
        return _Compiled(*of, graph.point, main, params, _version(params), small)

    def _requests(self, objective: Objective, params: Tensor, draws: int, noise: Noise) -> Requests:
        """Find the numbers that the draw asks for, by two draws from numbers of no account."""

        def draw(stream: Noise) -> object:
            return self.plain(objective, params, draws, stream)

        answers = [Noise(number, "followed", dtype=noise.dtype).uniform for number in (0, 1)]
        one, other = (
            followed(draw, noise, answer, start)
            for answer, start in zip(answers, (0, SHIFT), strict=True)
        )
        return requests_of(one, other, SHIFT)


def _replayed(
    plain: Draw,
    objective: Objective,
    params: Tensor,
    draws: int,
    noise: Noise,
    answer: Callable[..., Tensor],
) -> Tensor:
    """Draw plainly, with noise that answers with given numbers."""
    found: list[Tensor] = []

    def draw(stream: Noise) -> None:
        found.append(plain(objective, params, draws, stream))

    followed(draw, noise, answer, 0)
    return found[0]


def _agree(one: Tensor, other: Tensor) -> bool:
    """Say whether two draws from the same numbers differ by rounding alone."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    one, other = (draws_last(x).flatten(0, -2).double() for x in (one, other))
    known = other.nan_to_num()
    size = known.abs().amax(0)
    allowed = AGREE * (size + known.square().mean().sqrt())
    off = ((one.nan_to_num() - known).abs() > allowed) | (one.isnan() != other.isnan())
    turned = int(off.any(0).sum())
    return turned <= max(1, math.ceil(MOST_TURNED * size.numel()))


def _reason(name: str, error: Exception) -> str:
    """Return in one line what went wrong, and for whom unless it would for everybody."""
    if isinstance(error, NoCompiler):
        return str(error)
    if "data-dependent control flow" in str(error):
        return f"{name}: what it does depends on numbers"
    if isinstance(error, BenchbedError):
        return f"{name}: {error}"[:LONGEST]
    lines = [line.strip() for line in str(error).splitlines()]
    says = next((line for line in lines if "error:" in line), "")
    told = f"{type(error).__name__}: {says}" if says else one_line(error)
    return f"{name}: {told}"[:LONGEST]
