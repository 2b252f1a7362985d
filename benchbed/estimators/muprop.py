"""MuProp: the score function around the first-order Taylor expansion of J at the mean of z.

Gu, Levine, Sutskever and Mnih 2016, "MuProp: Unbiased Backpropagation for Stochastic Neural
Networks" (arXiv 1511.05176). With mu = E[z] (p, pi, or a normal's mean),

    g = [J(z) - J(mu) - J'(mu) (z - mu)] d log q(z) / d params + (d mu / d params)^T J'(mu),

the last term being the mean of the one that was subtracted: E[(z - mu) d log q / d params] is
d mu / d params whatever the law, so this holds for every family that offers its mean. Without the
linear term it is the paper's SimpleMuProp, the score function with J(mu) as its baseline.

J(mu) and J'(mu) are taken between the corners, so J must be defined there, and the variance
depends on how it is continued: it is 0 for an affine J, while of (b - t)^2 at p = 1/2 the native
square leaves the constant 1/4, with REINFORCE's variance where t is near 1/2.

Where J depends on params besides, the direct term is taken at the SAMPLED z alone: what is
subtracted multiplies a score and its mean is added back, so nothing of it is differentiated.

Costs ``samples`` + 1 evaluations of J; the one at the mean, with the only slope, is the same for
every draw and is made once a call. Of one layer of latents only: a mean-field pass through several
needs a correction in every layer.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import finite_in_z
from benchbed.estimators._centred_score import centred_score
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def muprop(samples: int = 1, linear: bool = True) -> Estimator:
    """Average the score function around J(mu) + J'(mu) (z - mu), whose own gradient is added back.

    Args:
        samples: z in one estimate.
        linear: keep the linear term; without it, SimpleMuProp.
    """
    flag("muprop", "linear", linear)
    at_least("muprop", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        family = objective.family
        mean = family.mean(params)  # [*items, *event]
        there = objective.evaluate(mean[None, None], params, slope=linear)
        if there.slope is None:
            return centred_score(objective, params, z, there.cost)
        assert family.mean_vjp is not None
        event = family.event_axes
        slope = there.slope[0, 0].flatten(-event).unsqueeze(-2)  # [*items, 1, event]
        # J'(mu) (z - mu), [samples, *items, 1, draws]
        tilt = slope @ draws_last(z).flatten(-event - 1, -2)
        tilt -= slope @ mean.flatten(-event).unsqueeze(-1)
        rows = centred_score(objective, params, z, there.cost + draws_first(tilt.squeeze(-2)))
        return rows.add_(family.mean_vjp(mean, there.slope)[:, 0])

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "muprop",
        draw,
        samples=samples,
        evaluations=samples + 1,
        slopes=int(linear),
        unbiased=True,
        needs=frozenset({"differentiable", "relaxed", "mean"})
        if linear
        else frozenset({"relaxed", "mean"}),
        citation="Gu et al. 2016",
        settings={"linear": linear},
        finite=finite_in_z(estimate, replicates=samples),
    )
