"""``assert_variance_at_most``: a variance against a number or another estimator's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from scipy import stats

from benchbed.analysis.advice import rounded_up
from benchbed.analysis.intervals import Interval
from benchbed.analysis.sheet import worded
from benchbed.analysis.summary import summarize
from benchbed.analysis.tails import variance_is_uncertain
from benchbed.analysis.variance_ratio import (
    LogEstimate,
    exceeds,
    falls_short,
    log_of,
    over_tunings,
    paired_ratio,
    ratio,
)
from benchbed.api import EstimatorLike, ObjectiveLike
from benchbed.arguments import finite_number
from benchbed.errors import BadArgument
from benchbed.records import Blocks
from benchbed.testing._given import (
    Case,
    built,
    check_finite,
    most_draws,
    one_case,
    share,
)
from benchbed.testing._wording import of_seeds

LOOKS = 2  # at the data, each with its share of the false alarms
MOST_GROWTH = 16  # times the draws, for the second look
SPARE = 1.3  # times the draws that the first look says are needed
TUNINGS = 8  # of an estimator that tunes, for each look: the next tuning is another estimator


class Look(NamedTuple):
    """What one look saw.

    Attributes:
        found: log of the variance, or of the ratio to the other estimator's, over the limit.
        draws: behind it, of each estimator.
        tails: whether a variance may have no standard error.
        shown: what was measured, with intervals, in words.
    """

    found: LogEstimate
    draws: int
    tails: bool
    shown: str


def assert_variance_at_most(
    estimator: EstimatorLike,
    objective: ObjectiveLike,
    limit: float | EstimatorLike,
    *,
    samples: int | None = None,
    draws: int = 65_536,
    seed: int = 0,
    false_alarm: float = 0.01,
    margin: float = 1.10,
    max_draws: int | None = None,
) -> None:
    """Fail unless the variance of ``estimator`` is shown to be at most ``margin`` times ``limit``.

    The variance is the trace of the covariance of ONE estimate. With r its ratio to ``limit``:

    - r <= 1: it is called too large on at most the share ``false_alarm`` of seeds;
    - r >= ``margin``: it passes on at most the share ``false_alarm`` of seeds;
    - in between: it may pass or fail, and both are right.

    Whether one of the two can be said is looked at twice, each time at half of ``false_alarm``:
    with ``draws``, and if that decides nothing, on fresh noise with as many as the first look's
    standard error asks for, up to ``max_draws``. Both tests are one-sided t tests of jackknife
    pseudo-values of the logarithm, over 64 blocks; they hold for variances that have a standard
    error, which is asked first.

    Args:
        estimator: a name, ``{"name": ..., settings}``, an Estimator, or a draw function
            ``(objective, params, draws, noise) -> [draws, *params.shape]``. One that tunes is tuned
            8 times in each look and errors are over tunings.
        objective: a name, a mapping, or an Objective.
        limit: a variance, or an estimator in any of these forms: both are then drawn from the same
            noise and compared block by block.
        samples: z in one estimate, of both; None for each estimator's own default.
        draws: independent estimates in the first look.
        seed: fixes every number; the same seed gives the same outcome.
        false_alarm: see above.
        margin: how far above the limit a pass may be, as a factor above 1.
        max_draws: of the second look; None for 16 times ``draws``.

    Raises:
        AssertionError: the variance is above the limit; or ``undecided``, where ``max_draws``
            cannot tell the limit from ``margin`` times it, or where the tails are so heavy that
            a variance has no standard error. The second says that nothing is known.
        BenchbedError: a name, setting, limit or pair that cannot work.
    """
    __tracebackhide__ = True
    share("false_alarm", false_alarm, 0.5)
    factor = finite_number("assert_variance_at_most", "margin", margin)
    if factor <= 1:
        raise BadArgument(f"margin must be above 1, got {margin!r}; such as 1.10")
    most = most_draws(draws, max_draws, MOST_GROWTH)
    case = one_case(estimator, objective, samples)
    look = _looker(case, limit, samples, seed)
    level = false_alarm / LOOKS
    first = seen = look(draws, "first look")
    decided = _decided(first, factor, level)
    if decided is None:
        many = min(most, max(2 * draws, rounded_up(SPARE * _needed(first, factor, level))))
        if many > draws:
            seen = look(many, "second look")
            decided = _decided(seen, factor, level)
    if decided is True:
        return
    if decided is False:
        raise AssertionError(
            f"{case.estimator.name} on {case.name}: {seen.shown}\n"
            + of_seeds(false_alarm, seed, "An estimator within the limit fails")
        )
    if seen.tails:
        why = "rare events hold so much of the variance that it has no standard error"
        raise AssertionError(
            f"undecided: tails: {case.estimator.name} on {case.name}: {why} in {seen.draws:,} "
            f"draws; pass draws={rounded_up(4 * seen.draws)} or take an objective without them"
        )
    raise AssertionError(
        f"undecided: {case.estimator.name} on {case.name}: {seen.shown}; {seen.draws:,} draws "
        f"cannot tell that from {factor:g} times the limit; "
        f"pass draws={rounded_up(SPARE * _needed(seen, factor, level))}"
    )


def _decided(look: Look, margin: float, level: float) -> bool | None:
    """Return True for a pass, False for a fail, None where neither is shown."""
    if look.tails:
        return None
    if exceeds(look.found, 1.0) <= level:
        return False
    return True if falls_short(look.found, margin) <= level else None


def _needed(look: Look, margin: float, level: float) -> float:
    """Return the draws with which one of the two tests must reject, whatever the variance is."""
    if look.tails:
        return 4.0 * look.draws
    reach = 2 * float(stats.t.isf(level, look.found.freedom)) * look.found.error
    return look.draws * (reach / math.log(margin)) ** 2


def _looker(
    case: Case, limit: float | EstimatorLike, samples: int | None, seed: int
) -> Callable[[int, str], Look]:
    """Return the function that looks at so many draws, under an address of its own."""
    if isinstance(limit, (int, float)):
        bound = finite_number("assert_variance_at_most", "limit", limit)
        if bound < 0:
            raise BadArgument(f"limit must be 0 or more, got {limit!r}: a variance is")
        return lambda draws, name: _against_number(_drawn(case, draws, seed, name), bound)
    other = one_case(built(limit, samples), case.objective, None)
    return lambda draws, name: _against_other(
        _drawn(case, draws, seed, name), _drawn(other, draws, seed, name), other.estimator.name
    )


def _drawn(case: Case, draws: int, seed: int, name: str) -> list[Blocks]:
    """Return the blocks of each tuning; of one, where there is nothing to tune."""
    tunings = 1 if case.estimator.tune is None else TUNINGS
    parts = []
    for number in range(tunings):
        names = (name,) if tunings == 1 else (name, str(number))
        parts.append(case.measure(max(1, draws // tunings), seed, *names).blocks)
        check_finite(case, parts[-1])
    return parts


def _against_number(parts: Sequence[Blocks], bound: float) -> Look:
    draws, tails = _facts(parts)
    if _is_zero(parts):
        return Look(_sure(-math.inf), draws, False, "its variance is 0")
    found = _log_variance(parts)
    shown = f"its variance is {_numbers(found)}, and the limit {bound:.6g}"
    if bound == 0:
        return Look(_sure(math.inf), draws, tails, shown)
    return Look(found._replace(value=found.value - math.log(bound)), draws, tails, shown)


def _against_other(new: Sequence[Blocks], old: Sequence[Blocks], name: str) -> Look:
    draws, tails = _facts(new)
    tails = tails or _facts(old)[1]
    if _is_zero(new):
        return Look(_sure(-math.inf), draws, False, "its variance is 0")
    if _is_zero(old):
        shown = f"its variance is {_numbers(_log_variance(new))}, and that of {name} 0"
        return Look(_sure(math.inf), draws, tails, shown)
    paired = len(new) == len(old) == 1
    found = (
        paired_ratio(new[0], old[0]) if paired else ratio(_log_variance(new), _log_variance(old))
    )
    shown = (
        f"its variance is {_numbers(found)} times that of {name} "
        f"({_numbers(_log_variance(new))} against {_numbers(_log_variance(old))})"
    )
    return Look(found, draws, tails, shown)


def _facts(parts: Sequence[Blocks]) -> tuple[int, bool]:
    draws = sum(int(blocks.count.sum()) for blocks in parts)
    return draws, any(variance_is_uncertain(blocks) for blocks in parts)


def _is_zero(parts: Sequence[Blocks]) -> bool:
    return all(summarize(blocks).zero for blocks in parts)


def _log_variance(parts: Sequence[Blocks]) -> LogEstimate:
    return log_of(parts[0]) if len(parts) == 1 else over_tunings(parts)


def _sure(value: float) -> LogEstimate:
    return LogEstimate(value, 0.0, math.inf)


def _numbers(found: LogEstimate) -> str:
    interval: Interval = found.interval(0.95)
    return worded(interval)
