"""Every estimator that says ``unbiased``, on every objective it can meet, by the one bias test.

The chance that any correct estimator fails here is about 0.005 (analysis/bias.py); each pass
prints the smallest shrink of the gradient that would have shown. ``make prove`` runs the same
cells on more draws. Run with ``pytest -rP`` to read the lines.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from bias_cases import SEED, judged
from panel import OBJECTIVES, blocks_of, estimator, fresh_blocks, objective, pairs, ready
from scipy import integrate
from torch import Tensor

from benchbed.analysis.bias import predicted_power, visible_shrink
from benchbed.analysis.summary import summarize
from benchbed.analysis.verdict import SHRINK, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Path
from benchbed.families.categorical import softmax_vjp
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise

UNBIASED = [(where, which) for where, which in pairs() if estimator(which).unbiased is True]
FAMILY_OF = {name: objective(name).family.name for name in OBJECTIVES}
# The quick tier leaves other continuations of the same corners, and most of the decoder's share,
# to ``make prove``: an unbiased estimator sees J at the corners, and items take one path.
LEFT_TO_PROVE = ("multilinear", "cubic", "untrained")
ON_DIGITS = ("score_function", "leave_one_out", "disarm", "rebar", "local_expectation", "muprop")
QUICK = [
    (where, which)
    for where, which in UNBIASED
    if not where.endswith(LEFT_TO_PROVE) and ("digits" not in where or which in ON_DIGITS)
]


def draws_for(where: str, family: str) -> int:
    """Fewer draws where one costs a decoder; more on the laws of few variables and heavy tails."""
    if "digits" in where:
        return 32_768
    return 65_536 if family in ("bernoulli", "categorical", "normal") else 524_288


@pytest.mark.parametrize("family", sorted(set(FAMILY_OF.values())))
def test_every_unbiased_estimator_on_every_objective(family):
    verdicts = judged(
        {pair: draws_for(pair[0], family) for pair in QUICK if FAMILY_OF[pair[0]] == family}
    )
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict.one_line()}")
    wrong = {name: verdict for name, verdict in verdicts.items() if verdict.outcome == "biased"}
    assert not wrong
    # A cell that could not have seen 5 % shows nothing, and says so.
    for verdict in verdicts.values():
        assert (verdict.outcome == "unbiased") <= (verdict.visible <= SHRINK)
    shown = sum(verdict.outcome == "unbiased" for verdict in verdicts.values())
    assert shown >= 0.7 * len(verdicts)


# Where a shrink of 5 % shows on the fewest draws, tried in this order.
SHOWING = ("golden_bits", "smooth", "table", "normal_quadratic", "normal_cosine", "coupled")


@pytest.mark.parametrize("which", sorted({which for _, which in UNBIASED}))
def test_a_five_percent_shrink_is_caught_somewhere(which):
    """For each estimator: an objective with predicted power >= 0.99, and the shrink seen there."""
    others = tuple(where for where, name in UNBIASED if name == which and where not in SHOWING)
    places = [where for where in (*SHOWING, *others) if (where, which) in UNBIASED]
    for draws, where in itertools.product((8_192, 65_536, 524_288), places):
        blocks = blocks_of(objective(where), ready(where, which), draws, SEED)
        power = predicted_power(blocks, SHRINK, 0.1)
        # Without any variance, as where a control variate is exact, nothing is tested.
        if power >= 0.99 and (which == "exact" or not summarize(blocks).zero):
            break
    else:
        pytest.fail(f"no objective shows a 5 % shrink of {which}")
    verdict = next(iter(judged({(where, which): draws}, shrink=SHRINK).values()))
    print(f"{which} on {where}, {draws:,} draws: power {power:.4f}, {verdict.one_line()}")
    assert verdict.outcome == "biased"
    # `exact` has no variance: its interval is as narrow as float32 rounding.
    assert verdict.bias.low * 0.98 < SHRINK < verdict.bias.high * 1.02


# Estimators that promise no unbiasedness are held against their OWN mean, found without sampling.


@pytest.mark.parametrize("shrink", [0.0, SHRINK])
@pytest.mark.parametrize("which", ["straight_through", "reinmax"])
@pytest.mark.parametrize("where", ["golden_bits", "smooth"])
def test_straight_through_kinds_have_the_mean_that_marginalizing_them_gives(where, which, shrink):
    problem, method = objective(where), estimator(which)
    mean = torch.from_numpy(exact_moments(problem, method).mean).reshape(problem.params.shape)
    assert _verdict(replace(problem, gradient=lambda _: mean), method, shrink) == (
        "biased" if shrink else "unbiased"
    )


@pytest.mark.parametrize("shrink", [0.0, SHRINK])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("family", ["bernoulli", "categorical"])
def test_relaxed_kinds_have_the_mean_that_quadrature_gives(family, hard, temperature, shrink):
    """One uniform a bit: E[J'(y) y (1 - y) / tau] with y = sigma((logit + logit u) / tau)."""
    if family == "bernoulli":
        problem = build_objective("quadratic", dimensions=3, target=0.3, reduce="sum")
        logits = problem.params
    else:
        problem = build_objective(
            "polynomial", dimensions=2, categories=2, exponent=3, target=0.3, seed=1
        )
        logits = problem.params[:, 1] - problem.params[:, 0]
    means = torch.tensor([_relaxed_mean(float(x), hard, temperature, family) for x in logits])
    if family == "categorical":
        means = torch.stack((-means, means), -1)
    name = "straight_through_gumbel_softmax" if hard else "gumbel_softmax"
    method = build_estimator(name, samples=2, temperature=temperature)
    centred = replace(problem, gradient=lambda _: means.double())
    assert _verdict(centred, method, shrink) == ("biased" if shrink else "unbiased")


def _relaxed_mean(logit: float, hard: bool, temperature: float, family: str) -> float:
    def slope(y: float) -> float:
        if family == "bernoulli":
            return 2 * (y - 0.3)
        return 3 * abs(y - 0.3) * (y - 0.3) / 2  # mean over two variables

    def integrand(noise: float) -> float:  # logistic noise
        density = math.exp(-abs(noise)) / (1 + math.exp(-abs(noise))) ** 2
        y = 1 / (1 + math.exp(-(logit + noise) / temperature))
        at = float(logit + noise > 0) if hard else y
        return density * slope(at) * y * (1 - y) / temperature

    parts = [-40, -logit - 5, -logit, -logit + 5, 40]
    return sum(
        integrate.quad(integrand, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(parts)
    )


def _verdict(problem, method, shrink: float) -> str:
    if shrink:
        plain = method.draw
        method = replace(method, draw=lambda *given: (1 - shrink) * plain(*given))
    cells = {"cell": blocks_of(problem, method, 262_144, SEED)}
    found = judge(cells, lambda _: fresh_blocks(problem, method, 262_144, SEED))["cell"]
    return found.outcome


@pytest.mark.parametrize("where", ["golden_bits", "smooth"])
def test_rebar_with_the_wrong_conditional_derivative_is_caught(where):
    """Published code takes the conditional sample's derivative as 1; that REBAR is biased."""
    problem = objective(where)
    right = problem.family.conditional_path
    assert right is not None

    def wrong(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
        path = right(params, hard, temperature, noise)

        def as_if_one(slope: Tensor) -> Tensor:
            if problem.family.name == "bernoulli":
                return slope * path.soft * (1 - path.soft) / temperature
            return softmax_vjp(path.soft, slope) / temperature

        return Path(path.hard, path.soft, as_if_one)

    faulty = replace(problem, family=replace(problem.family, conditional_path=wrong))
    for subject, outcome in ((faulty, "biased"), (problem, "unbiased")):
        method = build_estimator("rebar", temperature=0.5)
        assert _verdict(subject, method, 0.0) == outcome


def test_a_baseline_that_holds_its_own_sample_is_caught():
    """Subtracting the mean of ALL costs shrinks the gradient by (K - 1) / K."""
    problem, method = objective("golden_bits"), build_estimator("leave_one_out", samples=8)
    assert _verdict(problem, method, shrink=1 / 8) == "biased"


def test_digits_vae_tells_leave_one_out_from_gumbel_softmax():
    problem = objective("digits_vae")
    cells = {
        name: blocks_of(problem, build_estimator(name), 65_536, SEED)
        for name in ("leave_one_out", "gumbel_softmax")
    }
    verdicts = judge(cells, lambda name: fresh_blocks(problem, build_estimator(name), 16_384, SEED))
    for name, verdict in verdicts.items():
        print(f"{name} on digits_vae: {verdict.one_line()}")
    assert verdicts["leave_one_out"].outcome == "unbiased"
    assert verdicts["gumbel_softmax"].outcome == "biased"
    assert verdicts["gumbel_softmax"].bias.low > 0.3


def test_insensitive_is_never_passed():
    """Too few draws to see 5 %: nothing was shown, whatever the p-value."""
    problem, method = objective("quadratic cubic"), build_estimator("score_function")
    blocks = blocks_of(problem, method, 2_048, SEED)
    assert visible_shrink(blocks, 0.1) > SHRINK
    verdict = judge({"cell": blocks}, lambda _: blocks)["cell"]
    assert verdict.outcome == "insensitive"
