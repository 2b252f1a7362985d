"""A nested expectation: a category z, and a normal z' whose mean and scale z chooses.

z ~ Cat(softmax(logits)), z' | z ~ N(mean[z], diag(scale[z]^2)) in d dimensions, and a smooth cost
of both: the first of two cases for which Stratos, "Useful Facts About Latent-Variable Generative
Models", section 4.1, gives Gumbel-Softmax a use. J looks at ONE z' for a sampled z, of cost O(d);
marginalizing z asks for a z' of each category, of cost O(K d). Row S4C of benchbed.facts.coverage.

Estimators are a discrete one outside and reparameterization inside: z' = mean[z] + scale[z] * eps
is made within J, so its gradient in means and log-scales is the direct term (families/nested.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Objective
from benchbed.errors import BadArgument
from benchbed.families.nested import inner
from benchbed.families.nested import nested as nested_family
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._affordable import affordable
from benchbed.objectives._points import gradient_of
from benchbed.rng import Noise

NODES = 80  # of each Gauss-Hermite sum: to rounding, up to scales of about 4


class Terms(NamedTuple):
    """The coefficients of J = w z + a z' + b z'^2 + sum cos(c z' + e) + exp(g z')."""

    levels: Tensor  # w, [K]
    slopes: Tensor  # a, [d] as all that follow
    squares: Tensor  # b
    rates: Tensor  # c, from 0.5 to 2
    phases: Tensor  # e
    growths: Tensor  # g


def terms_of(categories: int, dimensions: int, seed: int) -> Terms:
    """Return seeded coefficients, float64."""
    noise = Noise(seed, "nested", "terms", dtype=torch.float64)
    levels = noise.normal(categories)
    slopes, squares, phases, growths = noise.normal(4, dimensions).contiguous()
    rates = 0.5 + 1.5 * noise.uniform(dimensions)
    return Terms(
        levels, slopes, 0.5 * squares, rates, phases, 0.5 * growths / math.sqrt(dimensions)
    )


def nested(
    categories: int = 4, dimensions: int = 3, scale: float = 0.7, spread: float = 1.0, seed: int = 0
) -> Objective:
    """Cost w z + a z' + b z'^2 + sum cos(c z' + e) + exp(g z') of a normal z' that z selects.

    To be lowered; a number without a unit. The exact value is a sum over the categories of
    Gauss-Hermite sums, one a coordinate: no term couples two of them but the exponential, whose
    expectation is a product.

    Args:
        categories: K, values of z.
        dimensions: d, of z'.
        scale: typical standard deviation of z' given z, from 0.01 to 2; those of the K d
            coordinates are scattered around it by a factor of about 1.3.
        spread: standard deviation of the logits.
        seed: of the coefficients and of the point: logits, means and log-scales.
    """
    at_least("nested", "categories", categories, 2)
    at_least("nested", "dimensions", dimensions, 1)
    at_least("nested", "seed", seed, 0)
    affordable("nested", categories * dimensions * NODES, "use fewer categories or dimensions")
    if not 0.01 <= finite_number("nested", "scale", scale) <= 2:
        raise BadArgument(
            f"nested needs a scale from 0.01 to 2, got {scale}; beyond 2 sums of {NODES} nodes are "
            "no longer exact, try 0.7"
        )
    spread = finite_number("nested", "spread", spread)
    if spread < 0:
        raise BadArgument(f"nested needs spread >= 0, got {spread}; 0 makes z uniform")
    terms = terms_of(categories, dimensions, seed)
    noise = Noise(seed, "nested", "point", dtype=torch.float64)
    logits = spread * noise.normal(categories, 1)
    means = noise.normal(categories, dimensions)
    log_scales = math.log(scale) + 0.25 * noise.normal(categories, dimensions)

    def singles(x: Tensor) -> Tensor:
        """Return the part of one coordinate each, of x [..., d, n]."""
        a, b, c, e = (v.to(x)[:, None] for v in terms[1:5])
        return x * (a + b * x) + (c * x + e).cos()

    def cost(z: Tensor, params: Tensor) -> Tensor:
        hot = draws_last(z)[..., :categories, :]
        x, _ = inner(params, z)  # [samples, d, draws]
        together = (terms.growths.to(x) @ x).exp()
        return draws_first(terms.levels.to(hot) @ hot + singles(x).sum(-2) + together)

    eps, weights = (torch.from_numpy(part) for part in hermegauss(NODES))
    weights = weights / weights.sum()

    def value(params: Tensor) -> Tensor:
        table = params[:, 1:]
        mean, scales = table[:, :dimensions, None], table[:, dimensions:, None].exp()
        x = mean + scales * eps.to(params)  # [K, d, nodes]
        alone = (singles(x) @ weights.to(params)).sum(-1)  # [K]
        together = ((terms.growths.to(x)[:, None] * x).exp() @ weights.to(params)).prod(-1)
        return params[:, 0].softmax(0) @ (terms.levels.to(params) + alone + together)

    return Objective(
        "nested",
        nested_family(categories, dimensions),
        torch.cat((logits, means, log_scales), 1).contiguous(),
        cost,
        value,
        gradient_of(value),
        direct=True,
    )
