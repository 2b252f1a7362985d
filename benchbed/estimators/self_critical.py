"""Self-critical training: the score function with the cost of the greedy decision as baseline.

Rennie, Marcheret, Mroueh, Ross and Goel 2017, "Self-critical Sequence Training for Image
Captioning" (arXiv 1612.00563): g = (J(z) - J(mode)) d log q(z) / d params, where
the mode is what the model would say at test time: the likelier value of every bit, the one-hot of
the largest logits, the mean of a normal.

Unbiased, because the mode does not depend on the sample. The baseline is good where the mode is
likely; where the law is broad J(mode) may be far from E[J], and the variance then exceeds that of
a constant baseline.

Costs ``samples`` + 1 evaluations of J; the one at the mode is the same for every draw and is made
once a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Estimator, Objective
from benchbed.enumeration import finite_in_z
from benchbed.estimators._centred_score import centred_score
from benchbed.families.categorical import one_hot_of_largest
from benchbed.families.normal import unpack
from benchbed.rng import Noise

# params [*items, *parameter axes] -> the likeliest z, [*items, *event]; ties fall to the first
MODES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "bernoulli": lambda params: (params > 0).to(params.dtype),
    "categorical": lambda params: one_hot_of_largest(params[None])[0],
    "normal": lambda params: unpack(params)[0],
}


def self_critical(samples: int = 1) -> Estimator:
    """Average (J(z) - J(mode)) times the score, the mode being the likeliest z."""
    at_least("self_critical", "samples", samples, 1)

    def estimate(objective: Objective, params: Tensor, z: Tensor) -> Tensor:
        mode = MODES[objective.family.name](params)
        greedy = objective.evaluate(mode[None, None], params).cost  # [1, 1, *items]
        return centred_score(objective, params, z, greedy)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        return estimate(objective, params, objective.family.sample(params, draws, samples, noise))

    return Estimator(
        "self_critical",
        draw,
        samples=samples,
        evaluations=samples + 1,
        unbiased=True,
        families=frozenset(MODES),
        citation="Rennie et al. 2017",
        finite=finite_in_z(estimate, replicates=samples),
    )
