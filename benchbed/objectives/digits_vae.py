"""A discrete variational autoencoder on real images: the negative ELBO of 8x8 digits.

The 1,797 images that ship inside scikit-learn (Alpaydin and Kaynak 1998), binarized. An encoder
64 -> 16 -> logits and a decoder latents -> 32 -> 64, both tanh; the latent is 8 bits (256 states)
or 2 variables of 10 categories (100 states), so every image's ELBO and its gradient by ALL encoder
weights are exact. J = log q(z|x) - log p(z) - log p(x|z) depends on the encoder directly, too: row
S46 of benchbed.facts.coverage.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Family, Objective
from benchbed.errors import BadArgument
from benchbed.families import BERNOULLI, CATEGORICAL
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._digits_model import DigitsModel, digits_model
from benchbed.objectives._extension import extend

Latents = Literal["bernoulli", "categorical"]


def digits_vae(
    latents: Latents = "bernoulli",
    training_steps: int = 40,
    images: int = 16,
    extension: str = "native",
) -> Objective:
    """Cost: the mean over a minibatch of digits of the negative ELBO, in nats an image.

    Args:
        latents: ``bernoulli`` (8 bits) or ``categorical`` (2 variables of 10 categories).
        training_steps: of Adam on the exact gradient of all images before the point is taken;
            0 is the seeded start. By 40 the bound has fallen from 47 to 26 nats and no bit is
            rarer than 1 in 300; by 200 some are rarer than 1 in 50,000 and Monte Carlo cannot
            see them.
        images: size of the minibatch, taken evenly through the data.
        extension: of the reconstruction term: native, multilinear or cubic. log q is always
            continued as <z, log pi>.
    """
    if latents not in ("bernoulli", "categorical"):
        raise BadArgument(f"digits_vae needs latents: bernoulli or categorical, got '{latents}'")
    at_least("digits_vae", "images", images, 1)
    at_least("digits_vae", "training_steps", training_steps, 0)
    model = digits_model(latents, training_steps)
    batch = model.minibatch(images)
    return negative_elbo(
        model, batch, BERNOULLI if latents == "bernoulli" else CATEGORICAL, extension
    )


def negative_elbo(model: DigitsModel, batch: Tensor, family: Family, extension: str) -> Objective:
    """Return the objective of ``model`` on ``batch`` [items, 64], an item axis of images."""
    params = model.encode(model.encoder, batch)
    states = family.states
    assert states is not None
    log_prior = -math.log(states(params))
    items = batch.shape[0]

    of_images = model.log_likelihood(batch)

    def log_likelihood(z: Tensor) -> Tensor:
        """Return log p(x | z) for z [draws, samples, items, *event], in the draws-last layout."""
        inner = draws_last(z)
        return draws_first(of_images(inner.flatten(-3, -2) if family is CATEGORICAL else inner))

    reconstruction = extend(log_likelihood, family, params, extension)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        # Divided draws last: autograd would lay the gradients of a quotient out as its own axes.
        log_ratio = draws_last(family.log_prob(params, z) - reconstruction(z))
        return draws_first((log_ratio - log_prior) / items)

    return Objective(
        "digits_vae",
        family,
        params,
        cost,
        direct=True,
        jacobian=model.jacobian(batch),
        pull=model.pull(batch),
        citation="Kingma and Welling 2014; Alpaydin and Kaynak 1998",
    )
