"""Decoupled straight-through: sample at one temperature, differentiate at another.

Shah, Yan, Mozer and Liu 2024, "Improving Discrete Optimisation Via Decoupled Straight-Through
Estimator" (arXiv 2410.13331). For one variable [K],

    z ~ softmax(params / forward_temperature)
    g = Jac(softmax(params / backward_temperature)) dJ/dz / backward_temperature

A forward temperature other than 1 changes the LAW of z, so this descends another expectation than
E[J] under softmax(params); its bias is measured against the gradient of the one that it samples
from (``target`` is then ``tempered``). At forward temperature 1 it is ``straight_through`` at the
backward temperature. The Gumbel form of the paper's first version needs no file: the arg-max of
(params + Gumbels) / forward_temperature does not depend on that temperature, which leaves
``straight_through_gumbel_softmax`` at the backward one. Exact for the tempered law and a J
that is affine in each variable where both temperatures are equal; biased otherwise, even for a
linear J. One evaluation of J, with dJ/dz, a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.enumeration import marginalize, tuples
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def decoupled_straight_through(
    samples: int = 1, forward_temperature: float = 0.5, backward_temperature: float = 1.0
) -> Estimator:
    """Average dJ/dz at samples of one temperature times the softmax's derivative at another.

    Args:
        samples: z in one estimate.
        forward_temperature: of the law that z is drawn from: softmax(params / it).
        backward_temperature: of the softmax that is differentiated.
    """
    at_least("decoupled_straight_through", "samples", samples, 1)
    tempered = 1 / positive_temperature("decoupled_straight_through", forward_temperature)
    cooled = 1 / positive_temperature("decoupled_straight_through", backward_temperature)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        family = objective.family
        assert family.mean_vjp is not None
        slope = mean_over_samples(found.slope)  # the Jacobian does not depend on the sample
        pulled = family.mean_vjp(family.mean(params * cooled), slope)
        return add_direct(pulled if cooled == 1 else pulled.mul_(cooled), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        z = objective.family.sample(params * tempered, draws, samples, noise)
        return estimate(objective, params, z)

    def count(objective: Objective, params: Tensor) -> int:
        states = objective.family.states
        return 0 if states is None else states(params)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for z in tuples(objective.family, params, together=1):
            weight = objective.family.log_prob(params * tempered, z).sum(1).exp()
            yield weight, estimate(objective, params, z)

    def target_gradient(objective: Objective) -> Tensor:
        """Return the gradient in params of E[J(z, params)], z ~ softmax(params * tempered)."""
        params = objective.params.double()
        if not objective.direct:  # the chain rule, and the objective's closed form if it has one
            return objective.exact_gradient(params * tempered) * tempered
        family = objective.family

        def log_prob(params: Tensor, z: Tensor) -> Tensor:
            return family.log_prob(params * tempered, z)

        return marginalize(replace(objective, family=replace(family, log_prob=log_prob)), params)[1]

    own_law = forward_temperature == 1
    return Estimator(
        "decoupled_straight_through",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        target="objective" if own_law else "tempered",
        target_gradient=None if own_law else target_gradient,
        needs=frozenset({"differentiable", "mean"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Shah et al. 2024",
        settings={
            "forward_temperature": forward_temperature,
            "backward_temperature": backward_temperature,
        },
        finite=Finite(count, outcomes, samples),
    )
