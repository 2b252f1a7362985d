"""What the objectives with a prior of their own share: a decoder, its data and starting points."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbed.arguments import at_least, finite_number
from benchbed.contracts import Family
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last, linear
from benchbed.objectives._digits_model import DigitsModel
from benchbed.rng import Noise

PIXELS = 5  # of one data point of a toy
LISTS = "lists the values of one data point's z"
LogLikelihood = Callable[[Tensor], Tensor]  # flat z [draws, ..., items, n] -> [draws, ..., items]


class Decoder(NamedTuple):
    """Binary pixels given z, logistic: p(x_j = 1 | z) = sigmoid(matrix_j . z + start_j)."""

    matrix: Tensor  # [PIXELS, inputs]
    start: Tensor  # [PIXELS]
    x: Tensor  # [items, PIXELS], of 0 and 1; of a chain [items, steps, PIXELS]

    def log_likelihood(self, flat: Tensor) -> Tensor:
        """Return log p(x | z) for flat z [draws, ..., items, inputs], or of every step."""
        logits = draws_last(linear(self.matrix, flat)) + self.start.to(flat)[:, None]
        return draws_first(_log_bernoulli(logits, self.x.to(flat)[..., None]))


def decoder_of(truth: Tensor, noise: Noise) -> Decoder:
    """Return a decoder with seeded weights, and the pixels it drew at ``truth`` [..., inputs]."""
    matrix = noise.normal(PIXELS, truth.shape[-1]).contiguous()
    start = noise.normal(PIXELS).contiguous()
    seen = noise.uniform(*truth.shape[:-1], PIXELS) < (truth @ matrix.T + start).sigmoid()
    return Decoder(matrix, start, seen.to(truth))


def digits_likelihood(model: DigitsModel, batch: Tensor) -> LogLikelihood:
    """Return log p(x | z) of the digits ``batch`` [items, 64], z flat."""

    def log_likelihood(flat: Tensor) -> Tensor:
        logits = model.decode(draws_last(flat))  # [samples, items, 64, n]
        return draws_first(_log_bernoulli(logits, batch.to(flat)[..., None]))

    return log_likelihood


def _log_bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """Return log p(x) of logits [..., items, pixels, n], summed over the pixels."""
    return (logits * x - F.softplus(logits)).sum(-2)


def every_state(family: Family, origin: Tensor) -> Tensor:
    """Return all z of one item of params ``origin``, [states, *event]."""
    assert family.states is not None
    assert family.enumerate is not None
    return family.enumerate(origin, torch.arange(family.states(origin)))


def table_of(log_likelihood: LogLikelihood, every: Tensor, items: int) -> Tensor:
    """Return log p(x_i | z) of every data point at every z [states, ...], [items, states]."""
    flat = every.reshape(len(every), 1, 1, -1)  # one draw of each state
    found = log_likelihood(flat.expand(-1, 1, items, -1))  # [states, 1, items]
    return found[:, 0].T.contiguous()


def drawn(family: Family, params: Tensor, noise: Noise) -> Tensor:
    """Return one z of each item, [*items, *event]."""
    return family.sample(params, 1, 1, noise)[0, 0].contiguous()


def apart(name: str, closest: Tensor, distance: float, noise: Noise) -> Tensor:
    """Return ``closest`` moved by distance / 2 times seeded normal numbers."""
    if not finite_number(name, "distance", distance) >= 0:
        raise BadArgument(f"{name} needs a distance >= 0, got {distance}; 0 is the closest q")
    return (closest + 0.5 * distance * noise.child("step").normal(*closest.shape)).contiguous()


def check_sizes(name: str, data: str, items: int, **sizes: float | None) -> None:
    """Refuse unknown data, no items, or the toy's settings together with the digits.

    Args:
        name: of the objective.
        data: ``toy`` or ``digits``.
        items: data points.
        sizes: settings of the toy alone, None where they were not given.
    """
    if data not in ("toy", "digits"):
        raise BadArgument(f"{name} needs data: toy or digits, got '{data}'")
    at_least(name, "items", items, 1)
    for what, given in sizes.items():
        if data == "digits" and given is not None:
            raise BadArgument(
                f"{name} on digits takes its {what} from the model, got {what} {given}; "
                "leave it out, or use data: toy"
            )
