"""The three things benchbed is made of: a family, an objective, an estimator.

Each is a frozen record of functions. None of them remembers anything between calls, and every
random number comes from the ``Noise`` passed in.

Words used everywhere: ``draws`` are independent gradient estimates; ``samples`` are the z-samples
inside one estimate; ``dimensions`` is the number of latent variables; ``categories`` the number of
values of each; ``items`` are the images (or other data) of an amortized model, each with its own
latent variables and its own expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchbed.errors import IncompatiblePair
from benchbed.layout import compact, draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


class Path(NamedTuple):
    """Samples written as a differentiable function of the parameters and fixed noise."""

    hard: Tensor  # [draws, samples, *items, *event], at a corner for a discrete family
    soft: Tensor  # same shape: relaxed for a discrete family, equal to hard for Normal
    vjp: Callable[[Tensor], Tensor]  # dJ/d soft -> dJ/d params, [draws, samples, *params]


@dataclass(frozen=True)
class Family:
    """How z is drawn. Parameters are ONE tensor ``[*items, *parameter axes]``."""

    name: str
    params_axes: int  # trailing axes of params that belong to one item
    event_axes: int  # trailing axes of z that belong to one item
    sample: Callable[[Tensor, int, int, Noise], Tensor]  # -> [draws, samples, *items, *event]
    log_prob: Callable[[Tensor, Tensor], Tensor]  # (params, z) -> [..., *items]
    score: Callable[[Tensor, Tensor], Tensor]  # (params, z) -> [..., *params], d log q / d params
    mean: Callable[[Tensor], Tensor]  # params -> E[z], [*items, *event]
    path: Callable[[Tensor, int, int, float, Noise], Path]  # (params, draws, samples, temperature)
    exact_path: bool  # True where z itself is differentiable in the parameters
    # (params, hard z, temperature, noise) -> the relaxed sample drawn again GIVEN the hard one
    conditional_path: Callable[[Tensor, Tensor, float, Noise], Path] | None = None
    states: Callable[[Tensor], int] | None = None  # number of values of one item's z
    enumerate: Callable[[Tensor, Tensor], Tensor] | None = None  # (params, index [n]) -> [n, ...]

    def items(self, params: Tensor) -> tuple[int, ...]:
        """Return the item axes of ``params``: ``()`` for a toy, ``(images,)`` when amortized."""
        return tuple(params.shape[: params.ndim - self.params_axes])

    def lift(self, x: Tensor) -> Tensor:
        """Append the parameter axes to one number per item, so that it scales a score."""
        return x[(..., *(None,) * self.params_axes)]


class Evaluation(NamedTuple):
    """What J gave at some samples."""

    cost: Tensor  # [draws, samples, *items]
    slope: Tensor | None  # dJ/dz, shaped like z
    direct: Tensor | None  # dJ/dparams at fixed z, [draws, samples, *params]; None if identically 0


@dataclass(frozen=True)
class Objective:
    """A cost J(z, params), the law of z, and the gradient of E[J] known exactly.

    ``cost`` maps z ``[..., *items, *event]`` to ``[..., *items]`` and must broadcast over the
    leading axes of z and, where ``direct`` holds, of params ``[..., *items, *parameter axes]``.
    The objective's value is the SUM over items of E[J_item].
    """

    name: str
    family: Family
    params: Tensor  # float64, the point at which the gradient is taken
    cost: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor] | None = None  # closed form of E[J]; None: enumerate
    gradient: Callable[[Tensor], Tensor] | None = None  # closed form; None: enumerate
    direct: bool = False  # J depends on params other than through z (footnote 4)
    differentiable: bool = True  # dJ/dz exists at the corners
    relaxed: bool = True  # J is defined between the corners
    jacobian: Tensor | None = None  # [*params.shape, weights]: d params / d network weights
    citation: str = ""

    def exact_value(self, params: Tensor | None = None) -> Tensor:
        """Return E[J], a float64 scalar, summed over items."""
        point = (self.params if params is None else params).double()
        return self.value(point) if self.value else self._enumerated(point)[0]

    def exact_gradient(self, params: Tensor | None = None) -> Tensor:
        """Return dE[J]/dparams, float64, shaped like ``params``."""
        point = (self.params if params is None else params).double()
        return self.gradient(point) if self.gradient else self._enumerated(point)[1]

    def _enumerated(self, params: Tensor) -> tuple[Tensor, Tensor]:
        from benchbed.enumeration import marginalize

        return marginalize(self, params)

    def evaluate(self, z: Tensor, params: Tensor, *, slope: bool = False) -> Evaluation:
        """Evaluate J at ``z`` [draws, samples, ...], differentiating J and nothing else.

        One call of autograd at most, on leaves ``[draws, samples, ...]`` with the costs summed:
        the samples are independent, so the gradient of the sum is each sample's own gradient.
        """
        leaves: list[Tensor] = []
        z = z.detach()
        if slope:
            z = z.requires_grad_()
            leaves.append(z)
        point = params.detach()
        if self.direct:
            lead = z.shape[:2]
            point = _materialized(point, lead).requires_grad_()
            leaves.append(point)
        with torch.set_grad_enabled(bool(leaves)):
            cost = self.cost(z, point)
            total = cost.sum()
        if leaves and total.requires_grad:
            found = torch.autograd.grad(total, leaves, allow_unused=True)
            slopes = [
                torch.zeros_like(leaf) if grad is None else compact(grad)
                for grad, leaf in zip(found, leaves, strict=True)
            ]
        else:  # J is constant in everything it could be differentiated by
            slopes = [torch.zeros_like(leaf) for leaf in leaves]
        return Evaluation(
            compact(cost.detach()),
            slopes[0] if slope else None,
            slopes[-1] if self.direct else None,
        )

    def pullback(self, gradients: Tensor) -> Tensor:
        """Map gradients [draws, *params.shape] to what is measured, [draws, coordinates].

        With a ``jacobian`` the coordinates are the network's weights, reached by one matrix
        product; without one they are the parameters themselves, flattened.
        """
        flat = draws_last(gradients).reshape(-1, gradients.shape[0])  # [params, draws]
        if self.jacobian is None:
            return draws_first(flat)
        matrix = self.jacobian.reshape(flat.shape[0], -1).to(flat)
        return draws_first(matrix.T @ flat)


def _materialized(params: Tensor, lead: tuple[int, ...] | torch.Size) -> Tensor:
    """Repeat params over ``lead`` = (draws, samples) in draws-last memory, so it can be a leaf."""
    draws, samples = lead
    physical = params[None, ..., None].expand(samples, *params.shape, draws).contiguous()
    return draws_first(physical)


Draw = Callable[[Objective, Tensor, int, Noise], Tensor]
Needs = Literal["differentiable", "relaxed", "exact_path"]


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
    slopes: int = 0  # how many of them also take dJ/dz
    unbiased: bool | Literal["limit"] = False  # "limit": as its temperature or step goes to 0
    target: str = "objective"  # what it is unbiased for
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
