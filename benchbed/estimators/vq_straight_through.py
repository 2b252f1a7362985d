"""Straight-through vector quantization: copy the gradient at the code to the encoder's output.

van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning" (arXiv
1711.00937), section 3.2: dJ/df := dJ/dq(q), q the nearest code, [draws, samples, *items, d, D].
Its mean is E[J'(q)], biased in general: it does not know how fast q moves with f. A threshold and
an arg-max of noisy inputs are taken for the identity just so (Bengio, Leonard and Courville 2013).

Of a learned codebook, the parameters behind the encoder's, the path gives nothing to the codes.
They have the direct term: the codebook loss's gradient and, where the task reads them, the task's.
Elsewhere the paper's codebook and commitment losses, which train the codebook and hold f near it,
are no part of the gradient of E[J(q)]. One evaluation of J with its slope a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def vq_straight_through(samples: int = 1) -> Estimator:
    """Average dJ/dz at ``samples`` sampled codes, taken as the gradient of the encoder's output."""
    at_least("vq_straight_through", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        slope = mean_over_samples(found.slope)
        if params.shape != slope.shape[1:]:
            slope = _before_a_codebook(slope, params, objective.family.event_axes)
        return add_direct(slope, found)

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
        families=frozenset({"learned_codebook", "quantized", "snap", "step"}),
        citation="van den Oord et al. 2017",
        finite=finite_in_z(estimate, replicates=samples),
    )


def _before_a_codebook(slope: Tensor, params: Tensor, axes: int) -> Tensor:
    """Return [draws, *items, *event] as the first of flat params, 0 at the codes behind them."""
    inner = draws_last(slope).flatten(-axes - 1, -2)  # [*items, event, draws]
    rest = params.shape[-1] - inner.shape[-2]
    codes = inner.new_zeros(*inner.shape[:-2], rest, inner.shape[-1])
    return draws_first(torch.cat((inner, codes), -2))
