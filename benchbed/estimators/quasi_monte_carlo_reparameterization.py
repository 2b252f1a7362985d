"""The pathwise gradient on a randomized Sobol net instead of independent samples.

Buchholz, Wenzel and Mandt 2018, "Quasi-Monte Carlo Variational Inference" (arXiv 1807.01604),
section 3. The mean over k of (dz_k / d params)^T dJ/dz(z_k), z_k = quantile(params, u_k) at the
k-th point of a Sobol net [samples, uniforms], differentiated at fixed u_k. Every estimate
randomizes the net anew (_sobol_points), so that estimates are unbiased and independent. Unbiased
where the pathwise gradient is: J continuous and differentiable almost everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BadArgument
from benchbed.estimators._sobol_points import sobol_uniforms
from benchbed.layout import compact, draws_first, mean_over_samples
from benchbed.rng import Noise

NAME = "quasi_monte_carlo_reparameterization"


def quasi_monte_carlo_reparameterization(samples: int = 8) -> Estimator:
    """Average dJ/dz dz/dparams over a randomized Sobol net of ``samples`` points.

    Args:
        samples: points of one net, best a power of two; 1 is reparameterization itself.
    """
    at_least(NAME, "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        assert family.quantile is not None
        u = sobol_uniforms(NAME, family, params, draws, samples, noise)
        # A copy of params for every sample, so that each gets a gradient of its own.
        copies = params.detach()[None, ..., None].expand(samples, *params.shape, draws)
        leaf = draws_first(copies.contiguous()).requires_grad_()  # [draws, samples, *params]
        with torch.enable_grad():
            z = family.quantile(leaf, u)
        if not z.requires_grad:
            raise BadArgument(
                f"{NAME} needs a quantile that is differentiable in params, and that of "
                f"{family.name} latents is not; use quasi_monte_carlo_score_function"
            )
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        pulled = compact(torch.autograd.grad(z, leaf, found.slope)[0])
        return add_direct(mean_over_samples(pulled), found)

    return Estimator(
        NAME,
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=True,
        needs=frozenset({"differentiable", "exact_path", "quantile"}),
        citation="Buchholz et al. 2018",
    )
