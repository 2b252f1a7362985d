"""ReinMax-Rao: ReinMax with its averaged softmax replaced by Gumbel-Rao's Jacobian there.

Wang and Bui 2026, "Beyond ReinMax: Low-Variance Gradient Estimators for Discrete Latent Variables"
(arXiv 2603.08257). With z sampled, theta = log((pi + z) / 2) and y_r relaxed samples of logits
theta given z, [d, K] each, their noise held fixed as in ``gumbel_rao``:

    g = 2 / (replicates temperature) sum_r Jac(y_r) dJ/dz - 1/2 Jac(pi) dJ/dz

The factor 2 is reported missing in the paper's equation 18; the authors' code has it. Bernoulli
latents are the case of two categories with logits (params, 0). Biased, unlike ``reinmax`` even for
a linear J, for a variance that is mostly lower with several categories and can be higher for bits.
The paper's ReinMax-CV is left out: what it adds has not mean zero, and ReinMax being a function of
z alone, nothing with mean zero given z can lower its variance.

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


def reinmax_rao(samples: int = 1, temperature: float = 0.7, replicates: int = 10) -> Estimator:
    """Average ReinMax with the Jacobian at (pi + z) / 2 averaged over relaxed samples given z.

    Args:
        samples: z in one estimate.
        temperature: of the relaxation, > 0.
        replicates: relaxed samples drawn given each z (32 to 100 in the paper).
    """
    at_least("reinmax_rao", "samples", samples, 1)
    at_least("reinmax_rao", "replicates", replicates, 1)
    positive_temperature("reinmax_rao", temperature)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        family = objective.family
        z = family.sample(params, draws, samples, noise)
        found = objective.evaluate(z, params, slope=True)
        assert found.slope is not None
        assert family.mean_vjp is not None
        # A stream of its own, so that z goes on sharing its noise with other estimators.
        apart = noise.child("reinmax_rao", noise.drawn)
        # The values that were not sampled have half of their probability in (pi + z) / 2.
        pulled = averaged_vjp(
            family, params, z, found.slope, temperature, replicates, apart, share=0.5
        )
        noise.drawn += apart.drawn
        gradient = mean_over_samples(pulled).mul_(2)
        outer = family.mean_vjp(family.mean(params), mean_over_samples(found.slope))
        return add_direct(gradient.sub_(outer, alpha=0.5), found)

    return Estimator(
        "reinmax_rao",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable", "mean"}),
        families=frozenset({"bernoulli", "categorical"}),
        citation="Wang and Bui 2026",
        settings={"temperature": temperature, "replicates": replicates},
    )
