"""Toys of known truth for every kind of interval that benchbed prints, many replicates of each.

A case yields, replicate by replicate, the intervals of one measured cell (or pair of cells) with
the true numbers they should hold, and says whether the tail gate keeps the cell out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from laws import LAWS, SCORE, cells, of_draws, part

from benchbed.analysis.intervals import Interval, of_log_mean, of_mean, product
from benchbed.analysis.summary import over_seeds, summarize
from benchbed.analysis.tails import variance_is_uncertain
from benchbed.analysis.variance_ratio import (
    log_of,
    mse_of,
    over_tunings,
    paired_ratio,
    ratio,
    variance_of,
)
from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.cell import measure_cell
from benchbed.measurement.exact_moments import exact_moments
from benchbed.records import Array, Blocks

EXACT = np.array([1.0, -0.5, 0.2, 0.0])
TOGETHER = 5  # ratios that are to hold at once
TUNINGS = 5
ALL_HOLD = Interval(1.0, 1.0, 1.0)
ONE_MISSED = Interval(0.0, 0.0, 0.0)


class Replicate(NamedTuple):
    """Intervals with their truths, by kind; ``gated`` cells are counted and not judged."""

    found: Mapping[str, tuple[Interval, float]]
    gated: bool = False


Case = Callable[[int], Iterator[Replicate]]  # of the number of replicates


def of_one_cell(blocks: Blocks, mean_error: Array, variance: float) -> Replicate:
    """Return every interval of one cell whose estimator has this bias and variance."""
    found, mean = summarize(blocks), blocks.exact + mean_error
    exact, length = float(np.linalg.norm(blocks.exact)), float(np.linalg.norm(mean))
    bias2 = float(mean_error @ mean_error)
    pairs = {
        "variance": (found.variance, variance),
        "MSE": (found.mse, variance + bias2),
        "SNR": (found.snr, length / math.sqrt(variance)),
        "work-normalized by J": (found.variance.scaled(3.0), 3 * variance),
    }
    if exact:
        pairs["bias norm"] = (found.bias, math.sqrt(bias2) / exact)
    if exact and length:
        pairs["cosine"] = (found.cosine, float(mean @ blocks.exact) / exact / length)
    return Replicate(pairs, variance_is_uncertain(blocks))


def skewed(error: Array, exact: Array = EXACT, draws: int = 64, common: float = 0.5) -> Case:
    """Return a case of correlated, skewed draws whose mean is off by ``error``."""

    def replicates(number: int) -> Iterator[Replicate]:
        rng = np.random.default_rng([71, draws, *(np.abs(error) * 1e6).astype(int)])
        p = len(exact)
        for _ in range(number):
            shared = rng.exponential(size=(64, draws, 1)) - 1
            noise = common * shared + rng.standard_normal((64, draws, p))
            yield of_one_cell(of_draws(noise + error, exact), error, p * (common**2 + 1))

    return replicates


def of_law(name: str, draws: int = 256) -> Case:
    """Return a case of unbiased draws of a law in laws.py."""

    def replicates(number: int) -> Iterator[Replicate]:
        for blocks, variance in cells(name, number, draws, 72, size=0.3):
            yield of_one_cell(blocks, np.zeros(len(blocks.exact)), variance)

    return replicates


def measured(objective: Mapping[str, Any], estimator: Mapping[str, Any]) -> Case:
    """Return a case of real draws, held against moments without sampling error."""

    def replicates(number: int) -> Iterator[Replicate]:
        place, method = build_objective(**objective), build_estimator(**estimator)
        truth = exact_moments(place, method)
        assert truth is not None
        long = measure_cell(
            place, method, draws=number * 64 * 64, blocks=number * 64, seed=73, timing=0
        ).blocks
        for start in range(0, number * 64, 64):
            cell = part(long, slice(start, start + 64))
            yield of_one_cell(cell, truth.mean - cell.exact, float(truth.variance.sum()))

    return replicates


def ratios(number: int) -> Iterator[Replicate]:
    """Yield ratios of a skewed cell's variance and MSE to a normal one's, with and without pairing.

    The simultaneous ones are each at the level that makes all of them hold 95 times in 100.
    """
    rng = np.random.default_rng(74)
    error, level = np.array([0.5, 0.0]), 1 - 0.05 / TOGETHER
    for _ in range(number):
        shared = rng.standard_normal((64, 64, 2))
        skew = rng.exponential(size=(64, 64, 2)) - 1
        new = of_draws(shared + 0.5 * skew + error, np.ones(2))
        old = of_draws(shared, np.ones(2))
        other = of_draws(rng.standard_normal((64, 64, 2)), np.ones(2))
        mse = (2.5 + 0.25) / 2
        many = [
            ratio(log_of(new, variance_of), log_of(each)).interval(level)
            for each in (old, other, *(_normal(rng) for _ in range(TOGETHER - 2)))
        ]
        alone = ratio(log_of(new), log_of(other))
        held = all(x.low <= 1.25 <= x.high for x in many)
        yield Replicate(
            {
                "variance ratio, unpaired": (alone.interval(0.95), 1.25),
                "variance ratio, paired": (paired_ratio(new, old).interval(0.95), 1.25),
                "MSE ratio, paired": (paired_ratio(new, old, mse_of).interval(0.95), mse),
                "variance ratios, simultaneous": (ALL_HOLD if held else ONE_MISSED, 1.0),
            }
        )


def _normal(rng: np.random.Generator) -> Blocks:
    return of_draws(rng.standard_normal((64, 64, 2)), np.ones(2))


def seeds(number: int) -> Iterator[Replicate]:
    """Yield intervals over seeds, each tuned anew to a variance of its own; ratios of those."""
    rng = np.random.default_rng(75)
    for _ in range(number):
        parts = [[], []]
        for side in parts:
            for spread in np.exp(0.2 * rng.standard_normal(TUNINGS)):
                noise = spread * rng.standard_normal((32, 64, 2))
                side.append(of_draws(noise, np.ones(2)))
        each = [summarize(blocks).variance for blocks in parts[0]]
        between = ratio(over_tunings(parts[0]), over_tunings(parts[1]))
        yield Replicate(
            {
                "variance, over seeds": (over_seeds(each, log=True), 2.0),
                "variance ratio, over tunings": (between.interval(0.95), 1.0),
            }
        )


def costs(number: int) -> Iterator[Replicate]:
    """Yield CPU times, their ratios and the product with a variance."""
    rng = np.random.default_rng(76)
    for _ in range(number):
        ratios = of_log_mean(2.0 * np.exp(0.05 * rng.standard_normal(5)))
        variance = summarize(of_draws(rng.standard_normal((64, 64, 2)), np.ones(2))).variance
        yield Replicate(
            {
                "CPU time, mean of blocks": (of_mean(rng.gamma(4.0, size=64)), 4.0),
                "CPU ratio": (ratios, 2.0),
                "work-normalized by CPU": (product(variance, ratios), 4.0),
            }
        )


NONE, SHIFT = np.zeros(4), np.array([0.3, 0.0, 0.0, 0.1])
BITS, TURN = {"name": "golden_bits"}, np.array([0.5, 1.0, 0.0, 0.0])  # a right angle to EXACT
CASES: Mapping[str, Case] = {
    "skewed, biased": skewed(SHIFT),
    "skewed, unbiased": skewed(NONE),
    "skewed, bias near its own resolution": skewed(SHIFT / 4),
    "skewed, E g = 0": skewed(-EXACT),
    "skewed, E g near 0": skewed(-0.9 * EXACT),
    "skewed, at a right angle": skewed(TURN - EXACT),
    "skewed, exact gradient 0": skewed(SHIFT, np.zeros(4)),
    "heavily skewed, biased": skewed(SHIFT, draws=256, common=2.0),
    "one coordinate": skewed(np.zeros(1), np.ones(1)),
    **{f"{name}, unbiased": of_law(name) for name in (*LAWS, SCORE)},
    "golden_bits, score function": measured(BITS, {"name": "score_function", "samples": 1}),
    "golden_bits, straight-through": measured(BITS, {"name": "straight_through", "samples": 1}),
    "smooth, leave-one-out": measured(
        {"name": "smooth", "dimensions": 2, "categories": 3},
        {"name": "leave_one_out", "samples": 2},
    ),
    "two cells": ratios,
    "tuned anew": seeds,
    "clocks": costs,
}
