"""Ratios of variances: what the numbers are, by hand, and what pairing and tuning change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from laws import of_draws
from scipy import stats

from benchbed.analysis.variance_ratio import (
    LogEstimate,
    exceeds,
    falls_short,
    log_of,
    mse_of,
    over_tunings,
    paired_ratio,
    pseudo_values,
    ratio,
    variance_of,
)

EXACT = np.array([1.0, -0.5])


def normal(seed: int, deviation: float = 1.0, blocks: int = 64):
    rng = np.random.default_rng([101, seed])
    return of_draws(deviation * rng.standard_normal((blocks, 64, 2)), EXACT)


def test_pseudo_values_are_the_textbook_jackknife():
    blocks = normal(0, blocks=8)
    count, distance = blocks.count, blocks.distance[0]

    def log_variance(which) -> float:
        mean = blocks.first[which].sum(0) / count[which].sum()
        spread = distance[which].sum() - count[which].sum() * float(mean @ mean)
        return math.log(spread / (count[which].sum() - 1))

    every = np.arange(8)
    by_hand = [8 * log_variance(every) - 7 * log_variance(every != b) for b in range(8)]
    assert pseudo_values(blocks) == pytest.approx(np.array(by_hand), rel=1e-9)
    found = log_of(blocks)
    assert found.value == pytest.approx(np.mean(by_hand))
    assert found.error == pytest.approx(stats.sem(by_hand))
    assert found.freedom == 7
    third = float(((by_hand - np.mean(by_hand)) ** 3).mean()) / 8**2  # of a mean of 8
    assert found.skewness == pytest.approx(third / found.error**3)


def test_welch_is_scipys_where_nothing_is_skewed():
    new, old = normal(1, 1.1), normal(2, blocks=32)
    found = ratio(log_of(new), log_of(old))._replace(skewness=0.0)
    wanted = stats.ttest_ind(
        pseudo_values(new), pseudo_values(old), equal_var=False, alternative="greater"
    )
    assert exceeds(found, 1.0) == pytest.approx(wanted.pvalue)
    assert found.freedom == pytest.approx(wanted.df)
    assert falls_short(found, 1.0) == pytest.approx(1 - wanted.pvalue)


def test_halls_correction_by_hand():
    """A log variance skewed to the right is short of the truth more often: less sure below it."""
    found = LogEstimate(-0.3, 0.1, 50.0, 0.4)
    t, g = 3.0, -0.4
    corrected = t + g / 6 + g * t**2 / 3 + g**2 * t**3 / 27
    assert falls_short(found, 1.0) == pytest.approx(stats.t.sf(corrected, 50))
    assert corrected < t
    assert exceeds(found._replace(value=0.3), 1.0) == pytest.approx(stats.t.sf(3.0, 50))
    new, old = LogEstimate(0.0, 0.1, 63.0, 0.5), LogEstimate(0.0, 0.2, 63.0, 0.3)
    third = 0.5 * 0.1**3 - 0.3 * 0.2**3
    assert ratio(new, old).skewness == pytest.approx(third / (0.1**2 + 0.2**2) ** 1.5)


def test_pairing_on_common_noise_narrows_the_interval():
    rng = np.random.default_rng(103)
    common = rng.standard_normal((64, 64, 2))
    new = of_draws(1.1 * common + 0.1 * rng.standard_normal(common.shape), EXACT)
    old = of_draws(common, EXACT)
    paired, apart = paired_ratio(new, old), ratio(log_of(new), log_of(old))
    assert paired.value == pytest.approx(apart.value)
    assert paired.error < 0.3 * apart.error
    low, high = paired.interval(0.999)[1:]
    assert low < 1.22 < high


def test_mse_counts_the_bias_and_variance_does_not():
    noise = np.random.default_rng(104).standard_normal((64, 64, 2))
    off, fair = of_draws(noise + 1.0, EXACT), of_draws(noise, EXACT)
    assert paired_ratio(off, fair, variance_of).value == pytest.approx(0, abs=1e-9)
    assert math.exp(paired_ratio(off, fair, mse_of).value) == pytest.approx(2, rel=0.05)


def test_over_tunings_spread_between_seeds_is_the_error():
    cells = [normal(seed, deviation) for seed, deviation in enumerate((1.0, 2.0, 4.0))]
    found = over_tunings(cells)
    assert (found.freedom, found.skewness) == (2, 0.0)
    assert math.exp(found.value) == pytest.approx(8.0, rel=0.1)  # 2 coordinates of 1, 4, 16
    assert found.error == pytest.approx(math.log(4) / math.sqrt(3), rel=0.1)


def test_no_error_at_all_decides_at_once():
    sure = LogEstimate(math.log(1.2), 0.0, math.inf)
    assert (exceeds(sure, 1.1), exceeds(sure, 1.2)) == (0.0, 1.0)
    assert (falls_short(sure, 1.3), falls_short(sure, 1.1)) == (0.0, 1.0)
