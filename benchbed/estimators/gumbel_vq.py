"""Gumbel-Softmax vector quantization: a relaxed choice of code, by distance to the encoder.

Jang, Gu and Poole 2017 (arXiv 1611.01144) relax a categorical choice; Ramesh et al. 2021,
"Zero-Shot Text-to-Image Generation" (arXiv 2102.12092), take a codebook's entries with the relaxed
weights. Their logits are a network's output; here, as f is what is trained, they are distances. For
every coordinate of f [*items, d, D] and its codes c_k, with Gumbels G_k,

    w = softmax((-(f - c)^2 / (2 width^2) + G) / temperature),  z = sum_k w_k c_k,
    dz/df = Var_w(c) / (temperature width^2),  Var_w(c) = sum_k w_k (c_k - z)^2.

The codes it samples follow softmax(-(f - c)^2 / (2 width^2)), which is ANOTHER law than that of the
nearest code to a noisy f: it is biased at every temperature, also as the temperature goes to 0. One
evaluation of J with its slope a sample.
"""

from __future__ import annotations

from torch import Tensor

from benchbed.arguments import at_least, flag, positive_temperature
from benchbed.contracts import Estimator, Objective, add_direct
from benchbed.errors import BadArgument
from benchbed.families.categorical import relaxed
from benchbed.layout import draws_first, draws_last, mean_over_samples
from benchbed.rng import Noise

LEAST_WIDTH, MOST_WIDTH = 1e-6, 1e6  # their squares divide, in float32 too


def gumbel_vq(
    samples: int = 1,
    temperature: float = 0.5,
    width: float = 0.5,
    straight_through: bool = False,
) -> Estimator:
    """Average dJ/dz at ``samples`` mixtures of codes, weighted by a Gumbel-Softmax of distances.

    Args:
        samples: mixtures in one estimate.
        temperature: of the relaxation, > 0.
        width: of the logits -(f - c)^2 / (2 width^2); at the scale of the encoder's noise the
            codes' law is near the family's own.
        straight_through: evaluate J at the code of the largest weight, not at the mixture.
    """
    at_least("gumbel_vq", "samples", samples, 1)
    positive_temperature("gumbel_vq", temperature)
    if isinstance(width, bool) or not LEAST_WIDTH <= width <= MOST_WIDTH:
        raise BadArgument(
            f"gumbel_vq needs width > 0, from {LEAST_WIDTH:g} to {MOST_WIDTH:g}, got {width}; it "
            "divides distances, try the scale of the encoder's noise"
        )
    flag("gumbel_vq", "straight_through", straight_through)

    def draw(objective: Objective, params: Tensor, draws: int, noise: Noise) -> Tensor:
        codebook = objective.family.codebook
        assert codebook is not None
        codes = codebook.to(params)  # [1 or D, codes]
        logits = -(params[..., None] - codes).square() / (2 * width**2)  # [*items, d, D, codes]
        path = relaxed(logits, noise.uniform(draws, samples, *logits.shape), temperature)
        weight, row = draws_last(path.soft), codes.unsqueeze(-2)  # [samples, ..., codes, draws]
        mixture = row @ weight  # [samples, ..., 1, draws]
        away = (codes[..., None] - mixture).square_().mul_(weight)
        z, spread = mixture.squeeze(-2), away.sum(-2)
        if straight_through:
            z = (row @ draws_last(path.hard)).squeeze(-2)
        found = objective.evaluate(draws_first(z), params, slope=True)
        assert found.slope is not None
        rate = draws_first(spread).div_(temperature * width**2)  # dz/df
        return add_direct(mean_over_samples(rate.mul_(found.slope)), found)

    return Estimator(
        "gumbel_vq",
        draw,
        samples=samples,
        evaluations=samples,
        slopes=samples,
        unbiased=False,
        needs=frozenset({"differentiable"} if straight_through else {"differentiable", "relaxed"}),
        families=frozenset({"quantized"}),
        citation="Jang et al. 2017; Ramesh et al. 2021",
        settings={
            "temperature": temperature,
            "width": width,
            "straight_through": straight_through,
        },
    )
