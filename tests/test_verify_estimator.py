"""Verifying estimators: planted faults are found with no hint, and the right ones pass.

Each verification fails a right estimator with a chance of at most 0.01 (Holm, over its cells).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchbed.adapters import from_surrogate
from benchbed.catalogue import build_estimator, build_objective
from benchbed.cli import cli
from benchbed.errors import BadArgument, IncompatiblePair, UnknownName
from benchbed.verification.check import Check
from benchbed.verification.estimator.latents import draws_the_law
from benchbed.verification.estimator.means import known_mean
from benchbed.verification.estimator.panel import standard_panel
from benchbed.verification.estimator.report import EstimatorReport
from benchbed.verification.estimator.verify import verify_estimator

FAULTS = Path(__file__).parent / "faults.py"
QUICK = {"latents": ("bernoulli",), "draws": 16_384}
ONE_PLACE = {"objectives": ["gumbel_rao_toy"], "latents": (), "draws": 4_096}
COPIED = ["gumbel_rao", "rebar", "leave_one_out", "disarm", "reinmax", "score_function"]


def verified(name: str, settings: dict[str, object] | None = None, **more) -> EstimatorReport:
    return verify_estimator(name, settings, **(QUICK | more))


def faulty(name: str) -> str:
    return f"{FAULTS}:{name}"


def failed(report: EstimatorReport) -> set[str]:
    return {check.name for check in report.broken}


@pytest.mark.parametrize("name", COPIED)
def test_a_fault_is_found_and_its_original_passes(name):
    wrong, right = verified(faulty(name)), verified(name)
    print(wrong.conclusion(), right.conclusion(), sep="\n")
    assert wrong.exit_code() == 1
    assert right.exit_code(strict=True) == 0
    worst = wrong.wrong[0]
    assert worst.bias.low > 0.05
    assert worst.off.low > 0 or worst.off.high < 0
    said = wrong.conclusion()
    assert f"worst on {worst.cell.place.label}" in said
    assert f"most at {worst.coordinate}" in said
    assert worst.coordinate.startswith("params[")


def test_a_fault_among_categories_is_found_and_its_original_passes():
    for name, code in ((faulty("gumbel_rao"), 1), ("gumbel_rao", 0)):
        report = verified(name, {"temperature": 0.5}, **ONE_PLACE)
        assert report.exit_code(strict=True) == code
        held = [found for found in report.findings if found.cell.promised]
        assert {found.cell.target for found in held} == {"own mean"}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("plain", set()),
        ("one_mean", {"shape"}),
        ("always_float64", {"float32"}),
        ("own_generator", {"torch generator", "same noise"}),
        ("own_seed", {"other noise", "rows of their own"}),
        ("writes", {"its inputs"}),
        ("keeps_graph", {"no graph"}),
        ("batch_baseline", {"rows apart", "rows of their own"}),
        ("antithetic_rows", {"rows of their own"}),
        ("mixes_items", {"items apart"}),
        ("overflows", {"extreme points"}),
        ("deaf", {"calls of J", "samples", "temperature"}),
    ],
)
def test_each_promise_of_the_contract_is_checked(name, broken):
    report = verified(faulty(name))
    assert failed(report) == broken
    assert report.exit_code() == bool(broken)
    for check in report.broken:
        assert check.advice.startswith(("on golden_bits: ", "on two_items bernoulli: "))


def test_the_score_term_of_a_loss_that_never_heard_of_benchbed():
    """Its kind of latents is found by its z: on others it runs as well, and means nothing."""
    right = verified(faulty("reinforce"), {"as": "surrogate"}, latents=())
    assert right.exit_code(strict=True) == 0
    assert {found.cell.place.latents for found in right.findings} == {"bernoulli"}
    assert any("normal" in note and "another law" in note for note in right.notes)
    wrong = verified(faulty("no_score_term"), {"as": "surrogate"})
    assert wrong.exit_code() == 1
    assert wrong.wrong[0].cell.place.label == "two_items bernoulli"
    assert "without a gradient" in wrong.lost[0].message


def test_what_has_no_number_is_incomplete():
    for name, said in (("never", "finite"), ("fails", "ValueError: two lines")):
        report = verified(faulty(name))
        assert report.exit_code() == 3
        assert said in report.conclusion()


def test_a_sampler_is_walked_along_its_temperature():
    name = "torch.nn.functional:gumbel_softmax"
    meant = verified(name, {"as": "sampler"}, biased=True, **ONE_PLACE)
    assert meant.exit_code() == 0
    walked = {
        found.cell.variant.temperature: found
        for found in meant.findings
        if found.cell.variant.estimator.samples == 1
    }
    assert sorted(walked) == [0.1, 0.5, 1.0]
    assert walked[0.1].bias.value < walked[1.0].bias.low  # it falls with the temperature
    assert walked[0.1].variance.low > walked[1.0].variance.high
    hard = verified(name, {"as": "sampler", "hard": True, "tau": 0.5}, samples=2, **ONE_PLACE)
    assert hard.exit_code() == 1  # nothing says that it may be biased
    assert [found.cell.variant.label for found in hard.findings] == [""]


def test_an_own_target_is_what_counts():
    report = verified("decoupled_straight_through", samples=1)
    assert "its own target, tempered" in report.conclusion()
    assert {found.cell.target for found in report.findings} == {"tempered", "own mean"}


def test_means_known_by_name_only():
    """Elsewhere the mean is that of the objective, or nobody knows it."""
    bits = build_objective("golden_bits")
    assert known_mean(build_estimator("rebar"), bits) is None
    assert known_mean(build_estimator("gumbel_softmax"), bits) is None
    four = build_objective("smooth", dimensions=2, categories=4)
    assert known_mean(build_estimator("gumbel_rao"), four) is None
    cold = known_mean(build_estimator("gumbel_rao", temperature=1e-4), bits)
    zgr = known_mean(build_estimator("reinmax"), bits)  # its limit (Shekhovtsov 2023)
    assert cold is not None
    assert zgr is not None
    assert float((cold - zgr).abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("error", "name", "more"),
    [
        (BadArgument, "leave_one_out", {"biased": True}),
        (BadArgument, "leave_one_out", {"draws": 10}),
        (BadArgument, "leave_one_out", {"latents": ("bernuli",)}),
        (BadArgument, "disarm", {"latents": ("normal",)}),
        (BadArgument, faulty("plain"), {"samples": 2}),
        (IncompatiblePair, "disarm", {"objectives": ["smooth"]}),
        (UnknownName, "leave_one_uot", {}),
    ],
)
def test_what_cannot_be_verified_is_one_line(error, name, more):
    with pytest.raises(error) as caught:
        verified(name, **more)
    assert "\n" not in str(caught.value)


def test_the_command_line():
    arguments = ["--latents", "bernoulli", "--draws", "8192"]
    done = CliRunner().invoke(cli, ["verify", "estimator", faulty("disarm"), *arguments])
    assert done.exit_code == 1
    assert "BIASED" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith(f"{FAULTS}:disarm: 19 checks")
    few = ["--draws", "1024", "-o", "golden_bits", "--set", "pilot=2", "--json"]
    name = "optimal_baseline_regression"
    done = CliRunner().invoke(cli, ["verify", "estimator", name, *few])
    found = json.loads(done.stdout)
    assert done.exit_code == found["exit_code"] == 0
    assert {cell["verdict"] for cell in found["cells"]} == {"unbiased"}
    assert {check["passed"] for check in found["checks"]} == {True}


def test_strict_asks_for_a_decision():
    arguments = ["verify", "estimator", "score_function", "-o", "quadratic", "--draws", "1024"]
    loose, strict = (
        CliRunner().invoke(cli, [*arguments, *more, "--json"]) for more in ([], ["--strict"])
    )
    assert (loose.exit_code, strict.exit_code) == (0, 4)
    cells = json.loads(strict.stdout)["cells"]
    assert {"insensitive"} <= {cell["verdict"] for cell in cells}
    assert min(cell["draws_needed"] for cell in cells if cell["verdict"] == "insensitive") > 1_024


def test_the_codes_in_their_order():
    broken = Check("rows apart", "", 1.0, 0.0)
    infinite = Check("finite", "", 1.0, 0.0)
    empty = EstimatorReport("x", "none", "objective", (), ())
    assert empty.exit_code() == 3
    for checks, code in (((infinite,), 3), ((broken,), 1), ((infinite, broken), 1)):
        assert EstimatorReport("x", "none", "objective", checks, ()).exit_code() == code


def test_a_one_hot_sampler_is_not_held_to_a_dirichlet():
    """Its z has nearly the mean of that law's shares, and not their squares."""

    def one_hot(logits, cost):
        law = torch.distributions.OneHotCategorical(logits=logits)
        z = law.sample()
        value = cost(z)
        return value.detach() * law.log_prob(z).sum(-1) + value

    method = from_surrogate(one_hot)
    places = {place.latents: place for place in standard_panel()}
    assert draws_the_law(method, places["categorical"])
    assert not draws_the_law(method, places["dirichlet"])
    assert draws_the_law(build_estimator("score_function"), places["dirichlet"])
