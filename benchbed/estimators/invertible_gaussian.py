"""Invertible Gaussian reparameterization (IGR): a relaxed sample made of normals, not Gumbels.

Potapczynski, Loaiza-Ganem and Cunningham 2020, "Invertible Gaussian Reparameterization: Revisiting
the Gumbel-Softmax" (arXiv 1912.09588). K - 1 normals a variable, the last category's logit being
the origin, and softmax++, which is the softmax with log(delta) in the last place:

    mu_c = logit_c - logit_K,    l_c = (mu_c + scale eps_c) / temperature,  c < K
    y = softmax(l_1, ..., l_{K-1}, log delta),    g = Jac(y) J'(y) / temperature

The gradient in logit_K is minus the sum of the others', which is the last place of Jac(y) J'(y).
For a bit y = sigma((logit + scale eps) / temperature - log delta). The paper learns mu and the
scale directly; here the locations are the logits' and the scale is fixed.

The pathwise gradient is exact for E[J(y)], y relaxed. That is ANOTHER law than softmax(logits): the
arg-max of y has no closed form in the logits, and no temperature brings it back, so this is biased
for the categorical E[J] at every setting, its limit included. One evaluation of J, with dJ/dz, a
sample; J must be defined between the corners.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def invertible_gaussian(
    samples: int = 1, temperature: float = 0.5, scale: float = 1.0, delta: float = 0.1
) -> Estimator:
    """Average the gradient of J at relaxed samples made of normals by softmax++.

    Args:
        samples: relaxed y in one estimate.
        temperature: of the relaxation, > 0.
        scale: standard deviation of the normals, > 0.
        delta: weight of the last category in softmax++, > 0.
    """
    at_least("invertible_gaussian", "samples", samples, 1)
    positive_temperature("invertible_gaussian", temperature)
    for name, given, usual in (("scale", scale, 1.0), ("delta", delta, 0.1)):
        if not 0 < given < math.inf:
            raise BadArgument(f"invertible_gaussian needs {name} > 0, got {given}; try {usual}")
    last = math.log(delta)

    def relax(params: Tensor, draws: int, noise: Noise) -> Tensor:
        """Return y [draws, samples, *items, d, K] for logits [*items, d, K]."""
        eps = draws_last(noise.normal(draws, samples, *params.shape[:-1], params.shape[-1] - 1))
        place = ((params[..., :-1] - params[..., -1:]) / temperature)[..., None]
        logits = eps.mul_(scale / temperature).add_(place)
        origin = torch.full_like(logits[..., :1, :], last)
        return draws_first(torch.cat((logits, origin), -2).softmax(-2))

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        assert family.mean_vjp is not None
        if family.name == "bernoulli":
            eps = noise.normal(draws, samples, *params.shape)
            y = eps.mul_(scale / temperature).add_(params / temperature - last).sigmoid_()
        else:
            y = relax(params, draws, noise)
        found = objective.evaluate(y, params, slope=True)
        assert found.slope is not None
        rows = mean_over_samples(family.mean_vjp(y, found.slope))
        return add_direct(rows.div_(temperature), found)

    return Estimator(
        "invertible_gaussian",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable", "relaxed", "mean"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Potapczynski et al. 2020",
        settings={"temperature": temperature, "scale": scale, "delta": delta},
    )
