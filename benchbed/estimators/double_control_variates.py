"""Double control variates: leave-one-out with a linear one inside, made of the others' slopes.

Titsias and Shi 2022, "Double Control Variates for Gradient Estimation in Discrete Latent Variable
Models", AISTATS (arXiv 2111.05300). With z_1..z_K independent, S_k = d log q(z_k) / d params and
cv_k = alpha mean_{j != k} J'(z_j) . (z_k - E[z]), one number for each item:

    g = 1/K sum_k [J_k + cv_k - mean_{j != k} (J_j + cv_j)] S_k
        - alpha mean_k J'(z_k) d E[z] / d params,               [draws, *params].

Unbiased: E[(z_k - E[z]) S_k] is d E[z] / d params in every family, the slopes in cv_k come from
the other samples, and a cv_j in the baseline has mean zero given z_k, although its slopes hold z_k.
The paper's is the Bernoulli case; without the last term it would be biased. alpha = -1 is the
natural value and the variance is quadratic in alpha, so ``tune`` finds the least in closed form
where the paper follows its gradient.

Cost: K evaluations of J with their slopes at the corners.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Estimator, Evaluation, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.errors import BadArgument
from benchbed.estimators._rare_values import pilot_samples
from benchbed.estimators._second_moment import least_variance, untuned_draw
from benchbed.estimators._weighted_scores import leave_one_out_score
from benchbed.layout import draws_first, draws_last, sum_over_samples
from benchbed.rng import Noise


def double_control_variates(
    samples: int = 2, alpha: float | Literal["tune"] = "tune", pilot: int = 4096
) -> Estimator:
    """Leave-one-out after adding alpha times the others' slope dotted with z - E[z] to each cost.

    Args:
        samples: z in one estimate, at least 2.
        alpha: weight of the inner control variate; 0 is leave_one_out, -1 the natural value,
            ``tune`` that of least variance on a pilot.
        pilot: estimates that tuning draws.
    """
    name = "double_control_variates"
    at_least(name, "samples", samples, 2, "; with one sample use muprop")
    at_least(name, "pilot", pilot, 2)
    if not isinstance(alpha, str):
        return _fixed(samples, finite_number(name, "alpha", alpha), None)
    if alpha != "tune":
        raise BadArgument(f"{name} needs alpha: a number or tune, got '{alpha}'")

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        family = objective.family
        seen = pilot_samples(family, params, pilot, samples, noise)
        found, inside, outside = _terms(objective, params, seen.z)
        plain = add_direct(leave_one_out_score(family, params, seen.z, found.cost), found)
        control = leave_one_out_score(family, params, seen.z, inside) - outside
        weight = family.lift(seen.weight).expand_as(plain)
        return _fixed(samples, least_variance(plain, control, weight), pilot)

    draw = untuned_draw(name, "alpha")
    return replace(
        _fixed(samples, alpha, pilot), tuning_evaluations=0, draw=draw, finite=None, tune=tune
    )


def _terms(objective: Objective, params: Tensor, z: Tensor) -> tuple[Evaluation, Tensor, Tensor]:
    """Return J at z, cv_k / alpha [draws, samples, *items] and mean_k J'(z_k) d E[z] / d params."""
    family, samples = objective.family, z.shape[1]
    assert family.mean_vjp is not None
    found = objective.evaluate(z, params, slope=True)
    assert found.slope is not None
    total, mean = sum_over_samples(found.slope), family.mean(params)
    along = draws_last((total[:, None] - found.slope).mul_(z - mean))  # the others' slopes
    inside = along.flatten(-1 - family.event_axes, -2).sum(-2) / (samples - 1)
    return found, draws_first(inside), family.mean_vjp(mean, total / samples)


def _fixed(samples: int, alpha: float | Literal["tune"], pilot: int | None) -> Estimator:
    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        assert not isinstance(alpha, str)
        found, inside, outside = _terms(objective, params, z)
        rows = leave_one_out_score(objective.family, params, z, found.cost + alpha * inside)
        return add_direct(rows.sub_(outside, alpha=alpha), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "double_control_variates",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=True,
        needs=frozenset({"differentiable", "mean"}),
        citation="Titsias and Shi 2022",
        # Without a pilot behind it, alpha is all there is to tell.
        settings={"alpha": alpha} if pilot is None else {"alpha": alpha, "pilot": pilot},
        finite=finite_in_z(estimate, together=samples),
        tuning_evaluations=samples * (pilot or 0),
    )
