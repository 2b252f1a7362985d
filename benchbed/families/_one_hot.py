"""One-hot vectors along the categories, draws last, in as few passes over memory as there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchbed.elementwise import indicator

LONG_ROWS = 4096  # numpy copies rows of less than 2,731 numbers before it compares them


def of_interval(u: Tensor, cdf: Tensor) -> Tensor:
    """Return which of the K intervals between K - 1 rising boundaries holds u, [..., K, n].

    Args:
        u: [..., n], in [0, 1).
        cdf: [..., K - 1, n or 1]; a boundary belongs to the interval above it.
    """
    u, cdf = u.detach(), cdf.detach()
    at, categories, n = u.unsqueeze(-2), cdf.shape[-2] + 1, u.shape[-1]
    if torch.compiler.is_compiling() or u.device.type != "cpu":
        ends = torch.zeros_like(cdf[..., :1, :]), torch.ones_like(cdf[..., :1, :])
        low, high = torch.cat((ends[0], cdf), -2), torch.cat((cdf, ends[1]), -2)
        return ((at >= low) & (at < high)).to(cdf.dtype)
    # Whether u is above each boundary, between the ends that it is always, and never, above.
    shape = *u.shape[:-1], categories + 1, n
    if n < LONG_ROWS:
        above = cdf.new_empty(shape)
        above[..., 0, :], above[..., -1, :] = 1, 0
        torch.ge(at, cdf.to(u), out=above[..., 1:-1, :])
        return above[..., :-1, :] - above[..., 1:, :]
    flags = np.empty(shape, np.bool_)
    flags[..., 0, :], flags[..., -1, :] = True, False
    np.greater_equal(at.numpy(), cdf.to(u).numpy(), out=flags[..., 1:-1, :])
    return _numbers(np.not_equal(flags[..., :-1, :], flags[..., 1:, :]), cdf.dtype)


def of_largest(x: Tensor, largest: Tensor) -> Tensor:
    """Return 1 at the first of the largest of ``x`` [..., K, n], which are [..., 1, n]."""
    x, largest = x.detach(), largest.detach()
    plain = torch.compiler.is_compiling() or x.device.type != "cpu"
    if plain or x.shape[-1] < LONG_ROWS:
        hot = indicator(torch.ge, x, largest)
        tied = plain or float(hot.sum(-2).amax()) > 1
    else:
        flags = np.greater_equal(x.numpy(), largest.numpy())
        hot = _numbers(flags, x.dtype)
        tied = int(np.count_nonzero(flags)) > largest.numel()
    return hot * indicator(torch.eq, hot.cumsum(-2), hot.new_ones(())) if tied else hot


def _numbers(flags: npt.NDArray[np.bool_], dtype: torch.dtype) -> Tensor:
    """Return booleans as numbers: torch turns bytes, though not booleans, at memory's speed."""
    return torch.from_numpy(flags.view(np.uint8)).to(dtype)
