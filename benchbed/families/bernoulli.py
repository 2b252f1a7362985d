"""Product of Bernoulli variables: params are logits ``[*items, d]``, z in {0, 1} ``[..., d]``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.elementwise import indicator, power_
from benchbed.rng import Noise


def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw z from one uniform a variable, [draws, samples, *items, d]."""
    return quantile(params, noise.uniform(draws, samples, *uniforms(params)))


def uniforms(params: Tensor) -> tuple[int, ...]:
    """Return [*items, d]: one uniform a variable."""
    return tuple(params.shape)


def quantile(params: Tensor, u: Tensor) -> Tensor:
    """Return z = 1[u > 1 - p]."""
    return indicator(torch.gt, u, torch.sigmoid(-params))


def log_prob(params: Tensor, z: Tensor) -> Tensor:
    """Return log q(z), summed over the d variables; extended off the corners as <z, log pi>."""
    # Not z * params - softplus(params): its derivative loses all digits for large logits.
    return (z * F.logsigmoid(params) + (1 - z) * F.logsigmoid(-params)).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d logits = z - p, without the cancellation in 1 - p at large logits."""
    return torch.lerp(-params.sigmoid(), torch.sigmoid(-params), z)


def mean(params: Tensor) -> Tensor:
    """Return p."""
    return params.sigmoid()


def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
    """Return dp/dlogits times ``slope`` at the (possibly relaxed) mean: m (1 - m) slope."""
    return slope * (mean * (1 - mean))


def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
    """Return the binary Concrete sample sigma((logit u + params) / temperature).

    Maddison et al. 2017 (arXiv 1611.00712), section 3 and appendix B. The same u gives the hard
    sample, 1[params + logit u > 0], with ``sample``'s threshold.
    """
    u = noise.uniform(draws, samples, *params.shape)
    # (1 - u) / u exp(-params) = exp(-relaxed logit): a power of it needs neither log nor exp.
    against = ((1 - u) / u).mul_((-params).exp())
    soft = power_(against, 1 / temperature).add_(1).reciprocal_()

    def vjp(slope: Tensor) -> Tensor:
        return ((soft - soft.square()) * slope).div_(temperature)

    return Path(lambda: quantile(params, u), soft, vjp)


def conditional_path(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
    """Return the binary Concrete sample drawn again given the hard sample.

    Tucker et al. 2017 (arXiv 1703.07370), appendix C, in a form that does not overflow. With s the
    probability of the sampled value and w uniform, v or 1 - v, the odds against that value are
    (1 - s) (1 - w) / (1 - s + s w), and their derivative in params at fixed w and z is
    s w / (1 - s + s w) times that of the unconditional ones, not 1.
    """
    v = noise.uniform(*hard.shape)
    zero = 1 - hard
    w = (v - zero).abs_()  # v where z = 1, 1 - v where z = 0
    likely = torch.lerp(torch.sigmoid(-params), torch.sigmoid(params), hard)
    rare = torch.lerp(torch.sigmoid(params), torch.sigmoid(-params), hard)
    rate = likely.mul_(w)
    whole = rate + rare
    against = power_(rare.mul_(1 - w).div_(whole), 1 / temperature)
    rate.div_(whole)
    soft = torch.addcmul(hard, zero, against).div_(against.add_(1))  # 1 / (1 + a) or a / (1 + a)

    def vjp(slope: Tensor) -> Tensor:
        return ((soft - soft.square()) * slope).mul_(rate).div_(temperature)

    return Path(hard, soft, vjp)


def states(params: Tensor) -> int:
    """Return 2^d."""
    return int(2 ** params.shape[-1])


def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
    """Return the states numbered ``index`` [n] as bits, first variable first: [n, d]."""
    shifts = torch.arange(params.shape[-1], device=index.device)
    return ((index[:, None] >> shifts) & 1).to(params.dtype)


BERNOULLI = Family(
    name="bernoulli",
    params_axes=1,
    event_axes=1,
    sample=sample,
    log_prob=log_prob,
    score=score,
    mean=mean,
    path=path,
    exact_path=False,
    conditional_path=conditional_path,
    states=states,
    enumerate=enumerate_states,
    mean_vjp=mean_vjp,
    uniforms=uniforms,
    quantile=quantile,
)
