"""Compiled draws have the law of the plain ones: two samples, from seeds of their own.

Rows are paired, one of either side. If both have one law, a difference D of a pair is as likely as
-D, and then, whatever the tails, P(|sum D| > t sqrt(sum D^2)) <= 2 exp(-t^2 / 2) (Efron 1969). The
differences are those of every coordinate, for the means, and of the squared distance from the
exact gradient, for the trace variance. Rows are added until a trace variance that is off by twice
``BAND`` is as good as sure to be seen; that is decided by numbers that do not tell one side from
the other, which leaves the bound as it is. ``FALSE_ALARM`` is the chance that any estimator below
fails while all is well; seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import panel
import pytest
import torch
from test_compiled import DRAWS, NEEDS_A_COMPILER, NOT_COMPILED
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.measurement.compiled import compile_facts, compiled
from benchbed.rng import Noise

pytestmark = [pytest.mark.prove, NEEDS_A_COMPILER]

FALSE_ALARM = 1e-3
BAND = 0.05
MOST = 2**18  # rows; the tails of a few are too heavy for ``BAND``
LEAST = 2**13
CHECKS_APART = 16  # chunks
ROUNDING = 2.0**-17  # of the largest gradient
# Two tests an estimator; the coordinates of one share its part.
SHARE = FALSE_ALARM / (2 * len(panel.ESTIMATORS))

Change = Callable[[Tensor], Tensor]  # of a chunk of compiled draws


def first_place(which: str) -> str | None:
    """Return the panel's first objective that the estimator can be compiled on."""
    return next(
        (
            where
            for where, name in panel.pairs()
            if name == which and panel.objective(where).family.name not in NOT_COMPILED
        ),
        None,
    )


def complaint(
    problem: Objective, method: Estimator, seed: int, change: Change = lambda x: x
) -> str:
    """Return how compiled and plain draws differ beyond chance; else nothing."""
    quick = compiled(method)
    params = problem.params.float()
    exact = method.exact_gradient(problem).float()
    tiny = ROUNDING * float(exact.abs().max())
    one, other = Noise(seed, "compiled"), Noise(seed + 1, "plain")
    first = second = torch.zeros(exact.numel(), dtype=torch.float64)
    gap, squares, spread, rows = 0.0, 0.0, 0.0, 0
    limit = math.sqrt(2 * math.log(2 / SHARE))
    while rows < MOST:
        with torch.no_grad():
            x = change(quick.draw(problem, params, DRAWS, one))
            y = method.draw(problem, params, DRAWS, other)
        rows += DRAWS
        difference = (x - y).reshape(DRAWS, -1).double()
        first, second = first + difference.sum(0), second + difference.square().sum(0)
        ours, theirs = ((z - exact).double().square().flatten(1).sum(1) for z in (x, y))
        gap += float((ours - theirs).sum())
        squares += float((ours - theirs).square().sum())
        spread += float((ours + theirs).sum()) / 2
        due = rows >= LEAST and rows // DRAWS % CHECKS_APART == 0
        if due and limit * math.sqrt(squares) <= BAND * spread:
            break
    assert compile_facts(quick) == {"compiled": True}
    off = (first.abs() - rows * tiny).clamp(min=0) / second.sqrt().clamp(min=max(tiny, 1e-300))
    allowed = math.sqrt(2 * math.log(2 * exact.numel() / SHARE))
    if not float(off.max()) <= allowed:
        return f"means differ: {float(off.max()):.1f} standard errors, {allowed:.1f} allowed"
    slack = rows * exact.numel() * tiny**2 + 1e-4 * spread
    if not max(abs(gap) - slack, 0) <= limit * math.sqrt(squares):
        seen = limit * math.sqrt(squares) / spread
        return f"trace variances differ: {gap / spread:+.1%}, {seen:.1%} allowed"
    return ""


@pytest.mark.parametrize("which", panel.ESTIMATORS)
def test_compiled_and_plain_draws_have_one_law(which):
    where = first_place(which)
    if where is None or panel.estimator(which).constant:
        pytest.skip("one number for all draws, or no law whose draws are compiled")
    problem, method = panel.objective(where), panel.ready(where, which)
    assert complaint(problem, method, seed=171) == ""


PLANTED: dict[str, Change] = {
    "a gradient 10 % short": lambda x: 0.9 * x,
    "noise that moves no mean": lambda x: (
        x + 0.5 * x.std(0) * Noise(172, int(1e6 * x.abs().sum())).normal(*x.shape)
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
@pytest.mark.parametrize(
    ("where", "which"),
    [
        ("quadratic", "score_function"),
        ("polynomial", "straight_through_gumbel_softmax"),
        ("polynomial", "unordered_set"),
        ("normal_quadratic", "reparameterization"),
        ("coupled", "rebar"),
    ],
)
def test_a_planted_fault_is_seen(where, which, fault):
    problem, method = panel.objective(where), panel.ready(where, which)
    assert "differ" in complaint(problem, method, 173, PLANTED[fault])
