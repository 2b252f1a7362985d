"""A family with parameters beside those of its law: of a decoder, a prior, a codebook.

params are flat, ``[*items, n + more]``: the first n are those of ``base``, the rest touch nothing
but the cost. Their gradient is the direct term alone, so every estimator that knows only a score
and a cost handles them unchanged. With no law of its own (``fixed``) z comes from a law that does
not move, and the direct term is all there is: the gradient of a model's own parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def extended(base: Family, shape: tuple[int, ...], more: int) -> Family:
    """Return ``base`` with ``more`` parameters that its law does not depend on.

    Args:
        base: the law of z.
        shape: of ONE item's params of ``base``; z is drawn at the first prod(shape) parameters.
        more: how many parameters follow them.
    """
    if len(shape) != base.params_axes or more < 1:
        raise BadArgument(
            f"extended needs the {base.params_axes} axes of one item's {base.name} params and "
            f"more >= 1, got shape {list(shape)} and more {more}"
        )
    own = math.prod(shape)
    state_count, of_number = base.states, base.enumerate
    uniforms_of, inverse, mean_back = base.uniforms, base.quantile, base.mean_vjp

    def law(params: Tensor) -> Tensor:
        return torch.unflatten(params[..., :own], -1, shape)

    def padded(gradient: Tensor) -> Tensor:
        """Return [draws, ..., *shape] as [draws, ..., n + more], 0 at the parameters beside."""
        inner = draws_last(gradient).flatten(-len(shape) - 1, -2)  # [..., n, draws]
        rest = inner.new_zeros(*inner.shape[:-2], more, inner.shape[-1])
        return draws_first(torch.cat((inner, rest), -2))

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        found = base.path(law(params), draws, samples, temperature, noise)
        return Path(found.hard, found.soft, lambda slope: padded(found.vjp(slope)))

    def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
        assert mean_back is not None
        return padded(mean_back(mean, slope))

    def states(params: Tensor) -> int:
        assert state_count is not None
        return state_count(law(params))

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        assert of_number is not None
        return of_number(law(params), index)

    def uniforms(params: Tensor) -> tuple[int, ...]:
        assert uniforms_of is not None
        return uniforms_of(law(params))

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        assert inverse is not None
        return inverse(law(params), u)

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return base.sample(law(params), draws, samples, noise)

    return Family(
        name=f"extended {base.name}",
        params_axes=1,
        event_axes=base.event_axes,
        sample=sample,
        log_prob=lambda params, z: base.log_prob(law(params), z),
        score=lambda params, z: padded(base.score(law(params), z)),
        mean=lambda params: base.mean(law(params)),
        path=path,
        exact_path=base.exact_path,
        states=states if state_count else None,
        enumerate=enumerate_states if of_number else None,
        mean_vjp=mean_vjp if mean_back else None,
        uniforms=uniforms if uniforms_of else None,
        quantile=quantile if inverse else None,
    )


def fixed(base: Family, at: Tensor, params_axes: int = 1) -> Family:
    """Return the law of ``base`` at ``at``, whatever the params: only the cost depends on them.

    Args:
        base: the law of z.
        at: its params, [*items, *parameter axes of ``base``].
        params_axes: axes of one item's params of the new family.
    """
    state_count, of_number = base.states, base.enumerate
    uniforms_of, inverse = base.uniforms, base.quantile

    def score(params: Tensor, z: Tensor) -> Tensor:
        shape = params.shape[params.ndim - len(base.items(at)) - params_axes :]
        lead = z.shape[: z.ndim - base.event_axes - len(base.items(at))]
        return draws_first(z.new_zeros(*lead[1:], *shape, lead[0]))

    def no_path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        del params, draws, samples, temperature, noise
        raise BadArgument(
            f"the {base.name} law here does not depend on params, so there is no path through z; "
            "use score_function, which gives the direct term"
        )

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return base.sample(at.to(params), draws, samples, noise)

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        del params
        return base.log_prob(at.to(z), z)

    def states(params: Tensor) -> int:
        del params
        assert state_count is not None
        return state_count(at)

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        assert of_number is not None
        return of_number(at.to(params), index)

    def uniforms(params: Tensor) -> tuple[int, ...]:
        del params
        assert uniforms_of is not None
        return uniforms_of(at)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        assert inverse is not None
        return inverse(at.to(params), u)

    return Family(
        name=f"fixed {base.name}",
        params_axes=params_axes,
        event_axes=base.event_axes,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=lambda params: base.mean(at.to(params)),
        path=no_path,
        exact_path=False,
        states=states if state_count else None,
        enumerate=enumerate_states if of_number else None,
        uniforms=uniforms if uniforms_of else None,
        quantile=quantile if inverse else None,
    )
