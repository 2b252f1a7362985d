"""Every kind of interval that benchbed prints holds the truth about 95 times in 100.

A kind fails if its coverage is significantly below 0.93: the chance that any kind at 0.93 fails is
``FALSE_ALARM`` (Bonferroni over kinds). Cells past the tail gate get no verdict from their
intervals: they are counted, and left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from calibration_page import share, write_section
from coverage_cases import CASES, EXACT
from laws import of_draws
from scipy import stats

from benchbed.analysis.intervals import Interval, jackknife
from benchbed.analysis.lengths import cosine, signal_to_noise
from benchbed.analysis.summary import summarize

FALSE_ALARM = 0.01
LEAST = 0.93
# The quick tier leaves laws that the gate keeps out, and what others show as well, to the proof.
QUICK = (
    "skewed, biased",
    "skewed, bias near its own resolution",
    "skewed, E g = 0",
    "skewed, at a right angle",
    "log-normal 0.5, unbiased",
    "t5, unbiased",
    "score p = 0.02, unbiased",
    "golden_bits, score function",
    "golden_bits, straight-through",
    "smooth, leave-one-out",
    "two cells",
    "tuned anew",
    "clocks",
)
ROUNDING = 1e-9  # a boundary such as cosine 1 is met to the last digits only


class Coverage(NamedTuple):
    """Of one kind of interval in one case: how many held, of how many judged and drawn."""

    held: int
    judged: int
    drawn: int

    def falls_short(self, kinds: int) -> bool:
        """Say whether this is significantly below LEAST, of the cells judged.

        Where the gate keeps out more than one in ten, those it lets pass are chosen by how few
        large draws they met: a cell kept out counts as no miss there.
        """
        out = 0 if self.judged >= 0.9 * self.drawn else self.drawn - self.judged
        return bool(
            stats.binom.cdf(self.held + out, self.judged + out, LEAST) < FALSE_ALARM / kinds
        )


def holds(interval: Interval, truth: float) -> bool:
    slack = ROUNDING * abs(truth)
    return interval.low - slack <= truth <= interval.high + slack


def coverages(names: Iterable[str], number: int) -> dict[tuple[str, str], Coverage]:
    found = {}
    for name in names:
        held: Counter[str] = Counter()
        judged: Counter[str] = Counter()
        kinds: set[str] = set()
        for replicate in CASES[name](number):
            kinds |= set(replicate.found)
            if replicate.gated:
                continue
            for kind, (interval, truth) in replicate.found.items():
                held[kind] += holds(interval, truth)
                judged[kind] += 1
        found |= {(name, kind): Coverage(held[kind], judged[kind], number) for kind in kinds}
    return found


def test_every_kind_of_interval_holds_the_truth():
    found = coverages(QUICK, 300)
    short = {key: x for key, x in found.items() if x.falls_short(len(found))}
    assert not short
    kinds = {kind for _, kind in found}
    assert {"variance", "MSE", "SNR", "cosine", "bias norm", "CPU ratio"} <= kinds
    # An interval that holds the truth every time says nothing, but where the truth is a boundary.
    inner = [x for (case, kind), x in found.items() if kind == "variance" and x.judged > 200]
    assert all(x.held < x.judged for x in inner)


def test_intervals_of_three_fifths_their_width_are_caught():
    """The planted fault: they would hold 0.76 of the time, 300 times at most 0.88."""
    held = Counter()
    for replicate in CASES["skewed, biased"](300):
        for kind, (interval, truth) in replicate.found.items():
            value, low, high = interval
            short = Interval(value, value - 0.6 * (value - low), value + 0.6 * (high - value))
            held[kind] += holds(short, truth)
    for kind in ("variance", "MSE", "SNR", "bias norm", "cosine"):
        assert Coverage(held[kind], 300, 300).falls_short(100), kind


def test_a_jackknife_cosine_would_be_caught_at_its_boundary():
    """The planted fault: of 48 coordinates noise alone puts the mean's cosine 5 errors below 1."""
    rng, exact = np.random.default_rng(81), np.full(48, 0.2)

    def plain(mean):
        return mean @ exact / np.linalg.norm(mean, axis=-1) / np.linalg.norm(exact)

    of_jackknife = of_test = 0
    for _ in range(200):
        cell = of_draws(rng.standard_normal((64, 16, 48)), exact)
        total = cell.first.sum(0)
        left_out = plain(exact + (total - cell.first) / (63 * 16))
        of_jackknife += holds(jackknife(float(plain(exact + total / (64 * 16))), left_out), 1.0)
        of_test += holds(cosine(cell), 1.0)
    assert Coverage(of_jackknife, 200, 200).falls_short(100)
    assert not Coverage(of_test, 200, 200).falls_short(1)


def test_boundaries_that_cannot_be_excluded_are_ends_of_the_interval():
    rng = np.random.default_rng(82)
    unbiased = of_draws(rng.standard_normal((64, 64, 4)), EXACT)
    found = cosine(unbiased)
    assert found.high == 1
    assert 0.99 < found.low <= found.value <= 1
    silent = of_draws(rng.standard_normal((64, 64, 4)) - EXACT, EXACT)  # E g = 0
    assert signal_to_noise(silent).low == 0
    assert 0 <= signal_to_noise(silent).value < signal_to_noise(silent).high < 0.1
    assert cosine(silent)[1:] == (-1, 1)  # it points nowhere that these draws could tell
    assert math.isnan(cosine(of_draws(rng.standard_normal((64, 8, 2)), np.zeros(2))).value)


def test_a_gradient_turned_round_has_a_negative_cosine():
    rng = np.random.default_rng(83)
    noise = 0.1 * rng.standard_normal((64, 64, 4))
    found = cosine(of_draws(noise - 2 * EXACT, EXACT))
    assert found.low == pytest.approx(-1)
    assert found.high < -0.999
    assert cosine(of_draws(noise[..., :1] - 2, np.ones(1))) == (-1, -1, -1)


def test_no_variance_leaves_points():
    still = of_draws(np.zeros((64, 8, 4)) + 0.2, EXACT)
    found, mean = cosine(still), EXACT + 0.2
    wanted = mean @ EXACT / np.linalg.norm(mean) / np.linalg.norm(EXACT)
    assert found == pytest.approx((wanted, wanted, wanted))
    assert math.isnan(summarize(still).snr.value)


@pytest.mark.prove
def test_coverage_of_two_thousand_replicates():
    found = coverages(CASES, 2_000)
    lines = [
        "Nominal 95 %, 2,000 replicates of each case: 64 blocks of 64 draws (256 for the named "
        "laws and the heavily skewed), with true numbers from closed moments or from "
        "marginalizing the estimator. Per cent [95 % Clopper-Pearson] of the cells that the "
        "tail gate lets pass; `gated` counts the others, which have no verdict: where it keeps "
        "out nearly all, the few it lets pass are those that met no large draw. Bias norm 0, "
        "cosine 1 and SNR 0 are counted at the boundary itself. Each kind is one interval of "
        "its table: work-normalized by J is the variance times a constant.",
        "",
        "| case | interval | held, % | judged | gated |",
        "|---|---|---|---|---|",
    ]
    for (case, kind), x in sorted(found.items()):
        held = share(x.held, x.judged, 4)
        lines.append(f"| {case} | {kind} | {held} | {x.judged:,} | {x.drawn - x.judged:,} |")
    short = sorted(key for key, x in found.items() if x.falls_short(len(found)))
    lines += [
        "",
        (
            "Significantly below 93 % of those judged, or of all replicates where more than one in "
            f"ten is gated (Bonferroni {FALSE_ALARM:g} over {len(found)}): {short or 'none'}."
        ),
    ]
    write_section("Coverage of intervals", lines)
    assert not short
