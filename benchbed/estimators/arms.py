"""ARMS: leave-one-out REINFORCE on K antithetic samples of each bit, reweighted to be unbiased.

Dimitriev and Zhou 2021, "ARMS: Antithetic-REINFORCE-Multi-Sample Gradient for Binary Variables"
(arXiv 2105.14141), the Dirichlet-copula version. Each bit has K coupled uniforms U_k (see
_dirichlet_copula) and b_k = 1[U_k < p], or 1[1 - U_k < p] where p >= 1/2. With
Pi = P(b_k = b_l = 1),

    g = 1 / (K - 1) sum_k (J_k - mean J) (b_k - p) p (1 - p) / (p - Pi).

With q = min(p, 1 - p), the chance of the rarer value, and F = max(0, 2 q^(1/(K-1)) - 1)^(K-1), that
of two samples both having it, the weight is (1 - q) / (1 - F / q) for either sign of the logit. As
F <= q^2 it lies in [1 - q, 1]: the 1e-6 that the published code adds to p - Pi guards against
nothing and biases bits that are nearly sure. K = 2 is DisARM. K evaluations of J.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.elementwise import indicator
from benchbed.estimators._dirichlet_copula import antithetic_roots, cell_mass
from benchbed.estimators._joint_law import joint_outcomes
from benchbed.estimators._weighted_scores import centred_costs, weighted_sum_
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def arms(samples: int = 4) -> Estimator:
    """Average leave-one-out terms of ``samples`` mutually antithetic samples of each bit.

    Args:
        samples: K, coupled within a bit; bits are independent. Two give DisARM.
    """
    at_least("arms", "samples", samples, 2, "; with one sample use score_function")

    def estimate(objective: Objective, params: Tensor, rare: Tensor) -> Tensor:
        usual = (params >= 0).to(params.dtype)  # the likelier value of each bit
        z = draws_first((draws_last(rare) - usual[..., None]).abs_())
        found = objective.evaluate(z, params)
        # Centred costs sum to 0, so b - p may be b - usual: exactly 0 where no sample is rare.
        weight = objective.family.lift(centred_costs(found.cost) / (samples - 1))
        product = weighted_sum_(draws_first(draws_last(z) - usual[..., None]), weight)
        return add_direct(product.mul_(pair_weight(params, samples)), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        roots = antithetic_roots(noise, draws, samples, tuple(params.shape))
        edge = (F.logsigmoid(-params.abs()) / (samples - 1)).exp()  # q^(1 / (K - 1))
        return estimate(objective, params, indicator(torch.lt, roots, edge))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        edge = (F.logsigmoid(-params.abs()) / (samples - 1)).exp()
        ends = torch.stack((torch.zeros_like(edge), edge, torch.ones_like(edge)), -1)
        law = cell_mass(ends.double(), samples, samples)  # of rare (below the edge) and usual
        law = law.flatten(params.ndim).flip(-1).to(params)  # usual first
        powers = 2 ** torch.arange(samples, device=params.device)
        for probability, number in joint_outcomes(law):
            rare = (number[:, None, :] // powers[:, None] % 2).to(params.dtype)  # [n, K, d]
            rare = rare.reshape(-1, samples, *(1,) * (params.ndim - 1), params.shape[-1])
            yield (
                probability,
                estimate(objective, params, rare.expand(-1, samples, *params.shape)),
            )

    return Estimator(
        "arms",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        families=frozenset({"bernoulli"}),
        citation="Dimitriev and Zhou 2021a",
        finite=Finite(lambda _objective, p: int(2 ** (samples * p.shape[-1])), outcomes),
    )


def pair_weight(params: Tensor, samples: int) -> Tensor:
    """Return p (1 - p) / (p - Pi) = (1 - q) / (1 - F / q), within [1 - q, 1], in logs throughout.

    F / q = (2 - q^(-1/(K-1)))^(K-1), and 0 where the base is not positive.
    """
    size = params.abs()
    above = torch.expm1(F.softplus(size) / (samples - 1))  # q^(-1/(K-1)) - 1
    both = (samples - 1) * torch.log1p(-above.clamp(max=1))  # log(F / q), maybe -inf
    return torch.sigmoid(size) / -torch.expm1(both)
