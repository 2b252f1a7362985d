"""RELAX: REBAR with a neural network, free or on top of the relaxed cost, as control variate.

Grathwohl, Choi, Wu, Roeder and Duvenaud 2018, "Backpropagation through the Void: Optimizing
control variates for black-box gradient estimation" (arXiv 1711.00123), section 3. With b the hard
sample of z, zt drawn given b and S = d log q(b) / d params, all [draws, samples, *params]:

    g = [J(b) - c(zt)] S + d c(z) / d params - d c(zt) / d params.

Unbiased for any c, so c is set by ``tune`` to the least second moment of g and then frozen. Here
c(z) = r(h(z)), h the sigmoid or softmax of z / t and r one hidden layer of tanh whose derivative
is in closed form; or eta J(h(z)) + r(h(z)), eta tuned with it (one for each item). Of an amortized
model the hidden layer is shared and each item has output weights of its own.

An item too sure for its pilot, less than one rare value expected in half of it, keeps the plain
score function.

Cost: 1 evaluation of J a sample, of J's values at corners only (the surrogate needs no J between
them); 3 with the relaxed cost. The authors' PyTorch toy takes the derivative of zt at fixed b as 1
and is biased for it; here it is REBAR's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Family, Objective, Path, add_direct
from benchbed.errors import BadArgument
from benchbed.estimators._conditional_noise import relaxed_cost_control, relaxed_twins
from benchbed.estimators._rare_values import pilot_samples, rare_rows
from benchbed.estimators._second_moment import (
    BATCHES,
    Batch,
    Learned,
    batch_sizes,
    fit,
    initial,
    untuned_draw,
)
from benchbed.estimators._surrogate import surrogate as network
from benchbed.families.bernoulli import concrete_vjp
from benchbed.families.categorical import softmax_vjp
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise

Surrogate = Literal["network", "relaxed_cost"]


def relax(
    samples: int = 1,
    hidden: int = 10,
    steps: int = 200,
    temperature: float = 0.5,
    surrogate: Surrogate = "network",
    pilot: int = 4096,
) -> Estimator:
    """Average ``samples`` copies of [J(b) - c(zt)] S + d c(z) - d c(zt), c a tuned network.

    Args:
        samples: independent copies, each of one evaluation of J, three with the relaxed cost.
        hidden: units of the network.
        steps: of Adam in tuning; the output weights are solved for besides.
        temperature: of the relaxation that the network reads.
        surrogate: ``network``, or ``relaxed_cost``: eta J of the relaxed sample, plus a network.
        pilot: estimates that tuning draws.
    """
    at_least("relax", "samples", samples, 1)
    at_least("relax", "hidden", hidden, 1)
    at_least("relax", "steps", steps, 0)
    at_least("relax", "pilot", pilot, 2 * BATCHES)
    positive_temperature("relax", temperature)
    if surrogate not in ("network", "relaxed_cost"):
        raise BadArgument(f"relax needs surrogate: network or relaxed_cost, got '{surrogate}'")
    form = _Form(samples, hidden, steps, float(temperature), surrogate, pilot)

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        family, single = objective.family, form._replace(samples=1)
        stream = noise.child("pilot")
        seen = [pilot_samples(family, params, n, 1, stream) for n in batch_sizes(pilot)]
        twins = [_twins_given(family, params, rows.z, temperature, stream) for rows in seen]
        batches = [_parts(objective, params, path, twin, single) for path, twin in twins]
        weights = [family.lift(rows.weight) for rows in seen]
        event = params.shape[-family.event_axes :]
        start = initial(event.numel(), event[0], hidden, params, noise.child("weights"))
        columns = hidden + 1 + (surrogate == "relaxed_cost")
        learned = fit(batches, weights, start, columns, family.items(params), steps)
        # The relaxed z can come near a corner's edge without crossing it, several times as often
        # as it crosses and with weights of its own: a pilot that cannot have seen it is not used.
        bits = family.name == "bernoulli"
        seen_enough = rare_rows(params, pilot // 2, bits=bits)[..., None] >= 1
        learned = learned._replace(heads=learned.heads * seen_enough)
        return _frozen(form, learned, single.evaluations * pilot)

    draw = untuned_draw("relax", "network")
    return replace(_frozen(form, None, 0), draw=draw, tune=tune)


class _Form(NamedTuple):
    """The arguments of the factory."""

    samples: int
    hidden: int
    steps: int
    temperature: float
    surrogate: Surrogate
    pilot: int

    @property
    def evaluations(self) -> int:
        return (1 if self.surrogate == "network" else 3) * self.samples


def _twins_given(
    family: Family, params: Tensor, hard: Tensor, temperature: float, noise: Noise
) -> tuple[Path, Path]:
    """Return h(z) and h(zt), both drawn given the hard sample: a pilot's need not follow q."""
    assert family.conditional_path is not None
    soft, twin = (
        family.conditional_path(params, hard, temperature, noise.child(name, noise.drawn))
        for name in ("path", "twin")
    )
    noise.drawn += 2 * hard.numel()

    # z itself moves with params at rate 1: here it is only drawn in two steps.
    def vjp(slope: Tensor) -> Tensor:
        rate = concrete_vjp if family.name == "bernoulli" else softmax_vjp
        return rate(soft.soft, slope).div_(temperature)

    return Path(hard, soft.soft, vjp), twin


def _parts(objective: Objective, params: Tensor, path: Path, twin: Path, form: _Form) -> Batch:
    """Return the score-function estimates and the control variate of a network, yet to be given."""
    family = objective.family
    items = len(family.items(params))
    score = family.score(params, path.hard)  # [draws, samples, *params]
    found = objective.evaluate(path.hard, params)
    plain = add_direct(mean_over_samples(family.lift(found.cost) * score), found)
    relaxed = None
    if form.surrogate == "relaxed_cost":
        relaxed = relaxed_cost_control(objective, params, path, twin, score)

    def control(inner: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
        at_z = network(inner, offset, path.soft, items)
        at_zt = network(inner, offset, twin.soft, items)

        def of(heads: Tensor) -> Tensor:  # the last head is eta, where there is one
            own = heads if relaxed is None else heads[..., :-1]
            value, slope = at_zt(own)
            terms = path.vjp(at_z(own)[1]).sub_(twin.vjp(slope))
            found = mean_over_samples(terms.addcmul_(family.lift(value), score, value=-1))
            return found if relaxed is None else found + family.lift(heads[..., -1]) * relaxed

        return of

    return Batch(plain, control)


def _frozen(form: _Form, learned: Learned | None, spent: int) -> Estimator:
    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        assert learned is not None
        twins = relaxed_twins(
            objective.family, params, draws, form.samples, form.temperature, noise
        )
        return _parts(objective, params, *twins, form).estimates(learned.to(params))

    relaxed = form.surrogate == "relaxed_cost"
    return Estimator(
        "relax",
        draw,
        samples=form.samples,
        evaluations=form.evaluations,
        slopes=2 * form.samples if relaxed else 0,
        unbiased=True,
        needs=frozenset({"conditional", *(("differentiable", "relaxed") if relaxed else ())}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Grathwohl et al. 2018",
        settings={
            "hidden": form.hidden,
            "steps": form.steps,
            "temperature": form.temperature,
            "surrogate": form.surrogate,
            "pilot": form.pilot,
        },
        tuning_evaluations=spent,
    )
