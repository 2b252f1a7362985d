"""A family of particles: K independent copies of one law, taken together as ONE z.

What a multi-sample bound needs: its cost looks at K particles at once, z is
``[..., *items, K, *event]``, and params stay those of a single particle, ``[*items, *parameter
axes]``. Every estimator that knows only a law and a cost then works on the bound unchanged, its
``samples`` being independent K-tuples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Family, Path
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def particles(base: Family, count: int) -> Family:
    """Return the law of ``count`` independent copies of ``base``'s z.

    Args:
        base: the law of one particle.
        count: K, the particles in one z; at least 1.
    """
    at_least("particles", "count", count, 1)
    axis = -base.params_axes - 1  # of the particles in a score
    state_count, of_number = base.states, base.enumerate
    uniforms_of, inverse, mean_back = base.uniforms, base.quantile, base.mean_vjp

    def copies(params: Tensor) -> Tensor:
        """Return params with the particle axis: a view [*items, K, *parameter axes]."""
        shared = params.unsqueeze(axis)
        return shared.expand(*shared.shape[:axis], count, *shared.shape[axis + 1 :])

    def over_particles(x: Tensor) -> Tensor:
        """Sum [draws, ..., *items, K, *parameter axes] over the particles."""
        return draws_first(draws_last(x).sum(axis - 1))

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return base.sample(copies(params), draws, samples, noise)

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        each = base.log_prob(params.unsqueeze(axis), z)  # [draws, ..., *items, K]
        return draws_first(draws_last(each).sum(-2))

    def score(params: Tensor, z: Tensor) -> Tensor:
        return over_particles(base.score(params.unsqueeze(axis), z))

    def mean(params: Tensor) -> Tensor:
        return base.mean(copies(params))

    def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
        assert mean_back is not None
        return over_particles(mean_back(mean, slope))

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        found = base.path(copies(params), draws, samples, temperature, noise)
        return Path(found.hard, found.soft, lambda slope: over_particles(found.vjp(slope)))

    def states(params: Tensor) -> int:
        assert state_count is not None
        return int(state_count(params) ** count)

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        """Return the tuples numbered ``index`` [n], first particle first: [n, K, *event]."""
        assert state_count is not None
        assert of_number is not None
        one = state_count(params)
        digits = []
        for _ in range(count):
            digits.append(index % one)
            index = index // one
        z = of_number(params, torch.stack(digits, 1).flatten())
        return z.reshape(-1, count, *z.shape[1:])

    def uniforms(params: Tensor) -> tuple[int, ...]:
        assert uniforms_of is not None
        *items, inner = uniforms_of(params)
        return (*items, count * inner)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        assert inverse is not None
        return inverse(params.unsqueeze(axis), u.reshape(*u.shape[:-1], count, -1))

    return Family(
        name=f"{base.name} particles",
        params_axes=base.params_axes,
        event_axes=base.event_axes + 1,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=base.exact_path,
        states=states if state_count else None,
        enumerate=enumerate_states if of_number else None,
        mean_vjp=mean_vjp if mean_back else None,
        uniforms=uniforms if uniforms_of else None,
        quantile=quantile if inverse else None,
        particle=base,
    )
