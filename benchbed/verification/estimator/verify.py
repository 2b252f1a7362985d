"""An estimator held against its contract, and against exact gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec

from benchbed.arguments import at_least
from benchbed.contracts import Estimator
from benchbed.errors import BadArgument
from benchbed.verification.check import Check, broken
from benchbed.verification.estimator.bias import cells_of, judged
from benchbed.verification.estimator.cells import Cell, Finding, said
from benchbed.verification.estimator.contract import (
    REPEATABLE,
    Subject,
    device_checks,
    draw_checks,
    extreme_checks,
    subject,
    worst_of,
)
from benchbed.verification.estimator.cost import (
    cost_checks,
    direct_checks,
    items_check,
    place_of_items,
    tuning_checks,
)
from benchbed.verification.estimator.latents import where_it_works
from benchbed.verification.estimator.means import declares_bias
from benchbed.verification.estimator.panel import Place, one_of_each, places_for
from benchbed.verification.estimator.report import EstimatorReport
from benchbed.verification.estimator.settings import settings_checks
from benchbed.verification.estimator.variants import Walk, walk

DRAWS = 32_768
LEAST_DRAWS = 1_024  # 16 a block: with fewer a block's mean is as skewed as its draws
Found = Iterator[tuple[Place, Check]]
Arguments = ParamSpec("Arguments")


def verify_estimator(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    samples: int | None = None,
    objectives: Sequence[str] = (),
    latents: Collection[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
    biased: bool = False,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
) -> EstimatorReport:
    """Check every promise of an estimator, then its bias over a panel of exact gradients.

    Args:
        name: of the catalogue, ``module:name`` or ``path/to/file.py:name``.
        settings: its own, and ``as`` for code that knows nothing of benchbed.
        samples: z in one estimate; None looks at its default and at twice that.
        objectives: names; empty for the standard panel.
        latents: kinds of latents that the panel is narrowed to.
        draws: of each cell at first; cells that need more get up to 64 times as many.
        seed: of the noise.
        biased: its bias is meant, and only reported.
        watch: is told how many cells of how many are measured.

    Raises:
        BenchbedError: it cannot be built, or what was asked for does not fit.
    """
    at_least("verify", "draws", draws, LEAST_DRAWS)
    at_least("verify", "seed", seed, 0)
    walked = walk(name, settings or {}, samples)
    method = walked.base.estimator
    if biased and method.unbiased is True:
        raise BadArgument(
            f"{name} says that it is unbiased and is held to it; leave --biased out, or take the "
            "promise out of its record"
        )
    places = places_for(method, objectives, latents)
    told = bool(objectives) or bool(latents) or walked.listed or method.families is not None
    usable, unable, left_out = where_it_works(method, places, told)
    notes = [*walked.notes, *left_out]
    every = list(_contract(walked, usable, notes, everything=not objectives))
    checks = worst_of((place.label, check) for place, check in every)
    mixed = {place.latents for place, check in every if _mixes(check)}
    if mixed:
        notes.append(
            f"no bias on {', '.join(sorted(mixed))} latents: rows that depend on each other have "
            "no error bars"
        )
    alone = [place for place in usable if place.latents not in mixed]
    failed = [_failed(walked, place, why) for place, why in unable]
    findings = failed
    if alone and all(check.passed for check in checks if check.name in REPEATABLE):
        promised = not (biased or declares_bias(method, walked.listed))
        cells, untuned = _cells(walked, alone, promised)
        findings = [*failed, *untuned, *judged(cells, draws, seed, watch)]
    return EstimatorReport(
        name=name,
        promise=_promise(method, biased or declares_bias(method, walked.listed)),
        target=method.target,
        checks=tuple(checks),
        findings=tuple(_in_order(findings)),
        notes=tuple(notes),
    )


def _promise(method: Estimator, may_be_biased: bool) -> str:
    if method.unbiased is True:
        return "unbiased"
    if method.unbiased == "limit":
        return "limit"
    return "biased" if may_be_biased else "none"


def _failed(walked: Walk, place: Place, why: str) -> Finding:
    method = walked.base.estimator
    return Finding(Cell(place, walked.base, method.target, True, method), "failed", message=why)


def _mixes(check: Check) -> bool:
    return check.name == "rows apart" and not check.passed


def _contract(
    walked: Walk, places: Sequence[Place], notes: list[str], *, everything: bool
) -> Found:
    """Yield every check at one place of each kind of latents.

    Args:
        walked: all variants.
        places: that work.
        notes: what cannot be checked is added.
        everything: also what these places do not ask for: a direct term, items.
    """
    method = walked.base.estimator
    for place in one_of_each(places):
        found = _attempt("draws", draw_checks, subject(place, method))
        yield from ((place, check) for check in found)
        if not all(check.passed for check in found if check.name in REPEATABLE):
            continue
        at = subject(place, method)
        direct = everything or any(other.objective.direct for other in places)
        yield from ((place, check) for check in _further(at, walked, direct=direct))
        there = place_of_items(place.latents)
        if there is None or not everything:
            continue
        try:
            yield there, items_check(there, method)
        except Exception as error:
            notes.append(f"takes no items of {place.latents} latents: {said(error)}")


def _further(at: Subject, walked: Walk, *, direct: bool) -> Iterator[Check]:
    """Yield what is checked once the draws repeat, each stage whatever the others."""
    place, method = at.place, walked.base.estimator
    yield from _attempt("rows apart", cost_checks, at, walked.counts)
    yield from _attempt("calls of J in tuning", tuning_checks, place, method)
    if direct:
        yield from _attempt("direct term", direct_checks, at)
    yield from _attempt("extreme points", extreme_checks, place, walked.cold)
    yield from _attempt("settings", settings_checks, place, walked)
    yield from _attempt("on cuda", device_checks, at)


def _attempt(
    stage: str, work: Callable[Arguments, Iterable[Check]], *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> list[Check]:  # fmt: skip
    found: list[Check] = []
    try:
        found.extend(work(*args, **kwargs))
    except Exception as error:
        found.append(broken(stage, error))
    return found


def _cells(
    walked: Walk, places: Sequence[Place], promised: bool
) -> tuple[list[Cell], list[Finding]]:
    """Return the base everywhere, the other variants at one place of each kind."""
    others = [variant for variant in walked.variants if variant is not walked.base]
    first, lost = cells_of([walked.base], places, promised)
    more, lost_too = cells_of(others, one_of_each(places), promised)
    return [*first, *more], [*lost, *lost_too]


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Put the temperatures of one objective beside each other, what it is held against last."""
    places: dict[str, int] = {}
    for found in findings:
        places.setdefault(found.cell.place.label, len(places))

    def order(found: Finding) -> tuple[int, str, float, int]:
        variant = found.cell.variant
        warmth = variant.temperature if variant.temperature == variant.temperature else 1e9
        return (
            places[found.cell.place.label],
            found.cell.target,
            warmth,
            variant.estimator.samples,
        )

    return sorted(findings, key=order)
