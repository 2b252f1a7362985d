"""A category z, and normal noise for the z' below it: params ``[*items, K, 1 + 2 d]``.

z ~ Cat(softmax(logits)) and z' | z ~ N(mean[z], diag(scale[z]^2)). A row of params holds a
category's logit, then the d means and the d LOG-scales of z' given it. The event ``[..., K + d]``
is z one-hot, then eps ~ N(0, I); z' itself is left to the cost, which calls ``inner``: z' =
mean[z] + scale[z] * eps. So the law depends on the logits alone, the means and log-scales are
reached by the direct term, which is reparameterization, and every score-function kind becomes a
discrete estimator outside with reparameterization inside. In the usual event (z, z') the score of
z' would be there as well, and with it its variance.

Off the corners ``inner`` is linear in z for the mean and for the log-scale: a relaxed z has a z' of
its own, as in the Gumbel-Softmax estimator of a nested expectation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbed.arguments import at_least
from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.families.categorical import CATEGORICAL, softmax_vjp
from benchbed.families.categorical import quantile as categories_at
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise

HIDDEN = -1  # in ``observed``: the value of z is not known


def inner(params: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return z' and its log-scale given z, each draws-last: [samples, *items, d, draws].

    Args:
        params: [*items, K, 1 + 2 d], or with the axes [draws, samples] of ``z`` in front.
        z: [draws, samples, *items, K + d], draws first.
    """
    categories, width = params.shape[-2:]
    both = draws_last(z)
    hot, eps = both[..., :categories, :], both[..., categories:, :]
    if params.ndim > z.ndim:  # params of every draw
        table = draws_last(params)[..., 1:, :]  # [samples, *items, K, 2 d, draws]
        chosen = (table * hot.unsqueeze(-2)).sum(-3)
    else:
        chosen = params[..., 1:].mT @ hot
    half = (width - 1) // 2
    mean, log_scale = chosen[..., :half, :], chosen[..., half:, :]
    return mean + log_scale.exp() * eps, log_scale


def nested(categories: int, dimensions: int, observed: Tensor | None = None) -> Family:
    """Return the law of one category and ``dimensions`` standard normals beside it.

    Args:
        categories: K, values of z.
        dimensions: d, of z'.
        observed: int64 ``[*items]``, the value of z where it is known (labelled data) and
            ``HIDDEN``, -1, where it is not. A known z is what it is: its score is 0, its
            log-probability that of eps alone, and its uniform is not looked at. None: all hidden.

    Raises:
        BadArgument: too few categories or dimensions, or a value that is none.
    """
    K = at_least("nested", "categories", categories, 2)
    at_least("nested", "dimensions", dimensions, 1)
    known = None if observed is None else _checked(observed, K)
    seen = None if known is None else known >= 0  # [*items]
    given = None if known is None else _one_hot(known, K)  # [*items, K], 0 where hidden

    def logits_of(params: Tensor) -> Tensor:
        """Return logits [..., 1, K], as of a categorical of one variable."""
        if params.shape[-2:] != (K, 1 + 2 * dimensions):
            raise BadArgument(
                f"nested needs params of {K} categories by 1 + 2 * {dimensions}: logit, means and "
                f"log-scales; got {list(params.shape[-2:])}"
            )
        return params[..., 0].unsqueeze(-2)

    def as_observed(hot: Tensor) -> Tensor:
        """Put the known values into draws-last one-hots [..., *items, K, n]."""
        if seen is None or given is None:
            return hot
        mask = seen[..., None, None].to(hot.device)
        return torch.where(mask, given[..., None].to(hot), hot)

    def unknown(x: Tensor) -> Tensor:
        """Set draws-first ``x`` [..., *items, K] to 0 where z is known."""
        return x if seen is None else x * (~seen)[..., None].to(x)

    def log_pi(params: Tensor) -> Tensor:
        """Return log P(z) [..., K]: of a known z, 0 at its value and -inf elsewhere."""
        free = logits_of(params).squeeze(-2).log_softmax(-1)
        if seen is None or given is None:
            return free
        return torch.where(seen[..., None].to(free.device), given.to(free).log(), free)

    def uniforms(params: Tensor) -> tuple[int, ...]:
        items = tuple(params.shape[:-2])
        if known is not None and items != tuple(known.shape):
            raise BadArgument(
                f"nested was given the observed values of items {list(known.shape)} and params of "
                f"items {list(items)}; observed needs one value an item, {HIDDEN} where hidden"
            )
        return (*items, 1 + dimensions)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        hot = draws_last(categories_at(logits_of(params), u[..., :1])).squeeze(-3)
        eps = (2 * draws_last(u)[..., 1:, :] - 1).erfinv_().mul_(math.sqrt(2))
        return draws_first(torch.cat((as_observed(hot), eps), -2))

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        hot, eps = z[..., :K], z[..., K:]
        log_p = log_pi(params)
        outer = torch.where(hot == 0, torch.zeros_like(log_p), hot * log_p).sum(-1)
        return outer - 0.5 * (eps.square() + math.log(2 * math.pi)).sum(-1)

    def score(params: Tensor, z: Tensor) -> Tensor:
        """Return d log q / d params: z - pi at the logits, 0 at the means and log-scales."""
        return beside_zeros(unknown(z[..., :K] - logits_of(params).squeeze(-2).softmax(-1)))

    def beside_zeros(of_logits: Tensor) -> Tensor:
        """Return [draws, ..., K] as [draws, ..., K, 1 + 2 d], 0 at means and log-scales."""
        column = draws_last(of_logits).unsqueeze(-2)
        rest = column.new_zeros(*column.shape[:-2], 2 * dimensions, column.shape[-1])
        return draws_first(torch.cat((column, rest), -2))

    def mean(params: Tensor) -> Tensor:
        pi = log_pi(params).exp()
        return torch.cat((pi, pi.new_zeros(*pi.shape[:-1], dimensions)), -1)

    def mean_vjp(mean: Tensor, slope: Tensor) -> Tensor:
        pi, slope = mean[..., :K], slope[..., :K]
        return beside_zeros(unknown(softmax_vjp(pi.expand_as(slope), slope)))

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        """Return the Gumbel-Softmax sample of z beside eps, which has no derivative."""
        items = uniforms(params)[:-1]
        found = CATEGORICAL.path(logits_of(params), draws, samples, temperature, noise)
        eps = draws_last(noise.normal(draws, samples, *items, dimensions))
        hard, soft = (
            draws_first(torch.cat((as_observed(draws_last(x).squeeze(-3)), eps), -2))
            for x in (found.hard, found.soft)
        )

        def vjp(slope: Tensor) -> Tensor:
            pulled = found.vjp(slope[..., :K].unsqueeze(-2)).squeeze(-2)
            return beside_zeros(unknown(pulled))

        return Path(hard, soft, vjp)

    return Family(
        name="nested",
        params_axes=2,
        event_axes=1,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=False,
        mean_vjp=mean_vjp,
        uniforms=uniforms,
        quantile=quantile,
    )


def _checked(observed: Tensor, categories: int) -> Tensor:
    whole = isinstance(observed, Tensor) and observed.dtype == torch.int64
    if not whole or not ((observed >= HIDDEN) & (observed < categories)).all():
        found = observed.tolist() if isinstance(observed, Tensor) else observed
        raise BadArgument(
            f"nested needs observed: an int64 tensor of values from 0 to {categories - 1}, "
            f"{HIDDEN} where z is hidden, got {found!r}"
        )
    return observed


def _one_hot(known: Tensor, categories: int) -> Tensor:
    shown = torch.nn.functional.one_hot(known.clamp(min=0), categories)
    return (shown * (known >= 0)[..., None]).double()
