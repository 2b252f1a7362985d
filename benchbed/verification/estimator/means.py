"""Means of biased estimators without sampling error: what a namesake in any file must have.

A biased estimator is not wrong for being biased: it has a mean of its own. Whoever calls an
estimator ``gumbel_rao`` in its record promises the mean of Gumbel-Rao, which is that of
straight-through Gumbel-Softmax (Paulus et al. 2021, arXiv 2010.04838). With y a relaxed sample,
z its corner and J' = dJ/dz at z,

    mean = sum_z q(z) E[Jac(y) | z] J'(z) / temperature

and E[Jac(y) | z] factors over the variables: one integral for a bit, two for three categories.
Others of the catalogue have finitely many outcomes and are summed over them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchbed.catalogue import ESTIMATORS, build_estimator, settings_of
from benchbed.contracts import Estimator, Objective
from benchbed.errors import BenchbedError
from benchbed.measurement.exact_moments import exact_moments
from benchbed.records import Array

RELAXED_STRAIGHT_THROUGH = frozenset({"straight_through_gumbel_softmax", "gumbel_rao"})
NODES = 160  # of a Gauss-Legendre rule, exact to 1e-7 at temperatures from 0.05
MOST_STATES = 4_096


def known_mean(method: Estimator, objective: Objective) -> Tensor | None:
    """Return the exact mean that an estimator of this name has, shaped like params, or None.

    None where it promises to be unbiased (its mean is then the exact gradient), where no estimator
    of the catalogue has its name, and where that one's mean is not known on this objective.
    """
    if method.unbiased is True or method.name not in ESTIMATORS:
        return None
    if method.name in RELAXED_STRAIGHT_THROUGH:
        return _relaxed_straight_through(method, objective)
    original = _original(method)
    found = None if original is None else exact_moments(objective, original)
    if found is None or objective.jacobian is not None:
        return None
    return torch.from_numpy(found.mean).reshape(objective.params.shape)


def declares_bias(method: Estimator, listed: bool) -> bool:
    """Say whether an estimator's own record lets it be biased.

    ``limit`` does. A plain ``unbiased=False`` is also what one gets who says nothing, so it counts
    only in the catalogue, or under the name of an estimator there that is biased as well.

    Args:
        method: as built.
        listed: whether it is the catalogue's own.
    """
    if method.unbiased is not False:
        return method.unbiased == "limit"
    original = _original(method) if method.name in ESTIMATORS else None
    return listed or (original is not None and original.unbiased is not True)


def _original(method: Estimator) -> Estimator | None:
    """Return the catalogue's estimator of the same name and settings."""
    factory = ESTIMATORS[method.name]
    given = {**method.settings, "samples": method.samples}
    if not given.keys() <= settings_of(factory).keys():
        return None
    try:
        return build_estimator(method.name, **given)
    except BenchbedError:
        return None


def _relaxed_straight_through(method: Estimator, objective: Objective) -> Tensor | None:
    temperature, family = method.settings.get("temperature"), objective.family
    made: dict[str, Callable[[Tensor, float], Tensor]] = {
        "bernoulli": _bit,
        "categorical": _three_categories,
    }
    params = objective.params
    if not isinstance(temperature, float | int) or family.name not in made or objective.direct:
        return None
    if family.items(params) or (family.name == "categorical" and params.shape[-1] != 3):
        return None
    assert family.states is not None
    assert family.enumerate is not None
    if family.states(params) > MOST_STATES:
        return None
    z = family.enumerate(params, torch.arange(family.states(params)))
    q = family.log_prob(params, z).exp()
    slope = objective.evaluate(z[:, None], params, slope=True).slope
    assert slope is not None
    each = torch.stack([made[family.name](row, float(temperature)) for row in params])
    if family.name == "bernoulli":  # [d, 2]
        given = torch.where(z > 0, each[:, 1], each[:, 0])
        return (q[:, None] * slope[:, 0] * given).sum(0)
    return torch.einsum("n,ndk,dkab,ndb->da", q, z, each, slope[:, 0])


def _bit(logit: Tensor, temperature: float) -> Tensor:
    """Return E[y (1 - y) | z] / temperature for z = 0 and 1, [2].

    With t = (logit + logistic noise) / temperature, y = sigma(t) and z = 1[t > 0]: the integrals
    of sigma'(t) times the density of the noise at t temperature - logit.
    """
    nodes, weights = _legendre()
    length = 40.0  # sigma' is below 1e-17 beyond it
    t = length * nodes**2  # dense near 0
    weight = torch.from_numpy(2 * length * nodes * weights)
    t_ = torch.from_numpy(t)
    parts = []
    for sign, share in ((-1.0, torch.sigmoid(-logit)), (1.0, torch.sigmoid(logit))):
        noise = sign * t_ * temperature - logit
        density = torch.sigmoid(noise) * torch.sigmoid(-noise)
        rate = torch.sigmoid(t_) * torch.sigmoid(-t_)
        parts.append((weight * rate * density).sum() / share)
    return torch.stack(parts)


def _three_categories(logits: Tensor, temperature: float) -> Tensor:
    """Return E[Jac(y) | z = k] / temperature for each k, [3, 3, 3].

    Given k, y_j is proportional to (x_k / (x_j / pi_j + x_k)) ** (1 / temperature), and to 1 at k,
    with three exponentials x: their ratios alone count, which are uniform on the simplex.
    """
    nodes, weights = _legendre()
    t, b = np.meshgrid(nodes, nodes, indexing="ij")
    weight = (2 * t * weights[:, None] * weights).ravel()  # of 1 - x_k = t, whose density is 2 t
    pi = logits.softmax(-1).numpy()
    found = np.empty((3, 3, 3))
    for k in range(3):
        first, second = (c for c in range(3) if c != k)
        x = np.empty((3, t.size))
        x[k], x[first], x[second] = (1 - t).ravel(), (t * b).ravel(), (t * (1 - b)).ravel()
        y = x[k] / (x / pi[:, None] + x[k])
        y[k] = 1
        y **= 1 / temperature
        y /= y.sum(0)
        outer = np.einsum("an,bn,n->ab", y, y, weight)
        found[k] = (np.diag(y @ weight) - outer) / temperature
    return torch.from_numpy(found)


def _legendre() -> tuple[Array, Array]:
    """Return nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
