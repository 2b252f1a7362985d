"""A pilot that shows rare values of z, each row weighed so that it still speaks for q.

Where variables are sure of themselves, rare values make up the whole variance and a pilot drawn
from q shows none of them: whatever multiplies a constant then looks free. So a quarter of the rows
is drawn from a law under which a row has about one rare value and a quarter from one under which
rare values are common, and every row counts for q(z) / mixture(z). Half is drawn from q itself:
no row counts for more than 2 (Owen and Zhou 2000, "Safe and effective importance sampling").
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.contracts import Family
from benchbed.layout import compact
from benchbed.rng import Noise

COMMON = 0.3  # chance of a variable's rare values where they are common


class Pilot(NamedTuple):
    """Samples that show rare values, and what each row counts for."""

    z: Tensor  # [draws, samples, *items, *event]
    weight: Tensor  # [draws, *items], of mean 1 under the mixture


def pilot_samples(family: Family, params: Tensor, draws: int, samples: int, noise: Noise) -> Pilot:
    """Draw a pilot of bits or categories; of other families from q itself.

    Args:
        family: of z.
        params: the logits where family is bernoulli or categorical.
        draws: rows.
        samples: z in each row.
        noise: their source.
    """
    if family.name not in ("bernoulli", "categorical"):
        z = family.sample(params, draws, samples, noise)
        return Pilot(z, params.new_ones(draws, *family.items(params)))
    variables = samples * params.shape[-family.params_axes]
    chances = (min(1 / variables, COMMON), COMMON)
    laws = [params, *(_flattened(family, params, chance) for chance in chances)]
    quarter = draws // 4
    rows = [draws - 2 * quarter, quarter, quarter]
    z = torch.cat(
        [family.sample(law, n, samples, noise) for law, n in zip(laws, rows, strict=True) if n]
    )
    at_q = family.log_prob(params, z)
    # log of (law / q) of all samples of a row together, times the law's share of the rows.
    ratios = [
        (family.log_prob(law, z) - at_q).sum(1).double() + math.log(n / draws)
        for law, n in zip(laws, rows, strict=True)
        if n
    ]
    weight = (-torch.stack(ratios).logsumexp(0)).exp()
    return Pilot(compact(z), weight.to(params))


def rare_rows(params: Tensor, draws: int, *, bits: bool) -> Tensor:
    """Return how many rare values ``draws`` samples of q hold on average, [*items]."""
    exact = params.double()
    if bits:
        return draws * torch.sigmoid(-exact.abs()).sum(-1)
    return draws * (1 - exact.softmax(-1).amax(-1)).sum(-1)


def _flattened(family: Family, params: Tensor, chance: float) -> Tensor:
    """Return logits that leave a variable's rare values together at least about ``chance``."""
    bound = math.log(1 / chance - 1)
    if family.name == "bernoulli":
        return params.clamp(-bound, bound)
    bound += math.log(max(params.shape[-1] - 1, 1))
    return torch.maximum(params, params.amax(-1, keepdim=True) - bound)
