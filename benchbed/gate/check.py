"""A sweep's folder against a baseline file: findings, and one exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchbed.analysis.gate.baseline import Baseline
from benchbed.analysis.gate.finding import Finding
from benchbed.analysis.gate.gate import ALPHA, CPU_MARGIN, VARIANCE_MARGIN, gate
from benchbed.analysis.gate.report import Report
from benchbed.errors import BadArgument, BenchbedError, UnusableResults
from benchbed.gate.load import Sweep, load_sweep
from benchbed.gate.remeasure import again, cell_of, foreign, retime
from benchbed.gate.save import read_baseline
from benchbed.records import Record
from benchbed.store.provenance import provenance
from benchbed.sweep.cells import check_source
from benchbed.sweep.fingerprint import foundations
from benchbed.sweep.spec import Spec


def check_results(
    results: Path,
    baseline: Path,
    *,
    spec: Spec | None = None,
    alpha: float = ALPHA,
    variance_margin: float = VARIANCE_MARGIN,
    cpu_margin: float = CPU_MARGIN,
    cpu: bool = True,
    strict: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Hold the sweep in the folder ``results`` against the file ``baseline``.

    Args:
        results: what ``benchbed run`` filled.
        baseline: what ``benchbed baseline save`` wrote.
        spec: names the code of your own that flagged cells may import to be measured again; a
            results folder alone never makes anything be imported.
        alpha: chance that anything fails that is as it was.
        variance_margin: the largest ratio of variances that is let through.
        cpu_margin: the largest ratio of CPU times that is let through.
        cpu: whether times are compared, where the processor is the baseline's.
        strict: whether what draws did not decide counts against the sweep.
        progress: told the name of each cell that is measured again.

    Raises:
        UnusableResults: the folder or the file cannot be used, or they do not compare.
    """
    if not 0 < alpha < 1:
        raise BadArgument(f"alpha is a chance between 0 and 1, got {alpha}; such as 0.01")
    for name, margin in (("variance", variance_margin), ("CPU", cpu_margin)):
        if not margin >= 1:
            raise BadArgument(f"a {name} margin is a ratio of at least 1, got {margin}")
    held = read_baseline(baseline)
    sweep = load_sweep(results)
    _check_settings(sweep, held, results, baseline)
    notes = []
    there, here = held.surroundings.get("processor"), provenance()["processor"]
    comparable = sweep.processor == there == here and sweep.settings["device"] == "cpu"
    if cpu and not comparable:
        notes.append(
            "times are not compared, which needs one processor: the sweep has "
            f"{sweep.processor or 'several, or none known'}, the baseline {there}, this machine "
            f"{here}, and the device is {sweep.settings['device']}"
        )
    stale = _stale(sweep)
    remeasure = _Remeasure(sweep, spec, results, progress)
    findings = [
        *sweep.findings,
        *_vanished(sweep, held),
        *stale,
        *gate(
            sweep.groups, held, remeasure.again, remeasure.retime, alpha=alpha,
            variance_margin=variance_margin, cpu_margin=cpu_margin, cpu=cpu and comparable,
        ),
    ]  # fmt: skip
    return Report(sweep.name, str(baseline), findings, alpha, notes, strict)


@dataclass(frozen=True)
class _Remeasure:
    sweep: Sweep
    spec: Spec | None
    results: Path
    progress: Callable[[str], None]

    def again(self, name: str) -> list[Record]:
        """Measure a cell on fresh seeds."""
        return again(self._allowed(name))

    def retime(self, name: str) -> list[Record]:
        """Time a cell again."""
        return retime(self._allowed(name))

    def _allowed(self, name: str) -> list[Record]:
        """Return the records of a cell whose code may be imported."""
        records = self.sweep.groups[name]
        entries = (*self.spec.objectives, *self.spec.estimators) if self.spec else ()
        named = {str(entry["name"]) for entry in entries}
        unnamed = [own for own in foreign(records) if own not in named]
        if unnamed:
            raise BadArgument(
                f"{name} must be measured again, and {self.results} does not say that "
                f"{unnamed[0]} may be imported; name the sweep file that does with --spec SPEC"
            )
        self.progress(name)
        return records


def _check_settings(sweep: Sweep, held: Baseline, results: Path, baseline: Path) -> None:
    for key, value in sweep.settings.items():
        if held.settings.get(key) != value:
            raise UnusableResults(
                f"{results} has {key} {value} and {baseline} {held.settings.get(key)}: they do not "
                "compare; run the sweep as the baseline was, or save another baseline"
            )


def _stale(sweep: Sweep) -> list[Finding]:
    """Tell the cells that were measured with other source than is here; nothing is imported."""
    findings = []
    measurement = foundations()["measurement"]
    for name, records in sweep.groups.items():
        try:
            check_source(cell_of(records[0]))
            if records[0].address["foundations"]["measurement"] != measurement:
                raise BadArgument(f"{name}: benchbed measures otherwise now; run the sweep again")
        except BenchbedError as error:
            findings.append(Finding(name, "cell", "incomplete", str(error)))
    return findings


def _vanished(sweep: Sweep, held: Baseline) -> list[Finding]:
    told = {finding.cell for finding in sweep.findings}
    return [
        Finding(name, "cell", "incomplete", "in the baseline, and not in this sweep")
        for name in held.cells
        if name not in sweep.groups and name not in told
    ]
