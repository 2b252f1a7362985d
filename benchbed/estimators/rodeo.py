"""RODEO: leave-one-out with control variates from a discrete Stein operator.

Shi, Zhou, Hwang, Titsias and Mackey 2022, "Gradient Estimation with Discrete Stein Operators",
NeurIPS (arXiv 2202.09497). A is random-scan Gibbs minus the identity, under which every function
has mean zero:

    (A h)(b) = 1/d sum_i P_i [h(b with bit i flipped) - h(b)],    P_i = probability of that bit.

With b_1..b_K independent bits, S_k = b_k - p, h_k and H_k two functions made of the OTHER samples,
and ht_k(y) = H_k(y) (y - p), a vector:

    g = 1/K sum_k {[J_k - mean_{j != k} (J_j + alpha (A h_j)(b_j))] S_k + beta (A ht_k)(b_k)}.

(h_k, H_k)(y) is the mean over j != k of a network's two outputs at J(b_j) and J'(b_j) . (y - b_j),
both in units fixed by the pilot: the neighbours of b_k enter through that linear term only and J
is not evaluated there. The network has one hidden layer, leaky ReLU of slope 0.3 as in the
authors' code, and is shared by the items of an amortized model, each in its own units; alpha and
beta are part of its output weights, so that weights of zero are leave_one_out. Unbiased for any
network; ``tune`` sets it to the least second moment of g, and it is frozen then.

Cost: K evaluations of J with their slopes at the corners, and K (K - 1) (d + 1) of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Evaluation, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.estimators._rare_values import pilot_samples
from benchbed.estimators._second_moment import (
    BATCHES,
    Batch,
    Learned,
    batch_sizes,
    fit,
    initial,
    spread_or_one,
    untuned_draw,
)
from benchbed.estimators._weighted_scores import centred_costs, leave_one_out_score
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise

LEAK = 0.3  # slope of the hidden units below 0


def rodeo(samples: int = 2, hidden: int = 10, steps: int = 200, pilot: int = 2048) -> Estimator:
    """Leave-one-out, its baselines and itself corrected by a tuned network's Stein terms.

    Args:
        samples: z in one estimate, at least 2.
        hidden: units of the network; the authors use 100.
        steps: of Adam in tuning; the output weights are solved for besides.
        pilot: estimates that tuning draws.
    """
    at_least("rodeo", "samples", samples, 2, "; with one sample use muprop")
    at_least("rodeo", "hidden", hidden, 1)
    at_least("rodeo", "steps", steps, 0)
    at_least("rodeo", "pilot", pilot, 2 * BATCHES)
    settings: dict[str, object] = {"hidden": hidden, "steps": steps, "pilot": pilot}

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        family = objective.family
        stream = noise.child("pilot")
        seen = [pilot_samples(family, params, n, samples, stream) for n in batch_sizes(pilot)]
        found = [objective.evaluate(rows.z, params, slope=True) for rows in seen]
        units = _units(seen[0].z, found[0])
        parts = zip(seen, found, strict=True)
        batches = [_parts(objective, params, rows.z, at_z, units) for rows, at_z in parts]
        weights = [family.lift(rows.weight) for rows in seen]
        start = initial(2, 2, hidden, params, noise.child("weights"))
        learned = fit(batches, weights, start, 2 * hidden + 1, (), steps)
        return _estimator(samples, settings, units, learned, samples * pilot)

    untuned = _estimator(samples, settings, None, None, 0)
    draw = untuned_draw("rodeo", "network")
    return replace(untuned, draw=draw, finite=None, tune=tune)


class _Units(NamedTuple):
    """The units in which the network reads J and the linear term, [*items] each."""

    centre: Tensor
    cost: Tensor
    linear: Tensor


def _units(z: Tensor, found: Evaluation) -> _Units:
    """Take J's mean and spread, and the size of the linear term, from one batch."""
    assert found.slope is not None
    ahead = (found.slope[:, 1] * (z[:, 0] - z[:, 1])).sum(-1)
    first = found.cost[:, 0]
    cost = spread_or_one(first.std(0), first.abs().amax(0))
    linear = spread_or_one(ahead.square().mean(0).sqrt(), found.slope.abs().amax((0, 1, -1)))
    return _Units(first.mean(0), cost, linear)


def others(k: int, samples: int) -> list[int]:
    """Return the samples that h_k and H_k may be made of: all but k itself."""
    return [j for j in range(samples) if j != k]


def _parts(
    objective: Objective, params: Tensor, z: Tensor, found: Evaluation, units: _Units
) -> Batch:
    """Return the leave-one-out estimates and the Stein terms of a network, yet to be given."""
    family, samples = objective.family, z.shape[1]
    assert found.slope is not None
    score = family.score(params, z)  # [draws, samples, *items, d]
    plain = leave_one_out_score(family, params, z, found.cost)

    centre, spread, linear = (unit.to(params)[..., None] for unit in units)
    bits, signed = draws_last(z), draws_last(score)  # [samples, *items, d, n]
    cost = (draws_last(found.cost) - centre) / spread  # [samples, *items, n]
    slope = draws_last(found.slope) / linear[..., None]
    dimensions = bits.shape[-2]
    likely = signed.abs().div_(dimensions)  # P / d: |b - p| is the other bit's chance

    def control(inner: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
        active = [_hidden(k, inner, offset, cost, slope, bits) for k in range(samples)]

        def of(heads: Tensor) -> Tensor:  # [2 hidden + 1]
            averaging = heads[:-1].reshape(2, -1) / (samples - 1)  # over the others
            scalars, vectors = [], []
            for k in range(samples):
                out = averaging @ active[k].flatten(-2)  # [*items, 2, (1 + d) n]
                # Both at b_k itself, and with each bit flipped: [*items, 2, 1 + d, n].
                out = out.reshape(*out.shape[:-1], *active[k].shape[-2:])
                moved = (out[..., 1:, :] - out[..., :1, :]) * likely[k].unsqueeze(-3)
                scalar, stay = moved.sum(-2).unbind(-2)
                scalars.append(scalar)
                # P (1 - 2 b) = -(b - p): flipping bit i moves y - p along coordinate i alone.
                flipped = (out[..., 1, 1:, :] + heads[-1]) / dimensions
                vectors.append(signed[k] * (stay.unsqueeze(-2) - flipped))
            stein = draws_first(torch.stack(scalars) * spread)
            # Centring holds each sample's own term besides the baselines: taken back.
            weight = centred_costs(stein) / (samples - 1) - stein / samples
            ahead = draws_first(sum(vectors[1:], vectors[0]) * (spread[..., None] / samples))
            return _weighted(score, weight) + ahead

        return of

    return Batch(add_direct(plain, found), control)


def _weighted(score: Tensor, weight: Tensor) -> Tensor:
    """Return sum_k weight_k S_k, [draws, *items, d], from weights [draws, samples, *items]."""
    lifted = weight[..., None]
    total = score[:, 0] * lifted[:, 0]
    for k in range(1, score.shape[1]):
        total.addcmul_(score[:, k], lifted[:, k])
    return total


def _hidden(
    k: int, inner: Tensor, offset: Tensor, cost: Tensor, slope: Tensor, bits: Tensor
) -> Tensor:
    """Return the hidden units that the others give at b_k and its neighbours, added up.

    [*items, hidden, 1 + d, n], from cost [samples, *items, n] and slope, bits
    [samples, *items, d, n].
    """
    by_cost, by_linear = inner.unbind(1)  # [hidden]
    terms = []
    for j in others(k, len(bits)):
        here = (slope[j] * (bits[k] - bits[j])).sum(-2, keepdim=True)
        flipped = here + slope[j] * (1 - 2 * bits[k])
        linear = torch.cat((here, flipped), -2)[..., None, :, :]  # [*items, 1, 1 + d, n]
        start = by_cost[:, None] * cost[j][..., None, :] + offset[:, None]
        before = torch.addcmul(start[..., None, :], by_linear[:, None, None], linear)
        terms.append(F.leaky_relu(before, LEAK, inplace=True))
    return sum(terms[1:], terms[0])


def _estimator(
    samples: int,
    settings: dict[str, object],
    units: _Units | None,
    learned: Learned | None,
    spent: int,
) -> Estimator:
    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        assert units is not None
        assert learned is not None
        found = objective.evaluate(z, params, slope=True)
        return _parts(objective, params, z, found, units).estimates(learned.to(params))

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "rodeo",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=True,
        needs=frozenset({"differentiable"}),
        families=frozenset({"bernoulli"}),
        citation="Shi et al. 2022",
        settings=settings,
        finite=finite_in_z(estimate, together=samples),
        tuning_evaluations=spent,
    )
