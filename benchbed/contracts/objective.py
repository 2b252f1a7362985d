"""An objective: a cost J(z, params), the law of z, and the gradient of E[J] known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.contracts.family import Family
from benchbed.errors import BadArgument, BenchbedError, BrokenContract, one_line
from benchbed.layout import compact, draws_first, draws_last


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
    # jacobian^T times g [*params.shape, n], as [weights, n], where that takes less than the matrix
    pull: Callable[[Tensor], Tensor] | None = None
    # Of a multi-sample bound, on a family of particles: z [..., *items, particles, *event] ->
    # log p(x, z) [..., *items, particles], free of params. Then J = log mean_k p(x, z_k) / q(z_k).
    log_joint: Callable[[Tensor], Tensor] | None = None
    citation: str = ""

    def __post_init__(self) -> None:
        """Keep params in float64, whatever they were given in; say what cannot be one."""
        if not isinstance(self.family, Family):
            raise BadArgument(
                f"{self.name} needs family: a benchbed.Family, got {self.family!r}; "
                "such as benchbed.families.BERNOULLI"
            )
        if not isinstance(self.params, Tensor) or not self.params.is_floating_point():
            raise BadArgument(
                f"{self.name} needs params: a tensor of real numbers, got {self.params!r}"
            )
        if self.params.ndim < self.family.params_axes:
            raise BadArgument(
                f"{self.name} needs params of {self.family.params_axes} axes or more, those of "
                f"{self.family.name} latents, got {list(self.params.shape)}; "
                "help(benchbed.families) says what they hold"
            )
        object.__setattr__(self, "params", self.params.detach().double())

    def exact_value(self, params: Tensor | None = None) -> Tensor:
        """Return E[J], a float64 scalar, summed over items, where ``params`` are."""
        given = self.params if params is None else params
        point = given.to(self.params)
        found = self.value(point) if self.value else self._enumerated(point)[0]
        return found if given.device == point.device else found.to(given.device)

    def exact_gradient(self, params: Tensor | None = None) -> Tensor:
        """Return dE[J]/dparams, float64, shaped like ``params`` and where they are.

        Found where the objective was made: its coefficients are there.
        """
        given = self.params if params is None else params
        point = given.to(self.params)
        found = self.gradient(point) if self.gradient else self._enumerated(point)[1]
        return found if given.device == point.device else found.to(given.device)

    def _enumerated(self, params: Tensor) -> tuple[Tensor, Tensor]:
        from benchbed.enumeration import marginalize

        return marginalize(self, params)

    def evaluate(self, z: Tensor, params: Tensor, *, slope: bool = False) -> Evaluation:
        """Evaluate J at ``z`` [draws, samples, ...], differentiating J and nothing else.

        One call of autograd at most, on leaves ``[draws, samples, ...]``, of the sum of the costs:
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
            cost = self.costs(z, point)
        if leaves and cost.requires_grad:
            found = torch.autograd.grad(cost, leaves, torch.ones_like(cost), allow_unused=True)
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

    def costs(self, z: Tensor, params: Tensor) -> Tensor:
        """Return J at ``z`` [draws, samples, ...], or say in one line what is wrong with it."""
        before = _version(z)
        try:
            cost = self.cost(z, params)
        except BenchbedError:
            raise
        except Exception as error:
            raise BrokenContract(
                f"the cost of {self.name} failed on z {list(z.shape)}: {one_line(error)}; it takes "
                "(z, params) and is differentiated by torch: write differentiable=False, "
                "relaxed=False where it cannot be"
            ) from error
        wanted = list(z.shape[: z.ndim - self.family.event_axes])
        if not isinstance(cost, Tensor) or list(cost.shape) != wanted:
            found = list(cost.shape) if isinstance(cost, Tensor) else f"a {type(cost).__name__}"
            raise BrokenContract(
                f"the cost of {self.name} returned {found} for z {list(z.shape)}; "
                f"it must return {wanted}, one number for each draw, sample and item"
            )
        if _version(z) != before:
            raise BrokenContract(
                f"the cost of {self.name} writes into z, which others read after it; "
                "let it work on z.clone()"
            )
        if not torch.compiler.is_compiling() and _share_memory(cost, z):
            cost = cost.clone()  # a view of z would change with it
        return cost if cost.dtype == z.dtype else cost.to(z.dtype)

    def pullback(self, gradients: Tensor) -> Tensor:
        """Map gradients [draws, *params.shape] to what is measured, [draws, coordinates].

        With a ``jacobian`` the coordinates are the network's weights, reached by one matrix
        product or by ``pull``; without one they are the parameters themselves, flattened.
        """
        if self.pull is not None:
            return draws_first(self.pull(draws_last(gradients)))
        flat = draws_last(gradients).reshape(-1, gradients.shape[0])  # [params, draws]
        if self.jacobian is None:
            return draws_first(flat)
        matrix = self.jacobian.reshape(flat.shape[0], -1).to(flat)
        return draws_first(matrix.T @ flat)


def _version(x: Tensor) -> int:
    """Return how often ``x`` was written into; -1 where torch does not count."""
    return -1 if x.is_inference() else x._version


def _share_memory(x: Tensor, y: Tensor) -> bool:
    return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()


def _materialized(params: Tensor, lead: tuple[int, ...] | torch.Size) -> Tensor:
    """Repeat params over ``lead`` = (draws, samples) in draws-last memory, so it can be a leaf."""
    draws, samples = lead
    physical = params[None, ..., None].expand(samples, *params.shape, draws).contiguous()
    return draws_first(physical)
