"""Synthetic draws of known mean and variance, as the block sums that measuring them would leave."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchbed.records import Array, Blocks

BLOCKS = 64
AT_ONCE = 2_000_000  # draws held together


class Cell(NamedTuple):
    """The block sums of one cell, and the true variance (trace) of one of its draws."""

    blocks: Blocks
    variance: float


@dataclass(frozen=True)
class Law:
    """Mean-zero errors: ``variance`` of one draw, and ``kind`` with its ``shape``."""

    kind: str
    shape: float = 0.0

    @property
    def variance(self) -> float:
        """Return the true variance of one draw of one coordinate."""
        if self.kind == "log-normal":
            return math.expm1(self.shape**2) * math.exp(self.shape**2)
        return self.shape / (self.shape - 2) if self.kind == "t" else 1.0

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Draw errors, in float32: some ten digits fewer than the sums are judged by."""
        normal = rng.standard_normal(shape, dtype=np.float32)
        if self.kind == "log-normal":
            return np.exp(np.float32(self.shape) * normal) - np.float32(math.exp(self.shape**2 / 2))
        if self.kind == "t":
            gamma = rng.standard_gamma(self.shape / 2, shape, dtype=np.float32)
            return normal / np.sqrt(gamma * np.float32(2 / self.shape))
        return normal


LAWS: Mapping[str, Law] = {
    "normal": Law("normal"),
    "log-normal 0.5": Law("log-normal", 0.5),
    "t5": Law("t", 5),
    "log-normal 1": Law("log-normal", 1),
    "t3": Law("t", 3),
}
SCORE = "score p = 0.02"  # score function of 4 bits, J quadratic
NAMES = (*LAWS, SCORE)


def cells(
    name: str, number: int, draws: int, seed: int, coordinates: int = 1, size: float = 0.0
) -> Iterator[Cell]:
    """Yield cells of ``BLOCKS`` blocks of ``draws`` draws, centred on a true mean.

    Args:
        name: one of ``NAMES``.
        number: of cells.
        draws: in a block.
        seed: of the noise, together with the name.
        coordinates: independent ones of one law; the score function has its own four.
        size: of the exact gradient, in standard deviations of one draw, the same everywhere.
    """
    rng = np.random.default_rng([seed, draws, *name.encode()])
    if name == SCORE:
        yield from _score_cells(rng, number, draws, size)
        return
    law = LAWS[name]
    per = max(1, AT_ONCE // (BLOCKS * draws * coordinates))
    for start in range(0, number, per):
        errors = law.draw(rng, (min(per, number - start), coordinates, BLOCKS, draws))
        yield from _from_errors(errors, law, size)


def _from_errors(errors: Array, law: Law, size: float) -> Iterator[Cell]:
    coordinates = errors.shape[1]
    squares = errors * errors
    first = errors.sum(-1, dtype=np.float64)  # [cells, p, B]
    distance = squares.sum(1) if coordinates > 1 else squares[:, 0]  # [cells, B, n]
    sums = np.stack(
        [
            distance.sum(-1, dtype=np.float64),
            np.einsum("cbn,cbn->cb", distance, distance, dtype=np.float64),
            distance.max(-1),
        ],
        1,
    )
    second, largest = squares.sum(-1, dtype=np.float64), np.sqrt(squares.max(-1))
    exact = np.full(coordinates, size * math.sqrt(law.variance))
    for row in range(len(errors)):
        powers = np.zeros((3, BLOCKS, coordinates))
        powers[0] = second[row].T
        yield Cell(
            of_sums(errors.shape[-1], exact, first[row].T, powers, largest[row].T, sums[row]),
            coordinates * law.variance,
        )


def _score_cells(rng: np.random.Generator, number: int, draws: int, size: float) -> Iterator[Cell]:
    """Draw how often each of the 16 values of z came up: sums of any number of draws at once."""
    probability, errors = _score_law()
    distance = np.square(errors).sum(1)
    variance = float(probability @ distance)
    exact = size * np.sqrt(probability @ np.square(errors))
    for _ in range(number):
        counts = rng.multinomial(draws, probability, size=BLOCKS)  # [B, states]
        met = counts[:, :, None] > 0
        powers = np.stack([counts @ errors**k for k in (2, 3, 4)])
        largest = np.where(met, np.abs(errors), 0).max(1)
        sums = [counts @ distance, counts @ distance**2, np.where(met[..., 0], distance, 0).max(1)]
        found = of_sums(draws, exact, counts @ errors, powers, largest, np.stack(sums))
        yield Cell(found, variance)


def _score_law() -> tuple[Array, Array]:
    """Return the probability of every z [16] and its gradient's error [16, 4]."""
    chance, target = 0.02, 0.45
    z = np.array(list(itertools.product((0, 1), repeat=4)), dtype=np.float64)
    probability = np.where(z == 1, chance, 1 - chance).prod(1)
    gradient = np.square(z - target).sum(1, keepdims=True) * (z - chance)
    return probability, gradient - probability @ gradient


def of_sums(
    draws: int, exact: Array, first: Array, powers: Array, largest: Array, distance: Array
) -> Blocks:
    """Return a record of blocks of ``draws`` draws each: see records.Blocks."""
    number = len(first)
    return Blocks(
        count=np.full(number, float(draws)),
        exact=exact,
        first=first,
        powers=powers,
        largest=largest.astype(np.float64),
        distance=distance.astype(np.float64),
        seconds=np.ones((2, number)),
        nonfinite=np.zeros(number),
    )


def of_draws(errors: Array, exact: Array) -> Blocks:
    """Return the sums that draws with these errors [B, draws, p] would have left."""
    squares = errors**2
    distance = squares.sum(2)
    powers = np.stack([squares.sum(1), (squares * errors).sum(1), (squares**2).sum(1)])
    sums = np.stack([distance.sum(1), (distance**2).sum(1), distance.max(1)])
    largest = np.sqrt(squares.max(1))
    return of_sums(errors.shape[1], exact, errors.sum(1), powers, largest, sums)


def part(blocks: Blocks, which: slice) -> Blocks:
    """Return some of the blocks: a cell of fewer draws."""
    return Blocks(
        count=blocks.count[which],
        exact=blocks.exact,
        first=blocks.first[which],
        powers=blocks.powers[:, which],
        largest=blocks.largest[which],
        distance=blocks.distance[:, which],
        seconds=blocks.seconds[:, which],
        nonfinite=blocks.nonfinite[which],
    )


def shifted(blocks: Blocks, by: Array) -> Blocks:
    """Return the cell with every draw moved by ``by`` [p]; of powers and distance, what is second.

    Higher powers stay, and the largest errors are bounds.
    """
    count, powers, distance = blocks.count[:, None], blocks.powers.copy(), blocks.distance.copy()
    powers[0] += 2 * by * blocks.first + count * by**2
    distance[0] = powers[0].sum(1)
    changed = {
        "first": blocks.first + count * by,
        "powers": powers,
        "distance": distance,
        "largest": blocks.largest + np.abs(by),
    }
    return Blocks(**blocks.arrays() | changed)
