"""The gate tried on itself: few trials here, hundreds in ``make prove``."""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from test_cli import call, refused

from benchbed.errors import ExitCode
from benchbed.gate.faults import FAULTS
from benchbed.gate.selftest import OWN, Selftest, selftest
from benchbed.gate.trial import Trial
from benchbed.store.provenance import provenance
from benchbed.sweep.spec_file import parse_spec, read_spec

ROOT = Path(__file__).resolve().parents[1]
RUNS, FAULT_RUNS = 300, 100
SMALL = """
name: small
objectives: [golden_bits, elbo]
estimators: [leave_one_out, gumbel_softmax, rebar]
samples: 2
draws: 32768
timing: 0
"""


def test_nothing_changed_passes_and_every_fault_is_caught():
    """Six cells, three trials: the planned power is 0.99 a fault, so one miss in 15 is 1 in 7."""
    found = selftest(parse_spec(SMALL), runs=3, fault_runs=3)
    assert found.false == 0
    caught = {fault: found.power(fault)[0] for fault in FAULTS}
    assert sum(caught.values()) >= 14, caught
    assert all(caught.values())


def test_a_log_is_gone_on_with_and_another_alpha_is_another_trial(tmp_path):
    log, told = tmp_path / "log.jsonl", []
    spec = parse_spec(SMALL.replace("elbo", "smooth"))
    first = selftest(spec, runs=1, fault_runs=0, log=log)
    with log.open("a") as file:
        file.write(log.read_text()[:50])  # a kill left half a line
    again = selftest(
        spec, runs=2, fault_runs=0, log=log, progress=lambda done, of: told.append((done, of))
    )
    assert told == [(2, 2)]
    assert again.trials[0] == first.trials[0]
    selftest(spec, runs=1, fault_runs=0, alpha=0.05, log=log)
    recipes = Counter(json.loads(line)["recipe"] for line in log.read_text().splitlines()[:1])
    assert len(recipes) == 1
    assert len(log.read_text().splitlines()) >= 3


def test_more_false_alarms_than_alpha_explains_are_not_sound():
    trial = Trial(0, (("cell", "bias", "biased"),), 0, {})
    fine = Trial(1, (), 0, {})
    assert Selftest(1, {}, [fine] * 100, 0.01).sound()
    assert Selftest(1, {}, [trial] * 4 + [fine] * 96, 0.01).sound()  # chance 0.018
    assert not Selftest(1, {}, [trial] * 5 + [fine] * 95, 0.01).sound()  # 0.003


def test_the_command_line(tmp_path):
    (tmp_path / "s.yaml").write_text(SMALL)
    words = ("selftest", "s.yaml", "--runs", "1", "--fault-runs", "0")
    done = call(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing changed  at most 0 of 1  0 of 1  0.000 [0.000, 0.975]" in done.stdout
    assert json.loads(call(*words, "--json", cwd=tmp_path).stdout)["cells"] == 6
    refused(call("selftest", "--runs", "0", cwd=tmp_path), ExitCode.USAGE, "one run or more")
    (tmp_path / "s.yaml").write_text(SMALL.replace("32768", "128"))
    done = call("selftest", "s.yaml", "--runs", "1", "--fault-runs", "1", cwd=tmp_path)
    refused(done, ExitCode.USAGE, "more draws", "--fault-runs 0")


def test_its_own_sweep_is_what_the_proof_says():
    from benchbed.sweep.cells import expand

    cells, _ = expand(read_spec(OWN))
    assert len(cells) >= 60
    assert len({cell.estimator["name"] for cell in cells}) >= 6
    assert any(
        cell.estimator["name"] == "score_function" and cell.objective.get("logits") == -3.8918
        for cell in cells
    )


@pytest.mark.prove
def test_false_alarms_and_power():
    """At alpha 0.01 over 300 trials, and every fault caught with power above 0.9 (95 %)."""
    log = ROOT / "results" / "selftest.jsonl"
    log.parent.mkdir(exist_ok=True)
    found = selftest(
        read_spec(OWN), runs=RUNS, fault_runs=FAULT_RUNS, jobs=os.cpu_count() or 1, log=log
    )
    _write_table(found)
    assert found.sound(), [trial.false for trial in found.trials if trial.false]
    for fault in FAULTS:
        assert found.power(fault)[2].low > 0.9, fault


def _write_table(found: Selftest) -> None:
    surroundings = provenance()
    alarms = found.false_alarms()
    lines = [
        "# How often the gate cries wolf, and what it catches",
        "",
        f"{datetime.date.today().isoformat()}, commit {str(surroundings['commit'])[:12]}"
        f"{' and uncommitted changes' if surroundings['dirty'] else ''}, "
        f"{surroundings['processor']}, one thread a process. Made by `make prove` "
        "(`benchbed selftest --runs 300 --fault-runs 100`).",
        "",
        f"Each of {len(found.trials)} trials measures the {found.cells} cells of the gate's own "
        f"sweep twice, on other seeds, and checks the second by the first at alpha "
        f"{found.alpha:g}, "
        "CPU times included: any failure is a false alarm. In the first "
        f"{FAULT_RUNS} trials each fault is put into one cell, too, which takes turns among those "
        "whose draws are planned to show it with power 0.99; it counts as caught if that cell "
        "fails. Shares have exact 95 % intervals.",
        "",
        "| trial | cells by turns | failed | share [95 %] |",
        "|---|---|---|---|",
        f"| nothing changed (at most {found.most_false()} allowed) | {found.cells} "
        f"| {found.false} of {len(found.trials)} "
        f"| {alarms.value:.4f} [{alarms.low:.4f}, {alarms.high:.4f}] |",
    ]
    for fault, names in found.targets.items():
        caught, of, power = found.power(fault)
        lines.append(
            f"| {fault}: {FAULTS[fault].says} | {len(names)} | {caught} of {of} "
            f"| {power.value:.3f} [{power.low:.3f}, {power.high:.3f}] |"
        )
    lines.append("")
    for trial in found.trials:
        lines += [
            f"False alarm in trial {trial.number}: {cell}: {test}: {message}."
            for cell, test, message in trial.false
        ]
        lines += [
            f"Missed in trial {trial.number}: {fault} in {cell}."
            for fault, (cell, failures) in trial.planted.items()
            if not failures
        ]
    path = ROOT / "results" / "proof" / "selftest.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines).rstrip() + "\n")
