"""Rate and distortion of an autoencoder: multiplier * I(X, Z) + E[-log p(x | z)].

The evidence bound's dvae form at the optimal prior, which is the aggregate q_Z: its last KL term is
gone, and what is left trades the encoder's rate I(X, Z) = KL(q || q_Z) for the decoder's distortion
(Alemi et al. 2018, "Fixing a Broken ELBO", arXiv 1711.00464). One variable per image makes q(z | x)
any law at all, and the optimum at a multiplier is that of Blahut 1972: q(z | x) in proportion to
q_Z(z) exp(-distortion / multiplier), and the cost there is -multiplier E[log sum_z of it]. With
more variables the same alternation is done variable by variable, in the independent laws.

Mind the multiplier's place: Blahut and the curve's slope put it on the distortion, here it is on
the rate, so that a larger one means fewer bits, and 1 is the ELBO at the optimal prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument, nearest
from benchbed.objectives._discrete_model import (
    DiscreteModel,
    Latents,
    discrete_model,
    encoder_point,
)
from benchbed.objectives._elbo_terms import Term, bound, value_of
from benchbed.objectives.elbo import FORMS, terms_of

Terms = Literal["sampled", "exact", "all", "reconstruction", "mutual_information"]
CITATION = "Alemi et al. 2018; Blahut 1972"


def rate_distortion(
    multiplier: float = 1.0,
    terms: Terms = "sampled",
    latents: Latents = "bernoulli",
    data: int = 3,
    dimensions: int = 2,
    categories: int = 3,
    fit: float = 1.0,
    distance: float = 1.0,
    iterations: int = 0,
    seed: int = 0,
) -> Objective:
    """Cost multiplier * I(X, Z) + E[-log p(x | z)]: the ELBO's at the optimal prior, in nats.

    To be lowered; the mean over images. Params are the logits of every image's q,
    [data * dimensions] (or that by categories). As in ``elbo``, a term in closed form is counted
    from its value at the point, and terms: sampled reads the cost itself. A small multiplier and a
    few iterations drive q to certainty: what has less than a chance of 1 / draws is then seen in
    closed form alone, and a bias test on draws is insensitive or undecided. Row S23 of
    benchbed.facts.coverage.

    Args:
        multiplier: of the rate, at least 0: the price of a nat of I(X, Z) in nats of distortion.
        terms: ``sampled``; ``exact``: the rate in closed form; ``all``: both, so that J does not
            depend on z; or the name of the one in closed form.
        latents: ``bernoulli`` or ``categorical``; with categorical and dimensions 1, q can be any
            law.
        data: number of images.
        dimensions: latent variables of an image.
        categories: of a categorical variable.
        fit: of q before the iterations: 0 is the prior for every image, 1 the product closest to
            its posterior.
        distance: from there, as seeded normal steps of the logits of size distance / 2.
        iterations: of the alternation towards the optimum at this multiplier; the gradient falls
            to 0 as they go on.
        seed: of the model, of the images and of the steps.
    """
    name = "rate_distortion"
    if terms not in get_args(Terms):
        raise BadArgument(
            f"{name} needs terms: one of {', '.join(get_args(Terms))}, got '{terms}'"
            f"{nearest(str(terms), get_args(Terms))}"
        )
    if finite_number(name, "multiplier", multiplier) < 0:
        raise BadArgument(
            f"{name} needs a multiplier >= 0, got {multiplier}; below 0 the rate would be raised"
        )
    at_least(name, "iterations", iterations, 0)
    if iterations and multiplier == 0:
        raise BadArgument(
            f"{name} with multiplier 0 has its optimum at infinite logits; use iterations: 0, or a "
            "multiplier > 0"
        )
    weights = {"mutual_information": multiplier, "total_correlation": 0.0, "dimension_wise": 0.0}
    chosen = terms_of(name, "dvae", terms, weights)
    model = discrete_model(name, latents, data, dimensions, categories, seed)
    params = encoder_point(name, model, fit, distance, seed)
    params = alternated(model, params, multiplier, iterations)
    return bound(name, model, chosen, params, CITATION)


def alternated(model: DiscreteModel, params: Tensor, multiplier: float, iterations: int) -> Tensor:
    """Return the encoder's logits after Blahut's alternation, variable by variable.

    Args:
        model: of the distortion.
        params: [N * d] or [N * d, K], where to start.
        multiplier: of the rate, above 0.
        iterations: rounds over the variables; none of them raises the cost.
    """
    log_pi = torch.unflatten(model.log_pi(params[..., None])[..., 0], 0, (len(model.x), -1))
    flat = model.states.flatten(1)
    for _ in range(iterations):
        for variable in range(log_pi.shape[1]):
            log_q = log_pi.flatten(1) @ flat.T  # [N, S]
            wanted = log_q.logsumexp(0) + model.log_likelihoods / multiplier
            own = model.states[:, variable]  # [S, K]
            others = (log_q - log_pi[:, variable] @ own.T).exp()
            log_pi = log_pi.clone()
            log_pi[:, variable] = ((others * wanted) @ own).log_softmax(-1)
    return model.logits(log_pi).flatten(0, 1).contiguous() if iterations else params


class RateDistortion(NamedTuple):
    """What an encoder spends and loses, in nats an image."""

    rate: float  # I(X, Z)
    distortion: float  # E[-log p(x | z)]


def rate_and_distortion(model: DiscreteModel, params: Tensor) -> RateDistortion:
    """Return the two of the encoder with these logits, exactly."""
    parts = ("mutual_information", "reconstruction")
    rate, distortion = (
        float(value_of(model, [Term(part, FORMS["dvae"][part])])(params)) for part in parts
    )
    return RateDistortion(rate, distortion)


def curve(
    multipliers: Sequence[float],
    latents: Latents = "categorical",
    data: int = 6,
    dimensions: int = 1,
    categories: int = 3,
    iterations: int = 500,
    seed: int = 0,
) -> list[RateDistortion]:
    """Return the rate-distortion curve of a model, one point for each multiplier (all above 0).

    A larger multiplier buys fewer nats. With more than one variable every point is a local optimum
    of its own, found by ``iterations`` of the alternation from q fitted to the posterior; the
    other arguments are those of ``rate_distortion``.
    """
    model = discrete_model("curve", latents, data, dimensions, categories, seed)
    start = encoder_point("curve", model, 1.0, 0.0, seed)
    points = (alternated(model, start, multiplier, iterations) for multiplier in multipliers)
    return [rate_and_distortion(model, point) for point in points]
