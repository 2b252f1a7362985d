"""Implicit reparameterization: the pathwise gradient of laws without an explicit path.

Figurnov, Mohamed and Mnih 2018, "Implicit Reparameterization Gradients" (arXiv 1805.08498).
A sample z with distribution function F(z; a) moves with its parameter as if its
quantile level were held:

    dz/da = - (dF(z; a) / da) / q(z; a),        estimate = mean over samples of dJ/dz dz/da,

so that neither F nor its inverse need be written in closed form. Gamma and beta variables each
follow their own quantile; a Dirichlet's entry follows its beta quantile and the others keep their
proportions.

dz/da [draws, samples, *params] is torch's, by series and rational approximations. Measured over
concentrations from 0.2 to 300, a gamma's is off by 0.15 % at most and its mean by 0.012 %; a
beta's, and so a Dirichlet's, by 1.6 % far in the tail of a lopsided law and its mean by 0.05 %.
That is the bias of this estimator, here and in ``torch.distributions.*.rsample``: the mean of many
millions of draws may show it. Taking the sample as a
constant in a, and only its rate or scale as a path, drops a term and is biased.

Assumes a J that is continuous and differentiable almost everywhere: it does not see a jump. Cost:
``samples`` evaluations of J with their dJ/dz.
"""

from __future__ import annotations

from dataclasses import replace

from benchbed.arguments import at_least
from benchbed.contracts import Estimator
from benchbed.estimators.reparameterization import reparameterization


def implicit_reparameterization(samples: int = 1) -> Estimator:
    """Average dJ/dz dz/dparams, with z moving along its quantile, over ``samples`` independent z.

    Args:
        samples: z in one estimate.
    """
    at_least("implicit_reparameterization", "samples", samples, 1)
    return replace(
        reparameterization(samples),
        name="implicit_reparameterization",
        families=frozenset({"gamma", "beta", "dirichlet"}),
        citation="Figurnov et al. 2018",
    )
