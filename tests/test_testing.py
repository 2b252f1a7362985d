"""Assertions for other people's suites: what they catch, what they say, how often they are wrong.

Every bound on a count of failures is binomial, exceeded by chance in one run of 10,000.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from benchbed import build_estimator, build_objective
from benchbed.contracts import Estimator, Objective, obstacle
from benchbed.errors import BadArgument, BrokenContract, IncompatiblePair, UnknownName
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise
from benchbed.testing import (
    assert_same_gradient_distribution,
    assert_unbiased,
    assert_variance_at_most,
)
from benchbed.testing._given import PANEL

COUPLED = {"name": "coupled", "dimensions": 4}
BITS = {"name": "quadratic", "dimensions": 4, "target": 0.3, "reduce": "sum"}
SEEDS = 200
LEVEL = 0.05


def changed(name: str, how: Callable[[Tensor], Tensor], **settings: Any) -> Estimator:
    """Return an estimator whose every estimate goes through ``how``."""
    method = build_estimator(name, **settings)
    return replace(method, name="changed", draw=lambda *given: how(method.draw(*given)))


def failures(run: Callable[[int], None], seeds: int = SEEDS) -> int:
    """Count the seeds on which an assertion fails."""
    count = 0
    for seed in range(seeds):
        try:
            run(seed)
        except AssertionError:
            count += 1
    return count


def most(seeds: int = SEEDS, level: float = LEVEL) -> int:
    return int(stats.binom.isf(1e-4, seeds, level))


def raises(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    raise ZeroDivisionError(objective, params, draws, noise)


def one_number(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
    return objective.exact_gradient()[:1] + 0 * noise.uniform(1) * params[0] * draws


class TestUnbiased:
    def test_a_correct_estimator_passes_wherever_it_fits(self):
        assert_unbiased("leave_one_out")
        assert_unbiased({"name": "disarm"}, BITS, samples=4)
        assert_unbiased(build_estimator("exact"), [BITS, "golden_bits"], draws=128)

    @pytest.mark.prove
    def test_every_objective_of_the_panel_shows_a_shrink_to_the_score_function(self):
        """Or nobody without a variance reduction could pass: it raises if one does not."""
        assert_unbiased("score_function", draws=524_288, max_draws=524_288)
        fitting = [
            entry
            for entry in PANEL
            if not obstacle(build_objective(**entry), build_estimator("score_function"))
        ]
        assert len(fitting) == len(PANEL)

    def test_a_shrink_is_found_and_named(self):
        with pytest.raises(AssertionError) as caught:
            assert_unbiased(changed("leave_one_out", lambda g: 0.95 * g), [BITS, "golden_bits"])
        lines = str(caught.value).splitlines()
        assert lines[0] == "changed is biased on 2 of the 2 objectives"
        share, low, high = map(
            float, re.findall(r"\|bias\| is ([\d.]+) % \[([\d.]+), ([\d.]+)\]", lines[1])[0]
        )
        assert low < 5 < high
        assert low < share < high
        assert "worst along the exact gradient, of which its mean is 0.9" in lines[1]
        assert lines[-1] == (
            "A correct estimator fails this test on at most 1 % of seeds; "
            "seed=0 gives this outcome every time."
        )

    def test_the_coordinate_that_is_off_is_named(self):
        def off(gradients: Tensor) -> Tensor:
            return gradients + torch.tensor([0.0, 0.0, 0.05, 0.0]).to(gradients)

        with pytest.raises(
            AssertionError, match=r"worst at params\[2\], where its mean is 0\.\d+ "
        ):
            assert_unbiased(changed("leave_one_out", off), BITS)

    def test_too_few_draws_are_followed_by_more(self):
        assert_unbiased("score_function", BITS, draws=2_048, max_draws=524_288)

    def test_where_they_end_nothing_passes_and_the_advice_works(self):
        with pytest.raises(AssertionError, match="undecided: no bias of score_function") as caught:
            assert_unbiased("score_function", BITS, draws=2_048, max_draws=4_096)
        (wanted,) = re.findall(r"pass draws=(\d+)", str(caught.value))
        assert_unbiased("score_function", BITS, draws=int(wanted), max_draws=int(wanted))

    def test_a_coarser_sensitivity_asks_for_less(self):
        assert_unbiased("score_function", BITS, draws=2_048, max_draws=2_048, sensitivity=0.9)

    def test_rare_events_do_not_pass(self):
        """One draw in 20,000 carries a quarter of the mean: 2,048 draws know nothing of it."""

        def rare(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
            exact = objective.exact_gradient().to(params).expand(draws, *params.shape)
            hit = noise.uniform(draws, 1) < 5e-5
            return torch.where(hit, 0.75 * exact + 0.25 * exact / 5e-5, 0.75 * exact)

        with pytest.raises(AssertionError, match=r"undecided.*\n.*events"):
            assert_unbiased(rare, BITS, draws=2_048, max_draws=2_048)

    def test_draws_that_are_not_finite_fail(self):
        broken = changed("leave_one_out", lambda g: torch.where(g > 0.3, torch.nan, g))
        with pytest.raises(AssertionError, match="draws were NaN or infinite"):
            assert_unbiased(broken, BITS, draws=2_048)

    def test_a_seed_gives_one_outcome(self):
        said = []
        for _ in range(2):
            with pytest.raises(AssertionError) as caught:
                assert_unbiased("reinmax", "golden_bits", seed=3)
            said.append(str(caught.value))
        assert said[0] == said[1]

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"estimator": "leave_one_ut"}, UnknownName, "did you mean 'leave_one_out'"),
            ({"objective": "normal_cosine", "estimator": "arm"}, IncompatiblePair, "arm cannot"),
            ({"false_alarm": 0}, BadArgument, "between 0 and 1"),
            ({"sensitivity": -1}, BadArgument, "sensitivity must lie"),
            ({"draws": 100}, BadArgument, "100 draws in 64 blocks"),
            ({"max_draws": 100}, BadArgument, "max_draws >= 65536"),
            ({"objective": []}, BadArgument, "empty list"),
            ({"estimator": raises}, BrokenContract, "ZeroDivisionError.*objective="),
        ],
        ids=lambda given: getattr(given, "__name__", None) or str(given)[:30].split("<")[0],
    )
    def test_what_cannot_work_is_said_in_one_line(self, arguments, error, match):
        with pytest.raises(error, match=match) as caught:
            assert_unbiased(**({"estimator": "leave_one_out", "objective": BITS} | arguments))
        assert "\n" not in str(caught.value)

    def test_a_correct_estimator_fails_no_more_often_than_stated(self):
        def run(seed: int) -> None:
            assert_unbiased(
                "leave_one_out", BITS, draws=2_048, seed=seed, false_alarm=LEVEL, sensitivity=0.5
            )

        assert failures(run) <= most()

    def test_a_wrong_one_fails_nearly_always(self):
        wrong = changed("leave_one_out", lambda g: 0.7 * g)

        def run(seed: int) -> None:
            assert_unbiased(wrong, BITS, draws=2_048, seed=seed, sensitivity=0.5)

        assert failures(run, 20) == 20


@functools.cache
def exact_variance() -> float:
    """Return the variance of one estimate of the score function, known without sampling."""
    found = exact_moments(build_objective(**BITS), build_estimator("score_function"))
    assert found is not None
    return float(found.variance.sum())


class TestVariance:
    def test_it_passes_within_the_limit_and_fails_above(self):
        exact = exact_variance()
        assert_variance_at_most("score_function", BITS, exact)
        with pytest.raises(AssertionError, match=r"its variance is [\d.]+ \[.*\], and the limit"):
            assert_variance_at_most("score_function", BITS, 0.97 * exact)

    def test_another_estimator_is_the_limit(self):
        assert_variance_at_most("disarm", BITS, "score_function")
        assert_variance_at_most("score_function", BITS, "score_function")
        with pytest.raises(AssertionError, match=r"times that of disarm \(.*\] against .*\]\)"):
            assert_variance_at_most("score_function", BITS, "disarm")

    def test_shared_noise_sees_a_difference_that_the_margin_hides(self):
        louder = changed("score_function", lambda g: 1.005 * g)
        with pytest.raises(AssertionError, match=r"variance is 1\.01 \(exact\) times"):
            assert_variance_at_most(louder, BITS, "score_function", draws=2_048)

    def test_too_few_draws_are_followed_by_more_and_then_by_advice(self):
        between = exact_variance() / 1.05  # neither above the limit nor past the margin for sure
        with pytest.raises(AssertionError, match="undecided: score_function") as caught:
            assert_variance_at_most("score_function", BITS, between, draws=256, max_draws=256)
        (wanted,) = re.findall(r"pass draws=(\d+)", str(caught.value))
        for first, last in ((256, None), (int(wanted), int(wanted))):
            with contextlib.suppress(AssertionError):  # it may pass or fail: both are right
                assert_variance_at_most(
                    "score_function", BITS, between, draws=first, max_draws=last
                )
                continue
            with pytest.raises(AssertionError, match=r"^score_function on .* and the limit"):
                assert_variance_at_most(
                    "score_function", BITS, between, draws=first, max_draws=last
                )

    def test_no_variance_is_below_every_limit(self):
        assert_variance_at_most("exact", BITS, 0)
        assert_variance_at_most("exact", BITS, "score_function")
        with pytest.raises(AssertionError, match="the limit 0"):
            assert_variance_at_most("score_function", BITS, 0)
        with pytest.raises(AssertionError, match="and that of exact 0"):
            assert_variance_at_most("score_function", BITS, "exact")

    def test_a_law_without_a_fourth_moment_is_not_decided(self):
        """Student's t with 3 degrees of freedom: its variance exists, no error of it does."""

        def student(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
            normal, chi = noise.normal(draws, 4), noise.normal(draws, 4, 3).square().sum(-1)
            return objective.exact_gradient().to(params) + normal / (chi / 3).sqrt()

        with pytest.raises(AssertionError, match=r"undecided: tails: student .* pass draws=\d+"):
            assert_variance_at_most(student, BITS, 1.0, max_draws=65_536)

    def test_an_estimator_that_tunes_is_tuned_again_and_again(self):
        tuned = {"name": "rebar", "eta": "tune", "temperature": "tune"}
        assert_variance_at_most(tuned, BITS, "score_function", draws=8_192)
        with pytest.raises(AssertionError, match="times that of disarm"):
            assert_variance_at_most(tuned, BITS, "disarm", draws=8_192)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"limit": -1.0}, "0 or more"),
            ({"limit": float("nan")}, "finite"),
            ({"margin": 1.0}, "above 1"),
            ({"false_alarm": 0.7}, "between 0 and 0.5"),
        ],
        ids=str,
    )
    def test_what_cannot_work_is_said_in_one_line(self, arguments, match):
        with pytest.raises(BadArgument, match=match):
            assert_variance_at_most(
                **({"estimator": "arm", "objective": BITS, "limit": 1.0} | arguments)
            )

    def test_a_variance_at_the_limit_fails_no_more_often_than_stated(self):
        def run(seed: int) -> None:
            assert_variance_at_most(
                "score_function",
                BITS,
                exact_variance(),
                draws=4_096,
                seed=seed,
                false_alarm=LEVEL,
            )

        assert failures(run) <= most()

    def test_a_variance_at_the_margin_passes_no_more_often_than_stated(self):
        """So few draws that it is undecided most of the time: with more it fails, rightly."""

        def run(seed: int) -> None:
            assert_variance_at_most(
                "score_function",
                BITS,
                exact_variance() / 1.10,
                draws=256,
                max_draws=256,
                seed=seed,
                false_alarm=LEVEL,
            )

        passed = SEEDS - failures(run)
        assert 0 < passed <= most()


def alike_but_for_a_rare_branch(method: Estimator, share: float) -> Estimator:
    """Plant a fault: the opposite sign, in a share of the draws."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        found = method.draw(objective, params, draws, noise)
        hit = noise.uniform(draws) < share
        return torch.where(hit[(...,) + (None,) * (found.ndim - 1)], -found, found)

    return replace(method, name="changed", draw=draw)


def of_two_samples(method: Estimator) -> Estimator:
    """Plant a fault: the same mean with half the noise."""
    return replace(
        method, name="changed", draw=lambda *given: (method.draw(*given) + method.draw(*given)) / 2
    )


def shared_out(method: Estimator) -> Estimator:
    """Plant a fault: every coordinate right by itself, and independent of the others."""

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        parts = [method.draw(objective, params, draws, noise)[:, [i]] for i in range(len(params))]
        return torch.cat(parts, 1)

    return replace(method, name="changed", draw=draw)


FAULTS: dict[str, Callable[[Estimator], Estimator]] = {
    "3 %": lambda m: replace(m, name="changed", draw=lambda *given: 1.03 * m.draw(*given)),
    "sign": lambda m: replace(m, name="changed", draw=lambda *given: -m.draw(*given)),
    "noise": of_two_samples,
    "correlation": shared_out,
    "a branch of 1 %": lambda m: alike_but_for_a_rare_branch(m, 0.01),
}
NORMAL = {"name": "normal_quadratic", "dimensions": 2, "scale": 0.7}


class TestSameDistribution:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize(
        ("name", "where"),
        [("score_function", BITS), ("gumbel_softmax", COUPLED), ("score_function", NORMAL)],
        ids=["discrete", "relaxed", "normal"],
    )
    def test_a_fault_is_found(self, fault, name, where):
        method = build_estimator(name)
        with pytest.raises(AssertionError, match="do not have the same distribution on") as caught:
            assert_same_gradient_distribution(method, FAULTS[fault](method), where, draws=49_152)
        what = str(caught.value).splitlines()[1]
        assert re.search(r": \S+ in \w+, \S+ in changed, a difference of \S+ \[.*\] \(p ", what)

    def test_a_rewrite_that_rounds_otherwise_passes(self):
        def rewritten(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
            """The score function with J taken apart and put together again."""
            u = noise.uniform(draws, 1, params.numel())
            z = (u < params.sigmoid()).to(params)
            cost = objective.cost(z, params)
            third = cost / 3
            return ((third * 1.5 + third + third / 2)[..., None] * (z - params.sigmoid())).mean(1)

        assert_same_gradient_distribution("score_function", rewritten, BITS)

    def test_estimators_without_noise_are_compared_too(self):
        assert_same_gradient_distribution("exact", "exact", BITS, draws=1_000)
        with pytest.raises(AssertionError, match=r"the mean of params\[0\]"):
            assert_same_gradient_distribution(
                "exact", changed("exact", lambda g: 1.0001 * g), BITS, draws=1_000
            )

    def test_tuning_is_shared(self):
        tuned = {"name": "rebar", "eta": "tune"}
        assert_same_gradient_distribution(tuned, tuned, BITS, draws=16_384)

    def test_what_could_not_have_been_seen_does_not_pass(self):
        with pytest.raises(
            AssertionError, match=r"undecided: .* scaled by 1\.03 either; pass draws"
        ):
            assert_same_gradient_distribution("score_function", "score_function", NORMAL, draws=500)
        assert_same_gradient_distribution(
            "score_function", "score_function", NORMAL, draws=500, sensitivity=0
        )

    def test_what_cannot_work_is_said_in_one_line(self):
        with pytest.raises(BadArgument, match="do not fit into memory; pass draws="):
            assert_same_gradient_distribution("arm", "arm", BITS, draws=10**9)
        with pytest.raises(BadArgument, match=r"returned \[1\] for 100 draws"):
            assert_same_gradient_distribution(one_number, "arm", BITS, draws=100)
        with pytest.raises(AssertionError, match="draws were NaN"):
            assert_same_gradient_distribution(
                changed("arm", lambda g: g * torch.nan), "arm", BITS, draws=100
            )

    @pytest.mark.parametrize("where", [BITS, NORMAL], ids=["discrete", "heavy"])
    def test_one_law_fails_no_more_often_than_stated(self, where):
        def run(seed: int) -> None:
            assert_same_gradient_distribution(
                "score_function",
                "score_function",
                where,
                draws=1_000,
                seed=seed,
                false_alarm=LEVEL,
                sensitivity=0,
            )

        assert failures(run, 100) <= most(100)
