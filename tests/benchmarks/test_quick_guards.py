"""Speed that must not be lost, with slack for a busy machine; test_prove_speed.py has the bars."""

from __future__ import annotations

import pytest
from jobs import OTHER_LAWS, SMOOTH, job
from measured import NAMES, HomeRow, against_home_made, places
from pairs import pairs, tuned
from sides import drawing
from stopwatch import alternated, geometric_mean

LIMIT = 40  # times score_function's time for each evaluation of J
LIMITED = (*SMOOTH, "Bernoulli, d = 20, coupled", "normal, d = 8")
# Whoever passes the limit says here why.
SLOW: dict[str, str] = {}

# Job -> least geometric mean of (time of the batched code people write) / (benchbed's).
GUARDED = {"Bernoulli, d = 20": 1.6, "categorical, d = 8, K = 10": 3.0}
VALUES = (2**17, 2**19)  # the batches that are best for most


@pytest.mark.parametrize("name", NAMES)
def test_none_is_slow_without_a_reason(name):
    """No more than 40 times score_function's time for each evaluation of J."""
    slowdowns = {}
    for title in places(name, LIMITED, OTHER_LAWS):
        where = job(title)
        method, plain = tuned(where, name), tuned(where, "score_function")
        works = {"own": drawing(where, method), "score": drawing(where, plain)}
        times = alternated(works, rounds=2, at_least=0.002)
        evaluations = max(method.evaluations_on(where.objective), 1)
        slowdowns[title] = min(times["own"]) / min(times["score"]) / evaluations
    assert slowdowns
    worst = max(slowdowns.values())
    assert worst <= LIMIT or name in SLOW, slowdowns
    if name in SLOW:
        assert worst > LIMIT / 4, f"{name} needs no excuse any more"


@pytest.mark.parametrize("title", GUARDED)
def test_batched_code_is_slower(title):
    """By a geometric mean as above, and not faster for any estimator."""
    where = job(title)
    found = [against_home_made(where, pair, 3, VALUES, only=("batched",)) for pair in pairs(where)]
    print("\n".join(f"{row.label}: {row.ratios['batched']}" for row in found))
    assert geometric_mean(best(found)) >= GUARDED[title]
    assert min(best(found)) >= 1


def best(rows: list[HomeRow]) -> list[float]:
    """Return the largest ratio of each: what others on the machine take hits either side."""
    return [row.ratios["batched"].most for row in rows]


@pytest.mark.parametrize("title", GUARDED)
def test_a_loop_of_backward_calls_is_a_hundred_times_slower(title):
    where = job(title)
    wanted = ("score_function", "straight_through_gumbel_softmax", "reinmax")
    found = [
        against_home_made(where, pair, 3, only=("loop",))
        for pair in pairs(where)
        if pair.label in wanted
    ]
    assert geometric_mean([row.ratios["loop"].median for row in found]) >= 100
