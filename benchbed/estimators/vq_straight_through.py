"""Straight-through vector quantization: copy the gradient at the code to the encoder's output.

van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning" (arXiv
1711.00937), section 3.2: dJ/df := dJ/dq(q), q the nearest code, [draws, samples, *items, d, D].
Its mean is E[J'(q)], biased in general: it does not know how fast q moves with f. The paper's
codebook and commitment losses train the codebook and hold f near it; they are no part of the
gradient of E[J(q)] and are left out. One evaluation of J with its slope a sample.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def vq_straight_through(samples: int = 1) -> Estimator:
    """Average dJ/dz at ``samples`` sampled codes, taken as the gradient of the encoder's output."""
    at_least("vq_straight_through", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        return add_direct(mean_over_samples(found.slope), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "vq_straight_through",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"quantized"}),
        citation="van den Oord et al. 2017",
        finite=finite_in_z(estimate, replicates=samples),
    )
