"""An estimator: a way to draw gradient estimates, what each costs and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from benchbed.contracts.objective import Evaluation, Objective
from benchbed.errors import IncompatiblePair
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise

Draw = Callable[[Objective, Tensor, int, Noise], Tensor]
Needs = Literal[
    "differentiable",  # dJ/dz at the corners
    "relaxed",  # J between the corners
    "exact_path",  # a sample that is differentiable in the parameters
    "conditional",  # a relaxed sample drawn again given the hard one
    "enumerable",  # finitely many values of z
    "quantile",  # z as a function of uniforms
    "mean",  # the Jacobian of E[z]
    "log_joint",  # a multi-sample bound
]


@dataclass(frozen=True)
class Finite:
    """The finite randomness of an estimator, so that it can be marginalized itself.

    Attributes:
        count: how many outcomes there are for this objective and these params.
        outcomes: yields (probability ``[n, *items]``, gradient ``[n, *params.shape]``) in chunks.
        replicates: the estimate is the mean of so many independent copies of an outcome.
    """

    count: Callable[[Objective, Tensor], int]
    outcomes: Callable[[Objective, Tensor], Iterator[tuple[Tensor, Tensor]]]
    replicates: int = 1


@dataclass(frozen=True)
class Estimator:
    """A way to draw gradient estimates, what each one costs and what it promises.

    ``draw(objective, params, draws, noise)`` returns ``[draws, *params.shape]``: one row per
    INDEPENDENT estimate of dE[J]/dparams, the direct term included.
    """

    name: str
    draw: Draw
    samples: int = 1
    evaluations: int | Callable[[Objective], int] = 1  # calls of J in one estimate
    # how many of them are in memory together; None: all
    at_once: int | Callable[[Objective], int] | None = None
    slopes: int = 0  # how many of them also take dJ/dz
    constant: bool = False  # every draw is one and the same number, found once
    # "limit": as its temperature or step goes to 0, or its samples grow
    unbiased: bool | Literal["limit"] = False
    target: str = "objective"  # what it is unbiased for
    # The exact gradient of that target, in float64, where it is not the objective's own.
    target_gradient: Callable[[Objective], Tensor] | None = None
    needs: frozenset[Needs] = frozenset()
    families: frozenset[str] | None = None  # None: any
    citation: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    finite: Finite | None = None
    tune: Callable[[Objective, Tensor, Noise], Estimator] | None = None  # -> frozen estimator
    tuning_evaluations: int = 0  # calls of J that tuning spent

    def evaluations_on(self, objective: Objective) -> int:
        """Return how often one estimate evaluates J on this objective."""
        return self.evaluations(objective) if callable(self.evaluations) else self.evaluations

    def at_once_on(self, objective: Objective) -> int:
        """Return how many of them are in memory together on this objective."""
        if self.at_once is None:
            return self.evaluations_on(objective)
        return self.at_once(objective) if callable(self.at_once) else self.at_once

    def exact_gradient(self, objective: Objective) -> Tensor:
        """Return the exact gradient of this estimator's target: what its bias is judged against."""
        return (self.target_gradient or Objective.exact_gradient)(objective)


def check_pair(objective: Objective, estimator: Estimator) -> None:
    """Raise IncompatiblePair, saying why and what fits, unless the two can be used together."""
    reason = obstacle(objective, estimator)
    if reason:
        raise IncompatiblePair(
            f"{estimator.name} cannot work on {objective.name}: {reason}; "
            f"'benchbed list estimators --for {objective.name}' shows what fits"
        )


def obstacle(objective: Objective, estimator: Estimator) -> str:
    """Return why ``estimator`` cannot be applied to ``objective``, empty if it can."""
    family = objective.family
    if estimator.families is not None and family.name not in estimator.families:
        return (
            f"it is made for {' and '.join(sorted(estimator.families))} latents, not {family.name}"
        )
    if "exact_path" in estimator.needs and not family.exact_path:
        return (
            f"it differentiates through the sample, and a {family.name} sample has no "
            "derivative in its parameters"
        )
    if "enumerable" in estimator.needs and (family.states is None or family.enumerate is None):
        return f"it lists the values of z, and {family.name} latents have no finite list"
    if "quantile" in estimator.needs and (family.quantile is None or family.uniforms is None):
        return f"it sets the uniforms behind z, and {family.name} latents are not drawn from any"
    if "mean" in estimator.needs and family.mean_vjp is None:
        return f"it differentiates the mean of z, which {family.name} latents do not offer"
    if "conditional" in estimator.needs and family.conditional_path is None:
        return f"it draws a relaxed z again given the hard one, which {family.name} latents cannot"
    bound = objective.log_joint is not None and family.particle is not None
    if "log_joint" in estimator.needs and not bound:
        return "it needs a multi-sample bound, with log p(x, z) of each particle"
    if "differentiable" in estimator.needs and not objective.differentiable:
        return "it needs dJ/dz, which this objective does not have"
    if "relaxed" in estimator.needs and not objective.relaxed:
        return "it evaluates J between the corners, where this objective is not defined"
    return ""


def add_direct(gradient: Tensor, evaluation: Evaluation) -> Tensor:
    """Add the mean over samples of dJ/dparams at fixed z (the direct term) to ``gradient``."""
    return (
        gradient if evaluation.direct is None else gradient + mean_over_samples(evaluation.direct)
    )
