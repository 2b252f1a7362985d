"""Tuning control variates to the least second moment, in closed form where it is quadratic.

E[g] does not depend on what is tuned, so the least E[sum g^2] is the least trace variance. The
estimates here are linear in their output weights ("heads"): Adam (Kingma and Ba 2015, arXiv
1412.6980) walks hidden layer and heads together, from heads that are solved for and to a hidden
layer whose heads are then solved for again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.contracts import Draw, Objective
from benchbed.errors import BadArgument
from benchbed.rng import Noise

BATCHES = 16  # that a pilot is cut into; Adam walks over one after the other
RATE = 0.03  # Adam's first step size, falling to 0 over the steps
MOMENTS = (0.9, 0.99)  # Adam's decay rates
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # strengths tried, in columns' own units
ROUNDING = 64  # times the machine's epsilon: a spread no larger than this is none


def spread_or_one(spread: Tensor, size: Tensor) -> Tensor:
    """Return ``spread``, and 1 where it is no more than rounding of numbers of that ``size``."""
    floor = ROUNDING * torch.finfo(spread.dtype).eps * size
    return torch.where(spread > floor, spread, torch.ones_like(spread))


def least_variance(plain: Tensor, control: Tensor, weight: Tensor | None = None) -> float:
    """Return the weight of least trace variance: - sum cov(plain, control) / sum var(control).

    Args:
        plain: [n, *params].
        control: [n, *params]; 0 is returned if either varies by no more than rounding.
        weight: of rows, [n, ...] broadcasting against ``plain``; None weighs all alike.
    """
    w = (torch.ones_like(plain) if weight is None else weight).double()
    centred = []
    for x in (plain, control):
        exact = x.double()
        about = exact - (w * exact).mean(0) / w.mean(0)
        if not about.abs().max() > ROUNDING * torch.finfo(x.dtype).eps * exact.abs().max():
            return 0.0
        centred.append(about)
    a, c = centred
    spread = float((w * c.square()).sum())
    return -float((w * a * c).sum()) / spread if spread > 0 else 0.0


def untuned_draw(name: str, what: str) -> Draw:
    """Return the draw of an estimator that has no ``what`` before it is tuned: it says so."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del objective, params, draws, noise
        raise BadArgument(
            f"{name} has no {what} before it is tuned; call "
            "estimator.tune(objective, params, noise) and draw from what it returns"
        )

    return draw


class Learned(NamedTuple):
    """A hidden layer, and its heads: one set, or one for each item."""

    inner: Tensor  # [hidden, inputs]
    offset: Tensor  # [hidden]
    heads: Tensor  # [*items, columns]: every estimate is linear in these

    def to(self, like: Tensor) -> Learned:
        """Return it in the dtype and on the device of ``like``."""
        return Learned(*(weight.to(like) for weight in self))


# (inner, offset) -> heads -> [n, *params]
Control = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]


class Batch(NamedTuple):
    """Estimates in the making: plain + control(inner, offset)(heads), linear in the heads."""

    plain: Tensor  # [n, *params]
    control: Control  # mean 0

    def estimates(self, learned: Learned) -> Tensor:
        """Return the estimates that this network makes."""
        return self.control(learned.inner, learned.offset)(learned.heads).add_(self.plain)


def batch_sizes(pilot: int) -> list[int]:
    """Return the sizes of the ``BATCHES`` parts of a pilot, all but equal."""
    return [pilot // BATCHES + (part < pilot % BATCHES) for part in range(BATCHES)]


def initial(inputs: int, active: int, hidden: int, params: Tensor, noise: Noise) -> Learned:
    """Return a random hidden layer without heads; ``active`` inputs are of order 1 at a time."""
    inner = noise.normal(hidden, inputs).contiguous() * (1.5 / math.sqrt(active))
    offset = noise.normal(hidden, 1)[:, 0]
    return Learned(inner.to(params), offset.to(params), params.new_zeros(()))


def fit(
    batches: Sequence[Batch],
    weights: Sequence[Tensor],
    start: Learned,
    columns: int,
    items: Sequence[int],
    steps: int,
) -> Learned:
    """Return the hidden layer and heads of least variance found in ``steps`` of Adam.

    Args:
        batches: the pilot.
        weights: of its rows, [n, 1...] or [n, *items, 1...], broadcasting against the estimates.
        start: a hidden layer to start from.
        columns: number of heads of each item.
        items: the item axes.
        steps: of Adam, over hidden layer and heads together; 0 keeps the hidden layer.
    """
    centred = _centred(batches, weights)
    if centred is None:
        return start._replace(heads=start.inner.new_zeros(*items, columns))
    batches = centred
    first, at_first = _solve(batches, start, columns, items)
    walked, at_last = _solve(batches, _walk(batches, first, steps), columns, items)
    return walked if at_last < at_first else first


def _centred(batches: Sequence[Batch], weights: Sequence[Tensor]) -> list[Batch] | None:
    """Return batches whose plain second moments are what varies under q; None if nothing does.

    The plain mean is taken off, or a control that happens to be constant would be fitted to it.
    The control's mean is 0 and known, so it is left alone. Rows carry the roots of their weights.
    """
    total = sum(float(weight.sum()) / weight[0].numel() for weight in weights)
    centre = torch.stack(
        [(b.plain.double() * w).sum(0) for b, w in zip(batches, weights, strict=True)]
    ).sum(0) / torch.stack([w.double().sum(0) for w in weights]).sum(0)
    gaps = [b.plain.double() - centre for b in batches]
    size = max(float(b.plain.abs().max()) for b in batches)
    eps = torch.finfo(batches[0].plain.dtype).eps
    if not max(float(gap.abs().max()) for gap in gaps) > ROUNDING * eps * size:
        return None
    power = sum(float((gap.square() * w).sum()) for gap, w in zip(gaps, weights, strict=True))
    unit = math.sqrt(power / total)  # rare values leave little: squares must not underflow
    found = []
    for batch, weight, gap in zip(batches, weights, gaps, strict=True):
        root = (weight.double().sqrt() / unit).to(batch.plain)
        found.append(Batch((gap * root).to(batch.plain), _scaled(batch.control, root)))
    return found


def _scaled(control: Control, root: Tensor) -> Control:
    """Return ``control`` with its rows multiplied by ``root``."""

    def scaled(inner: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
        right = control(inner, offset)
        return lambda heads: right(heads) * root

    return scaled


def _solve(
    batches: Sequence[Batch], hidden: Learned, columns: int, items: Sequence[int]
) -> tuple[Learned, float]:
    """Return the heads of least second moment for this hidden layer, and what they change it by.

    Ridge regression, its strength for each item that of least second moment on the half of the
    pilot that the heads were NOT fitted on: rare bits make tails heavy, and heads fitted to the
    few outliers of a pilot multiply the variance. The change is measured on those halves, too.
    """
    count = math.prod(items)
    grams = [_gram(batches[half::2], hidden, columns, items) for half in range(2)]
    both = grams[0] + grams[1]
    # Columns in units of their own size.
    size = both.diagonal(dim1=1, dim2=2).sqrt()[:, :-1]
    size = torch.where(size > 0, size, torch.ones_like(size))
    strengths = torch.tensor(RIDGES, dtype=torch.float64, device=size.device)
    ridge = torch.diag_embed(strengths[:, None, None] * size.square())  # [ridges, items, m, m]

    def heads_of(gram: Tensor) -> Tensor:  # [ridges, items, m]
        inverse = torch.linalg.inv(gram[:, :-1, :-1] + ridge)
        return torch.einsum("rimk,ik->rim", inverse, -gram[:, :-1, -1])

    def change(heads: Tensor, gram: Tensor) -> Tensor:  # [ridges, items]
        square = torch.einsum("rim,imk,rik->ri", heads, gram[:, :-1, :-1], heads)
        return square + 2 * torch.einsum("rim,im->ri", heads, gram[:, :-1, -1])

    unseen = change(heads_of(grams[0]), grams[1]) + change(heads_of(grams[1]), grams[0])
    least = unseen.min(0)
    chosen = heads_of(both)[least.indices, torch.arange(count, device=size.device)]
    heads = torch.where(least.values[:, None] < 0, chosen, torch.zeros_like(chosen))
    found = hidden._replace(heads=heads.reshape(*items, columns).to(hidden.inner))
    return found, float(least.values.clamp_max(0).sum())


def _gram(batches: Sequence[Batch], hidden: Learned, columns: int, items: Sequence[int]) -> Tensor:
    """Return the products of what each head adds to an estimate, and of the plain one, last.

    [items, columns + 1, columns + 1], summed over draws and over the parameters of an item.
    """
    units = torch.eye(columns).to(hidden.inner)
    count = math.prod(items)
    total = torch.zeros(count, columns + 1, columns + 1, dtype=torch.float64, device=units.device)
    with torch.no_grad():
        for batch in batches:
            control = batch.control(hidden.inner, hidden.offset)
            rows = [control(unit.expand(*items, columns)) for unit in units]
            every = torch.stack([row.flatten(1) for row in (*rows, batch.plain)]).double()
            every = every.reshape(columns + 1, len(batch.plain), count, -1)
            every = every.permute(2, 0, 1, 3).flatten(2)  # [items, columns + 1, draws * inner]
            total += every @ every.mT
    return total


def _walk(batches: Sequence[Batch], start: Learned, steps: int) -> Learned:
    """Return ``start`` after ``steps`` of Adam on the second moment of one batch after another."""
    # Heads in units of their own size, so that one step size suits them all.
    size = start.heads.square().mean(-1, keepdim=True).sqrt()
    size = torch.where(size > 0, size, torch.ones_like(size))
    weights = [start.inner.clone(), start.offset.clone(), start.heads / size]
    means = [torch.zeros_like(weight) for weight in weights]
    squares = [torch.zeros_like(weight) for weight in weights]
    for step in range(steps):
        batch = batches[step % len(batches)]
        with torch.enable_grad():
            leaves = [weight.requires_grad_() for weight in weights]
            learned = Learned(leaves[0], leaves[1], leaves[2] * size)
            loss = batch.estimates(learned).square().mean()
            slopes = torch.autograd.grad(loss, leaves)
        rate = RATE * (1 - step / steps)
        weights = [weight.detach() for weight in weights]
        for weight, slope, mean, square in zip(weights, slopes, means, squares, strict=True):
            mean.lerp_(slope, 1 - MOMENTS[0])
            square.lerp_(slope.square(), 1 - MOMENTS[1])
            ahead = mean / (1 - MOMENTS[0] ** (step + 1))
            spread = (square / (1 - MOMENTS[1] ** (step + 1))).sqrt()
            # A slope of 0 / 0 moves nothing.
            weight -= rate * ahead / spread.clamp_min(torch.finfo(spread.dtype).tiny)
    return Learned(weights[0], weights[1], weights[2] * size)
