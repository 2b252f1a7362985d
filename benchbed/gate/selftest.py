"""What the gate's verdicts are worth: its false alarms, and its power against planted faults."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from benchbed.analysis.gate.gate import ALPHA
from benchbed.analysis.intervals import LEVEL, Interval
from benchbed.errors import BadArgument
from benchbed.gate.targets import planned_targets
from benchbed.gate.trial import Trial, named, run_trials
from benchbed.store.provenance import provenance
from benchbed.sweep.cells import Cell, expand
from benchbed.sweep.executors import InProcess, processes, stop
from benchbed.sweep.fingerprint import fingerprint_of
from benchbed.sweep.spec import Spec

TOGETHER = 10  # trials, whose CPU times are held against one baseline's
OWN = Path(__file__).with_name("selftest.yaml")  # the sweep that is used where none is named


@dataclass(frozen=True)
class Selftest:
    """Some trials.

    Attributes:
        cells: in the sweep.
        targets: fault -> the cells it was planted in.
        trials: in order of their number.
        alpha: the false alarms that the gate allows itself.
    """

    cells: int
    targets: dict[str, list[str]]
    trials: Sequence[Trial]
    alpha: float

    @property
    def false(self) -> int:
        """How many trials failed although nothing had changed."""
        return sum(bool(trial.false) for trial in self.trials)

    def false_alarms(self) -> Interval:
        """Return the share of such trials with its exact 95 % interval (Clopper and Pearson)."""
        return share(self.false, len(self.trials))

    def most_false(self) -> int:
        """Return how many there may be: more has a chance under 1 % at the gate's own alpha."""
        return int(stats.binom.ppf(0.99, len(self.trials), self.alpha))

    def power(self, fault: str) -> tuple[int, int, Interval]:
        """Return how often a fault was caught, of how many, and the share with its interval."""
        met = [trial.planted[fault] for trial in self.trials if fault in trial.planted]
        caught = sum(bool(failures) for _, failures in met)
        return caught, len(met), share(caught, len(met))

    def sound(self) -> bool:
        """Say whether the false alarms keep their bound."""
        return self.false <= self.most_false()


def share(count: int, of: int) -> Interval:
    """Return a share with its exact interval."""
    if of == 0:
        return Interval(float("nan"), 0.0, 1.0)
    found = stats.binomtest(count, of).proportion_ci(LEVEL, "exact")
    return Interval(count / of, float(found.low), float(found.high))


def selftest(
    spec: Spec,
    *,
    runs: int,
    fault_runs: int,
    jobs: int = 1,
    alpha: float = ALPHA,
    first: int = 0,
    log: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Selftest:
    """Try the gate on a sweep of which nothing has changed, and on one with a planted fault.

    Args:
        spec: the sweep; its seeds are the trials' own.
        runs: trials without a change.
        fault_runs: in how many of them each fault is planted, too.
        jobs: processes.
        alpha: of the gate.
        first: number of the first trial; other numbers are other seeds.
        log: a file of finished trials, a line each: what it holds is not run again.
        progress: told how many trials are done, of how many.

    Raises:
        BadArgument: fewer than one run, or more fault runs than runs.
    """
    if runs < 1 or not 0 <= fault_runs <= runs:
        raise BadArgument(
            f"a selftest needs one run or more, and no more fault runs than runs; got {runs} and "
            f"{fault_runs}"
        )
    cells = named(expand(spec)[0])
    targets = planned_targets(cells, alpha) if fault_runs else {}
    recipe = _recipe(cells, alpha, spec.timing)
    wanted = range(first, first + runs)
    done = {
        trial.number: trial
        for trial in _logged(log, recipe)
        if trial.planted or not targets or trial.number >= first + fault_runs
    }
    todo = [number for number in wanted if number not in done]
    groups = [todo[start : start + TOGETHER] for start in range(0, len(todo), TOGETHER)]
    pool = InProcess() if jobs == 1 else processes(min(jobs, max(1, len(groups))))
    flying: set[Future[list[Trial]]] = set()
    queue = iter(groups)
    work = functools.partial(
        run_trials, cells=cells, targets=targets, before=first + fault_runs, alpha=alpha,
        timing=spec.timing,
    )  # fmt: skip
    try:
        while True:
            for numbers in itertools.islice(queue, (1 if jobs == 1 else 2 * jobs) - len(flying)):
                flying.add(pool.submit(work, numbers))
            if not flying:
                break
            ended, flying = wait(flying, return_when=FIRST_COMPLETED)
            for trial in itertools.chain.from_iterable(future.result() for future in ended):
                done[trial.number] = trial
                _append(log, recipe, trial)
            progress(sum(number in done for number in wanted), runs)
    finally:
        stop(pool)
    return Selftest(len(cells), targets, [done[number] for number in wanted], alpha)


def _recipe(cells: Mapping[str, Cell], alpha: float, timing: int) -> str:
    """Hash what decides a trial, so that a log of other code or settings is passed over.

    The planned cells are left out: they follow from the rest, and trials without faults have none.
    """
    ids = sorted(cell.id for cell in cells.values())
    source = fingerprint_of("", "benchbed.gate.trial")  # and all that it imports
    text = json.dumps([ids, source, alpha, timing, provenance()["processor"]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _logged(log: Path | None, recipe: str) -> Iterator[Trial]:
    if log is None or not log.exists():
        return
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            found = json.loads(line)
            if found.pop("recipe") == recipe:
                yield _trial(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # cut short by a kill: that trial is run again


def _trial(found: dict[str, Any]) -> Trial:
    """Return the trial that ``asdict`` took apart."""
    planted = {
        fault: (cell, tuple((a, b, c) for a, b, c in failures))
        for fault, (cell, failures) in found["planted"].items()
    }
    false = tuple((a, b, c) for a, b, c in found["false"])
    return Trial(int(found["number"]), false, int(found["undecided"]), planted)


def _append(log: Path | None, recipe: str, trial: Trial) -> None:
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"recipe": recipe} | asdict(trial)) + "\n")
