"""A family: how z is drawn, and what is known of its law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from benchbed.rng import Noise


class Path:
    """Samples written as a differentiable function of the parameters and fixed noise.

    Attributes:
        hard: [draws, samples, *items, *event], at a corner for a discrete family; given as a
            function, it is found when first asked for.
        soft: same shape: relaxed for a discrete family, equal to hard for Normal.
        vjp: dJ/d soft -> dJ/d params, [draws, samples, *params].
    """

    def __init__(
        self,
        hard: Tensor | Callable[[], Tensor],
        soft: Tensor,
        vjp: Callable[[Tensor], Tensor],
    ) -> None:
        self._hard, self.soft, self.vjp = hard, soft, vjp

    @property
    def hard(self) -> Tensor:
        """The sample at a corner."""
        if not isinstance(self._hard, Tensor):
            self._hard = self._hard()
        return self._hard


@dataclass(frozen=True)
class Family:
    """How z is drawn. Parameters are ONE tensor ``[*items, *parameter axes]``."""

    name: str
    params_axes: int  # trailing axes of params that belong to one item
    event_axes: int  # trailing axes of z that belong to one item
    sample: Callable[[Tensor, int, int, Noise], Tensor]  # -> [draws, samples, *items, *event]
    log_prob: Callable[[Tensor, Tensor], Tensor]  # (params, z) -> [..., *items]
    # (params, z) -> [..., *params], d log q / d params, in memory of its own: it is written over
    score: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]  # params -> E[z], [*items, *event]
    path: Callable[[Tensor, int, int, float, Noise], Path]  # (params, draws, samples, temperature)
    exact_path: bool  # True where z itself is differentiable in the parameters
    # (params, hard z, temperature, noise) -> the relaxed sample drawn again GIVEN the hard one
    conditional_path: Callable[[Tensor, Tensor, float, Noise], Path] | None = None
    states: Callable[[Tensor], int] | None = None  # number of values of one item's z
    enumerate: Callable[[Tensor, Tensor], Tensor] | None = None  # (params, index [n]) -> [n, ...]
    # (E[z] or a relaxed mean, dJ/dz) -> dJ/dz pulled back through the mean's Jacobian there
    mean_vjp: Callable[[Tensor, Tensor], Tensor] | None = None
    # ``sample`` as a function of its uniforms: params -> the shape [*items, uniforms] of one
    # sample's, and (params, u [draws, samples, *items, uniforms]) -> z. Params may then have axes
    # of their own, [draws or 1, samples or 1, *items, *parameter axes], in front.
    uniforms: Callable[[Tensor], tuple[int, ...]] | None = None
    quantile: Callable[[Tensor, Tensor], Tensor] | None = None
    codebook: Tensor | None = None  # of a quantized family: the values z can take
    particle: Family | None = None  # of a family of particles: the law of ONE of them

    def items(self, params: Tensor) -> tuple[int, ...]:
        """Return the item axes of ``params``: ``()`` for a toy, ``(images,)`` when amortized."""
        return tuple(params.shape[: params.ndim - self.params_axes])

    def lift(self, x: Tensor) -> Tensor:
        """Append the parameter axes to one number per item, so that it scales a score."""
        return x[(..., *(None,) * self.params_axes)]
