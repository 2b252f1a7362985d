"""Gapped straight-through (GST): a relaxed sample without Gumbels, shifted to agree with the hard.

Fan, Chi, Rudnicky and Ramadge 2022, "Training Discrete Deep Generative Models via Gapped
Straight-Through Estimator" (arXiv 2206.07235). With z sampled, every logit is moved by a constant:
the sampled one up to the largest, all others down to at most the largest minus ``gap``. Then, for
one variable [K],

    y = softmax(moved logits / temperature),    g = Jac(y) dJ/dz / temperature

``gap`` 1 is the paper's GST-1.0; ``p`` its GST-p, gap = -log(1 - pi_z) / pi_z, the mean distance
of the largest logit plus Gumbel from the next one, given z. Bernoulli latents are the case of two
categories with logits (params, 0). y is a function of z alone, so its variance is low and its
moments can be enumerated; it is biased. One evaluation of J, with dJ/dz, a sample.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.errors import BadArgument
from benchbed.families.bernoulli import either
from benchbed.families.categorical import softmax_vjp
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def gapped_straight_through(
    samples: int = 1, temperature: float = 1.0, gap: float | Literal["p"] = 1.0
) -> Estimator:
    """Average dJ/dz at the sample times the Jacobian of a softmax moved to agree with it.

    Args:
        samples: z in one estimate.
        temperature: of the moved softmax; sampling is at temperature 1 always.
        gap: by how much the sampled logit leads the others at least, >= 0, or ``p``.
    """
    at_least("gapped_straight_through", "samples", samples, 1)
    positive_temperature("gapped_straight_through", temperature)
    if gap != "p" and not (isinstance(gap, int | float) and 0 <= gap < math.inf):
        raise BadArgument(
            f"gapped_straight_through needs gap: a number >= 0 or p, got '{gap}'; try 1.0"
        )

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        moved = _bits if objective.family.name == "bernoulli" else _categories
        pulled = moved(params, z, found.slope, temperature, gap)
        return add_direct(mean_over_samples(pulled), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "gapped_straight_through",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Fan et al. 2022",
        settings={"temperature": temperature, "gap": gap},
        finite=finite_in_z(estimate, replicates=samples),
    )


def _bits(
    params: Tensor, z: Tensor, slope: Tensor, temperature: float, gap: float | Literal["p"]
) -> Tensor:
    rates = []
    for lead in (-params, params):  # of the sampled value, 0 and 1, over the other one
        if gap == "p":
            safe = lead.clamp(min=-50)  # the gap tends to 1 there, and must not become 0 / 0
            least = -F.logsigmoid(-safe) / torch.sigmoid(safe)
        else:
            least = lead.new_full((), gap)
        moved = torch.maximum(lead, least) / temperature
        rates.append(torch.sigmoid(moved) * torch.sigmoid(-moved) / temperature)
    return either(z, *rates).mul_(slope)


def _categories(
    params: Tensor, z: Tensor, slope: Tensor, temperature: float, gap: float | Literal["p"]
) -> Tensor:
    """Take softmax and its Jacobian over [samples, *items, d, K, draws].

    The largest logit is the sampled one's, so with exp(moved logit - largest) that entry is 1 and
    the others are exp(logit - largest) or exp(-gap), whichever is less.
    """
    hot = draws_last(z)
    others = (params - params.amax(-1, keepdim=True)).div_(temperature).exp_()[..., None]
    if gap == "p":
        most = (_gaps(params) / -temperature).exp()
        others = torch.minimum(others, most.unsqueeze(-2) @ hot)  # of the sampled category
    else:
        others = others.clamp(max=math.exp(-gap / temperature))
    y = torch.maximum(hot, others)
    y.div_(y.sum(-2, keepdim=True))
    pulled = softmax_vjp(draws_first(y), slope)
    return pulled if temperature == 1 else pulled.div_(temperature)


def _gaps(params: Tensor) -> Tensor:
    """Return -log(1 - pi) / pi of each category, without a cancellation at either end."""
    tiny = torch.finfo(params.dtype).tiny
    pi = params.softmax(-1)
    # 1 - pi as the sum of the others' shares, which keeps its digits where pi is near 1.
    categories = params.shape[-1]
    same = torch.eye(categories, dtype=torch.bool, device=params.device)
    others = params[..., None, :].expand(*params.shape[:-1], categories, categories)
    rest = others.masked_fill(same, -math.inf).logsumexp(-1) - params.logsumexp(-1, keepdim=True)
    far = torch.where(pi < 0.5, torch.log1p(-pi), rest.clamp(min=math.log(tiny)))
    return -far / pi.clamp(min=tiny)
