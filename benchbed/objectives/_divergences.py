"""The f-divergences of a model p from a population, as maximizations over a critic.

Nowozin, Cseke and Tomioka 2016, "f-GAN: Training Generative Neural Samplers using Variational
Divergence Minimization" (arXiv 1606.00709), equation 4 and tables 1, 2 and 6:

    D(pop, p) = E_p[f(u)], u = pop / p,  = max over T of E_pop[T] - E_p[f*(T)],  best at T = f'(u).

                         D                           f(u)                       f*(t)
    kl                   KL(pop||p)                  u log u                    e^(t-1)
    reverse_kl           KL(p||pop)                  -log u                     -1 - log(-t)
    pearson              sum (pop - p)^2 / p         (u - 1)^2                  t^2 / 4 + t
    squared_hellinger    sum (sqrt pop - sqrt p)^2   (sqrt u - 1)^2             t / (1 - t)
    jsd                  KL(pop||m) / 2              u log(u) / 2               -log(2 - e^2t) / 2
                         + KL(p||m) / 2              - (u+1) log((u+1)/2) / 2   m = (pop + p) / 2

Table 1 of the paper, and what is copied from it, has pearson and neyman the wrong way round for
its own D = E_p[f(pop / p)], and half of what its f gives for jsd; T = log D, f* = -log(1 - e^t) is
the GAN, 2 jsd - log 4. A critic is T(v) of a real number v, the paper's output activation, so that
no v leaves the domain of f*, and f*(T(v)) is written out: no digits are lost near the domain's end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Function = Callable[[Tensor], Tensor]


class Divergence(NamedTuple):
    """One row of the table above as functions of the real number v."""

    critic: Function  # v -> T
    penalty: Function  # v -> f*(T(v))
    best: Function  # log(pop / p) -> the v at which the bound is tight


DIVERGENCES: Mapping[str, Divergence] = {
    "kl": Divergence(lambda v: v, lambda v: (v - 1).exp(), lambda ratio: 1 + ratio),
    "reverse_kl": Divergence(lambda v: -torch.exp(-v), lambda v: v - 1, lambda ratio: ratio),
    # For t < -2 the conjugate over u >= 0 is -1, below t^2 / 4 + t: the published bound holds.
    "pearson": Divergence(
        lambda v: v, lambda v: v * (1 + v / 4), lambda ratio: 2 * torch.expm1(ratio)
    ),
    "squared_hellinger": Divergence(
        lambda v: -torch.expm1(-v), lambda v: torch.expm1(v), lambda ratio: ratio / 2
    ),
    "jsd": Divergence(
        lambda v: 0.5 * (math.log(2) + F.logsigmoid(v)),
        lambda v: -0.5 * (math.log(2) + F.logsigmoid(-v)),
        lambda ratio: ratio,
    ),
}
