"""Draws-last memory: logical shape ``[draws, ...]``, laid out with draws fastest.

Kernels that reduce or normalize over a short axis (ten categories, twenty bits) run many times
faster when the long axis of draws is the contiguous one. Everything public speaks the logical
shape; kernels take ``draws_last`` of it, work on the contiguous tensor and give it back.
"""

from __future__ import annotations

from torch import Tensor


def draws_last(x: Tensor) -> Tensor:
    """View ``[draws, ...]`` as ``[..., draws]``; contiguous where benchbed laid it out."""
    return x.movedim(0, -1)


def draws_first(x: Tensor) -> Tensor:
    """View ``[..., draws]`` as ``[draws, ...]``."""
    return x.movedim(-1, 0)


def compact(x: Tensor) -> Tensor:
    """Return ``x`` laid out draws-last; no copy where it already is."""
    return draws_first(draws_last(x).contiguous())


def mean_over_samples(x: Tensor) -> Tensor:
    """Average ``[draws, samples, ...]`` over its samples, the layout kept."""
    if x.shape[1] == 1:
        return x[:, 0]
    return draws_first(draws_last(x).mean(0))


def sum_over_samples(x: Tensor) -> Tensor:
    """Add ``[draws, samples, ...]`` up over its samples, the layout kept."""
    return x[:, 0] if x.shape[1] == 1 else draws_first(draws_last(x).sum(0))


def linear(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply ``matrix`` [out, in] (or a vector [in]) to the last axis of ``x`` [draws, ..., in].

    A vector gives ``[draws, ...]``, a matrix ``[draws, ..., out]``, both draws-last.
    """
    return draws_first(matrix.to(x) @ draws_last(x))
