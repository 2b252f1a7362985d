"""The bound E_{z ~ p}[log p(x | z)] <= log p(x): z from the model's own prior, no encoder.

Jensen's inequality the other way round from importance sampling: its gap is KL(p || p(z | x)), that
of the prior from the posterior. Xu et al. 2015, "Show, Attend and Tell" (arXiv 1502.03044),
equations 10 to 12, train hard attention on it by REINFORCE; there and here the gradient by the
prior is a score-function problem with no direct term.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.contracts import Objective
from benchbed.layout import draws_first
from benchbed.objectives._discrete_model import Latents, discrete_model
from benchbed.objectives._points import gradient_of
from benchbed.objectives.log_marginal import log_prior_of


def prior_bound(
    latents: Latents = "bernoulli",
    data: int = 4,
    dimensions: int = 3,
    categories: int = 3,
    seed: int = 0,
) -> Objective:
    """Cost -log p(x | z) of z from the prior, a bound on -log p(x), by the prior's logits.

    To be lowered; the mean over images, in nats. Params are the prior's logits, [dimensions] or
    [dimensions, categories]. Row S22 of benchbed.facts.coverage.

    Args:
        latents: ``bernoulli`` or ``categorical``.
        data: number of images.
        dimensions: latent variables.
        categories: of a categorical variable.
        seed: of the model and the images.
    """
    model = discrete_model("prior_bound", latents, data, dimensions, categories, seed)
    distortion = -model.log_likelihoods.mean(0)  # [S]

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return draws_first(-model.log_likelihood_of_all(model.choices(z)).mean(-2))

    def value(params: Tensor) -> Tensor:
        return log_prior_of(model, params).exp() @ distortion

    return Objective(
        "prior_bound",
        model.family,
        model.logits(model.log_prior),
        cost,
        value,
        gradient_of(value),
        citation="Xu et al. 2015",
    )
