"""Product of Bernoulli variables: params are logits ``[*items, d]``, z in {0, 1} ``[..., d]``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.contracts import Family, Path
from benchbed.elementwise import indicator, power_
from benchbed.layout import draws_first, draws_last
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
    if params.ndim < z.ndim and params.dtype == z.dtype:  # one law for all draws
        one, zero = (F.logsigmoid(x).unsqueeze(-2) for x in (params, -params))
        inner = draws_last(z)
        return draws_first((one @ inner + zero @ (1 - inner)).squeeze(-2))
    if params.ndim == z.ndim > 1:  # params of every draw; logsigmoid copies what is turned round
        x = draws_last(params)
        each = torch.lerp(F.logsigmoid(-x), F.logsigmoid(x), draws_last(z))
        return draws_first(each.sum(-2))
    return (z * F.logsigmoid(params) + (1 - z) * F.logsigmoid(-params)).sum(-1)


def score(params: Tensor, z: Tensor) -> Tensor:
    """Return d log q / d logits = z - p, without the cancellation in 1 - p at large logits."""
    return either(z, -params.sigmoid(), torch.sigmoid(-params))


def either(z: Tensor, zero: Tensor, one: Tensor) -> Tensor:
    """Return ``zero`` where z is 0, ``one`` where it is 1, a mixture between; shaped like z.

    Both are finite and broadcast against z. ``torch.lerp`` takes three times as long, and
    zero + z (one - zero) loses the digits of the smaller.
    """
    return (1 - z).mul_(zero).addcmul_(z, one)


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
    return relaxed(params, noise.uniform(draws, samples, *params.shape), temperature)


def relaxed(params: Tensor, u: Tensor, temperature: float, explicit: float = 0.0) -> Path:
    """Return sigma((logit u + params) / temperature + explicit * params) and 1[u > 1 - p]."""
    # (1 - u) / u exp(-params) = exp(-relaxed logit): a power of it needs neither log nor exp.
    most = torch.finfo(params.dtype).max  # 0 inf would be no number
    against = (1 - u).div_(u).mul_((-params).exp())
    against = power_(against, 1 / temperature)
    if explicit:
        against.mul_((-explicit * params).exp().clamp(max=most))
    soft = against.add_(1).reciprocal_()

    def vjp(slope: Tensor) -> Tensor:
        return concrete_vjp(soft, slope).mul_(1 / temperature + explicit)

    return Path(lambda: quantile(params, u), soft, vjp)


def concrete_vjp(soft: Tensor, slope: Tensor) -> Tensor:
    """Return ``slope`` times the derivative of a relaxed bit in its logit, a fresh tensor."""
    return torch.addcmul(soft, soft, soft, value=-1).mul_(slope)


def conditional_path(params: Tensor, hard: Tensor, temperature: float, noise: Noise) -> Path:
    """Return the binary Concrete sample drawn again given the hard sample.

    Tucker et al. 2017 (arXiv 1703.07370), appendix C, in a form that does not overflow. With o the
    odds of the sampled value and w uniform, v or 1 - v, the odds against that value are
    (1 - w) / (1 + o w), and their derivative in params at fixed w and z is o w / (1 + o w) times
    that of the unconditional ones, not 1.
    """
    return relaxed_given(params, hard, noise.uniform(*hard.shape), temperature)


def relaxed_given(
    params: Tensor, hard: Tensor, v: Tensor, temperature: float, explicit: float = 0.0
) -> Path:
    """Return the relaxed sample at uniforms ``v``, which it overwrites, given the hard one."""
    zero = 1 - hard
    w = v.sub_(zero).abs_()  # v where z = 1, 1 - v where z = 0
    most = torch.finfo(params.dtype).max  # inf / inf would be no number
    odds = either(hard, *((sign * params).exp().clamp(max=most) for sign in (-1, 1)))
    rate = odds.mul_(w)
    share = (rate + 1).reciprocal_()
    against = power_(w.neg_().add_(1).mul_(share), 1 / temperature)
    rate.mul_(share).div_(temperature)
    if explicit:
        kept = ((sign * explicit * params).exp().clamp(max=most) for sign in (1, -1))
        against.mul_(either(hard, *kept))
        rate.add_(explicit)
    soft = torch.addcmul(hard, zero, against).div_(against.add_(1))  # 1 / (1 + a) or a / (1 + a)
    return Path(hard, soft, lambda slope: concrete_vjp(soft, slope).mul_(rate))


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
