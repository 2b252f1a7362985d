"""REBAR: the score function with a relaxed sample, and its conditional twin, as control variate.

Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein 2017, "REBAR: Low-variance, unbiased gradient
estimates for discrete latent variable models" (arXiv 1703.07370), equation 7. With b the hard
sample of z, zt drawn given b, and S = d log q(b) / d params, all [draws, samples, *params]:

    g = [J(b) - eta J(h(zt))] S + eta d J(h(z)) / d params - eta d J(h(zt)) / d params.

h is sigma(z / t) or softmax(z / t), or the paper's second relaxation with params t / (t + 1) added
inside, which tends to sigma(params) as t grows: the estimator then tends to MuProp without its
linear term, [J(b) - eta J(mean)] S. The derivative of zt at fixed b is not 1: public code that
takes it so is biased. For categorical latents the second relaxation is this project's (h may be
any function of z and params).

Cost: 3 evaluations of J a sample, 2 with tied noise, which makes h(zt) equal to h(z).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, NamedTuple

from torch import Tensor

from benchbed.arguments import at_least, finite_number, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BadArgument
from benchbed.estimators._conditional_noise import (
    Relaxation,
    relaxed_cost_control,
    relaxed_twins,
)
from benchbed.estimators._second_moment import least_variance, untuned_draw
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise

PILOT = 2048  # draws behind each temperature that tuning tries
RANGE = (0.05, 5.0)  # temperatures that tuning searches


def rebar(
    samples: int = 1,
    eta: float | Literal["tune"] = 1.0,
    temperature: float | Literal["tune"] = 0.5,
    relaxation: Relaxation = "plain",
    tied: bool = False,
) -> Estimator:
    """Average ``samples`` copies of [J(b) - eta J(h(zt))] S + eta (d J(h(z)) - d J(h(zt))).

    Args:
        samples: independent copies, each of three evaluations of J, two if tied.
        eta: weight of the control variate; ``tune`` sets it to least variance on a pilot.
        temperature: of the relaxation h; ``tune`` searches 0.05 to 5 for least variance.
        relaxation: ``plain``, or ``muprop``: the paper's second, which has a use at high
            temperatures too.
        tied: draw zt with the noise of z, which saves one evaluation and costs some variance.
    """
    at_least("rebar", "samples", samples, 1)
    if relaxation not in ("plain", "muprop"):
        raise BadArgument(f"rebar needs relaxation: plain or muprop, got '{relaxation}'")
    for name, given in (("eta", eta), ("temperature", temperature)):
        if isinstance(given, str) and given != "tune":
            raise BadArgument(f"rebar needs {name}: a number or tune, got '{given}'")
    if not isinstance(tied, bool):
        raise BadArgument(f"rebar needs tied: true or false, got {tied!r}")
    if not isinstance(eta, str):
        finite_number("rebar", "eta", eta)
    if not isinstance(temperature, str):
        positive_temperature("rebar", temperature)
    form = _Form(samples, relaxation, tied)
    if isinstance(eta, str) or isinstance(temperature, str):
        return _tunable(form, eta, temperature)
    return _fixed(form, float(eta), float(temperature), spent=0)


class _Form(NamedTuple):
    """What tuning leaves alone."""

    samples: int
    relaxation: Relaxation
    tied: bool

    @property
    def evaluations(self) -> int:
        return (2 if self.tied else 3) * self.samples


def _parts(
    objective: Objective, params: Tensor, draws: int, form: _Form, temperature: float, noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return the score-function estimate and the control variate, each [draws, *params]."""
    family = objective.family
    path, twin = relaxed_twins(
        family, params, draws, form.samples, temperature, noise, form.relaxation, form.tied
    )
    score = family.score(params, path.hard)  # [draws, samples, *params]
    at_b = objective.evaluate(path.hard, params)
    control = relaxed_cost_control(objective, params, path, twin, score)
    return add_direct(mean_over_samples(score.mul_(family.lift(at_b.cost))), at_b), control


def _fixed(
    form: _Form,
    eta: float | Literal["tune"],
    temperature: float | Literal["tune"],
    spent: int,
) -> Estimator:
    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        assert not isinstance(eta, str)
        assert not isinstance(temperature, str)
        plain, control = _parts(objective, params, draws, form, temperature, noise)
        return plain.add_(control, alpha=eta)

    return Estimator(
        "rebar",
        draw,
        samples=form.samples,
        evaluations=form.evaluations,
        slopes=(1 if form.tied else 2) * form.samples,
        unbiased=True,
        needs=frozenset({"differentiable", "relaxed", "conditional"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Tucker et al. 2017",
        settings={
            "eta": eta,
            "temperature": temperature,
            "relaxation": form.relaxation,
            "tied": form.tied,
        },
        tuning_evaluations=spent,
    )


def _tunable(
    form: _Form, eta: float | Literal["tune"], temperature: float | Literal["tune"]
) -> Estimator:
    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        from scipy.optimize import minimize_scalar

        spent = 0

        def pilot(log_temperature: float) -> tuple[float, float]:
            """Return (trace variance, eta) at a temperature, on the same noise each time."""
            nonlocal spent
            spent += form.evaluations * PILOT
            level = math.exp(log_temperature)
            plain, control = _parts(objective, params, PILOT, form, level, noise.child("pilot"))
            best = least_variance(plain, control) if isinstance(eta, str) else eta
            return float((plain + best * control).var(0).sum()), best

        if isinstance(temperature, str):
            low, high = (math.log(end) for end in RANGE)
            found = minimize_scalar(
                lambda x: pilot(x)[0], bounds=(low, high), method="bounded", options={"xatol": 0.1}
            )
            chosen = math.exp(float(found.x))
        else:
            chosen = temperature
        best_eta = pilot(math.log(chosen))[1]
        return _fixed(form, best_eta, chosen, spent)

    draw = untuned_draw("rebar", "eta or temperature")
    return replace(_fixed(form, eta, temperature, spent=0), draw=draw, tune=tune)
