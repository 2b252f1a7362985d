"""Maxima of many variables and the Gumbel law they tend to: rows SA3, SA6 and SA7, S appendix A.

Numbers N of variables go up to exp(1e12), so n stands for log N wherever the convergence is
logarithmic, and chances of being exceeded are kept as logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import betainc, log_ndtr
from scipy.stats import gamma, norm

from benchbed.facts.fact import Fact, Limit

Array = NDArray[np.float64]
LogTail = Callable[[Array | float], Array | float]  # x -> log Pr(X > x)
POINTS = np.linspace(-1.2, 3.0, 8)
COUNTS = (1, 3, 12, 30)  # N, small enough for N + 1 coupled equations
RATE = 1.7  # lambda
CONSTANTS = np.array([0.3, 1.0, 2.5])  # c
LOG2 = math.log(2)


def _gumbel_cdf() -> Array:
    return np.exp(-np.exp(-POINTS))


def _by_decay(count: int) -> Array:
    """Return Pr(lambda max X_i - log N <= x) from who is left, one failure after another.

    Of N exponential lifetimes k are left for a time Exp(k lambda): a Markov chain in continuous
    time that goes N -> N - 1 -> ... -> 0, and the largest is over when it is at 0.
    """
    leave = RATE * np.arange(count, -1, -1)
    generator = np.diag(-leave) + np.diag(leave[:-1], 1)
    times = (POINTS + math.log(count)) / RATE
    return np.array([expm(generator * t)[0, -1] if t > 0 else 0.0 for t in times])


def _printed(count: int) -> Array:
    return np.clip(1 - np.exp(-POINTS) / count, 0, None) ** count


def _by_order(count: float, times: Array | float) -> Array:
    """Return Pr(max X_i <= time) for exponentials: the largest of N uniforms is Beta(N, 1)."""
    found: Array = betainc(count, 1.0, -np.expm1(-RATE * np.asarray(times)))
    return found


def _log_normal_tail(x: Array | float) -> Array | float:
    found: Array | float = log_ndtr(-np.asarray(x))
    return found


def _log_gamma_tail(x: Array | float) -> Array | float:
    """Return log Pr(X > x) for Gamma(3, 1): a Poisson count at most 2."""
    x = np.asarray(x)
    found: Array = np.log1p(x + x * x / 2) - x
    return found


def _where(log_tail: LogTail, target: float) -> float:
    """Return the x with log Pr(X > x) = target."""
    found: float = brentq(
        lambda x: float(log_tail(x)) - target, 0.0, 2 - 2 * target, xtol=1e-12, rtol=1e-15
    )
    return found


def _median(log_tail: LogTail, log_count: float) -> float:
    """Return the median of the largest of N: Pr(X > m) = 1 - 2^(-1/N)."""
    small = LOG2 * math.exp(-log_count)
    log_chance = math.log(-math.expm1(-small)) if small > 1e-300 else math.log(LOG2) - log_count
    return _where(log_tail, log_chance)


def _largest(log_tail: LogTail, log_count: float, scale: Callable[[float], float]) -> Array:
    """Return Pr(max X_i <= b + x scale(b)) = F^N, Pr(X > b) = 1/N, for N beyond 1e20.

    There log F = -Pr(X > .) to the last digit.
    """
    b = _where(log_tail, -log_count)
    return np.exp(-np.exp(log_count + log_tail(b + POINTS * scale(b))))


def _power(log_tail: LogTail, log_count: float) -> float:
    """Return p of a median growing like (log N)^p, read off between log N = n and n^2."""
    low, high = (_median(log_tail, size) for size in (log_count, log_count**2))
    return math.log(high / low) / math.log(log_count)


def _small_medians() -> Array:
    logs = [math.log(count) for count in (2, 10, 1000, 10**6)]
    return np.array(
        [[_median(tail, n) for n in logs] for tail in (_log_normal_tail, _log_gamma_tail)]
    )


FACTS: tuple[Fact | Limit, ...] = (
    Fact(
        row="SA3",
        name="largest of N exponentials",
        statement="Pr(lambda max X_i - log N <= x) = (1 - exp(-x)/N)^N",
        place="S appendix A, CDF of Z_N^max",
        left=lambda: np.array([_by_decay(count) for count in COUNTS]),
        right=lambda: np.array([_printed(count) for count in COUNTS]),
    ),
    Limit(
        row="SA3",
        name="largest of many exponentials",
        statement="Pr(lambda max X_i - log N <= x) -> exp(-exp(-x)) like 1/N, n = N",
        place="S appendix A, CDF of Z_N^max",
        at=(1e2, 1e3, 1e4, 1e5),
        left=lambda n: _by_order(n, (POINTS + math.log(n)) / RATE),
        right=_gumbel_cdf,
        rate=1.0,
    ),
    Limit(
        row="SA3",
        name="a 50/50 chance",
        statement="Pr(max X_i <= (log N - log log 2)/lambda) -> 1/2 like 1/N, n = N",
        place="S appendix A, after the limit of maxima",
        at=(1e2, 1e3, 1e4, 1e5),
        left=lambda n: _by_order(n, (math.log(n) - math.log(LOG2)) / RATE),
        right=lambda: 0.5,
        rate=1.0,
    ),
    Limit(
        row="SA6",
        name="compound interest",
        statement="(1 - c/N)^N -> exp(-c) like 1/N, n = N",
        place="S appendix A.1, lemma A.2",
        at=(1e2, 1e3, 1e4, 1e5),
        left=lambda n: (1 - CONSTANTS / n) ** n,
        right=lambda: np.exp(-CONSTANTS),
        rate=1.0,
    ),
    Limit(
        row="SA6",
        name="compound interest from both sides",
        statement="(1 + e c)^(-1/e) -> exp(-c) for e = -1/n and, as the proof says, for e = 1/n",
        place="S appendix A.1, lemma A.2",
        at=(1e2, 1e3, 1e4, 1e5),
        left=lambda n: np.array([(1 + e * CONSTANTS) ** (-1 / e) for e in (-1 / n, 1 / n)]),
        right=lambda: np.array([np.exp(-CONSTANTS)] * 2),
        rate=1.0,
    ),
    Limit(
        row="SA6",
        name="what compound interest lacks",
        statement="N (1 - exp(c) (1 - c/N)^N) -> c^2/2 like 1/N, n = N",
        place="S appendix A.1, lemma A.2",
        at=(1e2, 1e3, 1e4, 1e5),
        left=lambda n: -n * np.expm1(n * np.log1p(-CONSTANTS / n) + CONSTANTS),
        right=lambda: CONSTANTS**2 / 2,
        rate=1.0,
    ),
    Fact(
        row="SA7",
        name="median of the largest of N",
        statement="m with F(m)^N = 1/2 = the 2^(-1/N) quantile; for Normals and for Gamma(3)",
        place="S appendix A, after the limit of maxima",
        left=_small_medians,
        right=lambda: np.array(
            [law.ppf(0.5 ** (1 / np.array([2.0, 10.0, 1e3, 1e6]))) for law in (norm, gamma(3))]
        ),
        bound=1e-9,
    ),
    Limit(
        row="SA7",
        name="largest of many Normals",
        statement="Pr(max X_i <= b + x/b) -> exp(-exp(-x)), Pr(X > b) = 1/N; n = log N",
        place="S appendix A, after the limit of maxima",
        at=(1e2, 1e3, 1e4),
        left=lambda n: _largest(_log_normal_tail, n, lambda b: 1 / b),
        right=_gumbel_cdf,
        rate=1.0,
    ),
    Limit(
        row="SA7",
        name="largest of many Gamma(3)",
        statement="Pr(max X_i <= b + x) -> exp(-exp(-x)), Pr(X > b) = 1/N; n = log N",
        place="S appendix A, after the limit of maxima",
        at=(1e3, 1e4, 1e5),
        left=lambda n: _largest(_log_gamma_tail, n, lambda _: 1.0),
        right=_gumbel_cdf,
        rate=1.0,
    ),
    Limit(
        row="SA7",
        name="growth of the median, Normal",
        statement="median of max X_i grows like (log N)^(1/2): its power between log N = n and n^2",
        place="S appendix A, after the limit of maxima",
        at=(1e3, 1e4, 1e5, 1e6),
        left=lambda n: _power(_log_normal_tail, n),
        right=lambda: 0.5,
        rate=1.0,
    ),
    Limit(
        row="SA7",
        name="growth of the median, Gamma(3)",
        statement="median of max X_i grows like log N: its power between log N = n and n^2",
        place="S appendix A, after the limit of maxima",
        at=(1e3, 1e4, 1e5, 1e6),
        left=lambda n: _power(_log_gamma_tail, n),
        right=lambda: 1.0,
        rate=1.0,
    ),
)
