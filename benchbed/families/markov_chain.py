"""A Markov chain: z is the one-hot states of T steps, params the logits of its start and moves.

The numbers of states K_1 .. K_T may differ from step to step. params are flat, ``[*items, n]``:
K_1 logits of the first state, then the logits of the moves, row by row, a row for each state that
is left: ONE table [K, K] for all steps (``shared``), or a table [K_t, K_{t+1}] for each of the
T - 1 steps. z is ``[..., *items, T, K]``, K the largest K_t, with zeros where a step has fewer.

log q(z) = <z_1, log pi> + sum_t z_t^T log P_t z_{t+1}, and off the corners this multilinear form.
All sums over the K_1 ... K_T paths are recursions over the steps: O(T K^2).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchbed.arguments import at_least, flag
from benchbed.contracts import Family, Path
from benchbed.errors import BadArgument
from benchbed.layout import draws_first, draws_last
from benchbed.rng import Noise

NAME = "markov_chain"


class Parts(NamedTuple):
    """Flat params by their names."""

    start: Tensor  # logits of the first state, [..., K_1]
    moves: tuple[Tensor, ...]  # logits of step t + 1 given step t, T - 1 of [..., K_t, K_{t+1}]


def size(states: tuple[int, ...], shared: bool) -> int:
    """Return n, the number of parameters of one item."""
    pairs = list(itertools.pairwise(states))
    return states[0] + sum(a * b for a, b in (pairs[:1] if shared else pairs))


def unpack(params: Tensor, states: tuple[int, ...], shared: bool) -> Parts:
    """Name the parts of params [..., n]: views. A shared table is repeated T - 1 times."""
    first, steps = states[0], len(states)
    if shared:
        table = torch.unflatten(params[..., first:], -1, (first, first)) if steps > 1 else params
        return Parts(params[..., :first], (table,) * (steps - 1))
    pairs = list(itertools.pairwise(states))
    # One split, whose derivative is one concatenation: T slices would each fill all n with zeros.
    flat = torch.split(params, [first, *(here * there for here, there in pairs)], -1)
    moves = (torch.unflatten(x, -1, pair) for x, pair in zip(flat[1:], pairs, strict=True))
    return Parts(flat[0], tuple(moves))


def marginals(parts: Parts) -> list[Tensor]:
    """Return P(z_t = k) of every step, T of [..., K_t], by the forward recursion."""
    found = [parts.start.softmax(-1)]
    for move in parts.moves:
        found.append((found[-1].unsqueeze(-2) @ move.softmax(-1)).squeeze(-2))
    return found


def markov_chain(states: tuple[int, ...], shared: bool = False) -> Family:
    """Return the law of a chain of ``len(states)`` steps.

    Args:
        states: K_t, the number of states of every step.
        shared: one table of moves for all steps; needs the same K_t everywhere.
    """
    flag(NAME, "shared", shared)
    steps = at_least(NAME, "number of steps", len(states), 1, "; such as states (3, 3, 3)")
    for number in states:
        at_least(NAME, "number of states", number, 1, "; such as states (3, 3, 3)")
    if shared and len(set(states)) > 1:
        raise BadArgument(
            f"{NAME} cannot share one table between {list(states)} states; "
            "use shared: false, or the same number at every step"
        )
    widest, count = max(states), size(states, shared)

    def parts_of(params: Tensor) -> Parts:
        if params.shape[-1] != count:
            raise BadArgument(
                f"{NAME} of {steps} steps has {count} parameters an item, got params "
                f"{list(params.shape)}"
            )
        return unpack(params, states, shared)

    def one_hot(z: Tensor, t: int) -> Tensor:
        return z[..., t, : states[t]]

    def once(tables: tuple[Tensor, ...], function: str) -> list[Tensor]:
        """Apply a softmax to every table along its rows, to a shared one only once."""
        if shared and tables:
            return [getattr(tables[0], function)(-1)] * len(tables)
        return [getattr(table, function)(-1) for table in tables]

    def sample(params: Tensor, draws: int, samples: int, noise: Noise) -> Tensor:
        return quantile(params, noise.uniform(draws, samples, *uniforms(params)))

    def uniforms(params: Tensor) -> tuple[int, ...]:
        """Return [*items, T]: one uniform a step."""
        return (*params.shape[:-1], steps)

    def quantile(params: Tensor, u: Tensor) -> Tensor:
        """Return the path whose every step the inverse CDF gives at its own u, given the last."""
        lead = params.ndim == u.ndim  # params of every draw
        u = draws_last(u)  # [samples, *items, T, n]
        start, moves = parts_of(params)
        z = u.new_zeros(*u.shape[:-2], steps, widest, u.shape[-1], dtype=params.dtype)
        row = _boundaries(start.softmax(-1))  # [..., K - 1]
        row = draws_last(row) if lead else row[..., None]
        tables = [_boundaries(table) for table in once(moves, "softmax")]
        for t in range(steps):
            _place(z[..., t, : states[t], :], u[..., t, :], row)
            if t < steps - 1:  # the row of the state just left, [samples, *items, K - 1, n]
                left = z[..., t, : states[t], :]
                if lead:
                    row = (left.unsqueeze(-2) * draws_last(tables[t])).sum(-3)
                else:
                    row = tables[t].mT @ left  # z is one-hot: nothing is rounded
        return draws_first(z)

    def log_prob(params: Tensor, z: Tensor) -> Tensor:
        start, moves = parts_of(params)
        total = (one_hot(z, 0) * start.log_softmax(-1)).sum(-1)
        for t, table in enumerate(once(moves, "log_softmax")):
            onward = (one_hot(z, t).unsqueeze(-1) * table).sum(-2)
            total = total + (onward * one_hot(z, t + 1)).sum(-1)
        return total

    def score(params: Tensor, z: Tensor) -> Tensor:
        """Return moves counted minus moves expected from where z was, [draws, ..., *items, n]."""
        start, moves = parts_of(params)
        found = [draws_last(one_hot(z, 0) - start.softmax(-1))]
        total: Tensor | None = None
        for t, table in enumerate(once(moves, "softmax")):
            here = one_hot(z, t).unsqueeze(-1) * (one_hot(z, t + 1).unsqueeze(-2) - table)
            if shared:
                total = here if total is None else total.add_(here)
            else:
                found.append(draws_last(here.flatten(-2)))
        if total is not None:
            found.append(draws_last(total.flatten(-2)))
        return draws_first(torch.cat(found, -2))

    def mean(params: Tensor) -> Tensor:
        """Return P(z_t = k), [*items, T, K], 0 at the states that a step does not have."""
        each = marginals(parts_of(params))
        padded = [torch.nn.functional.pad(p, (0, widest - p.shape[-1])) for p in each]
        return torch.stack(padded, -2)

    def path(params: Tensor, draws: int, samples: int, temperature: float, noise: Noise) -> Path:
        del params, draws, samples, temperature, noise
        raise BadArgument(
            f"{NAME} latents have no relaxed or differentiable sample; "
            "use score_function, leave_one_out or unordered_set"
        )

    def state_count(params: Tensor) -> int:
        del params
        return math.prod(states)

    def enumerate_states(params: Tensor, index: Tensor) -> Tensor:
        """Return the paths numbered ``index`` [n], first step fastest: [n, T, K]."""
        z = params.new_zeros(len(index), steps, widest)
        for t, number in enumerate(states):
            z[:, t].scatter_(1, (index % number)[:, None], 1.0)
            index = index // number
        return z

    return Family(
        name=NAME,
        params_axes=1,
        event_axes=2,
        sample=sample,
        log_prob=log_prob,
        score=score,
        mean=mean,
        path=path,
        exact_path=False,
        states=state_count,
        enumerate=enumerate_states,
        uniforms=uniforms,
        quantile=quantile,
    )


def _boundaries(probs: Tensor) -> Tensor:
    """Return the inner boundaries of the inverse CDF, never decreasing: [..., K - 1]."""
    return probs.cumsum(-1).cummax(-1).values[..., :-1]


def _place(z: Tensor, u: Tensor, row: Tensor) -> None:
    """Write into z [..., K, n] the one-hot that u [..., n] has between the boundaries ``row``."""
    above = (u.unsqueeze(-2) >= row).to(z.dtype)  # [..., K - 1, n]
    z[..., 0, :] = 1
    z[..., 1:, :] = above
    z[..., :-1, :] -= above
