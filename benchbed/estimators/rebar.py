"""REBAR: the score function with a relaxed sample, and its conditional twin, as control variate.

Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein 2017, "REBAR: Low-variance, unbiased gradient
estimates for discrete latent variable models" (arXiv 1703.07370), equation 7. z is relaxed by
sigma(z / temperature) or softmax(z / temperature); zt is drawn given the hard sample b. The
derivative of zt at fixed b is not 1: public code that takes it so is biased.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BadArgument
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise

PILOT = 2048  # draws behind each temperature that tuning tries
RANGE = (0.05, 5.0)  # temperatures that tuning searches


def rebar(
    samples: int = 1,
    eta: float | Literal["tune"] = 1.0,
    temperature: float | Literal["tune"] = 0.5,
) -> Estimator:
    """Average ``samples`` copies of [J(b) - eta J(h(zt))] S + eta (d J(h(z)) - d J(h(zt))).

    Args:
        samples: independent copies, each of three evaluations of J.
        eta: weight of the control variate; ``tune`` sets it to least variance on a pilot.
        temperature: of the relaxation h; ``tune`` searches 0.05 to 5 for least variance.
    """
    at_least("rebar", "samples", samples, 1)
    if isinstance(temperature, str) or isinstance(eta, str):
        for name, given in (("eta", eta), ("temperature", temperature)):
            if isinstance(given, str) and given != "tune":
                raise BadArgument(f"rebar needs {name}: a number or tune, got '{given}'")
    if not isinstance(temperature, str):
        positive_temperature("rebar", temperature)
    if isinstance(eta, str) or isinstance(temperature, str):
        return _tunable(samples, eta, temperature)
    return _fixed(samples, float(eta), float(temperature), spent=0)


def _parts(
    objective: Objective, params: Tensor, draws: int, samples: int, temperature: float, noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return the score-function estimate and the control variate, each [draws, *params]."""
    family = objective.family
    assert family.conditional_path is not None
    path = family.path(params, draws, samples, temperature, noise)  # z, and b = hard
    # A stream of its own, so that z goes on sharing its noise with other estimators.
    apart = noise.child("twin", noise.drawn)
    twin = family.conditional_path(params, path.hard, temperature, apart)  # zt given b
    noise.drawn += apart.drawn
    score = family.score(params, path.hard)  # [draws, samples, *params]
    at_b = objective.evaluate(path.hard, params)
    at_z = objective.evaluate(path.soft, params, slope=True)
    at_zt = objective.evaluate(twin.soft, params, slope=True)
    assert at_z.slope is not None
    assert at_zt.slope is not None
    control = path.vjp(at_z.slope) - twin.vjp(at_zt.slope) - family.lift(at_zt.cost) * score
    if at_z.direct is not None and at_zt.direct is not None:
        control = control + at_z.direct - at_zt.direct  # z and zt have one law: mean zero
    plain = add_direct(mean_over_samples(family.lift(at_b.cost) * score), at_b)
    return plain, mean_over_samples(control)


def _fixed(samples: int, eta: float, temperature: float, spent: int) -> Estimator:
    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        plain, control = _parts(objective, params, draws, samples, temperature, noise)
        return plain + eta * control

    return Estimator(
        "rebar",
        draw,
        samples=samples,
        evaluations=3 * samples,
        slopes=2 * samples,
        unbiased=True,
        needs=frozenset({"differentiable", "relaxed"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Tucker et al. 2017",
        settings={"eta": eta, "temperature": temperature},
        tuning_evaluations=spent,
    )


def _tunable(
    samples: int, eta: float | Literal["tune"], temperature: float | Literal["tune"]
) -> Estimator:
    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        from scipy.optimize import minimize_scalar

        spent = 0

        def pilot(log_temperature: float) -> tuple[float, float]:
            """Return (trace variance, eta) at a temperature, on the same noise each time."""
            nonlocal spent
            spent += 3 * PILOT * samples
            level = math.exp(log_temperature)
            plain, control = _parts(objective, params, PILOT, samples, level, noise.child("pilot"))
            best = _least_variance(plain, control) if isinstance(eta, str) else eta
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
        return _fixed(samples, best_eta, chosen, spent)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del objective, params, draws, noise
        raise BadArgument(
            "rebar has no eta or temperature before it is tuned; call "
            "estimator.tune(objective, params, noise) and draw from what it returns"
        )

    untuned = _fixed(samples, 1.0, 1.0, spent=0)
    return Estimator(
        "rebar",
        draw,
        samples=samples,
        evaluations=untuned.evaluations,
        slopes=untuned.slopes,
        unbiased=True,
        needs=untuned.needs,
        families=untuned.families,
        citation=untuned.citation,
        settings={"eta": eta, "temperature": temperature},
        tune=tune,
    )


def _least_variance(plain: Tensor, control: Tensor) -> float:
    """Return the eta of least trace variance: - sum cov(plain, control) / sum var(control)."""
    a, c = (x.double() - x.double().mean(0) for x in (plain, control))
    spread = float(c.square().sum())
    return -float((a * c).sum()) / spread if spread > 0 else 0.0
