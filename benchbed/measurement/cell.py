"""One cell: (objective, estimator, samples, seed) -> one record of block sums and costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective, check_pair
from benchbed.errors import BadArgument
from benchbed.measurement.blocks import BlockDrawer, even_sizes, stacked
from benchbed.measurement.exact_moments import exact_moments
from benchbed.measurement.timing import NOT_TIMED, Times, reference_version, time_draws
from benchbed.measurement.worth_tabulating import tabulated_if_worth
from benchbed.records import Blocks, Exact
from benchbed.rng import Noise

# Numbers in one chunk of noise, and draws. On a CPU 8,192 draws of 8 x 10: the cache holds a few
# tensors of them. On a GPU 128 MiB a float32 tensor: a pass over one takes tens of microseconds,
# longer than Python needs to ask for the next. An estimator holds four to eight such tensors, up to
# ``MOST_EVALUATIONS`` times as large where it evaluates J often: 1 GiB, at most some 8 GiB.
CHUNK_VALUES = {"cpu": 655_360, "cuda": 2**25}
MOST_CHUNK = {"cpu": 2**15, "cuda": 2**22}
KEPT_BYTES = 2**25  # what the allocator is taught to keep
MOST_EVALUATIONS = 8  # of J for each random number, before a chunk is made smaller
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Measured:
    """What measuring one cell gave: see records.Record for the fields."""

    blocks: Blocks
    exact: Exact | None
    facts: dict[str, object]
    times: Times


def chunk_draws(objective: Objective, estimator: Estimator, device: str = "cpu") -> int:
    """Return draws a chunk: a power of two fixed by shapes and device, as values depend on it.

    About ``CHUNK_VALUES`` random numbers, which measured fastest: large enough to hide the calls,
    small enough for the cache. Weights behind a Jacobian count as well, and so do the samples of
    estimators that evaluate J far more often than they draw. A z may be larger than params: it has
    every particle of a bound, every step of a chain.
    """
    event = objective.family.mean(objective.params).numel()
    inner = max(objective.params.numel(), event)
    values = max(1, inner * estimator.samples)
    values = max(values, inner * estimator.at_once_on(objective) // MOST_EVALUATIONS)
    if objective.jacobian is not None:
        values = max(values, objective.jacobian.shape[-1])
    kind = "cuda" if torch.device(device).type == "cuda" else "cpu"
    return int(min(MOST_CHUNK[kind], max(1, 2 ** round(np.log2(CHUNK_VALUES[kind] / values)))))


def measure_cell(
    objective: Objective,
    estimator: Estimator,
    *,
    draws: int,
    seed: int = 0,
    address: tuple[str, ...] = (),
    blocks: int = 64,
    dtype: str = "float32",
    device: str = "cpu",
    timing: int = 5,
    compile: bool = False,
) -> Measured:
    """Draw ``draws`` gradient estimates in ``blocks`` independent blocks and keep their sums.

    Args:
        objective: the exact gradient (of the estimator's target) is the centre of every sum.
        estimator: tuned first, on its own stream, if it has something to tune.
        draws: independent estimates in all, at least two a block.
        seed: with ``address`` and the block's number, fixes the noise.
        address: further names of the noise; the same for estimators that should share it.
        blocks: independent streams; intervals come from their spread.
        dtype: of the draws, float32 or float64. Sums are float64 always.
        device: where to draw.
        timing: alternations with the reference kernel; 0 for none.
        compile: compile the draws, where a compiler is and the estimator allows it.

    Raises:
        IncompatiblePair: the estimator cannot work on this objective.
        BrokenContract: it returned something other than [draws, *params.shape] in params' dtype.
    """
    check_pair(objective, estimator)
    at_least("a measurement", "seed", seed, 0)
    at_least("a measurement", "timing", timing, 0)
    at_least("a measurement", "blocks", blocks, 1)
    flag("a measurement", "compile", compile)
    given: object = draws
    if isinstance(given, float) and given.is_integer():  # 1e6
        draws = int(given)
    at_least("a measurement", "draws", draws, 1)
    if draws < 2 * blocks or blocks < 2:
        raise BadArgument(
            f"{draws} draws in {blocks} blocks cannot give an interval; "
            f"use at least 2 blocks of 2 draws, such as draws: {max(2 * blocks, 4)}"
        )
    if dtype not in DTYPES:
        raise BadArgument(f"unknown dtype '{dtype}'; choose float32 or float64")
    check_device(device)
    with _one_thread(), torch.no_grad():
        place = objective.params.to(device)
        params = place.to(DTYPES[dtype])
        root = Noise(seed, "cell", *address, estimator.samples, dtype=DTYPES[dtype], device=device)
        frozen = estimator
        if estimator.tune:
            frozen = estimator.tune(objective, params, root.child("tune"))
        if compile:
            from benchbed.measurement.compiled import compile_facts, compiled

            frozen = compiled(frozen)
        exact_gradient = objective.pullback(frozen.exact_gradient(objective)[None])[0]
        centre = exact_gradient.to(params)
        chunk = chunk_draws(objective, frozen, device)
        known = objective  # compiled draws evaluate J: a look-up would part their loops
        if not compile:
            known = tabulated_if_worth(objective, frozen, params, draws)
        there = known
        if known.jacobian is not None and known.pull is None:  # moved once, not with every chunk
            there = replace(known, jacobian=known.jacobian.to(params))
        drawer = BlockDrawer(there, frozen, params, centre, chunk, root)
        found = drawer.draw(even_sizes(draws, blocks))
        probe = root.child("timing")

        rows = 1 if frozen.constant else chunk  # a number found once is not shared out

        def draw_rows() -> object:  # with J itself, which is what an estimate costs
            return frozen.draw(objective, params, rows, probe)

        times = time_draws(draw_rows, rows, timing, device) if timing else NOT_TIMED
        facts: dict[str, object] = {
            "evaluations": frozen.evaluations_on(objective),
            "slopes": frozen.slopes,
            "random_numbers": found[0].random_numbers,
            "unbiased": frozen.unbiased,
            "target": frozen.target,
            "citation": frozen.citation,
            "objective_citation": objective.citation,
            "tuned": estimator.tune is not None,
            "settings": dict(frozen.settings),
            "tuning_evaluations": frozen.tuning_evaluations,
            "reference": reference_version(device),
            "chunk": chunk,
            "tabulated": known is not objective,
            "parameters": objective.params.numel(),
        }
        if compile:
            facts |= compile_facts(frozen)
        return Measured(stacked(found, exact_gradient), exact_moments(known, frozen), facts, times)


def check_device(device: str) -> None:
    """Raise BadArgument unless torch can put something on ``device`` here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if str(device).partition(":")[0] not in ("cpu", "cuda"):
            raise BadArgument(f"unknown device '{device}'; write cpu or cuda") from None
        why = str(error).partition("\n")[0]
        raise BadArgument(f"device {device} cannot be used here ({why}); write cpu") from None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Draw on one torch thread, so that timings compare and sums repeat bit for bit.

    Chunks live for microseconds, and glibc gives memory of their size back to the system at once:
    the page faults of getting it again took up to five times as long as the drawing. It keeps
    blocks as large as the largest of up to 32 MiB that it has seen freed, so it is shown one.
    """
    torch.empty(KEPT_BYTES - 2**14, dtype=torch.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
