"""Objectives held against their own definition, and every fault that the checks are for."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchbed.catalogue import OBJECTIVES, build_objective
from benchbed.cli import cli
from benchbed.contracts import Objective
from benchbed.families import BERNOULLI, NORMAL
from benchbed.rng import Noise
from benchbed.verification import Check, gradient_checks, verify_objective
from benchbed.verification import gradient as gradient_file
from benchbed.verification.quadrature import integrate

POINT = torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64)


def right(z, params):
    del params
    return (z.sum(-1) - 1.2).square() + z[..., 0]


MINE = Objective("mine", BERNOULLI, POINT, right)
LAW = Objective(  # with a direct term and a closed form
    "law",
    NORMAL,
    torch.tensor([[0.4], [-0.3]], dtype=torch.float64),
    lambda z, params: (z * params[..., 0, :]).sum(-1),
    value=lambda params: params[0, 0].square(),
    gradient=lambda params: torch.stack((2 * params[0], 0 * params[1])),
    direct=True,
)


NINE = build_objective("normal_quadratic", dimensions=9)  # too many for a product rule


def huge(start: float = 0.0, scale: float = 1.0) -> Objective:
    """Return start + scale |z|^2 of two normal variables."""

    def gradient(p):
        return scale * torch.stack((2 * p[0], 2 * (2 * p[1]).exp()))

    return Objective(
        "huge",
        NORMAL,
        torch.tensor([[0.4, -0.2], [-0.3, 0.1]], dtype=torch.float64),
        lambda z, _: start + scale * z.square().sum(-1),
        value=lambda p: start + scale * (p[0].square() + (2 * p[1]).exp()).sum(),
        gradient=gradient,
    )


def heavy(growth: float) -> Objective:
    """Return sum_i exp(growth z_i) of nine normal variables."""

    def value(p):
        return (growth * p[0] + growth**2 / 2 * (2 * p[1]).exp()).exp()

    def slopes(p):
        return torch.stack((torch.ones_like(p[1]), growth * (2 * p[1]).exp()))

    return Objective(
        "heavy",
        NORMAL,
        torch.zeros(2, 9),
        lambda z, _: (growth * z).exp().sum(-1),
        value=lambda p: value(p).sum(),
        gradient=lambda p: growth * value(p) * slopes(p),
    )


def failed(objective: Objective) -> dict[str, str]:
    """Return the advice of the checks that fail, by name."""
    found: dict[str, str] = {}
    for check in verify_objective(objective):
        if not check.passed:
            found[check.name] = found.get(check.name, "") + check.advice
    return found


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_passes(name):
    checks = verify_objective(build_objective(name))
    assert [check for check in checks if not check.passed] == []
    assert {check.name for check in checks} >= {"cost", "score", "exact gradient"}


@pytest.mark.parametrize("objective", [MINE, LAW], ids=["mine", "law"])
def test_sound_ones_of_your_own_pass(objective):
    checks = verify_objective(objective)
    assert failed(objective) == {}
    assert len(checks) >= 9
    assert all(check.advice for check in checks if check.bound and check.name != "direct term")


calls = 0


def forgetful(z, params):
    global calls
    calls += 1
    return right(z, params) + calls


def undefined(z, params):
    return right(z, params) + torch.where(z[..., 0] > 0.5, math.nan, 0.0)


def blind(z, params):
    """Autograd sees half of the slope."""
    return right(z, params) + (z.detach()[..., 1] * 2)


def behind_its_back(z, params):
    """Write into z where torch does not count it."""
    cost = right(z, params)
    z.detach().numpy()[...] = 0.5
    return cost


FAULTS: list[tuple[str, Objective, str, str]] = [
    ("keeps state", replace(MINE, cost=forgetful), "cost", "draw random numbers or keep state"),
    ("is NaN", replace(MINE, cost=undefined), "cost", "NaN or infinite"),
    (
        "mixes draws",
        replace(MINE, cost=lambda z, p: right(z, p) - right(z, p).mean()),
        "cost of each draw",
        "mixes draws or samples",
    ),
    (
        "mixes items",
        replace(
            MINE,
            params=POINT.expand(2, 3),
            cost=lambda z, p: right(z, p) * right(z, p).sum(-1, keepdim=True),
        ),
        "cost of each item",
        "mixes items",
    ),
    (
        "hides params",
        replace(MINE, cost=lambda z, p: right(z, p) * p[..., 0].sigmoid()),
        "direct term",
        "write direct=True",
    ),
    (
        "hides params from autograd",
        replace(MINE, cost=lambda z, p: right(z, p) * p.detach()[..., 0], direct=True),
        "direct term",
        "autograd cannot follow",
    ),
    (
        "params of every draw",
        replace(LAW, cost=lambda z, p: (z * p[0]).sum(-1) if p.ndim == 2 else z.sum(-1)),
        "cost at params of every draw",
        "index them from the right",
    ),
    (
        "float32",
        replace(MINE, cost=lambda z, p: (right(z, p) + 1e7) - 1e7),
        "cost in float32",
        "loses digits",
    ),
    ("slope", replace(MINE, cost=blind), "slope dJ/dz", "write differentiable=False"),
    (
        "threshold",
        replace(MINE, cost=lambda z, _: (z.sum(-1) > 1).to(z)),
        "slope dJ/dz",
        "its slope is 0 everywhere",
    ),
    (
        "changes z",
        replace(MINE, cost=lambda z, _: z.clamp_(0.1, 0.9).sum(-1)),
        "cost",
        "writes into z",
    ),
    ("changes z, unseen by torch", replace(MINE, cost=behind_its_back), "cost", "in place"),
    ("jacobian", replace(MINE, jacobian=torch.ones(7, 3)), "jacobian", "write it as [3]"),
    (
        "pulls another way",
        replace(MINE, jacobian=torch.eye(3), pull=lambda g: 2 * g),
        "pull",
        "leave pull out",
    ),
    ("no params", replace(MINE, params=POINT[:0]), "params", "params [0] hold no number"),
    ("NaN params", replace(MINE, params=POINT * math.nan), "params", "NaN or infinite"),
    (
        "samples of a wrong shape",
        replace(MINE, family=replace(BERNOULLI, sample=lambda *_: torch.zeros(5, 3, 2))),
        "samples",
        "family.sample gave [5, 3, 2]",
    ),
    (
        "no samples",
        replace(MINE, family=replace(BERNOULLI, sample=lambda *_: 1 / 0)),
        "family",
        "family.sample failed: ZeroDivisionError",
    ),
    (
        "no probabilities",
        replace(MINE, family=replace(BERNOULLI, log_prob=lambda *_: 1 / 0)),
        "family",
        "family.log_prob failed",
    ),
    (
        "samples of a normal law",
        replace(LAW, family=replace(NORMAL, sample=lambda p, *more: NORMAL.sample(1.1 * p, *more))),
        "samples",
        "does not follow family.log_prob",
    ),
    (
        "score of a wrong shape",
        replace(LAW, family=replace(NORMAL, score=lambda p, z: NORMAL.score(p, z)[..., 0, :])),
        "score",
        "not d log_prob / d params",
    ),
    (
        "mean",
        replace(MINE, family=replace(BERNOULLI, mean=lambda p: p)),
        "mean",
        "family.mean is not E[z]",
    ),
    (
        "no gradient",
        replace(LAW, gradient=None),
        "exact gradient",
        "give it a closed-form gradient",
    ),
    (
        "no value, and nothing in its place",
        replace(NINE, value=None),
        "exact value",
        "give value=..., too",
    ),
    (
        "too many z",
        replace(MINE, params=torch.zeros(40)),
        "exact gradient",
        "1,099,511,627,776 states",
    ),
    (
        "gradient of a wrong shape",
        replace(LAW, gradient=lambda p: 2 * p[0]),
        "exact gradient",
        "returned [1] in torch.float64; it must return [2, 1]",
    ),
    (
        "gradient in float32",
        replace(LAW, gradient=lambda p: LAW.gradient(p).float()),
        "exact gradient",
        "in torch.float32",
    ),
    (
        "value of a wrong type",
        replace(LAW, value=lambda p: float(p[0, 0]) ** 2),
        "exact value",
        "returned float",
    ),
    ("value that fails", replace(LAW, value=lambda _: 1 / 0), "exact value", "ZeroDivisionError"),
    (
        "value that is none",
        replace(LAW, value=lambda p: p[0, 0] * math.nan),
        "exact value",
        "NaN or infinite",
    ),
    (
        "tiny gradient beside a huge value",
        replace(huge(1e6, 1e-3), gradient=lambda p: 1.01e-3 * huge().gradient(p)),
        "exact gradient",
        "not the derivative",
    ),
    (
        "score",
        replace(MINE, family=replace(BERNOULLI, score=lambda _, z: z - 0.5)),
        "score",
        "not d log_prob / d params",
    ),
    (
        "samples",
        replace(
            MINE,
            family=replace(
                BERNOULLI, sample=lambda p, n, s, noise: BERNOULLI.sample(p + 0.2, n, s, noise)
            ),
        ),
        "samples",
        "does not follow family.log_prob",
    ),
    (
        "list of z",
        replace(MINE, family=replace(BERNOULLI, states=lambda p: 2 ** p.shape[-1] - 1)),
        "total probability",
        "not all of them",
    ),
    (
        "value",
        replace(MINE, value=lambda p: 1.001 * MINE.exact_value(p)),
        "exact value",
        "not E[cost]",
    ),
    (
        "gradient",
        replace(MINE, gradient=lambda p: 1.00001 * MINE.exact_gradient(p)),
        "exact gradient",
        "not the derivative",
    ),
    (
        "normal value",
        replace(LAW, value=lambda p: p[0, 0].square() + 1e-4),
        "exact value",
        "not E[cost]",
    ),
    (
        "normal gradient without its direct term",
        replace(LAW, gradient=lambda p: torch.stack((p[0], 0 * p[1]))),
        "exact gradient",
        "is the direct term in it?",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0].replace(" ", "-"))
def test_each_fault_is_seen_and_named(fault):
    _, objective, name, advice = fault
    found = failed(objective)
    assert name in found
    assert advice in found[name]
    assert "\n" not in found[name]


def test_what_a_broken_cost_would_make_of_the_other_checks_is_not_said():
    (only,) = failed(replace(MINE, cost=undefined))
    assert only == "cost"


SOUND: dict[str, Objective] = {
    "a constant": replace(MINE, cost=lambda z, _: torch.ones_like(z[..., 0])),
    "nothing": replace(MINE, cost=lambda z, _: torch.zeros_like(z[..., 0])),
    "whole numbers": replace(
        MINE, cost=lambda z, _: (z.sum(-1) > 1).long(), differentiable=False, relaxed=False
    ),
    "a cost always in float64": replace(MINE, cost=lambda z, p: right(z.double(), p.double())),
    "a constant's formula": replace(
        MINE,
        cost=lambda z, _: torch.ones_like(z[..., 0]),
        value=lambda p: 1 + 0 * p.sum(),
        gradient=torch.zeros_like,
    ),
    "a mean of 0": replace(
        MINE,
        params=0 * POINT,
        cost=lambda z, _: (z - 0.5).sum(-1),
        value=lambda p: (p.sigmoid() - 0.5).sum(),
        gradient=lambda p: p.sigmoid() * (-p).sigmoid(),
    ),
    "a tiny gradient": huge(1e6, 1e-3),
    "a huge value": huge(1e9),
    "a gradient alone": replace(huge(), value=None),
    "a gradient wanted": replace(MINE, params=torch.nn.Parameter(POINT)),
}


@pytest.mark.parametrize("name", SOUND)
def test_no_false_alarm(name):
    assert failed(SOUND[name]) == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_heavy_tail_is_no_fault(seed, monkeypatch):
    """The standard error of 20,000 samples lacks what their mean lacks."""
    monkeypatch.setattr(gradient_file, "Noise", lambda _, *path, **kind: Noise(seed, *path, **kind))
    (first, *_) = gradient_checks(heavy(3.0))
    assert first.passed
    assert "nothing: one of" in first.against
    light = heavy(0.5)
    assert gradient_checks(light)[0].passed
    wrong = replace(light, value=lambda p: 1.05 * light.exact_value(p))
    assert not gradient_checks(wrong)[0].passed


def test_a_sum_over_very_many_z_is_differenced_in_few_directions():
    many = replace(MINE, params=torch.linspace(-1, 1, 17))
    before = time.process_time()
    assert failed(many) == {}
    assert time.process_time() - before < 20


def test_a_value_that_can_only_be_sampled_is_sampled():
    (first, *_) = gradient_checks(NINE)
    assert "samples" in first.against
    assert first.passed
    wrong = replace(NINE, value=lambda p: 1.02 * NINE.exact_value(p))
    assert "exact value" in failed(wrong)


def test_a_cost_that_cannot_be_called_is_the_only_check():
    (only,) = verify_objective(replace(MINE, cost=lambda z, _: z))
    assert not only.passed
    assert "returned [5, 3, 3]" in only.advice


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("normal_exponential", {"dimensions": 2}),
        ("gamma_quadratic", {"dimensions": 2}),
        ("beta_quadratic", {}),
        ("dirichlet_quadratic", {}),
        ("poisson_quadratic", {}),
        ("iwae", {"latents": "normal", "items": 3}),
    ],
)
def test_quadrature_is_not_the_closed_form(name, settings):
    """It knows the cost and the law only, so a wrong cost moves it and a right one meets it."""
    objective = build_objective(name, **settings)
    bare = replace(objective, value=None, gradient=None)
    found = integrate(bare, bare.params)
    torch.testing.assert_close(found, objective.exact_value(), rtol=1e-9, atol=0)
    moved = integrate(replace(bare, cost=lambda z, p: 1.001 * bare.cost(z, p)), bare.params)
    assert abs(float(moved / found) - 1.001) < 1e-9


FILE = """
import benchbed, torch
from benchbed.families import BERNOULLI


def mine(dimensions: int = 3, forget: bool = False):
    def cost(z, params):
        return (z.sum(-1) - 1.2).square() * params[..., 0].sigmoid()

    point = torch.linspace(-1, 1, dimensions)
    return benchbed.Objective("mine", BERNOULLI, point, cost, direct=not forget)
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return f"{path}:mine"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["verify", "objective", *arguments])
    return done.exit_code, done.output


class TestCommand:
    def test_an_objective_in_a_file_passes(self, file):
        code, said = run(file)
        assert code == 0
        assert said.rstrip().endswith("all checks passed")
        code, said = run(file, "--set", "dimensions=5")
        assert code == 0

    def test_its_fault_is_one_line_and_exit_code_1(self, file):
        code, said = run(file, "-s", "forget=true")
        assert code == 1
        assert "direct term: the cost depends on params: write direct=True" in said

    def test_json(self, file):
        code, said = run(file, "--json", "-s", "forget=true")
        assert code == 1
        rows = json.loads(said)
        assert {row["check"] for row in rows if not row["passed"]} >= {"direct term"}
        assert set(rows[0]) == {
            *("objective", "check", "against", "error", "bound", "passed", "advice"),
        }

    def test_the_table_of_all_objectives(self):
        code, said = run()
        assert code == 0
        assert all(name in said for name in OBJECTIVES)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["quadratik"], "did you mean 'quadratic'"),
            (["quadratic", "-s", "dimensions"], "--set takes KEY=VALUE"),
            (["quadratic", "-s", "dimension=3"], "did you mean 'dimensions'"),
            (["-s", "dimensions=3"], "--set needs the NAME"),
            (["nowhere.py:mine"], "there is no file"),
        ],
    )
    def test_mistakes_are_one_line(self, arguments, message):
        done = CliRunner().invoke(cli, ["verify", "objective", *arguments])
        assert done.exit_code != 0
        assert message in str(done.exception)
        assert "\n" not in str(done.exception)


def test_a_nan_is_no_pass():
    assert Check("a", "b", 0.5, 1.0).passed
    assert not Check("a", "b", 2.0, 1.0).passed
    assert not Check("a", "b", math.nan, 1.0).passed


class TestSkeleton:
    """``benchbed new objective``."""

    def test_it_works_as_it_stands_and_its_test_can_fail(self, tmp_path):
        done = CliRunner().invoke(cli, ["new", "objective", "my_cost", "--into", str(tmp_path)])
        assert done.exit_code == 0
        path = tmp_path / "my_cost.py"
        code, said = run(f"{path}:my_cost", "-s", "dimensions=6")
        assert code == 0, said
        assert self._pytest(tmp_path) == 0
        source = path.read_text()
        path.write_text(source.replace("- 1).square()", "- 1).square() + params[..., 0]"))
        path.write_text(path.read_text().replace("        del params", "        params.sum()"))
        assert self._pytest(tmp_path) == 1
        assert run(f"{path}:my_cost")[0] == 1

    def _pytest(self, folder: Path) -> int:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_cost.py"],
            cwd=folder, capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        ).returncode  # fmt: skip

    def test_a_name_of_the_catalogue_is_taken(self, tmp_path):
        done = CliRunner().invoke(cli, ["new", "objective", "elbo", "--into", str(tmp_path)])
        assert "benchbed has an objective 'elbo' already" in str(done.exception)
        assert list(tmp_path.iterdir()) == []


def test_an_objective_that_no_function_returns_is_named(tmp_path):
    (tmp_path / "own.py").write_text(
        "import benchbed, torch\nfrom benchbed.families import BERNOULLI\n"
        "MINE = benchbed.Objective('m', BERNOULLI, torch.zeros(2), lambda z, _: z.sum(-1))\n"
    )
    done = CliRunner().invoke(cli, ["verify", "objective", f"{tmp_path}/own.py:MINE"])
    assert "write 'def mine(): return ...'" in str(done.exception)
