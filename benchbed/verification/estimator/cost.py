"""How an estimator uses J: rows and items apart, every call counted, the direct term in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from scipy import stats
from torch import Tensor

from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.rng import Noise, OneStreamNeeded, SideBySide
from benchbed.verification.check import FALSE_ALARM, Check
from benchbed.verification.estimator.contract import Subject, gap_between, stream, subject
from benchbed.verification.estimator.panel import Place, two_items

SHARE, ROWS = 4, 11  # rows of one stream, and of a call: no number of outcomes is 11
LOUDER = 3.0
ROUNDING = 1e-9  # of float64
DIRECT_ROWS = 2_048
COUNTED_ROWS = (5, 11)

Function = Callable[[Tensor, Tensor], Tensor]


def cost_checks(at: Subject, counts: bool) -> Iterator[Check]:
    """Yield the checks of rows, calls of J and, if the estimator is told of them, tuning's calls.

    Args:
        at: tuned.
        counts: whether the estimator itself says how often it calls J.
    """
    yield rows_apart(at)
    with suppress(OneStreamNeeded):  # its noise cannot be shared out: blocks are drawn one by one
        yield _noise_of_others(at)
    if counts:
        yield _calls(at)


def rows_apart(at: Subject) -> Check:
    """Change J in the later rows, then in the earlier ones: the others must not notice."""
    early, late = slice(0, SHARE), slice(SHARE, ROWS)

    def drawn(problem: Objective) -> Tensor:
        return at.rows(ROWS, stream(at.place.label, "rows", dtype=torch.float64), problem)

    quiet = drawn(at.objective)
    gaps = []
    for changed, kept in ((late, early), (early, late)):
        loud = drawn(_with_costs(at.objective, partial(_louder, changed)))
        gaps.append(gap_between(loud[kept], quiet[kept]))
    return Check(
        "rows apart",
        "draws when other rows' costs change",
        max(gaps),
        ROUNDING,
        "a row depends on the costs of other rows; average over samples (axis 1), never over draws",
    )


def _louder(rows: slice, cost: Tensor) -> Tensor:
    """Return ``cost`` times a number in some rows; a call made once for all rows as it is."""
    if len(cost) != ROWS:
        return cost
    scale = torch.ones(ROWS, dtype=cost.dtype, device=cost.device)
    scale[rows] = LOUDER
    return cost * scale.view(-1, *(1,) * (cost.ndim - 1))


def _noise_of_others(at: Subject) -> Check:
    """Draw with a second stream beside: the first stream's rows must stay the same."""

    def noise(which: str) -> Noise:
        return stream(at.place.label, which, dtype=torch.float64)

    alone = at.rows(SHARE, noise("first"))
    both = SideBySide([noise("first"), noise("second")])
    params = at.objective.params.clone()
    with torch.no_grad():
        beside = at.estimator.draw(at.objective, params, 2 * SHARE, both)
    return Check(
        "rows of their own",
        "draws of fewer rows, same noise",
        gap_between(beside[:SHARE], alone),
        ROUNDING,
        "a row depends on how many there are; ask the noise for [draws, ...], draws first, and "
        "let no row use another's numbers",
    )


def _with_costs(
    objective: Objective,
    change: Callable[[Tensor], Tensor],
    change_each: Callable[[Tensor], Tensor] | None = None,
) -> Objective:
    """Return the objective with its costs changed, and each particle's log p(x, z) in a bound."""
    log_joint, each = objective.log_joint, change_each or change
    return replace(
        objective,
        cost=lambda z, params: change(objective.cost(z, params)),
        log_joint=None if log_joint is None else lambda z: each(log_joint(z)),
    )


def _calls(at: Subject) -> Check:
    """Count calls of J on two numbers of rows: those made once for all rows count for each."""
    totals = []
    for draws in COUNTED_ROWS:
        problem, calls = counting(at.objective)
        at.rows(draws, stream(at.place.label, "count"), problem)
        totals.append(calls())
    few, many = COUNTED_ROWS
    each = (totals[1] - totals[0]) / (many - few)
    counted = math.ceil(totals[0] - (few - 1) * each - ROUNDING)  # some particles are a part of one
    wanted = at.estimator.evaluations_on(at.objective)
    return Check(
        "calls of J",
        "those it declares",
        abs(counted - wanted) / max(wanted, 1),
        0.0,
        f"one estimate calls J {counted:g} times and declares {wanted}; write evaluations="
        f"{counted:g}",
    )


def tuning_checks(place: Place, method: Estimator) -> Iterator[Check]:
    """Yield whether tuning declares the calls of J that it spends."""
    if method.tune is None:
        return
    problem, calls = counting(place.objective)
    with torch.no_grad():
        tuned = method.tune(problem, problem.params.float(), stream(place.label, "tune"))
    gap = abs(calls() - tuned.tuning_evaluations) / max(calls(), 1)
    yield Check(
        "calls of J in tuning", "those it declares", gap, 0.0,
        f"tuning calls J {calls()} times and declares {tuned.tuning_evaluations}",
    )  # fmt: skip


def counting(objective: Objective) -> tuple[Objective, Callable[[], float]]:
    """Return the objective with rows of z given to J counted, in a form that needs all of them.

    Of a bound, one call takes all its particles: fewer count for their share of one.
    """
    calls = 0.0
    items = len(objective.family.items(objective.params))

    def count(cost: Tensor) -> Tensor:
        nonlocal calls
        calls += cost.shape[0] * cost.shape[1]
        return cost

    def count_each(log_joint: Tensor) -> Tensor:
        nonlocal calls
        particles = objective.family.mean(objective.params).shape[items]
        calls += log_joint.shape[0] * log_joint.shape[1] * log_joint.shape[-1] / particles
        return log_joint

    counted = _with_costs(objective, count, count_each)
    if objective.family.states is not None:  # a closed form would answer without J
        counted = replace(counted, value=None, gradient=None)
    return counted, lambda: calls


def direct_checks(at: Subject) -> Iterator[Check]:
    """Yield whether draws of a J that depends on params alone average to dJ/dparams.

    Score terms of a constant J average to 0 over draws only: they are taken off by drawing the same
    noise at a J that is the same number and stands still. Nothing where the estimator needs a
    J of another kind, such as a bound.
    """
    inside = at.objective
    family, params = inside.family, inside.params
    axes = tuple(range(-family.params_axes, 0))
    events = tuple(range(-family.event_axes, 0))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        return (z.sum(events) if events else z) * 0 + params.square().sum(axes)

    def still(z: Tensor, _: Tensor) -> Tensor:
        return cost(z, params.to(z))

    moving = Objective(
        "direct", family, params, cost,
        value=lambda point: point.square().sum(), gradient=lambda point: 2 * point, direct=True,
    )  # fmt: skip
    if obstacle(moving, at.estimator):
        return
    pure = replace(moving, direct=False, cost=still, gradient=torch.zeros_like)
    rows, scores = (
        at.rows(DIRECT_ROWS, stream(at.place.label, "direct", dtype=torch.float64), problem)
        for problem in (moving, pure)
    )
    found = rows - scores
    size = float(params.abs().max()) or 1.0
    error = found.std(0) / math.sqrt(DIRECT_ROWS) + 1e-6 * size
    worst = float(((found.mean(0) - 2 * params).abs() / error).max())
    bound = float(stats.norm.isf(FALSE_ALARM / (2 * params.numel())))
    yield Check(
        "direct term",
        "dJ/dparams at fixed z, z-value",
        worst,
        bound,
        "a J that depends on params itself has another gradient: add dJ/dparams at fixed z "
        "(evaluation.direct; in a surrogate add the cost itself to the loss)",
    )


def items_check(place: Place, method: Estimator) -> Check:
    """Change the cost of the second item: the first one's gradient must not notice."""

    def louder(cost: Tensor) -> Tensor:
        scale = torch.ones(cost.shape[-1], dtype=cost.dtype, device=cost.device)
        scale[1:] = LOUDER
        return cost * scale

    at = subject(place, method)
    loud = _with_costs(place.objective, louder)
    quiet_rows, loud_rows = (
        at.rows(ROWS, stream(place.label, "items", dtype=torch.float64), problem)
        for problem in (place.objective, loud)
    )
    return Check(
        "items apart",
        "draws when another item's cost changes",
        gap_between(loud_rows[:, 0], quiet_rows[:, 0]),
        ROUNDING,
        "an item's gradient depends on another item's cost; multiply scores [draws, *items, ...] "
        "by costs [draws, *items], item by item (family.lift)",
    )


def place_of_items(latents: str) -> Place | None:
    """Return two items of these latents; None where there are none made."""
    laws = {law.name: law for law in (BERNOULLI, CATEGORICAL)}
    if latents not in laws:
        return None
    return Place(f"two_items {latents}", two_items(laws[latents]))
