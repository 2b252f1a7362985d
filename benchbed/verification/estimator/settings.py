"""Whether settings do what they say: other samples and other temperatures give other draws."""

from __future__ import annotations

import torch

from benchbed.verification.check import Check
from benchbed.verification.estimator.contract import Subject, says, stream, subject
from benchbed.verification.estimator.panel import Place
from benchbed.verification.estimator.variants import Walk

ROWS = 256  # rare events, such as two bits that part, are in some of them


def settings_checks(place: Place, walked: Walk) -> list[Check]:
    """Return the checks of ``samples`` and of the temperature, on one and the same noise."""
    checks = []
    base = subject(place, walked.base.estimator)
    if walked.more:
        more = subject(place, walked.more.estimator)
        checks.append(_samples(base, more))
    others = [variant for variant in walked.temperatures if variant is not walked.base]
    if others:
        other = subject(place, others[-1].estimator)
        knob = walked.base.label.partition("=")[0]
        same = not base.estimator.constant and _same_draws(base, other)
        advice = f"{walked.base.label} and {others[-1].label} gave the same draws; use {knob}"
        checks.append(says(knob, "other draws at another value", not same, advice))
    return checks


def _samples(few: Subject, many: Subject) -> Check:
    wanted = 2 * few.estimator.samples
    if many.estimator.samples != wanted:
        advice = f"asked for {wanted} samples its record says {many.estimator.samples}; write "
        return says("samples", "what was asked for", False, advice + "samples=samples")
    if _costs(many) < _costs(few):
        advice = f"{wanted} samples declare fewer calls of J ({_costs(many)}) than half of them"
        return says("samples", "more calls of J", False, f"{advice}; mend evaluations")
    same = not few.estimator.constant and _same_draws(few, many)
    advice = f"{few.estimator.samples} and {wanted} samples gave the same draws; use samples"
    return says("samples", "other draws at twice as many", not same, advice)


def _costs(at: Subject) -> int:
    return at.estimator.evaluations_on(at.objective)


def _same_draws(first: Subject, second: Subject) -> bool:
    rows, other = (
        at.rows(ROWS, stream(at.place.label, "settings", dtype=torch.float64))
        for at in (first, second)
    )
    return torch.equal(rows, other)
