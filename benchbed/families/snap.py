"""The arg-max of a noisy input: params f ``[*items, d, K]``, z one-hot ``[..., d, K]``.

x = f + scale * eps with eps ~ N(0, I), and z = SNAP(x) is the one-hot of the largest x_k of each of
d variables. Of a deterministic SNAP the derivative is 0 almost everywhere; with noise z is a
categorical variable with (a multinomial probit, where Gumbel noise would give the softmax)

    P(k) = int phi(u) prod_{j != k} Phi(a_kj + u) du,  a_kj = (f_k - f_j) / scale,
    d log P(k) / d f_j = -(1 / scale) E_w[h(a_kj + u)],  h = phi / Phi,  j != k,

and minus their sum for j = k; w is the integrand, normalized. The logarithm of the integrand is
concave with a curvature from 1 to K, so a trapezoid rule around its mode, found by Newton's method,
is as good in a tail of exp(-1000) as in the middle: the error is below 1e-12 of P(k) for any K.
So are the derivatives, but for those below 1e-16, of a category that is as good as certain.
Everything here is computed in float64 and rounded to the dtype of params.

The Jacobian of E[z] is a function of f and not, in closed form, of E[z]: no ``mean_vjp``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.families._normal_cells import hazard, noise_scale
from benchbed.families.categorical import enumerate_states, one_hot_of_largest, states
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise

REACH = 9.0  # standard deviations on both sides of the mode
SHARPEST = 0.6  # the step of the rule times the root of K


def log_masses(scale: float, params: Tensor) -> Tensor:
    """Return log P of every category of every variable, [*params.shape], in float64."""
    exponent, width = _integrand(scale, params)[1:]
    return exponent.logsumexp(-1) + math.log(width / math.sqrt(2 * math.pi))


def integrand_size(categories: int) -> int:
    """Return how many numbers the integrals of one variable's masses take."""
    return categories * (categories - 1) * (2 * _rule(categories)[1] + 1)


def scores(scale: float, params: Tensor) -> Tensor:
    """Return d log P(k) / d f_j of every variable, [*params.shape, K], rows k, in float64."""
    at, exponent, _ = _integrand(scale, params)
    weight = exponent.softmax(-1)  # [..., d, K, nodes]
    rate = (hazard(at) * weight.unsqueeze(-2)).sum(-1) / scale  # [..., d, K, K - 1]
    categories = params.shape[-1]
    table = rate.new_zeros(*rate.shape[:-1], categories)
    others = _others(categories, params.device).expand_as(rate)
    table = table.scatter(-1, others, -rate)
    return table + torch.diag_embed(rate.sum(-1))


def snap(scale: float) -> Family:
    """Return the law of the arg-max of noisy inputs.

    Args:
        scale: standard deviation of the noise, from 1e-6 to 1e6.
    """
    noise_scale("snap", scale)

    def uniforms(params: Tensor) -> tuple[int, ...]:
        return tuple(params.shape)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        # As Noise.normal does, so that ``path`` and ``sample`` agree at the same noise.
        eps = (2 * u - 1).erfinv_().mul_(math.sqrt(2))
        return one_hot_of_largest(params + scale * eps)

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        """Return log P(z), summed over the d variables; extended off the corners as <z, log P>."""
        return (z * log_masses(scale, params).to(z.dtype)).sum((-2, -1))

    def score(params: Tensor, z: Tensor) -> Tensor:
        table = scores(scale, params).to(z.dtype)  # [..., d, K, K]
        inner = draws_last(z)  # [samples, *items, d, K, n]
        if params.ndim == z.ndim:  # params of every draw
            return draws_first((draws_last(table) * inner.unsqueeze(-2)).sum(-3))
        return draws_first(table.mT @ inner)

    def mean(params: Tensor) -> Tensor:
        return log_masses(scale, params).exp().to(params.dtype)

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        """Return the one-hots and, as ``soft``, the noisy input x, whose Jacobian is 1."""
        del temperature
        x = noise.normal(draws, samples, *params.shape).mul_(scale).add_(params)
        return Path(one_hot_of_largest(x), x, lambda slope: slope)

    return Family(
        name="snap",
        params_axes=2,
        event_axes=2,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=False,
        states=states,
        enumerate=enumerate_states,
        uniforms=uniforms,
        quantile=quantile,
    )


def _others(categories: int, device: torch.device) -> Tensor:
    """Return the numbers of the other categories, [K, K - 1]."""
    number = torch.arange(categories - 1, device=device)
    return number + (number >= torch.arange(categories, device=device)[:, None]).long()


def _integrand(scale: float, params: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return a_kj + u [..., d, K, K - 1, nodes], the exponent [..., d, K, nodes] and the step.

    The exponent is -u^2 / 2 + sum_j log Phi(a_kj + u) at evenly spaced nodes around its mode.
    """
    f = params.double()
    categories = f.shape[-1]
    others = f[..., _others(categories, f.device)]  # [..., d, K, K - 1]
    a = (f.unsqueeze(-1) - others) / scale
    width, reach = _rule(categories)
    grid = width * torch.arange(-reach, reach + 1, dtype=torch.float64, device=f.device)
    u = _mode(a.detach())[..., None] + grid  # [..., d, K, nodes]
    at = a[..., None] + u.unsqueeze(-2)
    return at, torch.special.log_ndtr(at).sum(-2) - 0.5 * u.square(), width


def _rule(categories: int) -> tuple[float, int]:
    """Return the step of the trapezoid rule and the number of steps to either side."""
    width = SHARPEST / math.sqrt(categories)
    return width, math.ceil(REACH / width)


def _mode(a: Tensor) -> Tensor:
    """Return the u at which -u^2 / 2 + sum_j log Phi(a_j + u) is largest; ``a`` [..., K - 1].

    Its derivative falls and is convex, and is positive at u = 0: Newton's steps from there rise to
    the mode and never pass it.
    """
    u = a.new_zeros(a.shape[:-1])
    for _ in range(100):
        at = a + u[..., None]
        rate = hazard(at)
        bend = (rate * (rate + at)).sum(-1) + 1  # h' = -h (h + x)
        move = (rate.sum(-1) - u) / bend
        u = u + move
        if not float(move.abs().max()) > 1e-2:
            break
    return u
