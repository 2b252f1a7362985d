"""The terms of a bound on log p(x), each sampled or in closed form.

Every form of the evidence lower bound is a sum of six logarithms with signs: of p(x | z), p(z),
q(z | x_n), the aggregate q_Z(z) = mean_n q(z | x_n), the product of q_Z's marginals, and p(x). A
sampled term reads them at z_n ~ q(. | x_n); an exact one takes their expectation, a function of the
parameters alone, which costs O(N S) for S values of one image's z where a sum over all images'
latents together would take S^N. Off the corners log q is continued as <z, log pi>, and so are the
logarithms of p(z) and of the marginals' product; q_Z is the mean of what q is there.

Shapes: choices [..., N, d, K, draws] as one-hots, log_pi likewise with draws or 1 at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.contracts import Objective
from benchbed.layout import draws_first, draws_last
from benchbed.objectives._discrete_model import DiscreteModel
from benchbed.objectives._in_range import in_range
from benchbed.objectives._points import gradient_of


class Term(NamedTuple):
    """A weighted sum of logarithms, averaged over images."""

    name: str
    parts: Mapping[str, int]  # which logarithm, and its sign in the NEGATIVE bound
    weight: float = 1.0
    exact: bool = False


def _log_mean(x: Tensor, axis: int) -> Tensor:
    return x.logsumexp(axis) - math.log(x.shape[axis])


def _sampled_likelihood(model: DiscreteModel, choices: Tensor, log_pi: Tensor) -> Tensor:
    del log_pi
    logits = model.pixel_logits(choices)  # [..., N, pixels, draws]
    return (model.x.to(logits)[..., None] * logits - F.softplus(logits)).sum(-2)


def _sampled_prior(model: DiscreteModel, choices: Tensor, log_pi: Tensor) -> Tensor:
    del log_pi
    return (choices * model.log_prior.to(choices)[..., None]).sum((-3, -2))


def _sampled_q(model: DiscreteModel, choices: Tensor, log_pi: Tensor) -> Tensor:
    del model
    return (choices * log_pi).sum((-3, -2))


def _sampled_aggregate(model: DiscreteModel, choices: Tensor, log_pi: Tensor) -> Tensor:
    del model
    each = (choices.unsqueeze(-4) * log_pi.unsqueeze(-5)).sum((-3, -2))  # [..., N, N, draws]
    return _log_mean(each, -2)


def _sampled_factors(model: DiscreteModel, choices: Tensor, log_pi: Tensor) -> Tensor:
    del model
    marginals = _log_mean(log_pi, -4)  # [..., d, K, draws]
    return (choices * marginals.unsqueeze(-4)).sum((-3, -2))


def _sampled_evidence(model: DiscreteModel, choices: Tensor, log_pi: Tensor) -> Tensor:
    del log_pi
    evidence = model.log_evidences.to(choices)[:, None]
    return evidence.expand(*choices.shape[:-3], choices.shape[-1])


def _of_states(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    """Return log q(z | x_n) of every z, [..., N, S, draws]."""
    return model.states.flatten(1).to(log_pi) @ log_pi.flatten(-3, -2)


def _expected_likelihood(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    table = model.log_likelihoods.to(log_pi)[..., None]
    return (_of_states(model, log_pi).exp() * table).sum(-2)


def _expected_prior(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    return (log_pi.exp() * model.log_prior.to(log_pi)[..., None]).sum((-3, -2))


def _expected_q(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    del model
    return (log_pi.exp() * log_pi).sum((-3, -2))


def _expected_aggregate(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    aggregate = _log_mean(_of_states(model, log_pi), -3)  # [..., S, draws]
    return (aggregate.exp() * aggregate).sum(-2, keepdim=True)


def _expected_factors(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    del model
    marginals = _log_mean(log_pi, -4)
    return (marginals.exp() * marginals).sum((-3, -2)).unsqueeze(-2)


def _expected_evidence(model: DiscreteModel, log_pi: Tensor) -> Tensor:
    return model.log_evidences.to(log_pi)[:, None]


# Each gives [..., N or 1, draws or 1]: averaged over the images afterwards.
SAMPLED: Mapping[str, Callable[[DiscreteModel, Tensor, Tensor], Tensor]] = {
    "likelihood": _sampled_likelihood,
    "prior": _sampled_prior,
    "q": _sampled_q,
    "aggregate": _sampled_aggregate,
    "factors": _sampled_factors,
    "evidence": _sampled_evidence,
}
EXPECTED: Mapping[str, Callable[[DiscreteModel, Tensor], Tensor]] = {
    "likelihood": _expected_likelihood,
    "prior": _expected_prior,
    "q": _expected_q,
    "aggregate": _expected_aggregate,
    "factors": _expected_factors,
    "evidence": _expected_evidence,
}


def bound(
    name: str, model: DiscreteModel, terms: list[Term], params: Tensor, citation: str
) -> Objective:
    """Return the objective at ``params`` whose cost is the sum of ``terms``.

    Those in closed form are counted from what they are at ``params``: a constant there would be
    multiplied by the score, and be the noise that they are written in closed form to be rid of.
    """
    offset = float(value_of(model, [term for term in terms if term.exact])(params))
    value = value_of(model, terms, offset)
    return in_range(
        Objective(
            name,
            model.family,
            params,
            cost_of(model, terms, offset),
            value,
            gradient_of(value),
            direct=True,
            citation=citation,
        )
    )


def cost_of(
    model: DiscreteModel, terms: Sequence[Term], offset: float = 0.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cost of z [draws, samples, N * d] or [draws, samples, N * d, K] and params.

    ``offset`` is taken off it.
    """
    images = len(model.x)

    def cost(z: Tensor, params: Tensor) -> Tensor:
        choices = torch.unflatten(model.choices(z), -3, (images, -1))
        log_pi = _log_pi(model, params, own_draws=params.ndim > model.family.params_axes)
        read: dict[tuple[str, bool], Tensor] = {}
        total = choices.new_full((*choices.shape[:-4], choices.shape[-1]), -offset)
        for term in terms:
            for part, sign in term.parts.items():
                if (part, term.exact) not in read:
                    each = (
                        EXPECTED[part](model, log_pi)
                        if term.exact
                        else SAMPLED[part](model, choices, log_pi)
                    )
                    read[part, term.exact] = each.mean(-2)
                total = total + sign * term.weight * read[part, term.exact]
        return draws_first(total)

    return cost


def value_of(
    model: DiscreteModel, terms: Sequence[Term], offset: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """Return the expectation of the cost as a function of params."""

    def value(params: Tensor) -> Tensor:
        log_pi = _log_pi(model, params, own_draws=False)
        total = log_pi.new_full((), -offset)
        for term in terms:
            for part, sign in term.parts.items():
                total = total + sign * term.weight * EXPECTED[part](model, log_pi).mean()
        return total

    return value


def _log_pi(model: DiscreteModel, params: Tensor, *, own_draws: bool) -> Tensor:
    """Return log q of params [N * d(, K)] or [draws, samples, ...] as [..., N, d, K, draws]."""
    inner = draws_last(params) if own_draws else params[..., None]
    return torch.unflatten(model.log_pi(inner), -3, (len(model.x), -1))
