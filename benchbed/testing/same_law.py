"""``assert_same_gradient_distribution``: is a fast rewrite the same law as its slow reference?"""

from __future__ import annotations

import math

import numpy as np
import torch

from benchbed.analysis.advice import rounded_up
from benchbed.api import EstimatorLike, ObjectiveLike
from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BadArgument
from benchbed.measurement.cell import chunk_draws
from benchbed.records import Array
from benchbed.rng import Noise
from benchbed.testing._given import Case, one_case, share
from benchbed.testing._two_samples import Difference, differences
from benchbed.testing._wording import of_seeds, place_of

PROJECTIONS = 16
MOST_COORDINATES = 128  # looked at one by one; of more, these and the projections
MOST_NUMBERS = 2**27  # of one estimator's draws, in memory together: 1 GiB


def assert_same_gradient_distribution(
    f: EstimatorLike,
    g: EstimatorLike,
    objective: ObjectiveLike,
    *,
    samples: int | None = None,
    draws: int = 131_072,
    seed: int = 0,
    false_alarm: float = 0.01,
    sensitivity: float = 0.03,
) -> None:
    """Fail if the estimates of ``f`` and ``g`` do not have one and the same distribution.

    For a fast rewrite and a slow reference. Both are drawn in float64 from noise of their own,
    independent of each other, so they may use it in any order and amount. Held against each other
    are, for every coordinate, for 16 random projections (where a wrong correlation shows) and for
    the length of the estimate: the mean and the second moment about the pooled mean (Welch's t),
    the distribution (Kolmogorov-Smirnov), the mass beyond quantiles far out, and the frequency of
    single values (both hypergeometric, so ties and discrete estimates are no obstacle). Values
    closer than 1e-9 standard deviations are one value: rewrites differ in their rounding.

    131,072 draws show a scale off by 3 % or a branch taken in 1 % of draws unless the tails are
    heavy. Whether they do here is tried, not assumed: the same tests are run on ``g`` scaled by
    1 + ``sensitivity`` and must see it, or the outcome is ``undecided``.

    Args:
        f: a name, ``{"name": ..., settings}``, an Estimator, or a draw function
            ``(objective, params, draws, noise) -> [draws, *params.shape]``, with independent rows.
        g: likewise. Estimators that tune are tuned first, both on the same noise; if they use it
            differently, hand over tuned ones.
        objective: a name, a mapping, or an Objective.
        samples: z in one estimate, of both; None for each estimator's own default.
        draws: of each estimator.
        seed: fixes every number; the same seed gives the same outcome.
        false_alarm: two estimators of one law fail on at most this share of seeds (Bonferroni over
            all the tests; exchanging f and g changes nothing under one law, so that the t tests'
            statistics are symmetric however skewed the draws).
        sensitivity: the scale that must have been visible, as a share; 0 to ask for nothing.

    Raises:
        AssertionError: they differ; the message names what, where and by how much. Or
            ``undecided``, which says that nothing is known.
        BenchbedError: a name, setting or pair that cannot work, or too many draws to hold.
    """
    __tracebackhide__ = True
    share("false_alarm", false_alarm)
    if sensitivity:
        share("sensitivity", sensitivity)
    at_least("assert_same_gradient_distribution", "draws", draws, 100)
    first = one_case(f, objective, samples)
    second = one_case(g, first.objective, samples)._replace(name=first.name)
    mine, theirs = _draws(first, draws, seed, "first"), _draws(second, draws, seed, "second")
    names = _names(first.objective)
    directions = np.random.default_rng(seed).standard_normal((PROJECTIONS, mine.shape[1]))
    found = differences(mine, theirs, directions, names)
    level = false_alarm / max(1, found.tests)
    shown = [each for each in found.largest if each.p <= level]
    one, other = first.estimator.name, second.estimator.name
    if one == other:
        one, other = f"{one} (f)", f"{other} (g)"
    if shown:
        lines = [
            f"{one} and {other} do not have the same distribution on {first.name}, "
            f"{draws:,} draws of each:",
            *(f"  {each.worded(one, other, level)}" for each in shown),
            of_seeds(false_alarm, seed, "Two estimators of one distribution fail"),
        ]
        raise AssertionError("\n".join(lines))
    if sensitivity and np.any(theirs):
        planted = differences(mine, (1 + sensitivity) * theirs, directions, names)
        if not _seen(planted.largest, level):
            raise AssertionError(
                f"undecided: {one} and {other} show no difference on {first.name}, but {draws:,} "
                f"draws would not have shown {other} scaled by {1 + sensitivity:g} either; "
                f"pass draws={rounded_up(4 * draws)}, or another sensitivity="
            )


def _seen(found: list[Difference], level: float) -> bool:
    return any(each.p <= level for each in found)


def _draws(case: Case, draws: int, seed: int, which: str) -> Array:
    """Return [draws, parameters] estimates in float64."""
    problem, method = case.objective, case.estimator
    if draws * problem.params.numel() > MOST_NUMBERS:
        most = MOST_NUMBERS // problem.params.numel()
        raise BadArgument(
            f"{draws:,} draws of {problem.params.numel():,} parameters do not fit into memory; "
            f"pass draws={most} or fewer, or a smaller objective"
        )
    params = problem.params.double()
    with torch.no_grad():
        if method.tune is not None:
            method = method.tune(problem, params, Noise(seed, "same", "tune", dtype=torch.float64))
        noise = Noise(seed, "same", which, dtype=torch.float64)
        chunk = chunk_draws(problem, method)
        parts = [
            _checked(method, problem, params, min(chunk, draws - start), noise)
            for start in range(0, draws, chunk)
        ]
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        lost = int((~np.isfinite(found).all(1)).sum())
        raise AssertionError(
            f"{method.name} on {case.name}: {lost:,} of {draws:,} draws were NaN or infinite"
        )
    return found


def _checked(
    method: Estimator, problem: Objective, params: torch.Tensor, count: int, noise: Noise
) -> Array:
    gradients = method.draw(problem, params, count, noise)
    wanted = (count, *params.shape)
    if not isinstance(gradients, torch.Tensor) or tuple(gradients.shape) != wanted:
        got = list(gradients.shape) if isinstance(gradients, torch.Tensor) else type(gradients)
        raise BadArgument(
            f"{method.name} returned {got} for {count} draws of params {list(params.shape)}; its "
            f"draw must return {list(wanted)}, one row per estimate"
        )
    flat: Array = gradients.detach().cpu().double().reshape(count, -1).numpy()
    return flat


def _names(problem: Objective) -> list[str]:
    """Return the names of the coordinates that are looked at one by one."""
    count = min(MOST_COORDINATES, math.prod(problem.params.shape))
    plain = problem if problem.jacobian is None and problem.pull is None else None
    if plain is None:  # draws here are of the parameters, before any network
        return [f"parameter {number}" for number in range(count)]
    return [place_of(problem, number) for number in range(count)]
