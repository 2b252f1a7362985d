"""J read from tables: worked out once at every value that z can take, and looked up by the draws.

A small discrete z takes few values and a cell draws each of them many times. Cost, dJ/dz and, where
J depends on params, dJ/dparams are tabulated in float64 at the measured params, and rounded to the
dtype of the draws. What an estimator sees is what ``Objective.evaluate`` gives, up to rounding; how
often it evaluates J is counted as before. A z between the corners and params that have moved go
the plain way, so that relaxations, mixtures and finite differences are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from benchbed.contracts import Evaluation, Objective
from benchbed.errors import BenchbedError
from benchbed.layout import compact, draws_first, draws_last
from benchbed.measurement.corner_codes import CornerCodes, corner_codes

MOST_CORNERS = 65_536  # times items
MOST_NUMBERS = 2**22  # in the tables of one dtype
CHUNK_NUMBERS = 2**18  # of z or of params, in one call of J that fills the tables
PROBES = 16  # z's that J is compared at
AGREE = 1e-9  # relative, in float64


@dataclass(frozen=True, eq=False)
class Tables:
    """What J gives at every corner, in one dtype.

    Attributes:
        params: where the tables hold, if J depends on params.
        cost: [items, codes].
        slope: dJ/dz, [items, event, codes]; None if it was not wanted.
        direct: dJ/dparams at fixed z, [items, parameters of one item, codes]; None if 0.
    """

    params: Tensor
    cost: Tensor
    slope: Tensor | None
    direct: Tensor | None

    def to(self, dtype: torch.dtype) -> Tables:
        """Round to ``dtype``."""
        slope, direct = (x if x is None else x.to(dtype) for x in (self.slope, self.direct))
        return Tables(self.params.to(dtype), self.cost.to(dtype), slope, direct)


@dataclass(frozen=True)
class Tabulated(Objective):
    """An objective whose J is looked up where z is at the corners.

    Attributes:
        tables: one for each dtype.
        code: tells the corners apart.
        made_of: the cost in the tables: ``dataclasses.replace`` may have put in another since.
    """

    tables: tuple[Tables, ...] = ()
    code: CornerCodes | None = None
    made_of: Callable[[Tensor, Tensor], Tensor] | None = None

    def evaluate(self, z: Tensor, params: Tensor, *, slope: bool = False) -> Evaluation:
        """Evaluate J at ``z`` [draws, samples, ...]: see Objective.evaluate."""
        found = self._looked_up(z.detach(), params.detach(), slope)
        return super().evaluate(z, params, slope=slope) if found is None else found

    def _looked_up(self, z: Tensor, params: Tensor, slope: bool) -> Evaluation | None:
        tables = next((each for each in self.tables if each.cost.dtype == z.dtype), None)
        if tables is None or self.code is None or self.cost is not self.made_of:
            return None
        if slope and tables.slope is None:
            return None
        if self.direct and (params.dtype != z.dtype or not torch.equal(params, tables.params)):
            return None
        items, inner = self.family.items(self.params), draws_last(z)
        events = inner.shape[1 + len(items) : -1]
        if inner.shape[1 : 1 + len(items)] != items or len(events) != self.family.event_axes:
            return None
        if math.prod(events) != self.code.weights.shape[1]:
            return None
        samples, draws = inner.shape[0], inner.shape[-1]
        codes = self.code.read(
            inner.reshape(samples, math.prod(items), math.prod(events), draws).contiguous()
        )
        if codes is None:
            return None
        cost = tables.cost.expand(samples, -1, -1).gather(-1, codes)  # [samples, items, draws]
        found = _rows(tables.slope, codes) if slope else None
        direct = _rows(tables.direct, codes) if self.direct else None
        return Evaluation(
            draws_first(cost.view(samples, *items, draws)),
            None if found is None else draws_first(found.view(inner.shape)),
            None if direct is None else draws_first(direct.view(samples, *params.shape, draws)),
        )


def tabulated(objective: Objective, params: Tensor, *, slopes: bool = True) -> Objective:
    """Return ``objective`` with its J at the corners in tables, where they can hold it.

    It comes back as it is if the entries of z are not bits or one-hots, if it has more than
    ``MOST_CORNERS`` corners over all items, or if the tables do not give J back: because items are
    not independent, or J is random.

    Args:
        objective: any.
        params: where it will be measured, in the dtype and on the device of the draws.
        slopes: tabulate dJ/dz as well. Without it, asking for it goes the plain way.
    """
    point = objective.params.to(params.device)
    if not torch.equal(point.to(params.dtype), params):
        point = params.double()
    items = math.prod(objective.family.items(point))
    code = corner_codes(objective.family, point, params.dtype)
    if type(objective) is not Objective or code is None or code.codes * items > MOST_CORNERS:
        return objective
    slopes = slopes and objective.differentiable
    rows = 1 + slopes * code.weights.shape[1] + objective.direct * (point.numel() // items)
    if items * code.codes * rows > MOST_NUMBERS:
        return objective
    with torch.no_grad():
        try:
            first = _at(objective, point, torch.zeros(1, items, dtype=torch.long))
            objective.evaluate(first.to(params), params, slope=slopes)  # as it will be measured
            exact = _filled(objective, point, code, slopes)
        except BenchbedError:  # a cost that knows one dtype only
            return objective
        kept = (exact,) if params.dtype == torch.float64 else (exact, exact.to(params.dtype))
        given = {field.name: getattr(objective, field.name) for field in fields(objective)}
        found = Tabulated(**given, tables=kept, code=code, made_of=objective.cost)
        return found if _agrees(objective, found, point, slopes) else objective


def _filled(objective: Objective, point: Tensor, code: CornerCodes, slopes: bool) -> Tables:
    """Evaluate J at every corner in float64, a chunk of them at a time."""
    items = math.prod(objective.family.items(point))
    event, inner = code.weights.shape[1], point.numel() // items
    cost = point.new_zeros(items, 1, code.codes)
    slope = point.new_zeros(items, event, code.codes) if slopes else None
    direct = point.new_zeros(items, inner, code.codes) if objective.direct else None
    for index in _chunks(objective, point, max(1, CHUNK_NUMBERS // (items * max(event, inner)))):
        z = _at(objective, point, index[:, None].expand(-1, items))
        codes = code.read(draws_last(z)[0].reshape(items, event, len(index)))
        found = objective.evaluate(z, point, slope=slopes)
        assert codes is not None
        for table, values in zip((cost, slope, direct), found, strict=True):
            if table is not None and values is not None:
                table[..., codes[0]] = draws_last(values).reshape(items, -1, len(index))
    return Tables(point, cost[:, 0], slope, direct)


def _agrees(objective: Objective, found: Tabulated, point: Tensor, slopes: bool) -> bool:
    """Compare with J itself at z's whose items are at different corners."""
    assert objective.family.states is not None
    row = torch.arange(PROBES, device=point.device)[:, None]
    item = torch.arange(math.prod(objective.family.items(point)), device=point.device)
    spread = row * 7_919 + item * (row + 1) * 104_729  # primes: no pattern that J could share
    z = _at(objective, point, spread % objective.family.states(point))
    plain = objective.evaluate(z, point, slope=slopes)
    read = found.evaluate(z, point, slope=slopes)
    return all(
        b is not None and torch.allclose(a, b, rtol=AGREE, atol=AGREE * _size(a), equal_nan=True)
        for a, b in zip(plain, read, strict=True)
        if a is not None
    )


def _size(x: Tensor) -> float:
    return float(torch.nan_to_num(x, posinf=0, neginf=0).abs().max())


def _chunks(objective: Objective, point: Tensor, step: int) -> Iterator[Tensor]:
    """Yield the numbers of all corners, ``step`` at a time."""
    assert objective.family.states is not None
    yield from torch.split(torch.arange(objective.family.states(point), device=point.device), step)


def _at(objective: Objective, point: Tensor, index: Tensor) -> Tensor:
    """Return z [n, 1, *items, *event] with every item at the corner in ``index`` [n, items]."""
    assert objective.family.enumerate is not None
    corners = objective.family.enumerate(point, index.flatten())
    shape = (len(index), 1, *objective.family.items(point), *corners.shape[1:])
    return compact(corners.view(shape))


def _rows(table: Tensor | None, codes: Tensor) -> Tensor | None:
    """Return table [items, rows, codes] at codes [samples, items, draws], draws last."""
    if table is None:
        return None
    wide = codes.unsqueeze(2).expand(-1, -1, table.shape[1], -1)
    return table.expand(len(codes), -1, -1, -1).gather(-1, wide)
