"""The Dirichlet copula of ARMS and CARMS: K uniforms, each as far from the others as K can be.

With D ~ Dirichlet(1, ..., 1) over the K samples, U_k = (1 - D_k)^(K-1) is uniform, the U_k repel
each other, and for any set T of them P(U_k <= c_k for k in T) = max(0, 1 - sum_T (1 - x_k))^(K-1)
with the ROOTS x = c^(1/(K-1)). For K = 2 the pair is u and 1 - u. Everything here speaks of roots:
1 - D_k is one, and comparing roots takes no power of any draw.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise


def antithetic_roots(noise: Noise, draws: int, samples: int, shape: tuple[int, ...]) -> Tensor:
    """Return the roots 1 - D_k of K = ``samples`` coupled uniforms, [draws, samples, *shape]."""
    waits = draws_last(noise.exponential(draws, samples, *shape))
    total = waits.sum(0, keepdim=True)
    return draws_first((total - waits).div_(total))


def cell_mass(ends: Tensor, samples: int, together: int) -> Tensor:
    """Return the chance that ``together`` of the uniforms fall into each tuple of intervals.

    Args:
        ends: roots of the intervals' ends, rising, [..., intervals + 1], float64: masses are
            differences of numbers near 1.
        samples: K of the copula.
        together: 2 for the mass of a pair, K for the whole joint law.

    Returns:
        [..., intervals, ..., intervals], one axis for each of the uniforms.
    """
    reach = ends.new_tensor(1.0 - together)
    for axis in range(together):
        after = together - 1 - axis
        reach = ends[(..., *(None,) * axis, slice(None), *(None,) * after)] + reach
    mass = reach.clamp_(min=0).pow_(samples - 1)
    for axis in range(-together, 0):
        mass = mass.diff(dim=axis)
    return mass
