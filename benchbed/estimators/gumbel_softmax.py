"""Gumbel-Softmax (Concrete), and the binary Concrete for Bernoulli latents.

Jang, Gu and Poole 2017 (arXiv 1611.01144); Maddison, Mnih and Teh 2017 (arXiv 1611.00712). Biased
at every temperature, even for a linear J; the bias vanishes as the temperature goes to 0, where
the variance grows like 1 / temperature.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def gumbel_softmax(samples: int = 1, temperature: float = 0.5) -> Estimator:
    """Average the gradient of J at ``samples`` relaxed samples.

    Args:
        samples: relaxed z in one estimate.
        temperature: of the relaxation, > 0.
    """
    at_least("gumbel_softmax", "samples", samples, 1)
    positive_temperature("gumbel_softmax", temperature)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        path = objective.family.path(params, draws, samples, temperature, noise)
        found = objective.evaluate(path.soft, params, slope=True)
        assert found.slope is not None
        return add_direct(mean_over_samples(path.vjp(found.slope)), found)

    return Estimator(
        "gumbel_softmax",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased="limit",
        needs=frozenset({"differentiable", "relaxed"}),
        families=frozenset({"bernoulli", "categorical", "nested"}),
        citation="Jang et al. 2017; Maddison et al. 2017",
        settings={"temperature": temperature},
    )
