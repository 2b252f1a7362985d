"""What straight-through estimators put in place of the derivative that a hard sample lacks."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from benchbed.arguments import positive_temperature
from benchbed.contracts import Family
from benchbed.errors import BadArgument

Derivative = Literal["mean", "identity", "clipped"]


def check(
    name: str, derivative: str, temperature: float, known: tuple[str, ...]
) -> frozenset[str] | None:
    """Check a straight-through derivative and return the families that it is made for.

    Raises:
        BadArgument: no such derivative, a temperature that cannot be, or one without a use.
    """
    if derivative not in known:
        raise BadArgument(f"{name} needs derivative: one of {', '.join(known)}, got '{derivative}'")
    positive_temperature(name, temperature)
    if derivative != "mean" and temperature != 1:
        raise BadArgument(
            f"{name} got temperature {temperature} with derivative: {derivative}, which has none; "
            "leave the temperature out or use derivative: mean"
        )
    # |logit| <= 1 is no property of a category: softmax does not change when all logits move.
    only_bits = frozenset({"bernoulli"})
    return only_bits if derivative == "clipped" else only_bits | {"categorical"}


def pulled_back(
    family: Family, params: Tensor, slope: Tensor, derivative: str, temperature: float
) -> Tensor:
    """Return dJ/dz [draws, *event] times the derivative: [draws, *params.shape]."""
    if derivative == "identity":
        return slope
    if derivative == "clipped":
        return slope * (params.abs() <= 1).to(slope.dtype)
    assert family.mean_vjp is not None
    pulled = family.mean_vjp(family.mean(params / temperature), slope)
    return pulled if temperature == 1 else pulled.div_(temperature)
