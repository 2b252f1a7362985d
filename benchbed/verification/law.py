"""The law of an objective's z: score, probabilities and samples held against log_prob."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from scipy import stats
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.rng import Noise
from benchbed.verification.check import (
    EXACT,
    FALSE_ALARM,
    MOST_STATES,
    SAMPLES,
    Check,
    called,
)
from benchbed.verification.differences import relative_gap

MOST_COUNTED = 256  # values of z whose frequencies are compared
LEAST_EXPECTED = 10.0  # draws of a value; rarer ones are taken together
CHUNK = 1000  # samples of a large model in memory at a time
MOST_NUMBERS = 2**24  # in all samples together, beyond which fewer are drawn
NOT_THE_LAW = "family.sample does not follow family.log_prob"


def law_checks(objective: Objective) -> Iterator[Check]:
    """Yield the checks of the family at the objective's point."""
    family, params = objective.family, objective.params
    z = family.sample(params, 6, 1, Noise(3, "verify", dtype=torch.float64))
    leaf = params.expand(6, 1, *params.shape).clone().requires_grad_()
    with torch.enable_grad():
        total = called("family.log_prob", lambda: family.log_prob(leaf, z).sum())
    expected = torch.zeros_like(leaf)
    if total.requires_grad:
        (found,) = torch.autograd.grad(total, leaf, allow_unused=True)
        expected = expected if found is None else found
    score = called("family.score", lambda: family.score(params, z))
    same = score.shape == expected.shape
    yield Check(
        "score",
        "autograd of log_prob",
        relative_gap(score, expected) if same else math.inf,
        1e-6,
        "family.score is not d log_prob / d params",
    )
    if not same:
        return
    if family.states is not None and family.states(params) <= MOST_STATES:
        assert family.enumerate is not None
        index = torch.arange(family.states(params))
        every = family.enumerate(params, index)
        items = family.items(params)
        every = every.reshape(len(index), 1, *(1,) * len(items), *every.shape[1:])
        log_prob = family.log_prob(
            params, every.expand(-1, 1, *items, *every.shape[2 + len(items) :])
        )
        off = float((log_prob.exp().sum(0) - 1).abs().max())
        yield Check(
            "total probability",
            "1",
            off,
            1e-9,
            "the listed z are not all of them, or not once each",
        )
        mean = (log_prob.exp()[(..., *(None,) * family.event_axes)] * every).sum((0, 1))
        yield Check(
            "mean",
            "the sum over every z",
            relative_gap(family.mean(params), mean, size=float(every.abs().max())),
            EXACT,
            "family.mean is not E[z]",
        )
        if len(index) <= MOST_COUNTED and not items:
            yield _frequencies(objective, every, log_prob.exp()[:, 0])
            return
    if family.states is None:
        yield from _mean_score(objective)


def _frequencies(objective: Objective, every: Tensor, probability: Tensor) -> Check:
    """Compare how often each z is drawn with its probability, by a chi-square statistic."""
    family, params = objective.family, objective.params
    z = family.sample(params, SAMPLES, 1, Noise(6, "verify", dtype=torch.float64))
    apart = torch.cdist(z.reshape(SAMPLES, -1), every.reshape(len(every), -1))
    unlisted = float((apart.min(1).values > 1e-9).double().sum())
    counts = torch.bincount(apart.argmin(1), minlength=len(every)).double()
    expected = SAMPLES * probability
    common = expected >= LEAST_EXPECTED
    counts = torch.cat((counts[common], counts[~common].sum()[None]))
    expected = torch.cat((expected[common], expected[~common].sum()[None]))
    seen = expected > 0
    statistic = float(((counts - expected).square() / expected)[seen].sum())
    impossible = unlisted + float(counts[~seen].sum())
    return Check(
        "samples",
        f"the law, {SAMPLES:,} draws, chi-square",
        math.inf if impossible else statistic,
        float(stats.chi2.isf(FALSE_ALARM, max(1, int(seen.sum()) - 1))),
        NOT_THE_LAW,
    )


def _mean_score(objective: Objective) -> Iterator[Check]:
    """Compare the mean score of samples with 0, in standard errors, coordinate by coordinate.

    Where it is continuous, no two samples sharing one: of a rare event that no sample shows,
    neither the mean nor its standard error knows.
    """
    family, params = objective.family, objective.params
    noise = Noise(6, "verify", dtype=torch.float64)
    chunks = max(1, min(SAMPLES, MOST_NUMBERS // family.mean(params).numel()) // CHUNK)
    total, square = (torch.zeros(params.numel(), dtype=torch.float64) for _ in range(2))
    known = torch.ones(params.numel(), dtype=torch.bool)
    for _ in range(chunks):
        z = family.sample(params, CHUNK, 1, noise)
        score = family.score(params, z).reshape(CHUNK, -1)
        total += score.sum(0)
        square += score.square().sum(0)
        known &= (score.sort(0).values.diff(dim=0) != 0).all(0)
    if known.any():
        yield Check(
            "samples",
            f"a mean score of 0, {chunks * CHUNK:,} draws, in standard errors",
            float((total.abs() / square.sqrt())[known].max()),
            float(stats.norm.isf(FALSE_ALARM / 2 / int(known.sum()))),
            NOT_THE_LAW,
        )
