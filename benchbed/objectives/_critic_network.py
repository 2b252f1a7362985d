"""A critic that is a small tanh network of points, frozen after some steps on its exact bound."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchbed.layout import draws_first, draws_last
from benchbed.objectives._descent import descend
from benchbed.objectives._divergences import Divergence
from benchbed.objectives._extension import Function
from benchbed.rng import Noise

RATE = 0.05  # of Adam


def critic_network(
    bound_of: Callable[[Tensor], Divergence],
    sides: tuple[Tensor, Tensor],
    every: Tensor,
    points: Tensor,
    hidden: int,
    steps: int,
    noise: Noise,
) -> Function:
    """Return z [draws, ..., d, K] -> E_pop[T] - f*(T(z)), also between the corners.

    Args:
        bound_of: the network's output at every outcome, [outcomes] -> what makes T and f*(T) of it.
        sides: the population and p, [outcomes] each.
        every: one-hots, [outcomes, d, K].
        points: of the values of one variable, [K, coordinates]; those of z are its inputs.
        hidden: units.
        steps: of Adam on E_pop[T] - E_p[f*(T)].
        noise: of the first weights.
    """
    inputs = every.shape[1] * points.shape[1]
    weights = [
        (noise.normal(hidden, inputs) / math.sqrt(inputs)).contiguous(),
        noise.normal(hidden, 1).contiguous(),
        (noise.normal(1, hidden) / math.sqrt(hidden)).contiguous(),
    ]
    pop, p = sides

    def output(z: Tensor, weights: list[Tensor]) -> Tensor:
        first, bias, last = (x.to(z) for x in weights)
        place = (points.T.to(z) @ draws_last(z)).flatten(-3, -2)  # [..., inputs, draws]
        return draws_first((last @ torch.tanh(first @ place + bias))[..., 0, :])

    def loss(_: int) -> Tensor:
        v = output(every, weights)
        found = bound_of(v)
        return p @ found.penalty(v) - pop @ found.critic(v)

    descend(weights, loss, steps, RATE)
    frozen = [x.detach() for x in weights]
    v = output(every, frozen)
    found = bound_of(v)
    level = float(pop @ found.critic(v))
    return lambda z: level - found.penalty(output(z, frozen))
