"""CARMS: leave-one-out REINFORCE on K antithetic samples of each categorical variable.

Dimitriev and Zhou 2021, "CARMS: Categorical-Antithetic-REINFORCE Multi-Sample Gradient Estimator"
(arXiv 2110.14002), in its inverse-CDF form, CARMS-I. Each variable has K coupled uniforms (see
_dirichlet_copula) and lays its C categories out on [0, 1] in a random order, the same for all K;
z_k is the category whose interval holds U_k, D_k its one-hot. With P(a, b) = P(z_k = a, z_l = b),

    g = 1 / (K (K-1)) sum_{k<l} r(z_k, z_l) (J_k - J_l) (D_k - D_l), r(a, b) = pi_a pi_b / P(a, b).

Unbiased if P is the mass under the law of orders that is drawn from, and positive for all a != b.
The published code is not: its ratio is (pi_a pi_b + 0.001) / (P + 0.001), clipped to [0.01, 10].

Averaged over all C! orders, P would need the sums of pi over all subsets of the categories. So the
order is uniform over C (C-1) of them: for every ordered pair of categories, the one with these
first and last and the rest in cyclic order between. For C <= 3 these are all C!. P is positive: the
order with a first and b last gives the pair at least pi_a pi_b, because the uniforms are negatively
dependent, P(U_k < x, U_l > 1 - y) >= x y. So r <= C (C-1) / 2. All C! orders obey the same
bound, and over random tables the variances of the two were within a few percent.

K evaluations of J. P is found once a call, in float64, at C^4 operations a variable: above some 16
categories that is what takes the time.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Finite, Objective, add_direct
from benchbed.elementwise import indicator
from benchbed.estimators._dirichlet_copula import antithetic_roots, cell_mass
from benchbed.estimators._joint_law import joint_outcomes
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise

MOST_CELLS = 2**17  # pairs of categories, in all orders looked at together: 1 MB


def carms(samples: int = 3) -> Estimator:
    """Average reweighted differences of ``samples`` mutually antithetic categorical samples.

    Args:
        samples: K, coupled within a variable; variables are independent.
    """
    at_least("carms", "samples", samples, 2, "; with one sample use score_function")

    def estimate(
        objective: Objective, params: Tensor, categories: Tensor, weight: Tensor
    ) -> Tensor:
        """Take categories [draws, K, *items, d] and r, [*items, d, C * C]."""
        count = params.shape[-1]
        inner = draws_last(categories)  # [K, *items, d, draws]
        numbers = torch.arange(count, device=params.device)[:, None].to(params)
        hot = indicator(torch.eq, inner.unsqueeze(-2).to(params), numbers)  # [K, *items, d, C, n]
        found = objective.evaluate(draws_first(hot), params)
        cost = draws_last(found.cost).unsqueeze(-2)  # [K, *items, 1, draws]
        pull = torch.zeros(inner.shape, dtype=params.dtype, device=params.device)
        for k in range(1, samples):
            for other in range(k):
                r = weight.gather(-1, inner[k] * count + inner[other])
                gap = r.mul_((cost[k] - cost[other]) / (samples * (samples - 1)))
                pull[k] += gap
                pull[other] -= gap
        gradient = hot[0] * pull[0].unsqueeze(-2)
        for k in range(1, samples):
            gradient.addcmul_(hot[k], pull[k].unsqueeze(-2))
        return add_direct(draws_first(gradient), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        roots = antithetic_roots(noise, draws, samples, tuple(params.shape[:-1]))
        order = orders(params.shape[-1], params.device)
        apart = noise.child("order", noise.drawn)
        which = draws_last(apart.integers(len(order), draws, *params.shape[:-1]))  # [*items, d, n]
        noise.drawn += apart.drawn
        limits = _ends(params, order, samples).to(params).movedim(-2, -1)[..., 1:-1, :]
        limits = limits.gather(-1, which.unsqueeze(-2).expand(*limits.shape[:-1], draws))
        # The position in the order: how many limits, [*items, d, C - 1, draws], lie below.
        position = indicator(torch.ge, draws_last(roots).unsqueeze(-2), limits).sum(-2).long()
        place = position.add_(which * params.shape[-1])
        categories = order.flatten().index_select(0, place.flatten()).view(place.shape)
        return estimate(objective, params, draws_first(categories), pair_weight(params, samples))

    def outcomes(objective: Objective, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        count = params.shape[-1]
        law = category_mass(params, samples, samples).flatten(params.ndim - 1)
        weight = pair_weight(params, samples)
        powers = count ** torch.arange(samples - 1, -1, -1, device=params.device)
        for probability, number in joint_outcomes(law):
            categories = number[:, None, :] // powers[:, None] % count  # [n, K, d]
            categories = categories.reshape(
                -1, samples, *(1,) * (params.ndim - 2), params.shape[-2]
            )
            categories = categories.expand(-1, samples, *params.shape[:-1])
            yield probability, estimate(objective, params, categories, weight)

    return Estimator(
        "carms",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        families=frozenset({"categorical"}),
        citation="Dimitriev and Zhou 2021b",
        finite=Finite(lambda _objective, p: int(p.shape[-1] ** (samples * p.shape[-2])), outcomes),
    )


def orders(categories: int, device: torch.device) -> Tensor:
    """Return the orders drawn from, [C (C - 1), C]: each ordered pair is first and last once."""
    if categories == 1:
        return torch.zeros(1, 1, dtype=torch.int64, device=device)
    place = torch.arange(categories, device=device)
    last = place[1:, None]  # counted from the first
    one = torch.where(place == categories - 1, last, place + (place >= last))
    return (one + place[:, None, None]).remainder(categories).flatten(0, 1)


def _ends(params: Tensor, order: Tensor, samples: int) -> Tensor:
    """Return the roots of the intervals' ends, by position: [*items, d, orders, C + 1], float64."""
    cdf = params.double().softmax(-1)[..., order].cumsum(-1)
    inner = cdf[..., :-1].clamp(max=1) ** (1 / (samples - 1))
    edge = torch.zeros_like(cdf[..., :1])
    return torch.cat((edge, inner, edge + 1), -1)


def category_mass(params: Tensor, samples: int, together: int) -> Tensor:
    """Return P(z_1 = a, z_2 = b, ...) of ``together`` of the samples, [*items, d, C, ..., C]."""
    categories = params.shape[-1]
    order = orders(categories, params.device)
    rank = order.argsort(-1)  # the position of each category
    place = rank
    for _ in range(together - 1):  # of each tuple of categories, [orders, C^together]
        place = (place[..., None] * categories + rank[:, None]).flatten(1)
    total = torch.zeros((), dtype=torch.float64, device=params.device)
    cells = params.numel() * categories ** (together - 1)
    share = max(1, MOST_CELLS // cells)
    for start in range(0, len(order), share):
        ends = _ends(params, order[start : start + share], samples)
        mass = cell_mass(ends, samples, together).flatten(-together)
        total = total + mass.gather(-1, place[start : start + share].expand_as(mass)).sum(-2)
    return (total / len(order)).view(*params.shape[:-1], *(categories,) * together)


def pair_weight(params: Tensor, samples: int) -> Tensor:
    """Return r = pi_a pi_b / P(a, b) of every pair, 0 for a = b: [*items, d, C * C]."""
    pi = params.double().softmax(-1)
    product = pi[..., :, None] * pi[..., None, :]
    weight = ratio(product, category_mass(params, samples, 2), len(orders(pi.shape[-1], pi.device)))
    same = torch.eye(pi.shape[-1], dtype=torch.bool, device=pi.device)
    return weight.masked_fill(same, 0).flatten(-2).to(params.dtype)


def ratio(product: Tensor, mass: Tensor, count: int) -> Tensor:
    """Return product / mass, where ``mass`` of tiny probabilities is lost to rounding.

    In exact arithmetic mass >= 2 product / count (two of the orders have the pair at their ends),
    so that the limit changes nothing but rounding.
    """
    bounded = mass.clamp(min=torch.finfo(mass.dtype).tiny).maximum(2 * product / count)
    return product / bounded
