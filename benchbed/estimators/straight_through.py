"""Straight-through: pretend that the sample is its mean when differentiating.

Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons
for Conditional Computation" (arXiv 1308.3432). Exact for a J that is affine in each variable.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def straight_through(samples: int = 1, temperature: float = 1.0) -> Estimator:
    """Average dJ/dz at the sampled corner times d mean / d params.

    Args:
        samples: z in one estimate.
        temperature: of the mean that is differentiated, softmax(params / temperature); the
            samples are drawn at temperature 1 always.
    """
    at_least("straight_through", "samples", samples, 1)
    positive_temperature("straight_through", temperature)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        slope = mean_over_samples(
            found.slope
        )  # the Jacobian does not depend on the sample: [draws, *event]
        family = objective.family
        assert family.mean_vjp is not None
        soft = family.mean(params / temperature)
        return add_direct(family.mean_vjp(soft, slope) / temperature, found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "straight_through",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Bengio et al. 2013",
        settings={"temperature": temperature},
        finite=finite_in_z(estimate, replicates=samples),
    )
