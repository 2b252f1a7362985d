"""Draws by every optimized path have the law of draws by the plain one, and its exact moments.

The optimized side is drawn as a cell draws it: in float32, J read from tables, 512 short blocks
side by side, the functions of ``elementwise``. The plain side evaluates J itself in float64, one
stream after the other, by torch's own functions. Seeds differ, so the samples are independent.

Rows are paired, one of either side. If both have one law, a difference D of a pair is as likely as
-D, and then, whatever the tails, P(|sum D| > t sqrt(sum D^2)) <= 2 exp(-t^2 / 2) (Efron 1969).
Five tests of a pair (objective, estimator) look at such differences: of every coordinate (means);
of the squared distance from the exact gradient (trace variances); of the squared distance of a
block's mean from the mean of all, and of the product of two neighbours' (blocks are independent);
of how often values repeat (8 bits show where a value is made of one or two uniforms). A sixth holds
the draws against the exact moments, where there are any, by an empirical Bernstein bound (Maurer
and Pontil 2009, theorem 4); the exact moments by tables equal those by J but for rounding.

A heavy tail makes none of this wrong, only blind; so coordinates and distances are also looked at
as x / (1 + |x| / s), s a median: bounded, monotone, and of one law if x is. What could have been
missed is bounded there: means that differ by twice ``MEAN_BAND`` standard deviations of one draw,
mean distances that differ by twice the share ``BAND``, and a spread of block means that differs by
twice the share ``BLOCK_BAND`` are as good as sure to be seen. ``FALSE_ALARM`` is the chance that
anything below fails while all is well, split evenly over all tests; seeds are fixed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from panel import ESTIMATORS, OBJECTIVES, estimator, fits, objective, ready
from torch import Tensor

from benchbed.contracts import Estimator, Objective
from benchbed.measurement.blocks import BlockDrawer, even_sizes
from benchbed.measurement.draw_graph import compiling
from benchbed.measurement.exact_moments import exact_moments
from benchbed.measurement.lookup import tabulated
from benchbed.rng import Noise

FALSE_ALARM = 1e-3
SHARE = FALSE_ALARM / (6 * len(OBJECTIVES) * len(ESTIMATORS))  # of one test of one pair
DRAWS = (32_768, 4_096)  # in general, on digits
BLOCKS, CALLS, GROUPS = 512, 4, 128  # values are looked for again within a group
MEAN_BAND, BAND, BLOCK_BAND = 0.2, 0.1, 0.4
ROUNDING = 2.0**-17  # of the largest typical coordinate; sums are added in another order
LOOKED_AT, SELDOM = 8, 0.02  # coordinates whose values may repeat; how often they may by chance
SAME = 1e-12  # exact moments, relative
# z is no bits or one-hots, or has no finite list; what rejects draws has one stream for each block.
ONE_BY_ONE = ("gamma_quadratic", "beta_quadratic", "dirichlet_quadratic")
WITHOUT_TABLES = (*ONE_BY_ONE, "poisson_quadratic", "quantized", "nested", "iwae normal")
WITHOUT_TABLES += ("normal_quadratic", "normal_exponential", "normal_cosine")


def with_tables(problem: Objective, method: Estimator) -> Objective:
    """Return what a cell long enough draws with: tables, whether or not they pay."""
    slopes = method.slopes > 0 and "relaxed" not in method.needs
    return tabulated(problem, problem.params.float(), slopes=slopes)


def optimized(known: Objective, method: Estimator, draws: int, root: Noise) -> list[Tensor]:
    """Return gradients [draws of a call, *params.shape] in the order of their blocks."""
    calls: list[Tensor] = []

    def kept(*given: Any) -> Tensor:
        calls.append(method.draw(*given))
        return calls[-1]

    params, centre = known.params.float(), method.exact_gradient(known).flatten().float()
    drawer = BlockDrawer(known, replace(method, draw=kept), params, centre, draws // CALLS, root)
    drawer.draw(even_sizes(draws, BLOCKS))
    return calls


def plain(problem: Objective, method: Estimator, draws: int) -> list[Tensor]:
    streams = [Noise(82, "plain", number, dtype=torch.float64) for number in range(CALLS)]
    with compiling():  # under which elementwise is torch's own functions
        return [method.draw(problem, problem.params, draws // CALLS, each) for each in streams]


def typical(x: Tensor, y: Tensor) -> Tensor:
    """Return the median size of what is not 0 but for rounding, [columns], symmetric in x and y."""
    sizes = torch.cat((x, y)).abs()
    some = torch.where(sizes > ROUNDING * sizes.mean(0), sizes, torch.nan)
    return some.nanmedian(0).values.nan_to_num(nan=1.0)


def differ(what: str, x: Tensor, y: Tensor, slack: Any = 0.0, band: float = math.inf) -> str:
    """Return how columns [pairs, tests] differ beyond chance and ``slack``, or that they are blind.

    The last column is the one that may not be: to a share ``band`` of its mean.
    """
    difference, limit = x - y, math.sqrt(2 * math.log(2 * x.shape[1] / SHARE))
    noise = limit * difference.square().sum(0).sqrt()
    off = (difference.sum(0).abs() - len(x) * slack) / noise.clamp(min=1e-300)
    if float(off.max()) > 1:
        return f"{what} differ: {limit * float(off.max()):.1f} standard errors, {limit:.1f} allowed"
    size, least = float(y[:, -1].sum()), len(x) * float(torch.as_tensor(slack).max())
    if size > 2 * least and float(noise[-1]) > band * size:
        return f"{what}: blind to {float(noise[-1]) / size:.0%}"
    return ""


def complaints_of_rows(x: Tensor, y: Tensor, exact: Tensor) -> list[str]:
    """Return how rows [draws, parameters] differ beyond chance, or what could not be seen."""
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        return ["not finite"]
    draws, size = x.shape
    scale = typical(x, y)
    tiny = ROUNDING * float(scale.max())
    bounded = [z / (1 + z.abs() / scale) for z in (x, y)]
    assert math.sqrt(4 * math.log(4 * size / SHARE) / draws) <= MEAN_BAND
    found = [differ("means", *(torch.cat(z, 1) for z in zip((x, y), bounded, strict=True)), tiny)]
    far = [(z - exact).square().sum(1, keepdim=True) for z in (x, y)]
    far = [torch.cat((r, r / (1 + r / typical(*far))), 1) for r in far]
    slack = 2 * tiny * (size * far[1].mean(0)).sqrt() + size * tiny**2
    found.append(differ("trace variances", *far, slack, BAND))
    both = torch.cat(bounded)
    alive = (spread := both.std(0)) > tiny
    if alive.any():
        means = [(z - both.mean(0))[:, alive] / spread[alive] for z in bounded]
        means = [z.reshape(BLOCKS, draws // BLOCKS, -1).mean(1) for z in means]
        squares = [z.square().sum(1, keepdim=True) for z in means]
        squares = [r / (1 + r / typical(*squares)) for r in squares]
        found.append(differ("block means", *squares, 1e-4 * squares[1].mean(), BLOCK_BAND))
        products = [(z[0::2] * z[1::2]).sum(1, keepdim=True) for z in means]
        found.append(differ("neighbouring blocks", *products))
    repeats = []
    for z in (x, y):  # sorted, equal values are neighbours
        some = z[:, :: math.ceil(size / LOOKED_AT)].reshape(GROUPS, draws // GROUPS, -1).sort(1)[0]
        near = some.diff(dim=1) <= some[:, 1:].abs() * ROUNDING + tiny
        repeats.append(near.double().mean((1, 2))[:, None])
    if float(torch.minimum(*repeats).mean()) < SELDOM:
        found.append(differ("repeated values", *repeats))
    return found


def off_moments(x: Tensor, problem: Objective, known: Objective, method: Estimator) -> list[str]:
    """Return how rows miss the exact moments of one draw, and how tables do, if there are any."""
    found, by_tables = (exact_moments(each, method) for each in (problem, known))
    if found is None or by_tables is None or method.finite is None:
        return [] if found is by_tables else ["exact moments differ: one side has none"]
    second = float((found.variance + found.mean**2).max())
    same = np.allclose(by_tables.mean, found.mean, SAME, SAME * math.sqrt(second))
    same = same and np.allclose(by_tables.variance, found.variance, SAME, SAME * second)
    mean, exact = torch.from_numpy(found.mean), method.exact_gradient(problem).flatten()
    low, high = torch.full_like(mean, math.inf), torch.full_like(mean, -math.inf)
    for _, gradient in method.finite.outcomes(problem, problem.params):
        flat = gradient.reshape(-1, len(mean))
        low, high = torch.minimum(low, flat.amin(0)), torch.maximum(high, flat.amax(0))
    furthest = torch.maximum((low - exact).square(), (high - exact).square()).sum()
    distance = float(found.variance.sum()) + float((mean - exact).square().sum())
    seen = torch.cat((x, (x - exact).square().sum(1, keepdim=True)), 1)
    width, odds = torch.cat((high - low, furthest[None])), math.log(4 * seen.shape[1] / SHARE)
    reach = (2 * seen.var(0) * odds / len(x)).sqrt() + 7 * width * odds / (3 * (len(x) - 1))
    tiny = ROUNDING * float(torch.maximum(low.abs(), high.abs()).max())
    reach[:-1] += tiny
    reach[-1] += 2 * tiny * math.sqrt(len(mean) * distance) + len(mean) * tiny**2
    off = (seen.mean(0) - torch.cat((mean, mean.new_tensor([distance])))).abs() / reach
    return ["exact moments differ"] * (not same) + ["moments missed"] * (float(off.max()) > 1)


@torch.no_grad()
def complaints(where: str, which: str, seen: Counter[str] | None = None, **faults: Any) -> str:
    """Return what the tests of a pair say; ``faults`` are planted in its tables, noise or rows."""
    problem, method = replace(objective(where), jacobian=None, pull=None), ready(where, which)
    known = faults.get("tables", lambda tables: tables)(with_tables(problem, method))
    root, draws = faults.get("noise", Noise)(81, "cell", where), DRAWS["digits" in where]
    calls = optimized(known, method, draws, root)
    x = faults.get("rows", lambda rows: rows)(torch.cat(calls).flatten(1).double())
    y = torch.cat(plain(problem, method, draws)).flatten(1)
    if seen is not None:
        seen.update(pairs=1, tables=known is not problem, together=len(calls) == CALLS)
    found = complaints_of_rows(x, y, method.exact_gradient(problem).flatten())
    return "; ".join(filter(None, found + off_moments(x, problem, known, method)))


QUICK = [
    ("golden_bits", "leave_one_out"), ("coupled", "rebar"), ("elbo", "disarm"),
    ("smooth", "straight_through_gumbel_softmax"), ("polynomial", "reinmax"),
    ("iwae bernoulli", "vimco"), ("quadratic", "quasi_monte_carlo_score_function"),
    ("normal_quadratic", "reparameterization"), ("gamma_quadratic", "score_function"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "which"), QUICK)
def test_some_pairs(where, which):
    assert complaints(where, which) == ""


@pytest.mark.prove
@pytest.mark.parametrize("where", OBJECTIVES)
def test_every_pair(where):
    names = [which for which in ESTIMATORS if fits(objective(where), estimator(which))]
    seen: Counter[str] = Counter()
    found = {which: complaints(where, which, seen) for which in names}
    print(f"{where}: {dict(seen)}")
    assert {which: said for which, said in found.items() if said} == {}
    assert seen["tables"] == len(names) * (where not in WITHOUT_TABLES)
    assert seen["together"] >= 0.8 * len(names) * (where not in ONE_BY_ONE)


def noise_with(blocks: int = 1, steps: int = 2**23) -> type[Noise]:
    """Return noise that so many neighbouring blocks share, on a grid of so many steps."""

    class Faulty(Noise):
        def child(self, *path):
            return Faulty(self.seed, *self.path, *path[:-1], path[-1] // blocks, dtype=self.dtype)

        def _fill(self, shape):
            return super()._fill(shape).mul_(steps).floor_().add_(0.5).div_(steps)

    return Faulty


def costs(change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    def changed(known: Any) -> Objective:
        new = (replace(each, cost=change(each.cost)) for each in known.tables)
        return replace(known, tables=tuple(new))

    return {"tables": changed}


def one_entry(factor: float) -> dict[str, Any]:
    return costs(lambda cost: torch.cat((factor * cost[:, :1], cost[:, 1:]), 1))


BITS, SMOOTH = ("golden_bits", "leave_one_out"), ("normal_quadratic", "reparameterization")
SHORT, SHIFTED = {"rows": lambda x: 0.9 * x}, {"rows": lambda x: x + 0.2 * x.std(0)}
LOUDER = {"rows": lambda x: x + 0.5 * x.std(0) * Noise(83).normal(*x.shape)}
PLANTED = [
    (BITS, one_entry(1.5), "means differ"),
    (BITS, one_entry(1 + 1e-9), "exact moments differ"),
    (BITS, costs(lambda cost: cost.roll(1, -1)), "means differ"),
    *((pair, {"noise": noise_with(BLOCKS)}, "block means") for pair in (BITS, SMOOTH)),
    *((pair, {"noise": noise_with(2)}, "neighbouring blocks") for pair in (BITS, SMOOTH)),
    (SMOOTH, {"noise": noise_with(steps=2**8)}, "repeated values"),
    *((pair, SHORT, "differ") for pair in QUICK),
    *((pair, SHIFTED, "means differ") for pair in QUICK),
    *((pair, LOUDER, "trace variances differ") for pair in QUICK),
]


@pytest.mark.parametrize(("pair", "fault", "said"), PLANTED)
def test_a_planted_fault_is_seen(pair, fault, said):
    assert said in complaints(*pair, **fault)
