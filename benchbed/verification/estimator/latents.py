"""Which kinds of latents an estimator works on, where it cannot say so itself.

A draw function and a surrogate loss carry no list of kinds. Those are left out on which it fails as
a whole, and those whose z it does not draw: code that samples bits may well run on the parameters
of normals, and what it then gives is no estimate of anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy import stats
from torch import Tensor

from benchbed.contracts import Estimator
from benchbed.verification.estimator.cells import said
from benchbed.verification.estimator.contract import ROWS, stream, subject
from benchbed.verification.estimator.cost import rows_apart
from benchbed.verification.estimator.panel import Place, one_of_each

LAW_ROWS = 4_096
FALSE_ALARM = 1e-6  # the chance that a kind whose z it does draw is left out
OTHER_LAW = "it draws z of another law"
MIXED = "its rows mix"


def where_it_works(
    method: Estimator, places: Sequence[Place], told: bool
) -> tuple[list[Place], list[tuple[Place, str]], list[str]]:
    """Return the places that work, those that fail with the reason, and notes of what is left out.

    Args:
        method: not tuned.
        places: it is meant to work on, if ``told``; else all that it might.
        told: it says what it takes, or the person does: then nothing is left out.
    """
    unable = {place.label: why for place in places if (why := _obstacle(method, place))}
    usable = [place for place in places if place.label not in unable]
    failed = [(place, unable[place.label]) for place in places if place.label in unable]
    if told:
        return usable, failed, []
    kinds = {place.latents for place in usable}
    apart = [place for place in one_of_each(usable) if _keeps_rows_apart(method, place)]
    # Where rows mix everywhere, or z is of no law of the panel, that is said and nothing left out.
    drawn = {place.latents for place in apart if draws_the_law(method, place)}
    drawn = drawn or {place.latents for place in apart} or kinds
    kept = [place for place in usable if place.latents in drawn]
    if not kept:
        return usable, failed, []
    still = [(place, why) for place, why in failed if place.latents in drawn]
    reasons = {place.latents: why for place, why in failed if place.latents not in kinds}
    alone = {place.latents for place in apart}
    for kind in sorted(kinds - drawn):
        reasons[kind] = OTHER_LAW if kind in alone else MIXED
    return kept, still, _notes(reasons)


def _keeps_rows_apart(method: Estimator, place: Place) -> bool:
    try:
        return rows_apart(subject(place, method)).passed
    except Exception:
        return False


def _obstacle(method: Estimator, place: Place) -> str:
    try:
        rows: object = subject(place, method).rows(ROWS, stream(place.label))
    except Exception as error:
        return said(error)
    del rows  # its shape is the contract's to check
    return ""


def _notes(reasons: dict[str, str]) -> list[str]:
    """Return one line with every kind, and the first reason of each sort."""
    lines = []
    for reason in (OTHER_LAW, MIXED):
        there = [kind for kind, why in reasons.items() if why == reason]
        if there:
            lines.append(f"left out {', '.join(there)} latents: {reason} there")
    broken = {kind: why for kind, why in reasons.items() if why not in (OTHER_LAW, MIXED)}
    if broken:
        first, why = next(iter(broken.items()))
        lines.append(f"left out {', '.join(broken)} latents: it fails there; on {first}: {why}")
    if lines:
        lines.append("--latents KIND looks at a kind whatever happens there")
    return lines


def draws_the_law(method: Estimator, place: Place) -> bool:
    """Say whether the z given to J are of the family's law, or nothing was asked of J.

    Held against the law's own samples in their mean and in the mean of their squares, which tells
    a one-hot z from a Dirichlet's shares of the same mean.
    """
    objective, family = place.objective, place.objective.family
    noise = stream(place.label, "law", dtype=torch.float64)
    wanted = family.sample(objective.params, LAW_ROWS, 1, noise.child("wanted"))[:, 0].double()
    seen: list[Tensor] = []
    alike = True  # in shape

    def watching(z: Tensor, params: Tensor) -> Tensor:
        nonlocal alike
        if z.ndim > 2 and len(z) == LAW_ROWS:
            alike &= z.shape[2:] == wanted.shape[1:]
            seen.append(_moments(z.detach().double()))
        return objective.cost(z, params)

    there = replace(place, objective=replace(objective, cost=watching))
    try:
        subject(there, method).rows(LAW_ROWS, noise)
    except Exception:
        return False
    if not seen or not alike:
        return alike
    found, law = torch.stack(seen).mean(0), _moments(wanted[:, None])
    gap = (found.mean(0) - law.mean(0)).abs()
    errors = [moments.std(0) / math.sqrt(LAW_ROWS) for moments in (found, law)]
    error = torch.hypot(*errors) + 1e-6 * (1 + law.mean(0).abs())
    bound = float(stats.norm.isf(FALSE_ALARM / (2 * gap.numel())))
    return bool((gap <= bound * error).all())


def _moments(z: Tensor) -> Tensor:
    """Return z and z^2, each the mean over samples: [draws, 2, *items, *event]."""
    return torch.stack([z.mean(1), z.square().mean(1)], 1)
