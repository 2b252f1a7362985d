"""Thresholds of a noisy input: params f ``[*items, d]``, z in {0, 1} ``[..., d]``.

x = f + scale * eps with eps ~ N(0, I), and z = STEP(x) = 1[x > 0]. Of a deterministic STEP the
derivative is 0 almost everywhere, so that the gradient of J(STEP(f)) is 0 and "bias" means nothing;
with noise z is a bit with

    P(z = 1) = Phi(f / scale),  d log P / d f = +-phi(f / scale) / (scale P),

and E[J(z)] has an exact gradient: z is a Bernoulli variable with a probit in place of a logit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.families._normal_cells import hazard, noise_scale
from benchbed.families.bernoulli import enumerate_states, states
from benchbed.rng import Noise


def step(scale: float) -> Family:
    """Return the law of thresholded inputs.

    Args:
        scale: standard deviation of the noise, from 1e-6 to 1e6.
    """
    noise_scale("step", scale)

    def uniforms(params: Tensor) -> tuple[int, ...]:
        return tuple(params.shape)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        # As Noise.normal does, so that ``path`` and ``sample`` agree at the same noise.
        eps = (2 * u - 1).erfinv_().mul_(math.sqrt(2))
        return (params + scale * eps > 0).to(params.dtype)

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        """Return log P(z); extended off the corners as <z, log P>."""
        at = params / scale
        one: Tensor = torch.special.log_ndtr(at)
        zero: Tensor = torch.special.log_ndtr(-at)
        return (z * one + (1 - z) * zero).sum(-1)

    def score(params: Tensor, z: Tensor) -> Tensor:
        at = params / scale
        return torch.lerp(-hazard(-at), hazard(at), z) / scale

    def mean(params: Tensor) -> Tensor:
        found: Tensor = torch.special.ndtr(params / scale)
        return found

    def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
        """Return phi(Phi^-1(m)) / scale times ``slope``, Phi^-1 from the nearer end of [0, 1]."""
        at: Tensor = torch.special.ndtri(torch.minimum(mean, 1 - mean))
        density = (-0.5 * at.square()).exp() / math.sqrt(2 * math.pi)
        return slope * (density / scale)

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        """Return the bits and, as ``soft``, the noisy input x, whose Jacobian is 1."""
        del temperature
        x = noise.normal(draws, samples, *params.shape).mul_(scale).add_(params)
        return Path((x > 0).to(params.dtype), x, lambda slope: slope)

    return Family(
        name="step",
        params_axes=1,
        event_axes=1,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=False,
        states=states,
        enumerate=enumerate_states,
        mean_vjp=mean_vjp,
        uniforms=uniforms,
        quantile=quantile,
    )
