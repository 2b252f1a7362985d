"""Home-made code and benchbed's draw from the same law, so that their speeds can be compared.

Rows are paired, one of either side. If both have one law, a difference D of a pair is as likely as
-D, and then, whatever the tails, P(|sum D| > t sqrt(sum D^2)) <= 2 exp(-t^2 / 2) (Efron 1969). The
differences are those of every coordinate, for the means, and of the squared distance from the
exact gradient, for the trace variance. ``FALSE_ALARM`` is the chance that any case below fails
while all is well; seeds are fixed. What could have been missed is bounded, too: a trace variance
that differs by twice the share ``BANDS`` is as good as sure to be seen, and so is a mean that
differs by twice ``MEAN_BAND`` standard deviations of one draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from jobs import JOBS, Job, job
from pairs import pairs, tuned
from sides import gradients, reinmax_package
from torch import Tensor

from benchbed.contracts import Estimator
from benchbed.rng import Noise

FALSE_ALARM = 1e-3
DRAWS = dict.fromkeys(JOBS, 16_384) | {"digits, 8 bits": 4_096, "digits, d = 2, K = 10": 2_048}
BANDS = dict.fromkeys(JOBS, 0.1) | {"digits, 8 bits": 1.0}  # rare bits: heavy tails
MEAN_BAND = 0.2
CHUNK = 1_024
ROUNDING = 2.0**-17  # of the largest gradient; sums are added in another order
OTHER_NUMBERS = "categorical, d = 2, K = 1000"  # the very functions of d = 8, K = 10

Rows = Callable[[int], Tensor]  # number of rows -> gradients [rows, *params]


def sides() -> dict[tuple[str, str], tuple[Estimator, Rows]]:
    """Return benchbed's estimator and home-made rows for every (job, label)."""
    torch.manual_seed(70)  # the pilots of baselines
    found: dict[tuple[str, str], tuple[Estimator, Rows]] = {}
    for title in JOBS:
        where = job(title)
        for pair in pairs(where):
            estimator = tuned(where, pair.name, **pair.settings)
            found[title, pair.label] = estimator, _rows(where, pair.loss)
            if pair.by_hand and not where.direct:
                rows = pair.by_hand
                found[title, f"{pair.label} by hand"] = (
                    estimator,
                    lambda count, where=where, rows=rows: rows(where, count),
                )
            if pair.name == "reinmax" and not where.bits:
                found[title, "reinmax package"] = estimator, _rows(where, reinmax_package)
    return {case: both for case, both in found.items() if case[0] != OTHER_NUMBERS}


def _rows(where: Job, loss: Callable[[Job, Tensor], Tensor]) -> Rows:
    return lambda count: gradients(where, loss, count)


SIDES = sides()
# Two tests a case; the coordinates of one share its part.
SHARE = FALSE_ALARM / (2 * len(SIDES))


def complaint(title: str, estimator: Estimator, theirs: Rows, seed: int) -> str:
    """Return how two sides differ beyond chance, or what could not have been seen; else nothing."""
    where, draws = job(title), DRAWS[title]
    exact = estimator.exact_gradient(where.objective).float()
    noise, size = Noise(seed), where.params.numel()
    torch.manual_seed(seed)
    first = second = torch.zeros(size, dtype=torch.float64)
    gap, squares, spread = 0.0, 0.0, 0.0
    for _ in range(draws // CHUNK):
        with torch.no_grad():
            x = estimator.draw(where.objective, where.params, CHUNK, noise)
        y = theirs(CHUNK)
        difference = (x - y).reshape(CHUNK, -1).double()
        first, second = first + difference.sum(0), second + difference.square().sum(0)
        ours, other = ((rows - exact).double().square().flatten(1).sum(1) for rows in (x, y))
        gap += float((ours - other).sum())
        squares += float((ours - other).square().sum())
        spread += float(ours.sum())
    tiny = ROUNDING * float(exact.abs().max())
    off = (first.abs() - draws * tiny).clamp(min=0) / second.sqrt().clamp(min=tiny)
    limit = math.sqrt(2 * math.log(2 * size / SHARE))
    assert limit * math.sqrt(2 / draws) <= MEAN_BAND
    if float(off.max()) > limit:
        return f"means differ: {float(off.max()):.1f} standard errors, {limit:.1f} allowed"
    slack = draws * size * tiny**2 + 1e-4 * spread
    off_spread, noise_of_it = max(abs(gap) - slack, 0), math.sqrt(squares)
    limit = math.sqrt(2 * math.log(2 / SHARE))
    if off_spread > limit * noise_of_it:
        allowed = limit * noise_of_it / spread
        return f"trace variances differ: {gap / spread:+.1%}, {allowed:.1%} allowed"
    if spread > slack and limit * noise_of_it > BANDS[title] * spread:
        return f"blind to a variance off by {limit * noise_of_it / spread:.0%}"
    return ""


@pytest.mark.parametrize(("title", "label"), SIDES, ids=lambda value: value.replace(" ", "-"))
def test_both_sides_draw_from_one_law(title, label):
    assert complaint(title, *SIDES[title, label], seed=71) == ""


@pytest.mark.parametrize("title", JOBS)
def test_both_sides_evaluate_one_cost(title):
    """Equal costs at corners and between them, up to rounding; and the same encoder."""
    where = job(title)
    torch.manual_seed(72)
    corners = where.sample(64)
    for z in (corners, 0.8 * corners + 0.1 * torch.rand_like(corners)):
        expected = where.objective.cost(z[:, None], where.params)[:, 0]
        torch.testing.assert_close(where.cost(z, where.params), expected, rtol=1e-4, atol=1e-5)
    if where.encode is not None and where.weights is not None:
        torch.testing.assert_close(where.encode(where.weights), where.params, rtol=1e-4, atol=1e-5)


PLANTED = {
    "a gradient 10 % short": lambda y: 0.9 * y,
    "noise that moves no mean": lambda y: y + 0.5 * y.std(0) * torch.randn_like(y),
    "a shift": lambda y: y + 0.2 * y.std(0),
}


@pytest.mark.parametrize("fault", PLANTED)
@pytest.mark.parametrize(
    "case",
    [
        ("Bernoulli, d = 20, coupled", "rebar"),
        ("categorical, d = 8, K = 10", "straight_through_gumbel_softmax"),
        ("digits, d = 2, K = 10", "leave_one_out samples 2"),
    ],
)
def test_a_planted_fault_is_seen(case, fault):
    estimator, theirs = SIDES[case]
    found = complaint(case[0], estimator, lambda count: PLANTED[fault](theirs(count)), seed=73)
    assert "differ" in found


def test_another_temperature_is_seen():
    title, label = "categorical, d = 8, K = 10", "gumbel_softmax"
    other = tuned(job(title), label, temperature=0.7)
    assert "differ" in complaint(title, other, SIDES[title, label][1], seed=74)


def test_a_forgotten_direct_term_is_seen():
    """Leave-one-out on the digits without the path through log q."""
    title = "digits, d = 2, K = 10"
    where = job(title)

    estimator = tuned(where, "leave_one_out")
    complete = complaint(title, estimator, SIDES[title, "leave_one_out samples 2"][1], seed=75)
    assert complete == ""

    def centred(where: Job, leaf: Tensor) -> Tensor:
        z = where.sample(2, *where.lead(leaf))
        cost = where.cost(z, leaf).detach()
        return ((cost - cost.flip(0)) * where.log_prob(leaf, z)).mean(0)

    assert "differ" in complaint(title, estimator, _rows(where, centred), seed=75)
