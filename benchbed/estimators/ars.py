"""ARS, augment-REINFORCE-swap, for categorical latents.

Yin, Yue and Zhou 2019, "ARSM: Augment-REINFORCE-Swap-Merge Estimator for Gradient Backpropagation
Through Categorical Variables" (arXiv 1905.01413). With a reference category j, w the
Dirichlet noise and J^{cj} the cost after swapping its entries c and j in all variables
(_swapped_noise),

    g_ic = (J^{cj} - 1/C sum_m J^{mj}) (1 - C w_ij).

Cost: C evaluations of J (J^{jj} is the cost of the sample itself). Two categories: ARM.
The direct term is averaged over the C samples, each of which has the law of z.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.elementwise import log_
from benchbed.errors import BadArgument
from benchbed.estimators._swapped_noise import dirichlet, pseudo_actions
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def ars(reference: int | Literal["random"] = "random", samples: int = 1) -> Estimator:
    """Swap every category's noise with a reference category's, in all variables at once.

    Args:
        reference: the category j, counted from 0, or ``random`` for one drawn anew each time.
        samples: independent copies, each of as many evaluations as there are categories.
    """
    at_least("ars", "samples", samples, 1)
    if isinstance(reference, str):
        if reference != "random":
            raise BadArgument(f"ars needs reference: a category or random, got '{reference}'")
    else:
        at_least("ars", "reference", reference, 0, "; or use reference: random")

    def references(params: Tensor, draws: int, noise: Noise) -> Tensor:
        """Return j as a mask over the categories, [samples, *items, 1, C, draws] or [C, 1]."""
        *items, _, categories = params.shape
        axis = torch.arange(categories, device=params.device)[:, None]
        if not isinstance(reference, str):
            if reference >= categories:
                raise BadArgument(
                    f"ars has reference: {reference} and z has categories 0 to {categories - 1} "
                    "here; use one of them, or reference: random"
                )
            return (axis == reference).to(params.dtype)
        apart = noise.child("reference", noise.drawn)
        drawn = draws_last(apart.integers(categories, draws, samples, *items, 1, 1))
        noise.drawn += apart.drawn
        return (drawn == axis).to(params.dtype)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        exponentials = draws_last(noise.exponential(draws, samples, *params.shape))
        mask = references(params, draws, noise)
        categories = params.shape[-1]
        weight = 1 - categories * (dirichlet(exponentials) * mask).sum(-2, keepdim=True)
        gumbels = log_(exponentials).neg_()
        swapped, costs, direct = pseudo_actions(params, gumbels, mask), [], None
        for c in range(categories):
            found = objective.evaluate(swapped(c, c + 1), params)
            costs.append(draws_last(found.cost))  # [samples, *items, draws]
            if found.direct is not None:
                part = mean_over_samples(found.direct) / categories
                direct = part if direct is None else direct.add_(part)
        cost = torch.stack(costs, -2)
        centred = (cost - cost.mean(-2, keepdim=True)).unsqueeze(-3)  # [s, *items, 1, C, draws]
        rows = mean_over_samples(draws_first(centred * weight))
        return rows if direct is None else rows + direct

    return Estimator(
        "ars",
        draw,
        samples=samples,
        evaluations=lambda objective: samples * objective.params.shape[-1],
        unbiased=True,
        families=frozenset({"categorical"}),
        citation="Yin et al. 2019",
        settings={"reference": reference},
    )
