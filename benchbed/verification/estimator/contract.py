"""What every draw promises: its shape, its randomness, and to leave all else as it was.

Each check yields what it found at one place; ``worst_of`` keeps the worst of all places.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.rng import Noise
from benchbed.verification.check import Check
from benchbed.verification.differences import relative_gap
from benchbed.verification.estimator.panel import Place

ROWS = 6
EXTREME_ROWS = 256
EXTREME_LOGIT = 20.0
FIRST = ("shape", "float32", "float64")  # nothing more can be said without them
# Further checks compare draws of one noise, and would only repeat that these do not agree.
REPEATABLE = (*FIRST, "finite", "its inputs", "same noise")
ON_LOGITS = ("bernoulli", "categorical")


class Subject(NamedTuple):
    """An estimator at a place, tuned there if it can be."""

    place: Place
    estimator: Estimator

    @property
    def objective(self) -> Objective:
        """Where the gradient is taken."""
        return self.place.objective

    def rows(self, draws: int, noise: Noise, objective: Objective | None = None) -> Tensor:
        """Draw in the dtype and on the device of the noise."""
        problem = objective or self.objective
        params = problem.params.to(noise.device, noise.dtype, copy=True)  # it may write into it
        with torch.no_grad():
            found = self.estimator.draw(problem, params, draws, noise)
        return found.detach() if isinstance(found, Tensor) else found


def subject(place: Place, method: Estimator) -> Subject:
    """Return ``method`` at ``place``, tuned on a stream of its own."""
    if method.tune is None:
        return Subject(place, method)
    with torch.no_grad():
        noise = stream(place.label, "tune")
        return Subject(place, method.tune(place.objective, place.objective.params.float(), noise))


def stream(*path: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Noise:
    """Return the noise of a check."""
    return Noise(1, "verify estimator", *path, dtype=dtype, device=device)


def says(name: str, against: str, right: bool, advice: str) -> Check:
    """Return a check that is either kept or not."""
    return Check(name, against, 0.0 if right else 1.0, 0.0, advice)


def gap_between(found: Tensor, expected: Tensor) -> float:
    """Return the relative difference, 0 also where what is not finite agrees."""
    found, expected = (
        x.double().nan_to_num(nan=3e30, posinf=2e30, neginf=-2e30) for x in (found, expected)
    )
    return 0.0 if torch.equal(found, expected) else relative_gap(found, expected)


def worst_of(found: Iterable[tuple[str, Check]]) -> list[Check]:
    """Return each check once, at the place where it did worst, which a failure names."""
    worst: dict[str, Check] = {}
    for where, check in found:
        kept = worst.get(check.name)
        if kept is None or (kept.passed and not _better(check, kept)):
            named = replace(check, advice=f"on {where}: {check.advice}")
            worst[check.name] = check if check.passed else named
    return list(worst.values())


def _better(check: Check, kept: Check) -> bool:
    if check.passed != kept.passed:
        return check.passed
    return check.error <= kept.error


def draw_checks(at: Subject) -> Iterator[Check]:
    """Yield the checks of shape, dtype, device, randomness and side effects."""
    objective, where = at.objective, at.place.label
    before = objective.params.clone()
    wanted = [ROWS, *objective.params.shape]
    for dtype in (torch.float32, torch.float64):
        given = objective.params.to(dtype, copy=True)
        kept, noise = given.clone(), stream(where, dtype=dtype)
        seed, path = noise.seed, noise.path
        before_draw = _global_states()
        with torch.no_grad():
            rows: object = at.estimator.draw(objective, given, ROWS, noise)
        after_draw = _global_states()
        if not isinstance(rows, Tensor) or list(rows.shape) != wanted:
            found = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            advice = f"it returned {found} for {ROWS} draws; return {wanted}, a row per estimate"
            yield says("shape", "[draws, *params.shape]", False, advice)
            return
        yield says("shape", "[draws, *params.shape]", True, "")
        word = str(dtype).removeprefix("torch.")
        advice = f"it returned {rows.dtype}; make constants with .to(params)"
        yield says(word, "the dtype of params", rows.dtype == dtype, advice)
        advice = f"it returned rows on {rows.device}; make tensors with device=params.device"
        yield says("device", "that of params", rows.device == given.device, advice)
        if rows.dtype != dtype:
            return
        yield says(
            "no graph", "requires_grad of the rows", not rows.requires_grad,
            "the rows carry a graph of autograd; return rows.detach(), or memory grows",
        )  # fmt: skip
        for name in before_draw:
            yield says(
                f"{name} generator", "its state before", before_draw[name] == after_draw[name],
                f"it draws from, or seeds, {name}'s global generator; draw from the noise given",
            )  # fmt: skip
        same = torch.equal(kept, given) and torch.equal(before, objective.params)
        same &= not given.requires_grad and (noise.seed, noise.path) == (seed, path)
        yield says(
            "its inputs", "what they were", same,
            "it writes into params or the noise; work on params.clone()",
        )  # fmt: skip
        yield says(
            "finite", "a finite number", bool(torch.isfinite(rows).all()),
            f"a draw in {word} is NaN or infinite; look for 0 / 0 and log(0)",
        )  # fmt: skip
        again = at.rows(ROWS, stream(where, dtype=dtype))
        gap = gap_between(again, rows)
        yield Check(
            "same noise", "the same draws", gap, 0.0,
            "the same noise gave other draws; keep no state and no randomness of its own",
        )  # fmt: skip
        other = at.rows(ROWS, stream(where, "other", dtype=dtype))
        still = at.estimator.constant or _one_number(rows, objective)
        yield says(
            "other noise", "other draws", still or not torch.equal(other, rows),
            "other noise gave the same draws; take every random number from the noise",
        )  # fmt: skip


def _one_number(rows: Tensor, objective: Objective) -> bool:
    """Say whether all rows are one number: an estimate without any randomness."""
    size = float(objective.exact_gradient().norm()) or 1.0
    return bool((rows - rows[:1]).abs().max() <= 1e-5 * size)


def _global_states() -> dict[str, bytes]:
    kind, keys, position, *rest = np.random.get_state()
    return {
        "torch": bytes(torch.get_rng_state().numpy().tobytes()),
        "numpy": repr((kind, np.asarray(keys).tobytes(), position, rest)).encode(),
        "Python": repr(random.getstate()).encode(),
    }


def extreme_checks(place: Place, cold: Estimator) -> Iterator[Check]:
    """Yield whether draws stay finite at logits of 20 and, cold, at the point itself."""
    objective = place.objective
    if place.latents not in ON_LOGITS:
        return
    sign = torch.ones_like(objective.params)
    sign.view(-1)[::2] = -1
    points = [EXTREME_LOGIT * sign, -EXTREME_LOGIT * sign, objective.params]
    for point in points[:1] if cold.tune else points:  # tuning takes time
        there = replace(objective, params=point)
        at = subject(Place(place.label, there), cold)
        rows = at.rows(EXTREME_ROWS, stream(place.label, "extreme"))
        lost = int((~torch.isfinite(rows)).sum())
        yield Check(
            "extreme points", "finite: logits of 20, cold", math.inf if lost else 0.0, 0.0,
            f"{lost} numbers are NaN or infinite at logits of 20 or at a low temperature; use "
            "log-sigmoid and log-softmax, not logarithms of probabilities",
        )  # fmt: skip


def device_checks(at: Subject) -> Iterator[Check]:
    """Yield whether draws work on the GPU, where there is one."""
    if not torch.cuda.is_available():
        return
    rows = at.rows(ROWS, stream(at.place.label, device="cuda"))
    yield says(
        "on cuda", "rows on the device of params", rows.device.type == "cuda",
        f"params on cuda gave rows on {rows.device}; make tensors with device=params.device",
    )  # fmt: skip
