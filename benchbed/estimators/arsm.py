"""ARSM, augment-REINFORCE-swap-merge, for categorical latents: ARS averaged over its reference.

Yin, Yue and Zhou 2019, "ARSM: Augment-REINFORCE-Swap-Merge Estimator for Gradient Backpropagation
Through Categorical Variables" (arXiv 1905.01413). With w the Dirichlet noise and
J^{cj} = J^{jc} the cost after swapping its entries c and j in all variables (_swapped_noise),

    g_ic = sum_j (J^{cj} - 1/C sum_m J^{mj}) (1/C - w_ij).

Cost: C (C - 1) / 2 + 1 evaluations of J, one for every pair and one for the sample itself; they are
made for one j after another, so that memory holds C samples and not C^2. Pseudo-actions that agree
are evaluated again. Two categories: ARM. The direct term is averaged over all the samples, each of
which has the law of z.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.elementwise import log_
from benchbed.estimators._swapped_noise import dirichlet, pseudo_actions
from benchbed.layout import draws_first, draws_last, mean_over_samples, sum_over_samples
from benchbed.rng import Noise


def arsm(samples: int = 1) -> Estimator:
    """Swap the noise of every two categories, in all variables at once, and merge the results.

    Args:
        samples: independent copies, each of C (C - 1) / 2 + 1 evaluations for C categories.
    """
    at_least("arsm", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        exponentials = draws_last(noise.exponential(draws, samples, *params.shape))
        weight = 1 / params.shape[-1] - dirichlet(exponentials)  # [samples, *items, d, C, draws]
        gumbels = log_(exponentials).neg_()
        categories = params.shape[-1]
        items = objective.family.items(params)
        costs = gumbels.new_empty(categories, categories, samples, *items, draws)
        eye = torch.eye(categories, dtype=params.dtype, device=params.device)
        direct: Tensor | None = None
        for j in range(categories):
            # Every pair once; the sample itself, swapped with nothing, as pair (0, 0).
            swapped = pseudo_actions(params, gumbels, eye[j][:, None])
            found = objective.evaluate(swapped(0, max(j, 1)), params)
            cost = draws_last(found.cost).view(-1, samples, *items, draws)
            if j:
                costs[j, :j] = costs[:j, j] = cost
                costs[j, j] = costs[0, 0]
            else:
                costs[0, 0] = cost[0]
            if found.direct is not None:
                part = sum_over_samples(found.direct)
                direct = part if direct is None else direct + part
        centred = costs - costs.mean(0)  # [C (c), C (j), samples, *items, draws]
        total = torch.zeros_like(weight)
        for j in range(categories):
            part = centred[:, j].movedim(0, -2).unsqueeze(-3)  # [samples, *items, 1, C, draws]
            total.addcmul_(part, weight[..., j : j + 1, :])
        rows = mean_over_samples(draws_first(total))
        return rows if direct is None else rows + direct / evaluations(objective)

    def evaluations(objective: Objective) -> int:
        categories = objective.params.shape[-1]
        return int(samples * (categories * (categories - 1) // 2 + 1))

    return Estimator(
        "arsm",
        draw,
        samples=samples,
        evaluations=evaluations,
        unbiased=True,
        families=frozenset({"categorical"}),
        citation="Yin et al. 2019",
    )
