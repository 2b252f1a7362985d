"""The semi-supervised bound of a style and a label: its cost at a sample, and its exact value.

Kingma, Mohamed, Rezende and Welling 2014, "Semi-supervised Learning with Deep Generative Models"
(arXiv 1406.5298), model M2. With -L(x, y) the ELBO of log p(x, y) and -U(x) that of log p(x),

    L(x, y) = E_q(s|x,y) [log q(s|x, y) - log p(x|y, s) - log p(y) - log p(s)]        (equation 6)
    U(x) = sum_y q(y|x) (L(x, y) + log q(y|x))                                        (equation 7)

the objective is the mean over images of U(x), or where the label is known of L(x, y) - alpha
log q(y|x) (equation 9). The label costs a sum and the style a quadrature.

log(1 + exp(.)) and tanh of a decoder have poles at a distance b of the real line, in standard
deviations of q(s|x, y): b = pi / (slope scale) or half of that. Gauss-Hermite's error falls like
exp(-2 b sqrt(nodes)) only, the trapezoidal rule's like exp(-2 pi b / step): it is the exact one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from benchbed.families.nested import inner
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._points import gradient_of

# (label [..., L, n], style [..., d, n]) -> pixel logits [..., pixels, n]
Decoder = Callable[[Tensor, Tensor], Tensor]
Rule = tuple[Tensor, Tensor]  # points of the style's eps [d, n], and their weights [n]
# Of the exact rule, in d dimensions: the step and the number of steps to either side, +-8 and
# +-7.6 standard deviations. 1e-10 for poles from b = 0.4, and in two dimensions from b = 0.75.
EVEN = {1: (0.1, 80), 2: (0.2, 38)}


@dataclass(frozen=True)
class Problem:
    """Images, what is known of them, and the model that they are held against.

    Attributes:
        images: binary, [items, pixels] float64.
        known: label of an image, or -1 where it is hidden, [items] int64.
        log_prior: log p(y), [L].
        decode: the decoder p(x | y, s), logistic in every pixel.
        classification: alpha, the weight of -log q(y|x) of a labelled image.
    """

    images: Tensor
    known: Tensor
    log_prior: Tensor
    decode: Decoder
    classification: float

    @property
    def classified(self) -> Tensor:
        """Return the weight of log q(y|x) in an image's cost, [items]: 1, or -alpha if labelled."""
        weight = torch.ones(len(self.known), dtype=torch.float64)
        return weight.masked_fill(self.known >= 0, -self.classification)

    def log_likelihood(self, label: Tensor, style: Tensor) -> Tensor:
        """Return log p(x | y, s) [..., items, n] of label [..., L, n] and style [..., d, n]."""
        logits = self.decode(label, style)  # [..., items, pixels, n]
        return (logits * self.images.to(logits)[..., None] - F.softplus(logits)).sum(-2)


def cost_of(problem: Problem) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cost at z [draws, samples, items, L + d]; its mean over z is the bound's share."""
    labels, items = len(problem.log_prior), len(problem.images)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        inside = draws_last(z)  # [samples, items, L + d, draws]
        label, eps = inside[..., :labels, :], inside[..., labels:, :]
        style, log_scale = inner(params, z)
        # log q(s|x, y) - log p(s): the constants cancel.
        gain = (0.5 * (style.square() - eps.square()) - log_scale).sum(-2)
        gain = gain - problem.log_likelihood(label, style) - problem.log_prior.to(z) @ label
        log_q = (params[..., 0].log_softmax(-1) * z[..., :labels]).sum(-1)
        return (draws_first(gain) + problem.classified.to(z) * log_q) / items

    return cost


def value_of(problem: Problem, rule: Rule) -> Callable[[Tensor], Tensor]:
    """Return the objective of params [items, L, 1 + 2 d], its expectations over eps by ``rule``."""
    eps, weights = rule
    labels = len(problem.log_prior)
    hidden = (problem.known < 0)[:, None]
    truth = F.one_hot(problem.known.clamp(min=0), labels).double()

    def expected(k: int, style: Tensor) -> Tensor:
        """Return E log p(x | y = k, s), [items], of the style at every node, [items, d, n]."""
        label = F.one_hot(torch.tensor(k), labels).double()[:, None].expand(-1, len(weights))
        return problem.log_likelihood(label, style) @ weights

    def value(params: Tensor) -> Tensor:
        dimensions = (params.shape[-1] - 1) // 2
        log_q = params[..., 0].log_softmax(-1)  # [items, L]
        belief = torch.where(hidden, log_q.exp(), truth)
        mean, log_scale = params[..., 1 : 1 + dimensions], params[..., 1 + dimensions :]
        divergence = 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale  # of the style
        bounds = divergence.sum(-1) - problem.log_prior  # L(x, y) without its reconstruction
        style = mean[..., None] + log_scale.exp()[..., None] * eps  # [items, L, d, n]
        found = [expected(k, style[:, k]) for k in range(labels)]  # one label fills enough memory
        bounds = bounds - torch.stack(found, -1)
        return (belief * (bounds + problem.classified[:, None] * log_q)).sum(-1).mean()

    return value


def gradient_of_value(problem: Problem, rule: Rule) -> Callable[[Tensor], Tensor]:
    """Return the gradient of ``value_of``, image by image so that only one's graph is in memory."""
    items = len(problem.images)
    ones = [
        replace(problem, images=problem.images[i : i + 1], known=problem.known[i : i + 1])
        for i in range(items)
    ]

    def gradient(params: Tensor) -> Tensor:
        found = [gradient_of(value_of(one, rule))(params[i : i + 1]) for i, one in enumerate(ones)]
        return torch.cat(found) / items

    return gradient


def trapezoidal(dimensions: int) -> Rule:
    """Return the product rule of even steps for N(0, I), in 1 or 2 dimensions."""
    step, reach = EVEN[dimensions]
    x = step * torch.arange(-reach, reach + 1, dtype=torch.float64)
    return product_rule(x, (-0.5 * x.square()).exp(), dimensions)


def gauss_hermite(nodes: int, dimensions: int) -> Rule:
    """Return the product Gauss-Hermite rule for N(0, I) with ``nodes`` in each dimension."""
    x, weight = (torch.from_numpy(part) for part in hermegauss(nodes))
    return product_rule(x, weight, dimensions)


def product_rule(x: Tensor, weight: Tensor, dimensions: int) -> Rule:
    """Return every combination of the points of a one-dimensional rule, weights summing to 1."""
    points = torch.cartesian_prod(*[x] * dimensions).reshape(-1, dimensions)
    share = torch.cartesian_prod(*[weight / weight.sum()] * dimensions).reshape(-1, dimensions)
    return points.T.contiguous(), share.prod(-1)
