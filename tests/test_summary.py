"""Intervals hold their coverage on correlated, skewed draws, and degenerate cells stay sane."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_bias_test import EXACT, blocks_from, correlated

from benchbed.analysis.intervals import Interval, jackknife, log_jackknife, of_log_mean, product
from benchbed.analysis.sheet import worded
from benchbed.analysis.summary import over_seeds, pool, summarize
from benchbed.analysis.table import table
from benchbed.records import Record


def coverage(wanted: dict[str, float], runs: int, law: str) -> dict[str, float]:
    """Return how often each interval of a summary holds the true value."""
    rng = np.random.default_rng(51)
    shift = np.array([0.3, 0.0, 0.0, 0.1])
    hits = dict.fromkeys(wanted, 0)
    for _ in range(runs):
        summary = summarize(blocks_from(EXACT + shift + correlated(rng, 3_200, law), EXACT))
        for name, value in wanted.items():
            interval = getattr(summary, name)
            hits[name] += interval.low <= value <= interval.high
    return {name: count / runs for name, count in hits.items()}


@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_intervals_hold_the_truth_as_often_as_they_say(law):
    """Coordinates share a common part: adding their errors as if independent would fail here."""
    shift = np.array([0.3, 0.0, 0.0, 0.1])
    trace = 4 * (4 + 1)  # each coordinate: variance 4 of the common part plus 1
    mean = EXACT + shift
    truth = {
        "bias": float(np.linalg.norm(shift) / np.linalg.norm(EXACT)),
        "variance": trace,
        "mse": trace + float(shift @ shift),
        "snr": float(np.linalg.norm(mean) / math.sqrt(trace)),
        "cosine": float(mean @ EXACT / np.linalg.norm(mean) / np.linalg.norm(EXACT)),
    }
    found = coverage(truth, 400, law)
    least = stats.binom.ppf(1e-4, 400, 0.93) / 400  # 0.95 less what small blocks may cost
    assert all(share >= least for share in found.values()), found
    assert found["variance"] < 0.999  # an interval that always holds the truth says nothing


def test_errors_added_as_if_independent_would_be_caught():
    """The planted fault: a standard error from coordinates one by one is far too small."""
    rng = np.random.default_rng(52)
    hits = 0
    for _ in range(200):
        draws = correlated(rng, 3_200, "normal")
        each = draws.var(0, ddof=1)
        error = math.sqrt((2 * each**2 / len(draws)).sum())  # quadrature over coordinates
        hits += abs(each.sum() - 20) <= 1.96 * error
    assert hits < stats.binom.ppf(1e-4, 200, 0.93)


def test_bias_of_an_unbiased_cell_starts_at_zero_and_keeps_a_width():
    rng = np.random.default_rng(53)
    found = [
        summarize(blocks_from(EXACT + correlated(rng, 3_200, "normal"), EXACT)) for _ in "abcd"
    ]
    assert all(x.bias.low == 0 for x in found)
    assert all(x.bias.high > 0 for x in found)
    assert any(x.bias.value == 0 for x in found)


def test_variance_that_is_only_rounding_is_zero():
    draws = EXACT + np.random.default_rng(54).standard_normal((320, 4)) * 1e-8
    summary = summarize(blocks_from(draws, EXACT))
    assert summary.zero
    assert summary.variance == (0, 0, 0)
    assert math.isnan(summary.snr.value)


def test_a_zero_gradient_has_no_relative_bias_and_no_warning():
    rng = np.random.default_rng(55)
    summary = summarize(blocks_from(correlated(rng, 320, "normal"), np.zeros(4)))
    assert math.isnan(summary.bias.value)
    assert summary.variance.low > 0


def test_heavy_tails_are_flagged():
    rng = np.random.default_rng(56)
    draws = EXACT + rng.standard_t(1.1, size=(3_200, 4))
    assert summarize(blocks_from(draws, EXACT)).heavy
    assert not summarize(blocks_from(EXACT + rng.standard_t(9, size=(3_200, 4)), EXACT)).heavy


def test_shape_moments_are_the_sample_moments():
    rng = np.random.default_rng(57)
    draws = EXACT + 0.4 + rng.exponential(size=(6_400, 4)) * np.array([1, 2, 3, 4.0])
    summary = summarize(blocks_from(draws, EXACT))
    assert summary.kurtosis == pytest.approx(stats.kurtosis(draws, 0, fisher=False).max(), rel=1e-6)
    assert summary.skewness == pytest.approx(stats.skew(draws, 0).max(), rel=1e-6)
    assert summary.variance.value == pytest.approx(draws.var(0, ddof=1).sum(), rel=1e-9)
    assert summary.mse.value == pytest.approx(np.square(draws - EXACT).sum(1).mean(), rel=1e-9)


def test_pooled_seeds_are_more_blocks():
    rng = np.random.default_rng(58)
    draws = EXACT + correlated(rng, 6_400, "normal")
    half = [blocks_from(part, EXACT) for part in (draws[:3_200], draws[3_200:])]
    both, one = summarize(pool(half)), summarize(blocks_from(draws, EXACT, 64))
    assert both.variance.value == pytest.approx(one.variance.value, rel=1e-12)
    assert both.draws == 6_400


def test_over_seeds_uses_the_spread_between_seeds():
    tight = [Interval(x, x * 0.999, x * 1.001) for x in (1.0, 2.0, 4.0)]
    found = over_seeds(tight, log=True)
    assert found.value == pytest.approx(2.0)
    assert found.low < 0.5
    assert found.high > 8
    assert over_seeds(tight[:1], log=True) == tight[0]


def test_jackknife_of_a_mean_is_the_textbook_interval():
    values = np.random.default_rng(59).standard_normal(30)
    left_out = (values.sum() - values) / 29
    found = jackknife(values.mean(), left_out)
    half = stats.t.ppf(0.975, 29) * values.std(ddof=1) / math.sqrt(30)
    assert found.high - found.value == pytest.approx(half)
    assert math.isnan(log_jackknife(0.0, left_out).low)


def test_products_and_logarithms():
    assert of_log_mean(np.array([1.0, 4.0])).value == pytest.approx(2)
    found = product(Interval(2, 1, 4), Interval(3, 3, 3))
    assert found == pytest.approx((6, 3, 12))


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.52345, 0.51234, 0.53456), "0.523 [0.512, 0.535]"),
        (Interval(12.398, 12.301, 12.499), "12.398 [12.301, 12.499]"),
        (Interval(1.2e-7, 1.1e-7, 1.3e-7), "1.2e-07 [1.1e-07, 1.3e-07]"),
        (Interval(2.0, 2.0, 2.0), "2 (exact)"),
        (Interval(math.nan, math.nan, math.nan), "-"),
        (Interval(3.0, math.nan, math.nan), "3"),
    ],
)
def test_numbers_are_rounded_to_their_intervals(interval, text):
    assert worded(interval) == text


@pytest.mark.parametrize("dimensions", [1, 8])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0, 3.0, 5.0])
def test_the_bias_interval_holds_biases_near_its_own_resolution(dimensions, shift):
    """A bias of a few standard errors is where an error taken at the observed mean is too small."""
    rng = np.random.default_rng([60, dimensions, int(shift)])
    exact = np.ones(dimensions)
    error = 1 / math.sqrt(6_400)
    bias = shift * error * np.eye(dimensions)[0] * math.sqrt(dimensions)
    hits = 0
    for _ in range(300):
        draws = exact + bias + rng.standard_normal((6_400, dimensions))
        found = summarize(blocks_from(draws, exact, 64)).bias
        hits += found.low <= np.linalg.norm(bias) / np.linalg.norm(exact) <= found.high
    assert hits >= stats.binom.ppf(1e-4, 300, 0.93)


def test_rows_of_other_draws_or_dtypes_are_not_pooled():
    rng = np.random.default_rng(61)
    records = [
        Record(
            str(number), {"name": "o"}, {"name": "e"}, 1, 0, address, "ok",
            blocks=blocks_from(EXACT + correlated(rng, 640, "normal"), EXACT),
        )
        for number, address in enumerate(
            [{"draws": 640}, {"draws": 640, "dtype": "float64"}, {"draws": 1280}]
        )
    ]  # fmt: skip
    assert len(table(records)) == 3
    assert len(table([*records[:1], replace(records[0], seed=1)])) == 1
