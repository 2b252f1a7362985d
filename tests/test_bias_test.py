"""The bias test itself: its false alarms, its power, and what it refuses to say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from panel import blocks_of, fresh_blocks
from scipy import stats

from benchbed.analysis.bias import predicted_power, screen, sign_flip, visible_shrink
from benchbed.analysis.verdict import holm, judge
from benchbed.catalogue import build_estimator, build_objective
from benchbed.errors import BadArgument
from benchbed.measurement.exact_moments import exact_moments
from benchbed.records import Blocks


def blocks_from(draws: np.ndarray, exact: np.ndarray, blocks: int = 32) -> Blocks:
    """Return the sums that measuring ``draws`` [n, p] would have left."""
    parts = np.array_split(draws - exact, blocks)
    distance = [np.square(part).sum(1) for part in parts]
    return Blocks(
        count=np.array([len(part) for part in parts], dtype=float),
        exact=exact,
        first=np.array([part.sum(0) for part in parts]),
        powers=np.array([[(part**k).sum(0) for part in parts] for k in (2, 3, 4)]),
        largest=np.array([np.abs(part).max(0) for part in parts]),
        distance=np.array(
            [[f(r) for r in distance] for f in (np.sum, lambda r: (r**2).sum(), max)]
        ),
        seconds=np.ones((2, blocks)),
        nonfinite=np.zeros(blocks),
    )


def correlated(rng: np.random.Generator, n: int, law: str) -> np.ndarray:
    """Draw mean-zero rows of 4 strongly correlated coordinates, skewed for ``exponential``."""
    common = rng.standard_normal((n, 1)) if law == "normal" else rng.exponential(size=(n, 1)) - 1
    own = rng.standard_normal((n, 4))
    return 2 * common + own


EXACT = np.array([1.0, -0.5, 0.2, 0.0])


@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_screen_and_sign_flip_keep_their_level(law):
    """Of 1,000 unbiased cells at level 0.05: not more than chance allows (binomial, 1e-4)."""
    rng = np.random.default_rng(41)
    most = stats.binom.isf(1e-4, 1000, 0.05)
    low_screen = low_flip = 0
    for _ in range(1000):
        cell = blocks_from(EXACT + correlated(rng, 640, law), EXACT)
        low_screen += screen(cell)[0] <= 0.05
        low_flip += sign_flip(cell, 199, seed=1) <= 0.05
    assert low_screen <= most
    assert 0 < low_flip <= most


def test_the_whole_procedure_rarely_fails_anything():
    """40 unbiased skewed cells, 100 times: any false failure in at most a few of them."""
    rng = np.random.default_rng(42)
    failures = 0
    for _ in range(100):
        cells = {
            str(i): blocks_from(EXACT + correlated(rng, 320, "exponential"), EXACT)
            for i in range(40)
        }

        def remeasure(_: str) -> Blocks:
            return blocks_from(EXACT + correlated(rng, 5_120, "exponential"), EXACT)

        failures += any(v.outcome == "biased" for v in judge(cells, remeasure).values())
    assert failures <= stats.binom.isf(1e-4, 100, 0.01)


def test_predicted_power_is_the_power():
    """A shrink of the size said to be visible is seen about as often as predicted."""
    rng = np.random.default_rng(43)
    size, seen, predicted = 0.2, 0, []
    for _ in range(400):
        noise = correlated(rng, 640, "normal")
        fair = blocks_from(EXACT + noise, EXACT)
        predicted.append(predicted_power(fair, size, 0.05))
        seen += screen(blocks_from((1 - size) * (EXACT + noise), EXACT))[0] <= 0.05
    wanted = float(np.mean(predicted))
    assert 0.2 < wanted < 0.95  # a place where a wrong formula would show
    # The prediction is of the best coordinate alone and of unshrunk noise: a lower bound, nearly.
    assert seen / 400 > wanted - 4 * math.sqrt(0.25 / 400)


def test_a_visible_shrink_is_seen_at_its_stated_power():
    rng = np.random.default_rng(44)
    missed = 0
    for _ in range(300):
        noise = correlated(rng, 1280, "normal")
        share = visible_shrink(blocks_from(EXACT + noise, EXACT), 0.01)
        missed += screen(blocks_from(EXACT * (1 - share) + noise, EXACT))[0] > 0.01
    assert missed <= stats.binom.isf(1e-4, 300, 0.01)


def test_the_worst_coordinate_is_named():
    rng = np.random.default_rng(45)
    draws = EXACT + correlated(rng, 6400, "normal")
    draws[:, 3] += 0.5
    assert screen(blocks_from(draws, EXACT))[1] == 3


def test_one_huge_draw_makes_it_undecided():
    rng = np.random.default_rng(46)
    draws = EXACT + correlated(rng, 640, "normal")
    draws[5] += 1e3
    cell = blocks_from(draws, EXACT)
    verdict = judge({"cell": cell}, lambda _: cell)["cell"]
    assert (verdict.outcome, verdict.reason) == ("undecided", "tails")
    assert verdict.one_line().startswith("undecided: tails")


def test_a_confirmation_that_finds_nothing_clears_the_cell():
    """A screen that flagged by luck is not the last word."""
    rng = np.random.default_rng(47)
    lucky = blocks_from(EXACT + 0.3 + correlated(rng, 640, "normal") * 0.1, EXACT)
    fair = blocks_from(EXACT + correlated(rng, 64_000, "normal") * 0.1, EXACT)
    verdict = judge({"cell": lucky}, lambda _: fair)["cell"]
    assert verdict.screen < 1e-3
    assert verdict.outcome == "unbiased"


def test_holm_steps_down():
    found = {"a": 0.001, "b": 0.004, "c": 0.006, "d": 0.5}
    assert holm(found, 0.01) == {"a"}
    assert holm({"a": 0.001, "b": 0.003, "c": 0.004, "d": 0.009}, 0.01) == {"a", "b", "c", "d"}
    assert holm({}, 0.01) == set()


def rare(blocks: int = 64) -> tuple[Blocks, Blocks]:
    """Return a cell whose second coordinate moves only in an event no draw has met."""
    rng = np.random.default_rng(48)
    exact = np.array([1.0, 0.5])
    cells = []
    for n in (6_400, 102_400):
        draws = exact + rng.standard_normal((n, 2)) * [1, 0]
        draws[:, 1] = 0.0  # E is 0.5: its whole mass sits in the event
        cells.append(blocks_from(draws, exact, blocks))
    return cells[0], cells[1]


def test_an_event_rarer_than_the_draws_is_no_bias():
    """A coordinate that never varied has no standard error: its t of thousands means nothing."""
    cell, fresh = rare()
    # Nor is it shown unbiased: a third of the gradient was never seen.
    verdict = judge({"cell": fresh}, lambda _: fresh)["cell"]
    assert (verdict.outcome, verdict.reason, verdict.draws_needed) == ("undecided", "unseen", None)
    assert judge({"cell": cell}, lambda _: fresh)["cell"].outcome == "undecided"
    # Met once, it has one draw's worth of variance: no better.
    once = fresh.first.copy()
    once[0, 1] += 50_000.0
    powers, largest = fresh.powers.copy(), fresh.largest.copy()
    powers[0, 0, 1] += 50_000.0**2
    largest[0, 1] = 50_000.0
    met = Blocks(**fresh.arrays() | {"first": once, "powers": powers, "largest": largest})
    assert judge({"cell": met}, lambda _: met)["cell"].outcome != "biased"


def test_a_cell_where_nothing_ever_varied_is_undecided_unless_it_is_certain():
    exact = np.array([1.0, 0.5])
    still = blocks_from(np.tile(0.95 * exact, (640, 1)), exact)
    assert judge({"cell": still}, lambda _: still)["cell"].outcome == "undecided"
    assert judge({"cell": still}, lambda _: still, certain=["cell"])["cell"].outcome == "biased"


def test_too_few_blocks_and_draws_that_are_not_finite_are_refused():
    """Six blocks cannot reach p = 0.01 by flipping signs: everything would look unbiased."""
    rng = np.random.default_rng(49)
    few = blocks_from(EXACT + correlated(rng, 640, "normal"), EXACT, blocks=6)
    with pytest.raises(BadArgument, match="6 blocks and the bias test needs 32"):
        judge({"cell": few}, lambda _: few)
    cell = blocks_from(EXACT + correlated(rng, 640, "normal"), EXACT)
    lost = Blocks(**cell.arrays() | {"nonfinite": np.ones(32)})
    with pytest.raises(BadArgument, match="32 draws that are not finite"):
        judge({"cell": lost}, lambda _: lost)


def test_sign_flips_of_few_blocks_cannot_beat_their_number():
    """Four blocks have 16 sign patterns, two of which reach any statistic: p >= 1/8, nearly."""
    rng = np.random.default_rng(50)
    cell = blocks_from(EXACT + 5 + 0.01 * rng.standard_normal((400, 4)), EXACT, blocks=4)
    assert sign_flip(cell, 9_999, seed=0) > 0.1


def test_a_coordinate_that_stays_zero_is_not_unbiased():
    """Its error never varies, so no t statistic sees it: the verdict must not be a pass."""
    rng = np.random.default_rng(47)
    draws = EXACT + 0.05 * rng.standard_normal((6_400, 4))
    draws[:, 1] = 0.0  # forgotten: its exact gradient is -0.5
    cell = blocks_from(draws, EXACT)
    verdict = judge({"cell": cell}, lambda _: cell)["cell"]
    assert verdict.outcome in ("undecided", "biased")
    draws[:, 1] = EXACT[1]  # certain and right
    cell = blocks_from(draws, EXACT)
    assert judge({"cell": cell}, lambda _: cell)["cell"].outcome == "unbiased"


def test_an_insensitive_cell_says_how_many_draws_would_show_five_percent():
    """Where the draws that it asks for are drawn, the cell is no longer insensitive."""
    rng = np.random.default_rng(51)
    few = blocks_from(EXACT + correlated(rng, 6_400, "normal"), EXACT)
    verdict = judge({"cell": few}, lambda _: few)["cell"]
    assert verdict.outcome == "insensitive"
    needed = verdict.draws_needed
    assert needed is not None
    assert needed >= 6_400 * (verdict.visible / 0.05) ** 2
    assert needed == int(float(f"{needed:.1e}"))  # two digits
    assert f"draw {needed:,} or more" in verdict.one_line()
    many = blocks_from(EXACT + correlated(rng, int(1.2 * needed), "normal"), EXACT)
    assert judge({"cell": many}, lambda _: many)["cell"].outcome == "unbiased"


def test_a_gradient_of_zero_asks_for_no_number_of_draws():
    rng = np.random.default_rng(52)
    cell = blocks_from(correlated(rng, 640, "normal"), np.zeros(4))
    verdict = judge({"cell": cell}, lambda _: cell)["cell"]
    assert (verdict.outcome, verdict.draws_needed) == ("insensitive", None)
    assert "the exact gradient is 0" in verdict.one_line()


RARE = {"name": "rate_distortion", "multiplier": 0.2, "iterations": 3}  # logits up to 24


@pytest.mark.parametrize("which", ["score_function", "leave_one_out"])
@pytest.mark.parametrize("known", [False, True])
def test_a_z_that_never_flips_makes_nothing_biased(which, known):
    """Its coordinate hardly varies, so its mean is 50,000 of its own standard errors off.

    Its own draws cannot tell; those of another coordinate show what one draw can be, and so do
    exact moments.
    """
    problem, method = build_objective(**RARE), build_estimator(which, samples=2)
    blocks = blocks_of(problem, method, 65_536, 31)
    exact = exact_moments(problem, method)
    assert exact is not None
    np.testing.assert_allclose(exact.mean, blocks.exact, atol=1e-15)  # unbiased, no sampling error
    verdict = judge(
        {"cell": blocks},
        lambda _: fresh_blocks(problem, method, 65_536, 31),
        exact_variance={"cell": exact.variance} if known else None,
    )["cell"]
    assert verdict.outcome == ("undecided" if known else "insensitive")
    assert verdict.reason == ("unseen" if known else "")
    assert verdict.visible > 1


def test_where_no_z_ever_flips_only_the_exact_variance_can_tell():
    """Draws of a law that met none of its events look like a biased law that hardly varies."""
    rng = np.random.default_rng(53)
    chance, exact = 1e-9, np.array([2e-9, 1e-9])
    draws = 0.1 * chance * rng.standard_normal((6_400, 2))
    cell = blocks_from(draws, exact)
    assert judge({"cell": cell}, lambda _: cell)["cell"].outcome == "biased"
    known = {"cell": np.full(2, chance)}  # events of size 1
    verdict = judge({"cell": cell}, lambda _: cell, exact_variance=known)["cell"]
    assert (verdict.outcome, verdict.reason) == ("undecided", "unseen")


@pytest.mark.parametrize("known", [False, True])
def test_a_five_percent_shrink_is_caught_with_and_without_the_exact_variance(known):
    """The planted fault, on bits at p = 0.02 whose draws are mostly near 0."""
    problem = build_objective("quadratic", dimensions=4, target=0.3, logits=-3.9, reduce="sum")
    method = build_estimator("leave_one_out", samples=4)
    faulty = replace(method, draw=lambda *given: 0.95 * method.draw(*given))
    exact = exact_moments(problem, method)
    variance = {"cell": exact.variance} if known and exact else None
    for subject, outcome in ((method, "unbiased"), (faulty, "biased")):
        found = judge(
            {"cell": blocks_of(problem, subject, 1_048_576, 32)},
            lambda _, of=subject: fresh_blocks(problem, of, 262_144, 32),
            exact_variance=variance,
        )["cell"]
        assert found.outcome == outcome, found.one_line()


def test_a_small_coordinate_alone_off_is_still_found():
    """The least error of a mean, one unmet draw, hides no fault that counts: 0.7 % here."""
    rng = np.random.default_rng(54)
    draws = EXACT + 0.5 * correlated(rng, 65_536, "normal")
    draws[:, 2] = EXACT[2] + 0.01 * rng.standard_normal(65_536) + 0.01
    cell = blocks_from(draws, EXACT, 64)
    verdict = judge({"cell": cell}, lambda _: cell)["cell"]
    assert (verdict.outcome, verdict.worst) == ("biased", 2)
