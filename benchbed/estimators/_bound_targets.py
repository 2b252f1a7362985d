"""Exact gradients of what wake-sleep and thermodynamic estimators follow instead of the bound.

Both are expectations under laws proportional to p(x, z)^b q(z)^(1 - b) of ONE particle: a sum over
its values, or over a grid so fine and wide that the trapezoid rule is exact to rounding.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.estimators._log_weights import beside_particles, one_particle

MOST_STATES = 2**16
NODES = 16_385
NEGLIGIBLE = 80.0  # nats below the top


def wake_gradient(objective: Objective) -> Tensor:
    """Return E_{p(z | x)}[d log q / d params], that is the gradient of -KL(p || q), float64."""
    params = objective.params.double()
    particle, z = one_particle(objective), listed(objective, params)
    posterior = _log_joint(objective, z).softmax(-1)  # [1, 1, *items, n]
    score = particle.score(beside_particles(particle, params), z)
    return (particle.lift(posterior) * score).sum(-particle.params_axes - 1)[0, 0]


def thermodynamic_value(objective: Objective, params: Tensor, betas: list[float]) -> Tensor:
    """Return sum_m (b_m+1 - b_m) E_{p^b_m q^(1 - b_m)}[log p/q], summed over items."""
    particle = one_particle(objective)
    z = listed(objective, params.detach())
    log_p = _log_joint(objective, z)
    log_q = particle.log_prob(beside_particles(particle, params), z)
    total = torch.zeros((), dtype=log_p.dtype, device=log_p.device)
    for low, high in itertools.pairwise(betas):
        law = (low * log_p + (1 - low) * log_q).softmax(-1)
        total = total + (high - low) * (law * (log_p - log_q)).sum()
    return total


def thermodynamic_gradient(objective: Objective, betas: list[float]) -> Tensor:
    """Return the gradient of ``thermodynamic_value``, float64."""
    point = objective.params.detach().double().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(thermodynamic_value(objective, point, betas), point)
    return found


def _log_joint(objective: Objective, z: Tensor) -> Tensor:
    assert objective.log_joint is not None
    return objective.log_joint(z)


def listed(objective: Objective, params: Tensor) -> Tensor:
    """Return one particle's values, or a grid of them, as particles: [1, 1, *items, n, *event]."""
    particle = one_particle(objective)
    items = particle.items(params)
    if particle.states is not None and particle.enumerate is not None:
        states = particle.states(params)
        if states <= MOST_STATES:
            z = particle.enumerate(params, torch.arange(states, device=params.device))
            return z.expand(1, 1, *items, *z.shape)
    elif particle.name == "normal" and params.shape[-1] == 1:
        return _grid(objective, params)
    raise BadArgument(
        f"the exact target needs particles of at most {MOST_STATES:,} values or one normal "
        f"variable, and {objective.name} has neither; measure against leave_one_out instead"
    )


def _grid(objective: Objective, params: Tensor) -> Tensor:
    """Widen +-16 standard deviations until p and q are both negligible at the ends."""
    particle = one_particle(objective)
    reach = 16.0
    while True:
        eps = torch.linspace(-reach, reach, NODES, dtype=params.dtype, device=params.device)
        z = (params[..., 0, :] + params[..., 1, :].exp() * eps)[None, None, ..., None]
        ends = torch.stack(
            [
                (law.amax(-1) - torch.maximum(law[..., 0], law[..., -1])).min()
                for law in (
                    _log_joint(objective, z),
                    particle.log_prob(beside_particles(particle, params), z),
                )
            ]
        )
        if bool((ends > NEGLIGIBLE).all()):
            return z
        if reach > 1000:
            raise BadArgument(
                f"the posterior of {objective.name} lies over 1,000 standard deviations of q "
                "away; bring q closer, such as distance: 1"
            )
        reach *= 2
