"""The bias test over a panel: shared by the quick tier and the long proofs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from panel import blocks_of, estimator, fresh_blocks, objective

from benchbed.analysis.verdict import Verdict, judge
from benchbed.contracts import Estimator
from benchbed.records import Blocks
from benchbed.rng import Noise

SEED = 31


def tuned(where: str, which: str, seed: int) -> Estimator:
    """Build a panel estimator, tuned on its own stream if it can be."""
    method, problem = estimator(which), objective(where)
    if method.tune is None:
        return method
    return method.tune(problem, problem.params.float(), Noise(seed, "tune", which))


def shrunk(method: Estimator, share: float) -> Estimator:
    """Plant a fault: every estimate too small by ``share``."""
    return replace(method, draw=lambda *given: (1 - share) * method.draw(*given))


def judged(draws: Mapping[tuple[str, str], int], shrink: float = 0.0) -> dict[str, Verdict]:
    """Run the bias test on (objective, estimator) cells, all of them in one family.

    Args:
        draws: of each cell's screen.
        shrink: fault planted in every estimator.
    """
    names = {f"{which} on {where}": (where, which) for where, which in draws}
    methods = {
        name: shrunk(tuned(where, which, SEED), shrink) if shrink else tuned(where, which, SEED)
        for name, (where, which) in names.items()
    }
    cells = {
        name: blocks_of(objective(where), methods[name], draws[where, which], SEED)
        for name, (where, which) in names.items()
    }

    def remeasure(name: str) -> Blocks:
        where, which = names[name]
        return fresh_blocks(objective(where), methods[name], draws[where, which], SEED)

    certain = {name for name, (_, which) in names.items() if which == "exact"}
    return judge(cells, remeasure, certain=certain)
