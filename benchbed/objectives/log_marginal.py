"""Direct marginalization: the gradient of -log p(x) by the prior, as that of an expectation.

-log p(x) = -log E_{z ~ p_theta}[p(x | z)] is not an expectation, but its gradient at theta_0 is
that of E_{z ~ p_theta}[-p(x | z) / p(x; theta_0)]: the logarithm's derivative 1 / p(x) is a number
there, summed exactly and frozen into the cost. So any estimator for expectations gives an unbiased
gradient of the log-likelihood by the prior's logits, which it does not with a sampled normalizer.
Off theta_0 the expectation goes straight on, with the value -1 at theta_0; it is not the negative
log-likelihood there.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.contracts import Objective
from benchbed.layout import draws_first
from benchbed.objectives._discrete_model import DiscreteModel, Latents, discrete_model
from benchbed.objectives._points import gradient_of


def log_marginal(
    latents: Latents = "categorical",
    data: int = 4,
    dimensions: int = 1,
    categories: int = 4,
    seed: int = 0,
) -> Objective:
    """Cost -p(x | z) / p(x) of z from the prior: the gradient is that of -log p(x), by its logits.

    To be lowered; the mean over images. Params are the prior's logits, [dimensions] or
    [dimensions, categories]: by default those of a mixture of 4 components. Row S11 of
    benchbed.facts.coverage.

    Args:
        latents: ``bernoulli`` or ``categorical``.
        data: number of images.
        dimensions: latent variables.
        categories: of a categorical variable.
        seed: of the model and the images.
    """
    model = discrete_model("log_marginal", latents, data, dimensions, categories, seed)
    evidences = model.log_evidences  # of theta_0

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        log_likelihood = model.log_likelihood_of_all(model.choices(z))  # [..., N, draws]
        ratio = (log_likelihood - evidences.to(z)[:, None]).exp()
        return draws_first(-ratio.mean(-2))

    def value(params: Tensor) -> Tensor:
        log_joint = log_prior_of(model, params) + model.log_likelihoods  # [N, S]
        return -(log_joint.logsumexp(-1) - evidences).exp().mean()

    params = model.logits(model.log_prior)
    return Objective("log_marginal", model.family, params, cost, value, gradient_of(value))


def log_prior_of(model: DiscreteModel, params: Tensor) -> Tensor:
    """Return log p(z) of every z at other logits of the prior, [S]."""
    log_pi = model.log_pi(params[..., None])[..., 0]  # [d, K]
    return (model.states * log_pi).sum((-2, -1))
