"""LAX: the score function of what a neural network leaves of J, and that network's path.

Grathwohl, Choi, Wu, Roeder and Duvenaud 2018, "Backpropagation through the Void: Optimizing
control variates for black-box gradient estimation" (arXiv 1711.00123), section 2. With x a sample
that is differentiable in the parameters and S = d log q(x) / d params:

    g = [J(x) - c(x)] S + dc/dx dx / d params,    [draws, samples, *params].

Unbiased for any differentiable c, also where J jumps and the reparameterization estimator misses
the jump. c is one hidden layer of tanh over x, standardized by its pilot, with its derivative in
closed form; ``tune`` sets it to the least second moment of g and it is frozen then. Of an amortized
model the hidden layer is shared and each item has output weights of its own.

Cost: 1 evaluation of J a sample; no derivative of J.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
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
from benchbed.estimators._surrogate import surrogate
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def lax(samples: int = 1, hidden: int = 10, steps: int = 200, pilot: int = 16384) -> Estimator:
    """Average ``samples`` copies of [J(x) - c(x)] S + dc/dx dx/dparams, c a tuned network.

    Args:
        samples: independent copies, each of one evaluation of J.
        hidden: units of the network.
        steps: of Adam in tuning; the output weights are solved for besides.
        pilot: estimates that tuning draws: many, because the network's error beyond the outermost
            of them is multiplied by the largest scores.
    """
    at_least("lax", "samples", samples, 1)
    at_least("lax", "hidden", hidden, 1)
    at_least("lax", "steps", steps, 0)
    at_least("lax", "pilot", pilot, 2 * BATCHES)
    settings: dict[str, object] = {"hidden": hidden, "steps": steps, "pilot": pilot}

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        family = objective.family
        stream = noise.child("pilot")
        seen = family.sample(params, pilot, 1, noise.child("units"))[:, 0]
        spread = spread_or_one(seen.std(0), seen.abs().amax(0))  # [*items, *event]
        units = _Units(seen.mean(0), spread)
        batches = [_parts(objective, params, n, 1, units, stream) for n in batch_sizes(pilot)]
        event = seen.shape[-family.event_axes :]
        start = initial(event.numel(), event.numel(), hidden, params, noise.child("weights"))
        weights = [batch.plain.new_ones(len(batch.plain), *(1,) * params.ndim) for batch in batches]
        learned = fit(batches, weights, start, hidden + 1, family.items(params), steps)
        return _estimator(samples, settings, units, learned, pilot)

    draw = untuned_draw("lax", "network")
    return replace(_estimator(samples, settings, None, None, 0), draw=draw, tune=tune)


class _Units(NamedTuple):
    """The centre and scale in which the network reads x, fixed by the pilot."""

    centre: Tensor  # [*items, *event]
    scale: Tensor


def _parts(
    objective: Objective, params: Tensor, draws: int, samples: int, units: _Units, noise: Noise
) -> Batch:
    """Return the score-function estimates and the control variate of a network, yet to be given."""
    family = objective.family
    items = len(family.items(params))
    path = family.path(params, draws, samples, 1.0, noise)
    score = family.score(params, path.hard)  # [draws, samples, *params]
    found = objective.evaluate(path.hard, params)
    plain = add_direct(mean_over_samples(family.lift(found.cost) * score), found)
    scale = units.scale.to(params)
    x = (path.hard - units.centre.to(params)) / scale

    def control(inner: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
        at_x = surrogate(inner, offset, x, items)

        def of(heads: Tensor) -> Tensor:
            value, slope = at_x(heads)
            return mean_over_samples(path.vjp(slope / scale) - family.lift(value) * score)

        return of

    return Batch(plain, control)


def _estimator(
    samples: int,
    settings: dict[str, object],
    units: _Units | None,
    learned: Learned | None,
    spent: int,
) -> Estimator:
    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        assert units is not None
        assert learned is not None
        batch = _parts(objective, params, draws, samples, units, noise)
        return batch.estimates(learned.to(params))

    return Estimator(
        "lax",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        needs=frozenset({"exact_path"}),
        citation="Grathwohl et al. 2018",
        settings=settings,
        tuning_evaluations=spent,
    )
