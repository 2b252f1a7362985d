"""Which home-made code stands beside which estimator of benchbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import homemade_bits as bits
import homemade_categories as categories
import homemade_scores as scores
from jobs import Job
from torch import Tensor

from benchbed.catalogue import build_estimator
from benchbed.contracts import Estimator
from benchbed.rng import Noise

Loss = Callable[[Job, Tensor], Tensor]  # (job, leaf [rows, *params]) -> [rows, *items]
ByHand = Callable[[Job, int], Tensor]  # (job, rows) -> gradients [rows, *params]


@dataclass(frozen=True)
class Pair:
    """One estimator from both sides."""

    name: str
    loss: Loss
    by_hand: ByHand | None = None  # on costs that do not depend on the logits besides
    settings: dict[str, Any] = field(default_factory=dict)
    evaluations: int = 1  # of J at once in the home-made code: keeps its batches in memory

    @property
    def label(self) -> str:
        """Name the estimator and what is not its default."""
        return " ".join([self.name, *(f"{key} {value}" for key, value in self.settings.items())])


def tuned(job: Job, name: str, **settings: Any) -> Estimator:
    """Return benchbed's estimator, ready to draw."""
    estimator = build_estimator(name, **settings)
    if estimator.tune:
        return estimator.tune(job.objective, job.params, Noise(81, "tune"))
    return estimator


def pairs(job: Job) -> list[Pair]:
    """Return every estimator that was written by hand for this job."""
    own = bits if job.bits else categories
    # The pilot is no part of an estimate on either side.
    baseline = job.cost(job.sample(4096), job.params).mean(0)
    found = [
        Pair("score_function", scores.score_function, scores.score_function_by_hand),
        Pair("constant_baseline", partial(scores.constant_baseline, baseline=baseline)),
        *(
            Pair(
                "leave_one_out",
                partial(scores.leave_one_out, samples=samples),
                partial(scores.leave_one_out_by_hand, samples=samples),
                {"samples": samples},
                samples,
            )
            for samples in (2, 4)
        ),
        Pair("muprop", scores.muprop),
        Pair("straight_through", own.straight_through),
        Pair("reinmax", own.reinmax),
        Pair("darn", own.darn),
        Pair("gapped_straight_through", own.gapped_straight_through),
        Pair("gumbel_softmax", own.gumbel_softmax),
        Pair("straight_through_gumbel_softmax", own.straight_through_gumbel_softmax),
        Pair("gumbel_rao", own.gumbel_rao, evaluations=own.REPLICATES),
        Pair("rebar", own.rebar),
        Pair(
            "local_expectation",
            own.local_expectation,
            evaluations=job.params.shape[-1],  # d flips, or K categories of one variable
        ),
    ]
    if job.bits:
        found += [
            Pair("arm", bits.arm, bits.arm_by_hand),
            Pair("disarm", bits.disarm, bits.disarm_by_hand),
        ]
    return found
