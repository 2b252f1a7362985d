"""What gamma, beta and Dirichlet share: standard gamma numbers, and two rows of parameters."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise, address


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


def implicit_rate(z: Tensor, a: Tensor, total: Tensor) -> Tensor:
    """Return dz/da / (1 - z) of an entry z, at its quantile, with the sum of concentrations given.

    By torch's ``_dirichlet_grad``, right to 1.6 % at worst (its mean to 0.05 %), in float64: in
    float32 it is NaN or negative where one concentration is lost in the sum. Draws last, all three.
    """
    wide = (x.double().expand_as(z).contiguous() for x in (a, total))
    return torch._dirichlet_grad(z.double(), *wide).to(z.dtype)


def two_rows(first: Tensor, second: Tensor) -> Tensor:
    """Stack the parts of two parameters of each variable, draws-last memory kept: [..., 2, d]."""
    return draws_first(torch.stack((draws_last(first), draws_last(second)), -3))
