"""What gamma, beta and Dirichlet share: standard gamma numbers, and two rows of parameters."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise, address

MOST_SOUND = 300.0  # concentrations up to which torch's derivative of a beta holds
LOG_SMALL = -30.0


def standard_gamma(alpha: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw from Gamma(alpha, 1), [draws, samples, *alpha.shape]; never 0.

    The rejection inside takes as many numbers as it needs, so every call has a stream of its own
    at an address made of what was drawn before: two calls never repeat each other. On the CPU it
    is numpy's SFC64 with all 128 bits of the address, as in ``Noise``: torch's generator would
    keep 32 of them.
    """
    shape = (samples, *alpha.shape, draws)
    if noise.device.type == "cpu":
        key = address(noise.seed, *noise.path, "gamma", noise.drawn)
        host = np.random.Generator(np.random.SFC64(int.from_bytes(key, "little")))
        concentration = np.broadcast_to(alpha.detach().numpy()[..., None], shape)
        kind = np.float32 if alpha.dtype == torch.float32 else np.float64
        values = torch.from_numpy(host.standard_gamma(concentration, dtype=kind))
    else:
        generator = noise.child("gamma", noise.drawn).torch_generator()
        wide = alpha.detach()[..., None].expand(shape).contiguous()
        values = torch._standard_gamma(wide, generator=generator)
    noise.drawn += math.prod(shape)
    return draws_first(values.clamp_(min=torch.finfo(alpha.dtype).tiny))


def log_standard_gamma(alpha: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
    """Draw log Gamma(alpha, 1), finite however small alpha is: log g = log g' + log(u) / alpha.

    g' ~ Gamma(alpha + 1, 1) and u ~ U(0, 1): Marsaglia and Tsang 2000.
    """
    boost = noise.uniform(draws, samples, *alpha.shape).log_().div_(alpha)
    return standard_gamma(alpha + 1, draws, samples, noise).log_().add_(boost)


def implicit_rate(z: Tensor, log_g: Tensor, a: Tensor, total: Tensor) -> Tensor:
    """Return D = dz/da / (1 - z) of an entry z = g / sum g, so that dz/da = D (e - z).

    Where neither a nor the sum of the others exceeds ``MOST_SOUND``: along z's own quantile, by
    torch's ``_dirichlet_grad``, right to 1.6 % at worst and its mean to 0.06 %. Beyond, that is
    wrong by up to several percent, and D = (dg/da) / sum g moves the entry's gamma g along ITS
    quantile, right to 0.15 % and its mean to 0.012 %. Both are exact velocities of the same law;
    the first is the mean of the second given z, which has up to 2.2 times its variance.

    In float64 inside, as in float32 small concentrations are lost in the sum.

    Args:
        z: [..., n], draws last, as all four.
        log_g: logarithm of the entry's gamma, shaped like z.
        a: its concentration, float64.
        total: sum of the concentrations, float64.
    """
    wide, a, total = z.double(), a.expand_as(z), total.expand_as(z)
    sound = torch.maximum(a, total - a) <= MOST_SOUND
    if sound.all():
        rate = torch._dirichlet_grad(wide, a.contiguous(), total.contiguous())
    else:
        rate = wide * log_gamma_rate(a, log_g.double())
        if sound.any():
            own = torch._dirichlet_grad(wide, a.contiguous(), total.contiguous())
            rate = torch.where(sound, own, rate)
    return rate.to(z.dtype)


def log_gamma_rate(a: Tensor, log_g: Tensor) -> Tensor:
    """Return d log g / da of g ~ Gamma(a, 1) at its quantile, float64, finite however small g is.

    Far below 1, F(g; a) = g^a / Gamma(a + 1) to a relative error of g.
    """
    small = log_g < LOG_SMALL
    g = log_g.clamp(min=LOG_SMALL).exp()
    by_torch = torch._standard_gamma_grad(a.contiguous(), g) / g
    return torch.where(small, ((a + 1).digamma() - log_g) / a, by_torch)


def two_rows(first: Tensor, second: Tensor) -> Tensor:
    """Stack the parts of two parameters of each variable, draws-last memory kept: [..., 2, d]."""
    return draws_first(torch.stack((draws_last(first), draws_last(second)), -3))
