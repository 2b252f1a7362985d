"""Straight-through estimators without randomness: J at the most likely z, once for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.estimators._straight_through_derivative import pulled_back
from benchbed.rng import Noise


def at_the_mode(
    name: str,
    mode: Callable[[Tensor], Tensor],
    families: frozenset[str],
    derivative: str,
    temperature: float,
) -> Estimator:
    """Return the estimator that is dJ/dz at ``mode(params)`` times a straight-through derivative.

    Args:
        name: of the estimator.
        mode: params -> z, [*items, *event].
        families: that it is made for.
        derivative: see ``_straight_through_derivative``.
        temperature: of the derivative.
    """

    def gradient(objective: Objective, params: Tensor) -> Tensor:
        found = objective.evaluate(mode(params)[None, None], params, slope=True)
        assert found.slope is not None
        slope = found.slope[:, 0]
        return add_direct(
            pulled_back(objective.family, params, slope, derivative, temperature), found
        )

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del noise
        return gradient(objective, params).expand(draws, *params.shape)

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.ones(1, *objective.family.items(params)).to(params), gradient(objective, params)

    return Estimator(
        name,
        draw,
        evaluations=1,
        slopes=1,
        unbiased=False,
        needs=frozenset({"differentiable", "mean"} if derivative == "mean" else {"differentiable"}),
        families=families,
        citation="Bengio et al. 2013" + ("; Hubara et al. 2016" if derivative == "clipped" else ""),
        settings={"derivative": derivative, "temperature": temperature},
        finite=Finite(lambda _objective, _params: 1, outcomes),
    )
