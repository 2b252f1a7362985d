"""Did a change break it? Every cell of a sweep against a baseline, with one stated error rate.

Bias of cells that promise none, a change of bias of the others, growth of variance: each is
screened on the sweep and confirmed on fresh seeds, and gets a third of the chance of a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchbed.analysis.gate.baseline import Baseline, Reading, cpu_of, read_cell
from benchbed.analysis.gate.cost import judge_cpu, judge_evaluations
from benchbed.analysis.gate.finding import Finding, Outcome
from benchbed.analysis.gate.mean import judge_means
from benchbed.analysis.gate.variance import judge_variances
from benchbed.analysis.summary import pool
from benchbed.analysis.verdict import Verdict, judge
from benchbed.errors import BenchbedError, one_line
from benchbed.records import Blocks, Record

ALPHA, VARIANCE_MARGIN, CPU_MARGIN = 0.01, 1.10, 1.5
FAMILIES = 3  # of tests that share alpha: bias, change of bias, variance
EXACT = ("promise", "evaluations")  # tests without draws
SAME_GRADIENT = 1e-5  # of its length: a baseline keeps seven digits
Groups = Mapping[str, Sequence[Record]]  # the records of each cell, its seeds
Again = Callable[[str], Sequence[Record]]


def gate(
    groups: Groups,
    baseline: Baseline,
    again: Again,
    retime: Again,
    *,
    alpha: float = ALPHA,
    variance_margin: float = VARIANCE_MARGIN,
    cpu_margin: float = CPU_MARGIN,
    cpu: bool = True,
) -> list[Finding]:
    """Return the findings of every cell that is ok, and of what is not there.

    Args:
        groups: the records of each cell, all of them ok; what is not ok, or in the baseline
            alone, is the caller's to tell.
        baseline: what they are held against; a cell that it has not is tested for bias alone.
        again: measures one cell on fresh seeds, 16 times the draws, in float64.
        retime: times one cell, alone.
        alpha: chance that anything fails that is as it was: no bias where none is promised, means
            as in the baseline, no variance past its margin.
        variance_margin: the largest ratio of variances that is let through.
        cpu_margin: the largest ratio of CPU times that is let through.
        cpu: whether times are compared.
    """
    measured = _Again(again, groups)
    timed = _Again(retime, groups)

    def read_again(name: str) -> Reading:
        return read_cell(measured(name))

    now = {name: read_cell(records) for name, records in groups.items()}
    pairs = {name: (now[name], then) for name, then in baseline.cells.items() if name in now}
    level = alpha / FAMILIES
    biases = _biases(groups, now, measured, level)
    # A mean that no bias test can look at, its draws all alike, is held to the baseline's at least.
    unseen = {finding.cell for finding in biases if finding.outcome == "undecided"}
    moving = {
        name: pair for name, pair in pairs.items() if pair[0].unbiased is not True or name in unseen
    }
    findings = [
        Finding(name, "cell", "not compared", "new: the baseline has no such cell")
        for name in now
        if name not in baseline.cells
    ]
    findings += _promises(pairs)
    findings += judge_evaluations(pairs)
    findings += biases
    findings += judge_means(moving, read_again, level=level)
    findings += judge_variances(pairs, read_again, margin=variance_margin, level=level)
    if cpu:
        findings += judge_cpu(pairs, lambda name: cpu_of(timed(name)), margin=cpu_margin)
    lost = measured.failed | timed.failed
    # What could not be seen a second time has not failed; it is not done, either.
    kept = [f for f in findings if f.outcome != "fail" or f.cell not in lost or f.test in EXACT]
    return kept + [Finding(name, "cell", "incomplete", why) for name, why in lost.items()]


class _Again:
    """Measures a cell again, once; where that fails it gives the old records and keeps why."""

    def __init__(self, again: Again, groups: Groups) -> None:
        self.again, self.groups = again, groups
        self.failed: dict[str, str] = {}
        self._done: dict[str, Sequence[Record]] = {}

    def __call__(self, name: str) -> Sequence[Record]:
        """Return fresh records."""
        if name not in self._done:
            try:
                self._done[name] = self.again(name)
            except Exception as error:  # code of your own may do anything
                why = str(error) if isinstance(error, BenchbedError) else one_line(error)
                self.failed[name] = f"it could not be measured again: {why}"
                self._done[name] = self.groups[name]
        return self._done[name]


def _promises(pairs: Mapping[str, tuple[Reading, Reading]]) -> list[Finding]:
    """Fail what promises less than it did: the bias test would look away."""
    findings = []
    for name, (now, then) in pairs.items():
        for what, new, old in (
            ("unbiased", now.unbiased, then.unbiased),
            ("target", now.target, then.target),
        ):
            if new != old and new is not True:
                message = f"{what}: {old} in the baseline and {new} now"
                findings.append(Finding(name, "promise", "fail", message))
        lengths, sizes = (now.gradient_norm, then.gradient_norm), (now.parameters, then.parameters)
        if abs(lengths[0] - lengths[1]) > SAME_GRADIENT * max(lengths) or sizes[0] != sizes[1]:
            message = (
                f"another objective: an exact gradient of length {lengths[0]:.6g} in {sizes[0]} "
                f"parameters now, {lengths[1]:.6g} in {sizes[1]} in the baseline"
            )
            findings.append(Finding(name, "promise", "fail", message))
    return findings


def _biases(
    groups: Groups, now: Mapping[str, Reading], again: Again, level: float
) -> list[Finding]:
    promised = [name for name, reading in now.items() if reading.unbiased is True]
    verdicts = judge(
        {name: _blocks(groups[name]) for name in promised},
        lambda name: _blocks(again(name)),
        certain=[name for name in promised if now[name].certain],
        exact_variance={
            name: found.variance
            for name in promised
            if (found := groups[name][0].exact) is not None and not now[name].tuned
        },
        confirm_level=level,
    )
    return [_of_verdict(name, verdict) for name, verdict in verdicts.items()]


def _blocks(records: Sequence[Record]) -> Blocks:
    return pool([record.blocks for record in records if record.blocks is not None])


def _of_verdict(name: str, verdict: Verdict) -> Finding:
    outcome: Outcome = "pass"
    if verdict.outcome != "unbiased":
        outcome = "fail" if verdict.outcome == "biased" else verdict.outcome
    p = verdict.screen if verdict.confirm != verdict.confirm else verdict.confirm
    return Finding(name, "bias", outcome, verdict.one_line().partition(": ")[2], verdict.bias, p)
