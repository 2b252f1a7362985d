"""The score function on antithetic pairs: each z(u) comes with its mirror image z(1 - u).

Hammersley and Morton 1956, "A new Monte Carlo technique: antithetic variates". z is the quantile of
its uniforms, one or more a variable, and 1 - u is uniform as well, so the mean of the two terms

    1/2 (J(z) d log q(z) / d params + J(zt) d log q(zt) / d params)

is unbiased for any family that is drawn by its quantile. Its variance is below that of two
independent samples where J times the score is monotone in u, and can be above it elsewhere. For a
normal, z and zt lie mirrored about the mean. Bernoulli pairs are those of ARM and DisARM.
``samples`` evaluations of J.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.estimators._antithetic_bits import even_samples
from benchbed.estimators._joint_law import joint_outcomes
from benchbed.estimators._weighted_scores import average_score
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def antithetic_score_function(samples: int = 2) -> Estimator:
    """Average score-function terms over ``samples / 2`` antithetic pairs u, 1 - u.

    Args:
        samples: z in one estimate, an even number.
    """
    pairs = even_samples("antithetic_score_function", samples)

    def estimate(objective: Objective, params: Tensor, u: Tensor) -> Tensor:
        """Take u [draws, pairs, *items, uniforms], one of each pair."""
        family = objective.family
        assert family.quantile is not None
        z = family.quantile(params, with_mirror_images(u))
        found = objective.evaluate(z, params)
        return add_direct(average_score(family, params, z, family.lift(found.cost)), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        uniforms = objective.family.uniforms
        assert uniforms is not None
        return estimate(objective, params, noise.uniform(draws, pairs, *uniforms(params)))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        edges = _edges(objective, params)
        width, middle = edges.diff(dim=-1), (edges[..., 1:] + edges[..., :-1]) / 2
        table = middle.movedim(-1, 0)  # [intervals, *items, d]
        for probability, number in joint_outcomes(width):
            spread = number.reshape(-1, *(1,) * (table.ndim - 2), table.shape[-1])
            u = table.gather(0, spread.expand(-1, *table.shape[1:]))
            yield probability, estimate(objective, params, u[:, None])

    def count(objective: Objective, params: Tensor) -> int:
        if objective.family.name not in ("bernoulli", "categorical"):
            return 0
        *_, dimensions, ends = _edges(objective, params).shape
        return int((ends - 1) ** dimensions)

    return Estimator(
        "antithetic_score_function",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        needs=frozenset({"quantile"}),
        citation="Hammersley and Morton 1956",
        finite=Finite(count, outcomes, pairs),
    )


def with_mirror_images(u: Tensor) -> Tensor:
    """Append 1 - u along the samples, kept below 1: the smallest u would round to 1."""
    inner = draws_last(u)
    mirrored = (1 - inner).clamp_(max=1 - torch.finfo(u.dtype).eps / 2)
    return draws_first(torch.cat((inner, mirrored)))


def _edges(objective: Objective, params: Tensor) -> Tensor:
    """Return where z or its mirror image changes as u goes from 0 to 1, [*items, d, ends]."""
    if objective.family.name == "bernoulli":
        inner = torch.sigmoid(-params)[..., None]
    else:
        inner = params.softmax(-1).cumsum(-1)[..., :-1]
    ends = torch.zeros_like(inner[..., :1])
    return torch.cat((ends, inner, 1 - inner, ends + 1), -1).sort(-1).values
