"""The ways to get gradients with their mean and variance that are timed against one another.

All but ``ours`` are what people write. Gradients of the model of digits are those of its encoder's
weights: the loop sends each loss back through the network, as one does in training; batched code
and vmap take the gradient in the logits and one matrix product with the Jacobian, which is much
faster than a copy of the weights for every row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jobs import Job
from pairs import ByHand, Loss
from stopwatch import Work
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.measurement.cell import chunk_draws
from benchbed.measurement.moments import BlockSums
from benchbed.measurement.worth_tabulating import tabulated_if_worth
from benchbed.rng import Noise

Moments = tuple[Tensor, Tensor]  # variance and mean, as torch.var_mean orders them
CELL = 2**20  # draws of a cell
VALUES = tuple(2**power for power in (13, 15, 17, 19, 21))  # tried for a batch: rows x numbers


def drawing(job: Job, estimator: Estimator, *, tables: bool = True) -> tuple[Work, int]:
    """Return one chunk of benchbed's draws without moments, and their number."""
    draw, chunk = _chunk(job, estimator, tables)
    return draw, chunk


def ours(job: Job, estimator: Estimator, *, tables: bool = True) -> tuple[Work, int]:
    """Return one chunk of benchbed, moments included, and its draws."""
    draw, chunk = _chunk(job, estimator, tables)
    centre = job.objective.pullback(estimator.exact_gradient(job.objective)[None])[0]
    sums = BlockSums(centre.float())

    def work() -> None:
        with torch.no_grad():
            sums.add(job.objective.pullback(draw()))

    return work, chunk


def _chunk(job: Job, estimator: Estimator, tables: bool) -> tuple[Callable[[], Tensor], int]:
    objective = looked_up(job, estimator) if tables else job.objective
    chunk, noise = chunk_draws(job.objective, estimator), Noise(61)

    def draw() -> Tensor:
        with torch.no_grad():
            return estimator.draw(objective, job.params, chunk, noise)

    return draw, chunk


def looked_up(job: Job, estimator: Estimator) -> Objective:
    """Return the objective as a cell of ``CELL`` draws has it: J in tables where that pays."""
    return tabulated_if_worth(job.objective, estimator, job.params, CELL)


def gradients(job: Job, loss: Loss, rows: int) -> Tensor:
    """Return [rows, *params.shape] by one backward pass to an expanded leaf."""
    leaf = job.params.expand(rows, *job.params.shape).clone().requires_grad_()
    loss(job, leaf).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def batched(job: Job, loss: Loss, rows: int) -> Moments:
    """Return the moments of a batch."""
    return _moments(job, gradients(job, loss, rows))


def by_hand(job: Job, function: ByHand, rows: int) -> Moments:
    """Return the moments of a batch whose gradients are written out."""
    with torch.no_grad():
        return _moments(job, function(job, rows))


def vmapped(job: Job, loss: Loss, rows: int) -> Moments:
    """Return the moments of ``torch.func.vmap(grad(...))`` over copies of the logits."""
    each = torch.func.grad(lambda leaf: loss(job, leaf).sum())
    many = torch.func.vmap(each, randomness="different")
    return _moments(job, many(job.params.expand(rows, *job.params.shape)))


def loop(job: Job, loss: Loss, rows: int) -> Moments:
    """Return the moments of a Python loop, one backward call an estimate."""
    found = []
    for _ in range(rows):
        leaf = (job.params if job.weights is None else job.weights).clone().requires_grad_()
        logits = leaf if job.encode is None else job.encode(leaf)
        loss(job, logits).sum().backward()
        found.append(leaf.grad)
    return torch.var_mean(torch.stack(found).flatten(1), 0)


def reinmax_package(job: Job, leaf: Tensor) -> Tensor:
    """Return the loss of the installed ``reinmax`` package."""
    from reinmax import reinmax

    return job.cost(reinmax(leaf, 1.0)[0], leaf)


def _moments(job: Job, found: Tensor) -> Moments:
    flat = found.flatten(1)
    return torch.var_mean(flat if job.jacobian is None else flat @ job.jacobian, 0)
