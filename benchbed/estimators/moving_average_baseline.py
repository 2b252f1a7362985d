"""The score function with a moving average of J as its baseline.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning" (the "reinforcement baseline"): c <- decay c + (1 - decay) mean(J) after every step, and
g = (J(z) - c) d log q(z) / d params with the c from BEFORE the step.

In training c drifts with the parameters; at a fixed point there is nothing to drift after. So
``tune`` runs the average over a pilot of ``steps`` steps and freezes it: the draws are then
independent of c and of one another, and the estimator is a constant baseline whose c carries the
moving average's own noise, Var(c) = Var(J) / samples * (1 - decay) / (1 + decay). No state is kept
afterwards. Code that updates c with the batch at hand and only then subtracts it multiplies the
gradient by 1 - (1 - decay) / samples, each J being part of its own baseline.

One c for each item of an amortized model. Costs ``samples`` evaluations of J, and
``steps * samples`` once.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from benchbed.arguments import at_least
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

NAME = "moving_average_baseline"


def moving_average_baseline(samples: int = 1, decay: float = 0.9, steps: int = 1000) -> Estimator:
    """Average (J(z) - c) times the score, with c an exponential moving average of J, frozen.

    Args:
        samples: z in one estimate, and in each step of the moving average.
        decay: share of c that a step keeps, 0 <= decay < 1.
        steps: that the moving average has run when it is frozen.
    """
    at_least(NAME, "samples", samples, 1)
    at_least(NAME, "steps", steps, 1)
    decay = proper_decay(NAME, decay)

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        costs = costs_in_sequence(objective, params, steps, samples, noise)
        c = running_average(costs.mean(1), decay)  # [*items]

        def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
            return centred_score(objective, params, z, c)

        def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
            z = objective.family.sample(params, draws, samples, noise)
            return estimate(objective, params, z)

        return replace(
            untuned,
            draw=draw,
            tune=None,
            finite=finite_in_z(estimate, replicates=samples),
            tuning_evaluations=steps * samples,
        )

    untuned = Estimator(
        NAME,
        no_draw_before_tuning(NAME),
        samples=samples,
        evaluations=samples,
        unbiased=True,
        citation="Williams 1992",
        settings={"decay": decay, "steps": steps},
        tune=tune,
    )
    return untuned
