"""Independent Poissons: params ``[*items, d]`` are LOG rates, z in {0, 1, 2, ...} ``[..., d]``.

There is no finite list of values and no relaxed sample. Counts above 2^24 are rounded in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.layout import compact, draws_first, draws_last
from benchbed.rng import Noise

HIGHEST = 2.0**53  # beyond it float64 skips counts
LONGEST_TABLE = 1024  # counts; beyond it, and where every draw has its own rate, z is bisected


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw z from one uniform a variable, [draws, samples, *items, d]."""
    return quantile(params, noise.uniform(draws, samples, *uniforms(params)))


def uniforms(params: Tensor) -> tuple[int, ...]:
    """Return [*items, d]: one uniform a variable."""
    return tuple(params.shape)


def quantile(params: Tensor, u: Tensor) -> Tensor:
    """Return the least n with P(N <= n) > u: the inverse CDF, exact to the grid of u.

    The last point of the float64 grid, 1 - 2^-53, is the exception: Q rounds to 1 there, and z is
    the least n where it does so.

    P(N <= n) is the regularized incomplete gamma function Q(n + 1, rate), in float64. No u of the
    grid lies beyond 9 standard deviations and 30 counts: a table of those, or a bisection between
    them, is complete. At rates above 1e5 torch's Q is right to 4.5 standard deviations only; the
    few counts beyond (7 in a million) keep to their side, not to their exact place.

    Raises:
        BadArgument: a rate so high that its counts cannot be told apart, or that is not a number.
    """
    rate = params.double().exp()
    reach = 9 * rate.sqrt() + 30
    highest = (rate + reach).ceil()
    if not highest.max() <= HIGHEST:  # NaN too
        raise BadArgument(
            f"poisson latents need log rates up to 36, got {float(params.max()):.3g}: the rate "
            "overflows; use a smaller step or scale where parameters are moved, or a lower rate"
        )
    longest = int(highest.max()) + 1
    if params.ndim == u.ndim - 2 and longest <= LONGEST_TABLE:
        counts = torch.arange(longest, dtype=torch.float64, device=u.device)
        table = _cdf(rate[..., None], counts).cummax(-1).values.to(u.dtype)  # [*items, d, counts]
        inner = draws_last(u).contiguous()  # [samples, *items, d, n]
        table = table.expand(*inner.shape[:-1], longest).contiguous()
        found = torch.searchsorted(table, inner, right=True)
        return draws_first(found.to(params.dtype))
    low = (rate - reach).clamp(min=0).floor().expand_as(u)
    high = highest.expand_as(u)
    for _ in range(int((high - low).max()).bit_length()):
        middle = ((low + high) / 2).floor()
        below = _cdf(rate, middle).to(u.dtype) <= u
        low = torch.where(below, middle + 1, low)
        high = torch.where(below, high, middle)
    return compact(high.to(params.dtype))


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables."""
    return (z * params - params.exp() - (z + 1).lgamma()).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d log rate = z - rate."""
    return z - params.exp()


def mean(params: Tensor) -> Tensor:
    """Return the rate."""
    return params.exp()


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return m slope: m is the exponential of its parameter."""
    return slope * mean


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Refuse: a count has no derivative in its rate, and no relaxation here."""
    del params, draws, samples, temperature, noise
    raise BadArgument(
        "poisson latents have no relaxed or differentiable sample; "
        "use score_function, leave_one_out or measure_valued"
    )


def _cdf(rate: Tensor, counts: Tensor) -> Tensor:
    found: Tensor = torch.special.gammaincc(counts + 1, rate)
    return found


POISSON = Family(
    name="poisson",
    params_axes=1,
    event_axes=1,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=False,
    mean_vjp=mean_vjp,
    uniforms=uniforms,
    quantile=quantile,
)
