"""Gumbel-Rao (GR-MCK): straight-through Gumbel-Softmax averaged over its noise, the sample given.

Paulus, Maddison and Krause 2021, "Rao-Blackwellizing the Straight-Through Gumbel-Softmax Gradient
Estimator" (arXiv 2010.04838). One z is drawn and J and dJ/dz are evaluated there; the relaxed
sample's Jacobian is averaged over ``replicates`` draws y of it given z, [d, K] each:

    g = 1 / (replicates temperature) sum_r Jac(y_r) dJ/dz

The mean is that of ``straight_through_gumbel_softmax`` exactly, bias included, and the variance is
E[Var(. | z)] / replicates + Var(E[. | z]): never more. The conditional Gumbels are params PLUS
CONSTANT NOISE: the paper speaks of the total derivative through both, and that, taken literally,
pins the arg-max and has another mean (a bias of the size of the gradient on small toys).

One evaluation of J, with dJ/dz, a sample; each replicate draws K numbers a variable (one for a
bit), and these, not J, are its cost on a cheap J.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.estimators._conditional_gumbels import averaged_vjp
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def gumbel_rao(samples: int = 1, temperature: float = 0.5, replicates: int = 10) -> Estimator:
    """Average dJ/dz at the sample times the relaxed sample's mean Jacobian given the sample.

    Args:
        samples: z in one estimate.
        temperature: of the relaxation, > 0.
        replicates: relaxed samples drawn given each z (10, 100 and 1000 in the paper).
    """
    at_least("gumbel_rao", "samples", samples, 1)
    at_least("gumbel_rao", "replicates", replicates, 1)
    positive_temperature("gumbel_rao", temperature)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        # A stream of its own, so that z goes on sharing its noise with other estimators.
        apart = noise.child("gumbel_rao", noise.drawn)
        pulled = averaged_vjp(family, params, z, found.slope, temperature, replicates, apart)
        noise.drawn += apart.drawn
        return add_direct(mean_over_samples(pulled), found)

    return Estimator(
        "gumbel_rao",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Paulus et al. 2021",
        settings={"temperature": temperature, "replicates": replicates},
    )
