"""Every estimator's speed, one thread: against its own random numbers and against score_function.

Three times alternate in one process: the estimator's draws, the drawing of as many uniforms as it
took, and score_function on the same objective. ``make prove`` writes results/proof/speed.md.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from benchbed.catalogue import ESTIMATORS, build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.measurement.cell import chunk_draws
from benchbed.rng import Noise
from benchbed.store.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 40  # times score_function's time for each evaluation of J

JOBS = {
    "categorical, d = 8, K = 10": {"name": "smooth", "dimensions": 8, "categories": 10},
    "Bernoulli, d = 20": {"name": "coupled", "dimensions": 20},
    "normal, d = 8": {"name": "normal_quadratic", "dimensions": 8},
}
# Laws that the three above are not: timed for those alone that fit none of the three.
OTHER_JOBS = {
    "gamma, d = 8": {"name": "gamma_quadratic", "dimensions": 8},
    "quantized, 8 vectors": {"name": "quantized", "dimensions": 8, "codes": 2},
    "3 bits, 2 particles": {"name": "iwae"},
    "normal, 2 particles": {"name": "iwae", "latents": "normal"},
}
# Whoever passes the limit says here why.
SLOW: dict[str, str] = {}


@dataclass(frozen=True)
class Speed:
    """Medians over alternations."""

    per_second: float  # gradients
    noise_ratio: float  # time / time of drawing its own random numbers; NaN without any
    slowdown: float  # time for each evaluation of J / score_function's


def measured(problem: Objective, method: Estimator, rounds: int = 5) -> Speed:
    params = problem.params.float()
    if method.tune:
        method = method.tune(problem, params, Noise(81, "tune"))
    plain = build_estimator("score_function")
    counter = Noise(81, "count")
    chunk = chunk_draws(problem, method)
    method.draw(problem, params, chunk, counter)
    numbers = counter.drawn // chunk
    base = chunk_draws(problem, plain)
    rates, ratios, slowdowns = [], [], []
    for number in range(rounds):
        noise = Noise(81, number)
        own = _seconds(lambda noise=noise: method.draw(problem, params, chunk, noise)) / chunk
        reference = _seconds(lambda noise=noise: plain.draw(problem, params, base, noise)) / base
        rates.append(1 / own)
        slowdowns.append(own / reference / max(method.evaluations_on(problem), 1))
        if numbers:
            drawing = _seconds(lambda noise=noise: noise.uniform(chunk, numbers)) / chunk
            ratios.append(own / drawing)
    noise_ratio = statistics.median(ratios) if ratios else float("nan")
    return Speed(statistics.median(rates), noise_ratio, statistics.median(slowdowns))


def _seconds(work) -> float:
    """Return the time of one call: the least of three, since other work only ever adds to it."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def jobs_of(method: Estimator) -> list[str]:
    """Return where an estimator is timed."""
    places = [name for name in JOBS if not obstacle(build_objective(**JOBS[name]), method)]
    others = [n for n in OTHER_JOBS if not obstacle(build_objective(**OTHER_JOBS[n]), method)]
    return places or others


def speed(where: str, name: str, rounds: int) -> Speed:
    torch.set_num_threads(1)
    with torch.no_grad():
        problem = build_objective(**(JOBS | OTHER_JOBS)[where])
        return measured(problem, build_estimator(name), rounds)


NAMES = [name for name in ESTIMATORS if name != "exact"]  # marginalizes once for all draws


@pytest.mark.parametrize("name", NAMES)
def test_none_is_slow_without_a_reason(name):
    """No more than 40 times score_function's time for each evaluation of J."""
    places = jobs_of(build_estimator(name))
    assert places
    found = {where: speed(where, name, rounds=1) for where in places}
    worst = max(found, key=lambda where: found[where].slowdown)
    print(f"{name}: {found[worst].slowdown:.1f} on {worst}")
    assert found[worst].slowdown <= LIMIT or name in SLOW
    if name in SLOW:
        assert found[worst].slowdown > LIMIT / 4, f"{name} needs no excuse any more"


@pytest.mark.prove
def test_write_the_table():
    surroundings = provenance()
    lines = [
        "# How fast is each estimator?",
        "",
        f"Commit {str(surroundings['commit'])[:12]}"
        f"{' and uncommitted changes' if surroundings['dirty'] else ''}, "
        f"{surroundings['processor']}, one thread, float32. Made by `make prove`.",
        "",
        "Default settings, tuned where there is something to tune. `x noise` is the time of an "
        "estimate over the time of drawing as many uniforms as it took; `x score` its time over "
        "score_function's on the same objective, for each evaluation of J. Medians of seven "
        "alternations in one process.",
        "",
        "| estimator | objective | gradients/s | J evaluations | x noise | x score | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        method = build_estimator(name)
        for where in jobs_of(method):
            problem = build_objective(**(JOBS | OTHER_JOBS)[where])
            found = speed(where, name, rounds=7)
            assert found.slowdown <= LIMIT or name in SLOW
            ratio = "-" if found.noise_ratio != found.noise_ratio else f"{found.noise_ratio:.3g}"
            why = SLOW.get(name, "") if found.slowdown > LIMIT else ""
            lines.append(
                f"| {name} | {where} | {found.per_second:,.0f} | "
                f"{method.evaluations_on(problem):,} | {ratio} | {found.slowdown:.2g} | {why} |"
            )
    path = ROOT / "results" / "proof" / "speed.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
