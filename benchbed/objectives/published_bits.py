"""The Bernoulli toys of the papers, with the settings they print.

Every one is a quadratic in independent bits, so its exact gradient is a line. At their starting
points the cost is almost constant (t near 1/2), which flatters any baseline: see ``quadratic``.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchbed.arguments import finite_number
from benchbed.contracts import Objective
from benchbed.families import BERNOULLI
from benchbed.objectives.quadratic import quadratic

DOUBLE_CV_BITS = 200
SHARED_TARGETS = (0.6, 0.51, 0.48)


def rebar_toy(target: float = 0.45, logits: float = 0.0) -> Objective:
    """Cost (b - target)^2 of one bit: REBAR's toy at 0.45, RELAX's at 0.499; to be lowered.

    Tucker et al. 2017 (arXiv 1703.07370); Grathwohl et al. 2018 (arXiv 1711.00123), section 5.1.
    The optimum is b = 0, with cost target^2.

    Args:
        target: t.
        logits: of the bit.
    """
    return _of_one_bit("rebar_toy", target, logits, "Tucker et al. 2017; Grathwohl et al. 2018")


def arm_toy(p0: float = 0.49, logits: float = 0.0) -> Objective:
    """Cost (b - p0)^2 of one bit, to be RAISED: the grid of ARM and DisARM, p0 near 1/2.

    Yin and Zhou 2019 (arXiv 1807.11143), figure 1: p0 of 0.49, 0.499, 0.501 and 0.51; Dong et al.
    2020 (arXiv 2006.10680) on the same grid. The optimum is b = 1 where p0 < 1/2.

    Args:
        p0: what the bit is driven away from.
        logits: of the bit.
    """
    return _of_one_bit("arm_toy", p0, logits, "Yin and Zhou 2019")


def double_cv_toy(logits: float = 0.0) -> Objective:
    """Cost mean of (b_i - 0.499)^2 over 200 bits, to be RAISED: the double control variates' toy.

    Titsias and Shi 2022 (arXiv 2111.05300), section 5.1.

    Args:
        logits: of every bit; 0 at the paper's start.
    """
    logits = finite_number("double_cv_toy", "logits", logits)
    toy = quadratic(dimensions=DOUBLE_CV_BITS, target=0.499, reduce="mean", logits=logits)
    return replace(toy, name="double_cv_toy", citation="Titsias and Shi 2022")


def shared_logit_toy(logit: float = 0.0) -> Objective:
    """Cost sum of (b_i - p_i)^2 over 3 bits that share ONE logit, p = (0.6, 0.51, 0.48).

    Kool, van Hoof and Welling 2020 (arXiv 2002.06043), section 7.1, after Liu et al. 2019; logits
    0 and -4. What is measured is the derivative in the shared logit: the sum over the three bits,
    -0.045 and -0.003179287 there. The paper's notebook draws systematic samples with one argument
    for another; the formulas hold.

    Args:
        logit: eta, of every bit.
    """
    eta = finite_number("shared_logit_toy", "logit", logit)
    targets = torch.tensor(SHARED_TARGETS, dtype=torch.float64)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        del params
        return (z - targets.to(z)).square().sum(-1)

    def value(params: Tensor) -> Tensor:
        return (params.sigmoid() * (1 - 2 * targets) + targets.square()).sum()

    def gradient(params: Tensor) -> Tensor:
        return (1 - 2 * targets) * params.sigmoid() * torch.sigmoid(-params)

    return Objective(
        "shared_logit_toy",
        BERNOULLI,
        torch.full((3,), eta, dtype=torch.float64),
        cost,
        value,
        gradient,
        jacobian=torch.ones(3, 1, dtype=torch.float64),
        citation="Kool et al. 2020; Liu et al. 2019",
    )


def _of_one_bit(name: str, target: float, logits: float, citation: str) -> Objective:
    target = finite_number(name, "a target", target)
    at = finite_number(name, "logits", logits)
    toy = quadratic(dimensions=1, target=target, logits=at)
    return replace(toy, name=name, citation=citation)
