"""The reparameterization (pathwise) gradient: differentiate J through z = mu + sigma * eps.

Kingma and Welling 2014 (arXiv 1312.6114); Rezende, Mohamed and Wierstra 2014 (arXiv 1401.4082).
Unbiased where J is continuous and differentiable almost everywhere; it does not see a jump.

It takes whatever path a family offers whose samples are differentiable (``exact_path``), your own
families included. Gamma, beta and Dirichlet offer the implicit one: there the numbers are those
of implicit_reparameterization, which is the name to report and to cite.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.layout import mean_over_samples
from benchbed.rng import Noise


def reparameterization(samples: int = 1) -> Estimator:
    """Average dJ/dz dz/dparams over ``samples`` independent z."""
    at_least("reparameterization", "samples", samples, 1)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        path = objective.family.path(params, draws, samples, 1.0, noise)
        found = objective.evaluate(path.hard, params, slope=True)
        assert found.slope is not None
        return add_direct(mean_over_samples(path.vjp(found.slope)), found)

    return Estimator(
        "reparameterization",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=True,
        needs=frozenset({"differentiable", "exact_path"}),
        citation="Kingma and Welling 2014",
    )
