"""pytest plugin: the gate as a fixture. Loaded by every pytest run, so it imports almost nothing.

    def test_no_regression(benchbed_check):
        benchbed_check("experiments/mine.yaml")

``pytest --benchbed-baseline results/baseline/mine.jsonl`` runs it; without one it is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from benchbed.gate import Report

    Check = Callable[[str | Path], Report]

NO_BASELINE = (
    "no baseline: run pytest with --benchbed-baseline FILE, or set benchbed_baseline in its "
    "configuration; 'benchbed baseline save' writes one"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the fixture needs to know."""
    group = parser.getgroup("benchbed", "gradient estimators")
    group.addoption(
        "--benchbed-baseline",
        metavar="FILE",
        help="what benchbed_check holds sweeps against; without one its tests are skipped",
    )
    group.addoption(
        "--benchbed-jobs", metavar="N", type=int, default=1, help="processes of benchbed_check"
    )
    group.addoption(
        "--benchbed-results",
        metavar="DIR",
        help="folder of all sweeps, kept between runs; without one, a temporary folder",
    )
    parser.addini("benchbed_baseline", "as --benchbed-baseline; relative to this file's folder")


@pytest.fixture
def benchbed_check(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Check:
    """Return a function that runs a sweep file and holds its results against the baseline.

    ``benchbed_check("experiments/mine.yaml")``, the path relative to pytest's root folder, measures
    what the results do not hold yet and returns the gate's report. The test fails, with one line
    for each finding, if anything regressed, failed, is missing or cannot be used; the gate's own
    chance of a false alarm is ``report.alpha``. It is skipped where no baseline is given.
    """
    config = request.config
    baseline = _baseline(config)
    if baseline is None:
        pytest.skip(NO_BASELINE)
    given = config.getoption("benchbed_results")
    results = _beside(config.invocation_params.dir, given) if given else None
    jobs = int(config.getoption("benchbed_jobs"))

    def check(spec: str | Path) -> Report:
        __tracebackhide__ = True
        folder = results or tmp_path_factory.mktemp("benchbed")
        report, said = _checked(_beside(config.rootpath, spec), baseline, folder, jobs)
        if report is None or report.exit_code:
            pytest.fail(said, pytrace=False)
        print(said)  # kept by pytest, shown with -rP: what stayed undecided, and the summary
        return report

    return check


def _checked(spec: Path, baseline: Path, results: Path, jobs: int) -> tuple[Report | None, str]:
    """Return the gate's report and its lines, or no report and why there is none."""
    from benchbed.errors import BenchbedError
    from benchbed.gate import check_results, read_baseline
    from benchbed.sweep.run import run_sweep
    from benchbed.sweep.spec_file import read_spec

    try:
        wanted = read_spec(spec)
        read_baseline(baseline)  # before minutes are spent
        outcome = run_sweep(wanted, results, jobs)
        if outcome.interrupted:
            raise KeyboardInterrupt
        report = check_results(outcome.path, baseline, spec=wanted)
    except BenchbedError as error:
        return None, f"benchbed: {error}"
    return report, "\n".join(report.lines())


def _baseline(config: pytest.Config) -> Path | None:
    given = config.getoption("benchbed_baseline")
    if given:
        return _beside(config.invocation_params.dir, given)
    named = str(config.getini("benchbed_baseline"))
    if not named:
        return None
    return _beside(config.inipath.parent if config.inipath else config.rootpath, named)


def _beside(folder: Path, path: str | Path) -> Path:
    return folder / Path(path).expanduser()
