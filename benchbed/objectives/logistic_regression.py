"""Bayesian logistic regression on real data: the negative ELBO of a diagonal normal posterior.

The 569 biopsies that ship inside scikit-learn (Street, Wolberg and Mangasarian 1993, "Nuclear
feature extraction for breast tumor diagnosis"), 30 features standardized and an intercept, as in
Mohamed, Rosca, Figurnov and Mnih 2020 (JMLR 21, arXiv 1906.10652), section 8.3. With labels
y = +-1, weights w ~ N(0, prior_scale^2 I) a priori and q = N(mu, diag(sigma^2)),

    J(w) = (sum_i log(1 + exp(-y_i x_i w)) + log q(w) - log p(w)) / examples,

to be lowered. J sees the 31 weights through one margin an example, and each margin is normal,
N(y_i x_i mu, sum_j x_ij^2 sigma_j^2): the exact E[J] is a sum of one-dimensional integrals
(_logistic_margins.py). It is the VARIANCES that add up in a margin.
Rows G2 and S47 of benchbed.facts.coverage.
"""

from __future__ import annotations

import functools
import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import NORMAL
from benchbed.layout import draws_first, draws_last, linear
from benchbed.objectives import _shipped_data
from benchbed.objectives._descent import descend
from benchbed.objectives._logistic_margins import expected_logistic_loss
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

Terms = Literal["sampled", "exact"]
ALL = 569
RATE = 0.05  # of Adam
LEAST, MOST = 1e-6, 1e6  # of a standard deviation: squares stay within float32
CITATION = "Street et al. 1993; Mohamed et al. 2020"


def logistic_regression(
    examples: int = 64,
    terms: Terms = "sampled",
    training_steps: int = 20,
    scale: float = 0.3,
    prior_scale: float = 1.0,
    seed: int = 0,
) -> Objective:
    """Cost: the negative ELBO of 31 weights on scikit-learn's breast-cancer data, in nats each.

    Per example: the log-likelihood's sum and the whole KL are divided by ``examples``. params are
    [2, 31], means and log-scales; the intercept is the last weight.

    Args:
        examples: biopsies, taken evenly through the 569; with fewer the posterior is that of these
            alone, their likelihood is not scaled up.
        terms: how KL(q || prior) enters J: ``sampled``, log q(w) - log p(w); or ``exact``, the
            closed form, counted from its value at the point, so that the score multiplies nothing
            of it. The gradient is the same; with exact E[J] is less by that value.
        training_steps: of Adam on the exact gradient before the point is taken; 0 is the seeded
            start, means of size 0.1.
        scale: standard deviation of q at the start.
        prior_scale: standard deviation of the prior.
        seed: of the start.
    """
    name = "logistic_regression"
    if terms not in get_args(Terms):
        raise BadArgument(f"{name} needs terms: sampled or exact, got '{terms}'")
    if at_least(name, "examples", examples, 1) > ALL:
        raise BadArgument(f"{name} has {ALL} examples, got {examples}; use {ALL} for all of them")
    at_least(name, "training_steps", training_steps, 0)
    at_least(name, "seed", seed, 0)
    for what, given in (("scale", scale), ("prior_scale", prior_scale)):
        if not finite_number(name, what, given) > 0:
            raise BadArgument(f"{name} needs {what} > 0, got {given}; it is a standard deviation")
        if not LEAST <= given <= MOST:
            raise BadArgument(
                f"{name} needs a {what} from {LEAST:g} to {MOST:g}, got {given}; "
                "features are standardized, try 1"
            )
    signed = breast_cancer()[torch.linspace(0, ALL - 1, examples).long()]  # y x, [examples, 31]
    squared = signed.square()
    weights = signed.shape[1]

    def divergence(params: Tensor) -> Tensor:
        """Return KL(q || prior), [...]."""
        mu, log_sigma = params[..., 0, :], params[..., 1, :]
        ratio = (mu.square() + (2 * log_sigma).exp()) / prior_scale**2
        return (0.5 * (ratio - 1) + math.log(prior_scale) - log_sigma).sum(-1)

    def bound(params: Tensor) -> Tensor:
        mean = signed.to(params) @ params[0]
        spread = (squared.to(params) @ (2 * params[1]).exp()).sqrt()
        return (expected_logistic_loss(mean, spread).sum() + divergence(params)) / examples

    start = 0.1 * Noise(seed, name, dtype=torch.float64).normal(1, weights)
    start = torch.cat((start, torch.full_like(start, math.log(scale))))
    point = start.contiguous()
    descend([point], lambda _: bound(point), training_steps, RATE)
    point = point.detach()
    level = float(divergence(point)) if terms == "exact" else 0.0

    def cost(z: Tensor, params: Tensor) -> Tensor:
        margins = draws_last(linear(signed, z))  # [samples, examples, draws]
        loss = draws_first(F.softplus(-margins).sum(-2))
        if terms == "exact":
            return (loss + divergence(params) - level) / examples
        scaled = draws_first((draws_last(z) / prior_scale).square().sum(-2))
        log_prior = -0.5 * scaled - weights * (math.log(prior_scale) + 0.5 * math.log(2 * math.pi))
        return (loss + NORMAL.log_prob(params, z) - log_prior) / examples

    def value(params: Tensor) -> Tensor:
        return bound(params) - level / examples

    return Objective(
        name,
        NORMAL,
        point,
        cost,
        value,
        gradient_of(value),
        direct=True,
        citation=CITATION,
    )


@functools.cache
def breast_cancer() -> Tensor:
    """Return y_i x_i, [569, 31]: features of mean 0 and variance 1, then 1, times +1 if benign."""
    data = _shipped_data.breast_cancer()
    x = torch.from_numpy(data.data)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    sign = torch.from_numpy(2.0 * data.target - 1)
    return torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), 1) * sign[:, None]
