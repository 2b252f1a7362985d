"""E[J] by quadrature: sums over nodes that stand for laws with infinitely many values.

From nodes and weights of the law itself, with nothing of an objective's closed form.
One-dimensional rules, crossed over the variables of an item: the trapezoid for normal laws, Gauss's
for gamma and beta ones (a Dirichlet by its sticks), a cut sum for a Poisson.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from benchbed.contracts import Family, Objective

MOST_NODES = 2**15  # of one item, all variables crossed
NORMAL_NODES = 721  # of one normal variable, at most
REACH = 9.0  # standard deviations
SMOOTH_NODES = 32
LEAST_NODES = 180  # fewer, over so long a reach, would not be exact to 1e-6

Rule = tuple[Tensor, Tensor]  # z [n, *event] of one item, weight [n]
# (family, ONE item's params and mean) -> its rule, None where that takes too many nodes
Maker = Callable[[Family, Tensor, Tensor], Rule | None]


def integrate(objective: Objective, params: Tensor) -> Tensor | None:
    """Return E[J], a float64 scalar, by quadrature, or None where there is no rule for its law."""
    family = objective.family
    if family.name not in RULES:
        return None
    items = family.items(params)
    each = params.reshape(-1, *params.shape[len(items) :])
    means = family.mean(params)
    means = means.reshape(-1, *means.shape[len(items) :])
    found = []
    for one, mean in zip(each, means, strict=True):
        rule = RULES[family.name](family, one, mean)
        if rule is None:
            return None
        found.append(rule)
    z = torch.stack([nodes for nodes, _ in found], 1)  # [n, items, *event]
    weight = torch.stack([weights for _, weights in found], 1)
    z = z.reshape(len(z), 1, *items, *z.shape[2:])
    cost = objective.costs(z, params).detach()
    return (weight.reshape(cost.shape) * cost).sum()


def _crossed(rules: list[Rule]) -> Rule | None:
    """Return the product rule: nodes [n, variables], weights [n]."""
    if math.prod(len(weight) for _, weight in rules) > MOST_NODES:
        return None
    nodes = torch.cartesian_prod(*[node for node, _ in rules]).reshape(-1, len(rules))
    weights = torch.cartesian_prod(*[weight for _, weight in rules]).reshape(-1, len(rules))
    return nodes, weights.prod(-1)


def _standard_normal(variables: int) -> Rule | None:
    count = min(NORMAL_NODES, int(MOST_NODES ** (1 / max(variables, 1))))
    if count < LEAST_NODES:
        return None
    # The trapezoid rule on a Gaussian converges like exp(-2 pi a / step), a being the distance of
    # J's nearest singularity from the real axis: sooner than Gauss's own where a is small.
    nodes = torch.linspace(-REACH, REACH, count, dtype=torch.float64)
    return _crossed([(nodes, (-0.5 * nodes.square()).softmax(0))] * variables)


def _by_quantile(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    """Take z, a smooth function of normal numbers, from ``quantile`` of their uniforms."""
    del mean
    assert family.uniforms is not None
    assert family.quantile is not None
    normal = _standard_normal(math.prod(family.uniforms(params)))
    if normal is None:
        return None
    nodes, weights = normal
    # A float64 uniform ends 8 standard deviations out, where the weights are below 1e-14.
    u = _tensor(stats.norm.cdf(nodes.numpy())).clamp(2.0**-54, 1 - 2.0**-53)
    return family.quantile(params, u[:, None])[:, 0], weights


def _normal(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    del family, mean
    normal = _standard_normal(params.shape[-1])
    return normal and (params[0] + params[1].exp() * normal[0], normal[1])


def _normal_particles(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    del family
    count = mean.shape[0]
    normal = _standard_normal(count * params.shape[-1])
    if normal is None:
        return None
    nodes = normal[0].reshape(-1, count, params.shape[-1])
    return params[0] + params[1].exp() * nodes, normal[1]


def _nested(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    """Every value of the categorical variable, each with the normal rule of its noises."""
    del family
    categories, width = params.shape
    normal = _standard_normal((width - 1) // 2)
    if normal is None:
        return None
    one_hot = torch.eye(categories, dtype=torch.float64)
    probs = mean[:categories]  # all of it at the value of a known z
    nodes, weights = normal
    z = torch.cat((one_hot.repeat_interleave(len(nodes), 0), nodes.repeat(categories, 1)), -1)
    return z, (probs[:, None] * weights).flatten()


def _gamma(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    del family, mean
    rules = []
    for concentration, rate in params.exp().T.tolist():
        nodes, weights = special.roots_genlaguerre(SMOOTH_NODES, concentration - 1)
        rules.append((_tensor(nodes / rate), _tensor(weights / weights.sum())))
    return _crossed(rules)


def _beta(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    del family, mean
    return _crossed([_beta_rule(first, second) for first, second in params.exp().T.tolist()])


def _dirichlet(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    """A stick of Beta(a_k, a_{k+1} + ...) length is broken off what is left."""
    del family, mean
    rules = [
        _beta_rule(row[k], sum(row[k + 1 :]))
        for row in params.exp().tolist()
        for k in range(len(row) - 1)
    ]
    crossed = _crossed(rules)
    if crossed is None:
        return None
    sticks = crossed[0].reshape(-1, len(params), params.shape[1] - 1)
    left = torch.cat((torch.ones_like(sticks[..., :1]), (1 - sticks).cumprod(-1)), -1)
    pieces = torch.cat((sticks, torch.ones_like(sticks[..., :1])), -1)
    return pieces * left, crossed[1]


def _beta_rule(first: float, second: float) -> Rule:
    nodes, weights = special.roots_jacobi(SMOOTH_NODES, second - 1, first - 1)
    return _tensor((1 + nodes) / 2), _tensor(weights / weights.sum())


def _poisson(family: Family, params: Tensor, mean: Tensor) -> Rule | None:
    del family, mean
    rules = []
    for rate in params.exp().tolist():
        counts = np.arange(math.ceil(rate + 12 * math.sqrt(rate) + 40))  # beyond: below 1e-20
        rules.append((_tensor(counts), _tensor(stats.poisson.pmf(counts, rate))))
    return _crossed(rules)


def _tensor(values: np.typing.ArrayLike) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


RULES: dict[str, Maker] = {
    "normal": _normal,
    "normal particles": _normal_particles,
    "normal_mean particles": _by_quantile,
    "fixed normal_mean particles": _by_quantile,
    "gaussian_chain": _by_quantile,
    "nested": _nested,
    "gamma": _gamma,
    "beta": _beta,
    "dirichlet": _dirichlet,
    "poisson": _poisson,
}
