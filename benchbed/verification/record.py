"""The record itself, before anything is computed from it: params, samples, the Jacobian."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from benchbed.contracts import Objective
from benchbed.rng import Noise
from benchbed.verification.check import Check, called
from benchbed.verification.differences import relative_gap


def record_checks(objective: Objective) -> Iterator[Check]:
    """Yield the checks of shapes; where one fails, nothing after it would say anything."""
    family, params = objective.family, objective.params
    if not params.numel():
        yield _wrong("params", "at least one number", f"params {list(params.shape)} hold no number")
        return
    if not torch.isfinite(params).all():
        yield _wrong("params", "finite numbers", "params are NaN or infinite somewhere")
        return
    noise = Noise(2, "verify", dtype=torch.float64)
    z = called("family.sample", lambda: family.sample(params, 5, 3, noise))
    mean = called("family.mean", lambda: family.mean(params))
    wanted = [5, 3, *mean.shape]
    if list(z.shape) != wanted or mean.ndim != len(family.items(params)) + family.event_axes:
        yield _wrong(
            "samples",
            "their shape",
            f"family.sample gave {list(z.shape)} for 5 draws of 3 samples, and family.mean "
            f"{list(mean.shape)}; they are [draws, samples, *items, *event] and [*items, *event], "
            f"with {family.event_axes} event axes",
        )
    matrix = objective.jacobian
    if matrix is not None:
        advice = "it is NaN or infinite somewhere"
        right = bool(torch.isfinite(matrix).all())
        if list(matrix.shape[:-1]) != list(params.shape):
            right = False
            advice = (
                f"it is {list(matrix.shape)}, d params / d weights of params {list(params.shape)}: "
                f"write it as {[*params.shape]} and then the weights on one last axis"
            )
        error = 0.0 if right else math.inf
        yield Check("jacobian", "the shape of params", error, 0.0, "" if right else advice)
        if objective.pull is not None and right:
            probe = noise.child("pull").normal(3, *params.shape).to(matrix)
            by_matrix = probe.flatten(1) @ matrix.flatten(0, -2)
            error = relative_gap(objective.pullback(probe), by_matrix)
            advice = "it must be jacobian^T times g; leave pull out and the matrix is used"
            yield Check("pull", "the jacobian", error, 1e-6, "" if error <= 1e-6 else advice)


def _wrong(name: str, against: str, advice: str) -> Check:
    return Check(name, against, math.inf, 0.0, advice)
