"""DARN: the score function with J's tangent at the sample, evaluated at the mean, as baseline.

Gregor, Danihelka, Mnih, Blundell and Wierstra 2014, "Deep AutoRegressive Networks" (arXiv
1310.8499). The baseline J(z) + <dJ/dz_i, pi_i - z_i> cancels the cost and leaves, for variable i
with one-hot z_i [K] and score s_i = z_i - pi_i,

    g_i = <s_i, dJ/dz_i> s_i          and for a bit   g_i = (z_i - p_i)^2 dJ/dz_i

Bernoulli latents are the case of two categories with logits (params, 0). The baseline depends on
the sample, so it is biased; exact for a J that is affine in each variable. At temperature 1,
``reinmax`` is, sample by sample, half the sum of ``straight_through`` and this. One evaluation of
J, with dJ/dz, a sample.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.enumeration import finite_in_z
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise


def darn(samples: int = 1) -> Estimator:
    """Average the score times its inner product with dJ/dz at the sampled corner.

    Args:
        samples: z in one estimate.
    """
    at_least("darn", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        score, slope = draws_last(objective.family.score(params, z)), draws_last(found.slope)
        if objective.family.name == "bernoulli":
            rows = score.square_().mul_(slope)
        else:
            rows = score.mul_((score * slope).sum(-2, keepdim=True))  # over the categories
        return add_direct(mean_over_samples(draws_first(rows)), found)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "darn",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Gregor et al. 2014",
        finite=finite_in_z(estimate, replicates=samples),
    )
