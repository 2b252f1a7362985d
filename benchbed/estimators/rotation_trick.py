"""The rotation trick: rotate and rescale the gradient from the code to the encoder's output.

Fifty et al. 2025, "Restructuring Vector Quantization with the Rotation Trick" (arXiv 2410.06424),
section 4. For an encoder vector e [D], here the noisy x = f + scale * eps, and its code q,

    dJ/de := (|q| / |e|) R^T dJ/dq,  R = I - 2 r r^T + 2 q^ e^^T,  r = (e^ + q^) / |e^ + q^|,

^ for unit length. R is the rotation in the plane of e and q that takes e^ to q^; it and |q| / |e|
are constants in the backward pass (detached). Biased. One evaluation of J with its slope a sample.

Degenerate cases. At q^ = -e^ the plane is not defined: R turns by half a circle in a plane that
holds e^, r then being any unit vector across e^. At e = 0 the gradient is passed on as it is. At
q = 0 it is 0. Published code adds 1e-6 to norms instead, which makes R neither a rotation nor exact
where a norm is small. If the code nearest to the origin is not 0, |q| / |e| has no second moment
for D = 2: the variance is infinite, and no number of draws settles it. D = 1 has no rotations and
is refused. The arg-max of a noisy input (``snap``) is its nearest code among the K unit vectors, so
it is rotated just so; with K = 2 the variance is infinite.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.elementwise import indicator
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def rotation_trick(samples: int = 1) -> Estimator:
    """Average dJ/dz at ``samples`` sampled codes, rotated and rescaled to the encoder's output."""
    at_least("rotation_trick", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        if params.shape[-1] < 2:
            raise BadArgument(
                "rotation_trick needs vectors of 2 or more coordinates, got 1, which cannot be "
                "rotated; use vq_straight_through"
            )
        path = objective.family.path(params, draws, samples, 1.0, noise)
        found = objective.evaluate(path.hard, params, slope=True)
        assert found.slope is not None
        turned = rotate_back(path.soft, path.hard, found.slope)
        return add_direct(mean_over_samples(path.vjp(turned)), found)

    return Estimator(
        "rotation_trick",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"quantized", "snap"}),
        citation="Fifty et al. 2025",
    )


def rotate_back(e: Tensor, q: Tensor, slope: Tensor) -> Tensor:
    """Return (|q| / |e|) R^T slope, R the rotation from e to q; all [draws, ..., D]."""
    inner, code, g = (draws_last(x) for x in (e, q, slope))  # [..., D, draws]
    length, size = (x.square().sum(-2, keepdim=True).sqrt() for x in (inner, code))
    zero, no_code = (indicator(torch.eq, x, x.new_zeros(())) for x in (length, size))
    divisor = length + zero  # 1 where the length is 0
    unit, towards = inner / divisor, code / (size + no_code)
    axis = unit + towards
    norm = axis.square().sum(-2, keepdim=True).sqrt_()
    # Nothing but rounding is left.
    opposite = indicator(torch.lt, norm, norm.new_full((), math.sqrt(torch.finfo(norm.dtype).eps)))
    axis.div_(norm.add_(opposite))
    unseen = torch.compiler.is_compiling()  # nobody looks: both are taken for possible
    if unseen or bool(opposite.any()):
        axis = torch.lerp(axis, _across(unit), opposite)
    turned = torch.addcmul(g, axis, (axis * g).sum(-2, keepdim=True), value=-2)
    turned.addcmul_(unit, (towards * g).sum(-2, keepdim=True), value=2).mul_(size / divisor)
    return draws_first(torch.lerp(turned, g, zero) if unseen or bool(zero.any()) else turned)


def _across(unit: Tensor) -> Tensor:
    """Return a unit vector across each of ``unit`` [..., D, draws]: its smallest axis, cleaned."""
    smallest = unit.abs().argmin(-2, keepdim=True)
    axis = torch.zeros_like(unit).scatter_(-2, smallest, 1)
    axis = axis - unit * (unit * axis).sum(-2, keepdim=True)
    return axis / axis.square().sum(-2, keepdim=True).sqrt()
