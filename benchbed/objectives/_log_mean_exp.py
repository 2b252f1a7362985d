"""E log (1/K) sum_k w_k for independent w_k, exactly, for any K at the cost of K = 1.

Frullani's integral, log x = int_0^oo (exp(-t) - exp(-t x)) dt / t, turns the expectation over K
weights into a power of the expectation over one:

    E log (1/K) sum_k w_k = int_0^oo (exp(-t) - phi(t / K)^K) dt / t,   phi(t) = E exp(-t w).

With t = exp(s) the integrand is analytic in |Im s| < pi/2 and decays at both ends, so the
trapezoid rule converges like exp(-pi^2 / step).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.errors import BadArgument

STEP = 0.125  # exp(-pi^2 / STEP) is below 1e-34; the tails set the error
TAIL = 40.0  # exp(-TAIL) is below the rounding of float64
LEAST = 1e-20  # outcomes rarer than this decide no tail
WIDEST = 1000  # nats; within them 1,201 nodes of a normal law leave errors below 1e-12


def expected_log_mean(probability: Tensor, log_weight: Tensor, count: int) -> Tensor:
    """Return E log mean of ``count`` weights, a float64 scalar, differentiable in both.

    Args:
        probability: [n], of every outcome of one weight.
        log_weight: [n].
        count: K.

    Raises:
        BadArgument: the weights span so many nats that the grid of a normal law is too coarse, or
            are not finite.
    """
    with torch.no_grad():
        centre = float((probability * log_weight).sum())
        spread = log_weight - centre
        highest = float(torch.logsumexp(probability.log() + spread, 0))
        lowest = float(spread[probability > LEAST].min())
        # Python's min and max drop a NaN.
        if not all(map(math.isfinite, (centre, highest, lowest))):
            raise BadArgument(
                "log p(x, z) / q(z) is not finite everywhere; bring q closer to the posterior, "
                "such as distance: 1"
            )
        below = -TAIL - max(0.0, highest)
        above = math.log(count * TAIL) - min(0.0, lowest)
    if not above - below < WIDEST:
        raise BadArgument(
            f"log p(x, z) / q(z) spans {above - below:.3g} nats, more than the {WIDEST} that are "
            "integrated exactly; bring q closer to the posterior, such as distance: 1"
        )
    s = torch.arange(below, above + STEP, STEP, dtype=torch.float64, device=log_weight.device)
    # phi(exp(s) / K), by 1 - phi: exp(-x) - 1 keeps its digits where x is small.
    rate = (s[:, None] - math.log(count) + (log_weight - centre)).clamp(max=TAIL).exp()
    lost = -(probability * torch.expm1(-rate)).sum(-1)  # 1 - phi, [s]
    powered = torch.expm1(count * torch.log1p(-lost.clamp(max=1 - 1e-16)))
    return centre + STEP * (torch.expm1(-s.exp()) - powered).sum()
