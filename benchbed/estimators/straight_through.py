"""Straight-through: pretend that the sample is its mean, or its logit, when differentiating.

Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons
for Conditional Computation" (arXiv 1308.3432). With z sampled and J' = dJ/dz at z, [..., event]:

    mean       Jac(softmax(params / temperature)) J' / temperature; v J' for a bit, v = p (1 - p)
    identity   J'
    clipped    J' 1[|logit| <= 1], the derivative of the hard tanh (Hubara et al. 2016)

``mean`` at temperature 1 is exact for a J that is affine in each variable (multilinear). The other
two leave out the factor v, so even their scale is wrong, and they are biased for a linear J too.
``identity`` and ``clipped`` are known for bits. On categories ``identity`` is the linearization
SNAP(u) = u; its gradient does not sum to 0 over the categories as the true one does. ``clipped``
makes no sense there (softmax does not change when all logits move) and is refused.

A threshold of a noisy input (``step``) is a bit as well, with v = phi(f / scale) / scale: ``mean``
is made for it. ``identity`` there, and on the arg-max of one (``snap``), is vq_straight_through.

One evaluation of J, with dJ/dz, a sample.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.estimators._straight_through_derivative import check, pulled_back
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def straight_through(
    samples: int = 1,
    temperature: float = 1.0,
    derivative: Literal["mean", "identity", "clipped"] = "mean",
) -> Estimator:
    """Average dJ/dz at the sampled corner times d mean / d params, or a cruder derivative.

    Args:
        samples: z in one estimate.
        temperature: of the mean that is differentiated, softmax(params / temperature); the
            samples are drawn at temperature 1 always. For ``mean`` only.
        derivative: ``mean``, ``identity`` or (Bernoulli only) ``clipped``.

    Raises:
        BadArgument: no such derivative, or a temperature beside one that has none.
    """
    at_least("straight_through", "samples", samples, 1)
    families = check("straight_through", derivative, temperature, ("mean", "identity", "clipped"))
    if derivative == "mean" and families is not None:
        families |= {"step"}

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        # The derivative does not depend on the sample: [draws, *event] is all it needs.
        slope = mean_over_samples(found.slope)
        family = objective.family
        return add_direct(pulled_back(family, params, slope, derivative, temperature), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "straight_through",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable", "mean"} if derivative == "mean" else {"differentiable"}),
        families=families,
        citation="Bengio et al. 2013" + ("; Hubara et al. 2016" if derivative == "clipped" else ""),
        settings={"temperature": temperature, "derivative": derivative},
        finite=finite_in_z(estimate, replicates=samples),
    )
