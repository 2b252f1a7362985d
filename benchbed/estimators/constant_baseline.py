"""The score function with a constant baseline: (J(z) - c) d log q(z) / d params.

Williams 1992; Weaver and Tao 2001; Greensmith, Bartlett and Baxter 2004. Unbiased because c does
not depend on the samples it is subtracted from: it is set once, by a pilot, and then frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z, tuples
from benchbed.errors import BadArgument
from benchbed.estimators._weighted_scores import average_score
from benchbed.rng import Noise

KINDS = ("mean", "optimal", "optimal_per_coordinate")
CHUNK = 4096


def constant_baseline(
    samples: int = 1,
    kind: Literal["mean", "optimal", "optimal_per_coordinate"] = "mean",
    pilot: int | Literal["exact"] = 4096,
) -> Estimator:
    """Average (J(z) - c) times the score, with c set by a pilot.

    Args:
        samples: z in one estimate.
        kind: ``mean`` is E[J]; ``optimal`` the scalar of least trace variance,
            sum_i E[J S_i^2] / sum_i E[S_i^2]; ``optimal_per_coordinate`` E[J S_i^2] / E[S_i^2].
            One c for each item of an amortized model.
        pilot: evaluations of J spent on c, or ``exact`` to sum over every z.

    Raises:
        BadArgument: no such kind, or a pilot of fewer than 2 evaluations.
    """
    at_least("constant_baseline", "samples", samples, 1)
    if kind not in KINDS:
        raise BadArgument(f"constant_baseline needs kind: one of {', '.join(KINDS)}, got '{kind}'")
    if pilot != "exact":
        at_least("constant_baseline", "pilot", pilot, 2, " (or pilot: exact)")

    def tune(objective: Objective, params: Tensor, noise: Noise) -> Estimator:
        baseline = torch.zeros(())
        weight = torch.zeros(())
        spent = 0
        for probability, z in _pilot(objective, params, noise, pilot):
            cost = objective.family.lift(objective.evaluate(z, params).cost[:, 0])
            if kind == "mean":
                power = torch.ones_like(cost)
            else:
                power = objective.family.score(params, z)[:, 0].square()
            if kind == "optimal":
                axes = tuple(range(-objective.family.params_axes, 0))
                power = power.sum(axes, keepdim=True)
            share = objective.family.lift(probability) * power
            baseline = baseline + (share * cost).sum(0)
            weight = weight + share.sum(0)
            spent += len(z)
        # A variable so sure that its score is 0 everywhere needs no baseline.
        settled = torch.where(weight > 0, baseline / weight, torch.zeros_like(baseline))
        return _frozen(samples, kind, settled, spent)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        del objective, params, draws, noise
        raise BadArgument(
            "constant_baseline has no baseline before its pilot; call "
            "estimator.tune(objective, params, noise) and draw from what it returns"
        )

    return Estimator(
        "constant_baseline",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        citation="Greensmith et al. 2004",
        tune=tune,
    )


def _pilot(
    objective: Objective, params: Tensor, noise: Noise, pilot: int | Literal["exact"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (weight [n, *items], z [n, 1, ...]): every state, or ``pilot`` samples."""
    family = objective.family
    if pilot == "exact":
        if family.states is None:
            raise BadArgument(
                f"constant_baseline cannot use pilot: exact on {objective.name}, whose "
                f"{family.name} latents cannot be enumerated; give a number of evaluations"
            )
        for z in tuples(family, params, together=1):
            yield family.log_prob(params, z)[:, 0].exp(), z
        return
    for start in range(0, pilot, CHUNK):
        count = min(CHUNK, pilot - start)
        yield (
            torch.ones(count, *family.items(params)).to(params),
            family.sample(params, count, 1, noise),
        )


def _frozen(samples: int, kind: str, baseline: Tensor, spent: int) -> Estimator:
    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params)
        advantage = objective.family.lift(found.cost) - baseline.to(found.cost)
        return add_direct(average_score(objective.family, params, z, advantage), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "constant_baseline",
        draw,
        samples=samples,
        evaluations=samples,
        unbiased=True,
        citation="Greensmith et al. 2004",
        settings={"kind": kind},
        finite=finite_in_z(estimate, replicates=samples),
        tuning_evaluations=spent,
    )
