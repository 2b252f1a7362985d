"""Vector quantization with a learned codebook: a task, a codebook loss and a commitment loss.

van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning" (arXiv
1711.00937), equation 3, to be lowered:

    J(z; f, C) = task(C_z) + |sg[f] - C_z|^2 + commitment |f - sg[C_z]|^2,  commitment = 0.25,

z the numbers of the codes nearest to a noisy encoder output x = f + scale * eps; without noise the
gradient in f of the task is 0 almost everywhere. Row S4B of benchbed.facts.coverage.

A stop-gradient sg[.] is no function, so that "the gradient of J" would have no meaning. Here what
stands inside one is FROZEN at the objective's own point, sg[f] = f0 and sg[C] = C0, constants.
J is then a proper function of (f, C) whose derivative AT that point is what sg means, and E[J] has
an exact gradient: the law of z (through f and through the codebook, which moves the boundaries of
the cells), the commitment loss's slope in f, the codebook loss's slope in C and, where the task
reads the learned codes, the task's own slope in C. The last three are the direct term. In the paper
the task is given f + sg[C_z - f] and trains no code: ``task_codes="frozen"``, the task at C0_z.
There ``vq_straight_through`` is the published update to the letter: task'(C_z) + 2 commitment
(f - C_z) to f and 2 (C_z - f) to the chosen code. What it misses is the law's share, all of it in C
and all but its guess in f.

Much-used public code multiplies the codebook loss by the commitment, not the commitment loss, and
keeps that as its default for the sake of old weights. The notes write SNAP(u), u_i = -|f - C_i|,
for the code: it is a one-hot of K entries, and d SNAP / d f cannot be the identity on D of them;
what is meant, and done here, is C^T SNAP(u).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families._normal_cells import noise_scale
from benchbed.families.learned_codebook import learned_codebook, log_masses, split
from benchbed.objectives._affordable import affordable
from benchbed.objectives._coupled_blocks import coupled_cost
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise


def vector_quantized(
    dimensions: int = 2,
    coordinates: int = 2,
    codes: int = 3,
    scale: float = 0.5,
    commitment: float = 0.25,
    task_codes: Literal["learned", "frozen"] = "learned",
    seed: int = 0,
) -> Objective:
    """Cost task(C_z) + |sg f - C_z|^2 + commitment |f - sg C_z|^2, by the encoder and the codebook.

    params are flat: f [dimensions, coordinates], then C [coordinates, codes].

    Args:
        dimensions: number of encoder vectors.
        coordinates: of one vector.
        codes: of one coordinate, so that a vector has codes^coordinates of them.
        scale: standard deviation of the encoder's noise, from 1e-6 to 1e6.
        commitment: weight of the commitment loss, at least 0.
        task_codes: ``learned``, the task depends on C; ``frozen``, it reads the codes as they are
            at the objective's own point, as published training does.
        seed: of the task's coefficients, the encoder's output and the codes.
    """
    at_least("vector_quantized", "dimensions", dimensions, 1)
    at_least("vector_quantized", "coordinates", coordinates, 1)
    at_least("vector_quantized", "codes", codes, 2)
    at_least("vector_quantized", "seed", seed, 0)
    noise_scale("vector_quantized", scale)
    commitment = finite_number("vector_quantized", "commitment", commitment)
    if commitment < 0:
        raise BadArgument(
            f"vector_quantized needs a commitment >= 0, got {commitment}; a negative one would "
            "drive the encoder away from its codes, try 0.25"
        )
    if task_codes not in ("learned", "frozen"):
        raise BadArgument(
            f"vector_quantized needs task_codes: learned or frozen, got {task_codes!r}"
        )
    size = dimensions * coordinates
    advice = "use fewer codes, coordinates or dimensions"
    affordable("vector_quantized", size * max(size, codes**2), advice)
    family = learned_codebook(dimensions, coordinates, codes, scale)
    noise = Noise(seed, "vector_quantized", dtype=torch.float64)
    gap = 2 / (codes - 1)
    jitter = gap * (noise.uniform(coordinates, codes) - 0.5) / 2  # neighbours keep half a gap
    frozen_codes = torch.linspace(-1, 1, codes, dtype=torch.float64) + jitter
    frozen_f = 0.7 * noise.normal(dimensions, coordinates)
    task = coupled_cost(size, noise.child("task"))

    def cost(z: Tensor, params: Tensor) -> Tensor:
        f, codebook = split(params, dimensions, coordinates)
        number = z.detach().round()
        own = _looked_up(codebook, number)
        at_point = _looked_up(frozen_codes.to(z), number)
        # Off the whole numbers the vector moves along with z: dJ/dz is the task's slope in it.
        vector = (own if task_codes == "learned" else at_point) + (z - number)
        codebook_loss = (frozen_f.to(z) - own).square().sum((-2, -1))
        commitment_loss = (f - at_point).square().sum((-2, -1))
        return task.at(vector.flatten(-2)) + codebook_loss + commitment * commitment_loss

    def value(params: Tensor) -> Tensor:
        f, codebook = split(params, dimensions, coordinates)
        masses = log_masses(f, codebook, scale).exp()  # [dimensions, coordinates, codes]
        constant = frozen_codes.to(params)
        read = codebook if task_codes == "learned" else constant
        of_task = read.expand_as(masses).flatten(0, 1)[..., None]
        losses = (frozen_f.to(params)[..., None] - codebook).square()
        losses = losses + commitment * (f[..., None] - constant).square()
        return task.mean(masses.flatten(0, 1), of_task) + (masses * losses).sum()

    return Objective(
        "vector_quantized",
        family,
        torch.cat((frozen_f.flatten(), frozen_codes.flatten())),
        cost,
        value,
        gradient_of(value),
        direct=True,
        relaxed=False,  # between whole numbers J is defined near them only
        citation="van den Oord et al. 2017",
    )


def _looked_up(codebook: Tensor, number: Tensor) -> Tensor:
    """Return the codes [..., D, K] at the numbers [..., d, D], in the layout of ``number``."""
    chosen = torch.zeros_like(number)
    for k in range(codebook.shape[-1]):
        chosen = torch.where(number == k, codebook[..., k].unsqueeze(-2), chosen)
    return chosen
