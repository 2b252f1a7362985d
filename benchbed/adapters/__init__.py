"""Code that people already have, as estimators: differentiable samplers and surrogate losses.

Both run under a forked and seeded copy of torch's and numpy's global generators, so that code which
draws from them is reproducible here and leaves no trace. torch's CPU generator keeps 32 bits of its
seed: over very many chunks two can share their numbers, which benchbed's own noise never does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchbed.adapters.sampler import from_sampler
from benchbed.adapters.surrogate import from_surrogate
from benchbed.contracts import Estimator
from benchbed.errors import BadArgument

__all__ = ["adapted", "from_sampler", "from_surrogate"]

ADAPTERS: Mapping[str, Callable[..., Estimator]] = {
    "sampler": from_sampler,
    "surrogate": from_surrogate,
}


def adapted(
    kind: str, name: str, function: Callable[..., Any], settings: Mapping[str, Any]
) -> Estimator:
    """Return the estimator that ``function`` is as a ``kind``: sampler or surrogate."""
    if kind not in ADAPTERS:
        raise BadArgument(
            f"estimator {name} cannot be taken as {kind!r}; write as: sampler for "
            "f(logits, ...) -> z, or as: surrogate for f(logits, cost, ...) -> loss"
        )
    return ADAPTERS[kind](function, name=name, **settings)
