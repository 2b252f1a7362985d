"""NVIL: the score function with learned baselines and, if wanted, variance normalization.

Mnih and Gregor 2014, "Neural Variational Inference and Learning in Belief Networks" (arXiv
1402.0030), section 2.3: with the learning signal l = J(z) - C(x) - c,

    g = l / max(1, sqrt(v)) d log q(z) / d params,

where C(x) is a baseline that sees the input x, fitted by least squares to J; c and v are running
averages of a minibatch's mean and variance of J - C(x), one number each for all inputs.

At a fixed minibatch a network of x can do no better than one number an item, so C is that: the
item's mean cost over the pilot, where least squares ends. On a toy without inputs C is a constant,
and NVIL, frozen, IS constant_baseline with the running mean as its constant. Nothing is learned
once ``tune`` has returned.

Without normalization it is unbiased. With it every estimate, the direct term included, is divided
by max(1, sqrt(v)): the mean is exactly that share of the gradient (the direction is right, the
length is not), hence ``unbiased=False``. ``settings`` of the frozen estimator records the factor
as ``scale``.

Costs ``samples`` evaluations of J, and ``steps * batch`` once.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import finite_in_z
from benchbed.estimators._centred_score import centred_score
from benchbed.estimators._running_average import (
    costs_in_sequence,
    no_draw_before_tuning,
    proper_decay,
    running_average,
)
from benchbed.rng import Noise


def nvil(
    samples: int = 1,
    normalize: bool = False,
    decay: float = 0.8,
    steps: int = 200,
    batch: int = 32,
) -> Estimator:
    """Average (J(z) - C - c) times the score, by running averages divided by max(1, sqrt(v)).

    Args:
        samples: z in one estimate.
        normalize: divide by max(1, sqrt(v)), which biases the length of the gradient.
        decay: share of c and v that a step keeps, 0 <= decay < 1.
        steps: that the running averages have run when they are frozen.
        batch: z (of every item) in each of those steps, at least 2, or a step has no variance.
    """
    flag("nvil", "normalize", normalize)
    at_least("nvil", "samples", samples, 1)
    at_least("nvil", "steps", steps, 1)
    at_least("nvil", "batch", batch, 2, "; the variance of one cost is not defined")
    decay = proper_decay("nvil", decay)

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        costs = costs_in_sequence(objective, params, steps, batch, noise)
        by_item = costs.mean((0, 1))  # C, [*items]
        signal = (costs - by_item).flatten(1)  # [steps, batch * items]
        c = running_average(signal.mean(1), decay)
        v = running_average(signal.var(1), decay)
        baseline = by_item + c
        scale = 1 / max(1.0, float(v) ** 0.5) if normalize else 1.0

        def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
            rows = centred_score(objective, params, z, baseline)
            return rows.mul_(scale) if normalize else rows

        def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
            z = objective.family.sample(params, draws, samples, noise)
            return estimate(objective, params, z)

        return replace(
            untuned,
            draw=draw,
            tune=None,
            settings={**untuned.settings, "scale": scale},
            finite=finite_in_z(estimate, replicates=samples),
            tuning_evaluations=steps * batch,
        )

    untuned = Estimator(
        "nvil",
        no_draw_before_tuning("nvil"),
        samples=samples,
        evaluations=samples,
        unbiased=not normalize,
        citation="Mnih and Gregor 2014",
        settings={"normalize": normalize, "decay": decay, "steps": steps, "batch": batch},
        tune=tune,
    )
    return untuned
