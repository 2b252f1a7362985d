"""The bias test over a panel: shared by the quick tier and the long proofs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from panel import blocks_of, fresh_blocks, objective, ready

from benchbed.analysis.bias import never_varied
from benchbed.analysis.verdict import Verdict, judge
from benchbed.contracts import Estimator
from benchbed.measurement.exact_moments import exact_moments
from benchbed.records import Blocks

SEED = 31


def shrunk(method: Estimator, share: float) -> Estimator:
    """Plant a fault: every estimate too small by ``share``."""
    return replace(method, draw=lambda *given: (1 - share) * method.draw(*given))


def has_no_variance(where: str, which: str) -> bool:
    """Say whether an estimator, marginalized, shows no variance at all on an objective."""
    found = exact_moments(objective(where), ready(where, which))
    return found is not None and bool(found.variance.sum() <= 1e-20 * (found.mean**2).sum())


def judged(draws: Mapping[tuple[str, str], int], shrink: float = 0.0) -> dict[str, Verdict]:
    """Run the bias test on (objective, estimator) cells, all of them in one family.

    Args:
        draws: of each cell's screen.
        shrink: fault planted in every estimator.
    """
    names = {f"{which} on {where}": (where, which) for where, which in draws}
    methods = {
        name: shrunk(ready(where, which), shrink) if shrink else ready(where, which)
        for name, (where, which) in names.items()
    }
    cells = {
        name: blocks_of(objective(where), methods[name], draws[where, which], SEED)
        for name, (where, which) in names.items()
    }

    def remeasure(name: str) -> Blocks:
        where, which = names[name]
        return fresh_blocks(objective(where), methods[name], draws[where, which], SEED)

    certain = {
        name
        for name, (where, which) in names.items()
        if never_varied(cells[name]) and has_no_variance(where, which)
    }
    return judge(cells, remeasure, certain=certain)
