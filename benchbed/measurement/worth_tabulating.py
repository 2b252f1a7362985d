"""Whether tables of J pay in a cell: told by shapes, counts and J's own steps, never by a clock.

Values depend on it in their last digit, so that the choice may not change from run to run or from
machine to machine. What J costs is taken to be the numbers that it makes of one z, counted while it
runs once. Every constant here is in such numbers, of some 0.3 ns where they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchbed.contracts import Estimator, Objective
from benchbed.errors import BenchbedError
from benchbed.layout import compact
from benchbed.measurement.lookup import MOST_CORNERS, tabulated

AUTOGRAD = 4  # an evaluation with its derivatives, in evaluations; 2.5 to 7 were measured
FILLING = 4 * AUTOGRAD  # an entry of the tables, in evaluations: float64, in smaller chunks
SETUP = 2**23  # one to two milliseconds of calls, which a cell must win back twice
PER_READ = 3  # besides one for each entry of z and each number read
NEAR = 2**18  # numbers of tables that stay in a core's own cache
FAR = 8  # of a number read from larger ones
ROWS = 64  # draws of the z whose evaluation is counted


def tabulated_if_worth(
    objective: Objective, estimator: Estimator, params: Tensor, draws: int
) -> Objective:
    """Return what a cell of ``draws`` estimates should draw with: ``objective``, or its tables.

    Args:
        objective: any.
        estimator: tuned. Its evaluations between the corners read no table: those with a slope,
            if it needs a relaxed J.
        params: the point, in the dtype and on the device of the draws. A GPU evaluates: it would
            wait for every question whether z is at corners, and the costs here are a CPU's.
        draws: in the cell.
    """
    slopes = estimator.slopes > 0 and "relaxed" not in estimator.needs
    return (
        tabulated(objective, params, slopes=slopes)
        if params.device.type == "cpu" and worth_tabulating(objective, estimator, draws)
        else objective
    )


def worth_tabulating(objective: Objective, estimator: Estimator, draws: int) -> bool:
    """Say whether tables save more than they take to fill."""
    family, params = objective.family, objective.params
    relaxed = "relaxed" in estimator.needs
    each = estimator.evaluations_on(objective) - relaxed * estimator.slopes
    if family.states is None or family.enumerate is None or estimator.constant or each < 1:
        return False
    corners, items = family.states(params), math.prod(family.items(params))
    if corners * items > MOST_CORNERS or corners > draws * each:
        return False
    try:
        plain = numbers_made(objective)
    except BenchbedError:  # a cost that knows one dtype only, if it is not at fault
        return False
    slopes = estimator.slopes > 0 and not relaxed
    entries, inner = family.mean(params).numel() // items, params.numel() // items
    rows = 1 + entries * slopes + inner * objective.direct
    read = PER_READ + entries + rows * (1 if rows * items * corners <= NEAR else FAR)
    saved = plain * (AUTOGRAD if slopes or objective.direct else 1) - read
    return saved * items * draws * each > SETUP + FILLING * plain * items * corners


def numbers_made(objective: Objective) -> float:
    """Return how many numbers J makes of one item's z.

    They are the entries of what torch calls return, but for views and work in place. What is made
    once for all draws counts little.
    """
    family, params = objective.family, objective.params
    assert family.enumerate is not None
    items = family.items(params)
    z = family.enumerate(params, torch.zeros(ROWS, dtype=torch.int64))  # one corner, repeated
    z = z.view(ROWS, 1, *(1,) * len(items), *z.shape[1:])
    z = compact(z.expand(ROWS, 1, *items, *z.shape[z.ndim - family.event_axes :]))
    point = compact(params.expand(ROWS, 1, *params.shape)) if objective.direct else params
    count = _Count()
    with torch.no_grad(), count:
        objective.costs(z, point)
    return count.numbers / ROWS / math.prod(items)


class _Count(TorchFunctionMode):
    """Counts the entries of fresh tensors that torch calls return."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        given = {_place(x) for x in args if isinstance(x, Tensor)}
        for x in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(x, Tensor) and _place(x) not in given:
                self.numbers += x.numel()
        return result


def _place(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()
