"""A cell tried with few draws: what it would cost, and blocks that show how noisy it is.

Everything is done as measuring the cell would do it, on noise of its own: the same tuning, the same
tables of J (which depend on how many draws are wanted), calls of the same size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchbed.contracts import Estimator, Objective
from benchbed.measurement.blocks import BlockDrawer, even_sizes, stacked
from benchbed.measurement.cell import DTYPES, chunk_draws, measure_cell
from benchbed.measurement.timing import BLOCK_SECONDS
from benchbed.measurement.worth_tabulating import tabulated_if_worth
from benchbed.records import Blocks, Record
from benchbed.rng import Noise
from benchbed.sweep.cells import Cell, estimator_of, objective_of
from benchbed.sweep.resolution import some_blocks
from benchbed.sweep.task import failed

BLOCKS = 256  # of the pilot: its standard errors are known to 4 %
DRAWS = 8_192  # where time allows
LEAST = 8  # draws a block
COLD = 1.0  # seconds up to which a call is made again: the first may owe most to being the first
SECONDS = 1.0  # of drawing, past which there are no more than the least


@dataclass(frozen=True)
class Pilot:
    """What trying a cell told.

    Attributes:
        record: as the cell's own would be, with as many blocks, which are the pilot's.
        blocks: all of the pilot's, more and shorter ones than a cell's.
        draws: in them.
        seconds: that measuring the cell would take, its timing left out.
        alternation: seconds of one alternation with the reference kernel.
    """

    record: Record
    blocks: Blocks
    draws: int
    seconds: float
    alternation: float


def run_pilot(cell: Cell) -> Pilot:
    """Try one cell; some tenths of a second besides its tuning.

    Raises:
        Exception: whatever its code raises.
    """
    objective, estimator = objective_of(cell), estimator_of(cell)
    asked: dict[str, Any] = cell.address
    draws, blocks, device = asked["draws"], asked["blocks"], asked["device"]
    params = objective.params.to(device).to(DTYPES[asked["dtype"]])
    root = Noise(cell.seed, "pilot", dtype=params.dtype, device=device)
    cpu, wall = time.process_time(), time.perf_counter()
    with torch.no_grad(), _one_thread():
        frozen, tuning = estimator, 0.0
        if estimator.tune is not None:
            with _Watch() as watch:
                frozen = estimator.tune(objective, params, root.child("tune"))
            tuning = watch.seconds
        for _ in range(2):
            with _Watch() as watch:
                small = measure_cell(
                    objective, frozen, draws=2 * blocks, blocks=blocks, seed=cell.seed,
                    address=("pilot",), dtype=asked["dtype"], device=device, timing=0,
                )  # fmt: skip
            if watch.seconds > COLD:
                break
        fixed = watch.seconds
        with _Watch() as watch:
            known = tabulated_if_worth(objective, frozen, params, draws)
        filling = watch.seconds
        drawer = _drawer(objective, known, frozen, params, root)
        with _Watch() as watch:
            drawer.draw(even_sizes(2 * blocks, blocks))
        many = max(blocks, min(BLOCKS, draws // LEAST))
        affordable = int(SECONDS / max(watch.seconds, 1e-9) * 2 * blocks)
        count = max(min(draws, LEAST * many), min(draws, DRAWS, affordable))
        fixed = max(0.0, fixed - watch.seconds)  # its few draws are not what is fixed
        found = drawer.draw(even_sizes(count, many))
        call = _one_call(draws, blocks, min(drawer.chunk, max(count, affordable)))
        for _ in range(2):  # memory of a new size takes the system several times as long
            with _Watch() as watch:
                drawer.draw(call)
            if watch.seconds > COLD:
                break
        each = watch.seconds / sum(call)
        exact = objective.pullback(frozen.exact_gradient(objective)[None])[0]
        rows = 1 if frozen.constant else drawer.chunk
        for _ in range(2):
            with _Watch() as watch:  # with J itself, as timing does it
                frozen.draw(objective, params, rows, root.child("timing"))
            if watch.seconds > COLD:
                break
    # they are of CPU time, and last longer where other work shares the processor
    shared = max(1.0, (time.perf_counter() - wall) / max(time.process_time() - cpu, 1e-3))
    shared = shared if params.device.type == "cpu" else 1.0
    facts = small.facts | {
        "tuned": estimator.tune is not None,
        "tuning_evaluations": frozen.tuning_evaluations,
    }
    sums = stacked(found, exact)
    record = replace(
        failed(cell, ""),
        status="ok",
        facts=facts,
        blocks=some_blocks(sums, 0, blocks),
        exact=small.exact,
    )
    return Pilot(
        record=record,
        blocks=sums,
        draws=count,
        seconds=tuning + fixed + filling + draws * each,
        # each side runs to the end of the call in which its 50 ms are up
        alternation=2 * BLOCK_SECONDS * shared
        + max(watch.seconds / 2, watch.seconds - BLOCK_SECONDS),
    )


def _one_call(draws: int, blocks: int, most: int) -> list[int]:
    """Return the sizes of the cell's blocks that are drawn together in one call."""
    size = max(1, draws // blocks)
    return [most] if size >= most else [size] * min(blocks, most // size)


def _drawer(
    objective: Objective,
    known: Objective,
    estimator: Estimator,
    params: torch.Tensor,
    root: Noise,
) -> BlockDrawer:
    there = known
    if known.jacobian is not None and known.pull is None:
        there = replace(known, jacobian=known.jacobian.to(params))
    centre = objective.pullback(estimator.exact_gradient(objective)[None])[0].to(params)
    chunk = chunk_draws(objective, estimator, str(params.device))
    return BlockDrawer(there, estimator, params, centre, chunk, root)


class _Watch:
    """Wall seconds of a with block."""

    seconds = 0.0

    def __enter__(self) -> _Watch:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
