"""Expectation maximization for a mixture of products of Bernoullis, as a gradient and as itself.

Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM Algorithm". The
E step fixes z ~ p(z | x; theta_0), and J = -log p(x, z; theta) is lowered in theta. At theta_0 the
gradient is that of -log p(x; theta) (Fisher's identity): the bound is tight there and has the same
slope. z's law does not move with theta, so the direct term is the whole gradient: leaving it out,
as code written for REINFORCE does, leaves 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families import CATEGORICAL
from benchbed.families.extended import fixed
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._discrete_model import PIXELS, discrete_model
from benchbed.objectives._listable import count_states
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise


def expectation_maximization(
    data: int = 4, components: int = 3, distance: float = 1.0, seed: int = 0
) -> Objective:
    """Cost -log p(x, z; theta) of z from the exact posterior at the point: EM's M step.

    To be lowered; the mean over images, in nats. z is every image's component, one-hot
    [data, components]. Params are flat: the mixture's logits [components], then the pixels'
    logits [components, 5]. Row S14 of benchbed.facts.coverage.

    Args:
        data: number of images.
        components: of the mixture.
        distance: of theta_0 from the parameters that drew the images, as seeded normal steps of
            size distance / 2.
        seed: of the mixture, of the images and of the steps.
    """
    name = "expectation_maximization"
    at_least(name, "components", components, 2)
    count_states(name, "lists every image's components", components, 1, "components")
    if finite_number(name, "distance", distance) < 0:
        raise BadArgument(f"{name} needs a distance >= 0, got {distance}; 0 is the true mixture")
    model = discrete_model(name, "categorical", data, 1, components, seed)
    pixels = model.weights.T + model.start  # [components, pixels]
    truth = torch.cat((model.log_prior[0], pixels.flatten()))
    step = Noise(seed, name, dtype=torch.float64).normal(len(truth))
    params = truth + 0.5 * distance * step
    x = model.x
    law = log_joint(x, params[:, None])[..., 0].log_softmax(-1)  # [data, components]

    def cost(z: Tensor, params: Tensor) -> Tensor:
        inner = draws_last(z)  # [..., data, components, draws]
        physical = draws_last(params) if params.ndim > 1 else params[:, None]
        joint = log_joint(x.to(z), physical)
        return draws_first(-(inner * joint).sum(-2).mean(-2))

    def value(params: Tensor) -> Tensor:
        return -(law.exp() * log_joint(x, params[:, None])[..., 0]).sum(-1).mean()

    return Objective(
        name,
        fixed(CATEGORICAL, law),
        params,
        cost,
        value,
        gradient_of(value),
        direct=True,
        citation="Dempster et al. 1977",
    )


def log_joint(x: Tensor, params: Tensor) -> Tensor:
    """Return log p(x_n, z = k) of params [..., components * (1 + pixels), draws].

    Args:
        x: [N, pixels].
        params: mixture logits, then pixel logits [components, pixels].

    Returns:
        [..., N, components, draws].
    """
    components = params.shape[-2] // (1 + PIXELS)
    log_mixing = params[..., :components, :].log_softmax(-2)
    pixels = torch.unflatten(params[..., components:, :], -2, (components, PIXELS))
    fitted = torch.einsum("np,...kpd->...nkd", x, pixels)
    return fitted + (log_mixing - F.softplus(pixels).sum(-2)).unsqueeze(-3)


class Mixture(NamedTuple):
    """A mixture of products of Bernoullis in its means, which may be 0 or 1."""

    mixing: Tensor  # [components], adding up to 1
    means: Tensor  # P(pixel = 1), [components, pixels]


MStep = Callable[[Tensor, Tensor], Mixture]  # x [N, pixels], responsibilities [N, components]


def maximized(x: Tensor, responsibilities: Tensor) -> Mixture:
    """Return the M step in closed form: shares and weighted averages."""
    share = responsibilities.sum(0)
    taken = share.clamp(min=torch.finfo(x.dtype).tiny)  # of a component that takes no image: mean 0
    means = (responsibilities.T @ x / taken[:, None]).clamp(max=1)  # not 1 + 1e-16
    return Mixture(share / len(x), means)


def likelihood_trace(
    x: Tensor, start: Mixture, steps: int, m_step: MStep = maximized
) -> tuple[Tensor, Mixture]:
    """Run EM and return the mean log-likelihood before each step and after the last, [steps + 1].

    Args:
        x: 0 or 1, [N, pixels].
        start: where to start.
        steps: E steps followed by M steps; at least 1.
        m_step: raises the bound, or the likelihood may fall.

    Returns:
        The trace, in nats an image, and the last mixture.
    """
    at_least("likelihood_trace", "steps", steps, 1)
    at, trace = start, []
    for left in range(steps, -1, -1):
        # xlogy: a mean of 0 or 1 has a pixel's log-probability 0 where it is right.
        on = torch.xlogy(x[:, None], at.means).sum(-1)
        off = torch.xlogy(1 - x[:, None], 1 - at.means).sum(-1)
        joint = at.mixing.log() + on + off  # [N, components]
        trace.append(joint.logsumexp(-1).mean())
        if left:
            at = m_step(x, joint.softmax(-1))
    return torch.stack(trace), at
