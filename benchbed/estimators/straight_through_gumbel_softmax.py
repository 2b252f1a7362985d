"""Straight-through Gumbel-Softmax: J and dJ/dz at the arg-max, the relaxed sample's Jacobian.

Jang, Gu and Poole 2017 (arXiv 1611.01144), section 2.2. The same Gumbels serve both. Its bias does
NOT vanish with the temperature t: its mean tends to ReinMax's at temperature 1, linearly. For a
bit the difference is t log 2 v (2 p - 1) E[J'(1) - J'(0)] + O(t^2), v = p (1 - p).
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def straight_through_gumbel_softmax(samples: int = 1, temperature: float = 0.5) -> Estimator:
    """Average dJ/dz at the hard sample times d relaxed sample / d params.

    Args:
        samples: z in one estimate.
        temperature: of the relaxation, > 0.
    """
    at_least("straight_through_gumbel_softmax", "samples", samples, 1)
    positive_temperature("straight_through_gumbel_softmax", temperature)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        path = objective.family.path(params, draws, samples, temperature, noise)
        found = objective.evaluate(path.hard, params, slope=True)
        assert found.slope is not None
        return add_direct(mean_over_samples(path.vjp(found.slope)), found)

    return Estimator(
        "straight_through_gumbel_softmax",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"bernoulli", "categorical", "nested"}),
        citation="Jang et al. 2017",
        settings={"temperature": temperature},
    )
