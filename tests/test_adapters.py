"""Code that never heard of benchbed: samplers, surrogate losses, plugins, and the skeleton."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bias_cases import SEED
from panel import blocks_of, fresh_blocks, objective
from reinmax import reinmax

from benchbed import build_estimator, build_objective, compare, from_sampler, from_surrogate
from benchbed.analysis.verdict import judge
from benchbed.errors import BadArgument, BrokenContract, UnknownName
from benchbed.measurement.exact_moments import exact_moments
from benchbed.rng import Noise
from benchbed.sweep.cells import expand
from benchbed.sweep.fingerprint import fingerprint_of
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec_file import parse_spec

HARD = partial(F.gumbel_softmax, hard=True)


def verdict(problem, method, centre=None):
    from dataclasses import replace

    if centre is not None:
        problem = replace(problem, gradient=lambda _: centre)
    cells = {"cell": blocks_of(problem, method, 131_072, SEED, "float64")}
    return judge(cells, lambda _: fresh_blocks(problem, method, 131_072, SEED))["cell"].outcome


def draws_of(method, problem, draws=8, seed=0, dtype=torch.float64):
    return method.draw(problem, problem.params.to(dtype), draws, Noise(seed, "a", dtype=dtype))


class TestSampler:
    def test_the_published_reinmax_has_the_mean_of_ours(self):
        problem = objective("smooth")
        mean = torch.from_numpy(exact_moments(problem, build_estimator("reinmax")).mean)
        method = from_sampler(reinmax, tau=1.0, relaxed=False)
        assert verdict(problem, method, mean.reshape(problem.params.shape)) == "unbiased"
        wrong = 0.95 * mean.reshape(problem.params.shape)
        assert verdict(problem, method, wrong) == "biased"

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_rows_are_independent_and_follow_the_noise(self, dtype):
        method = from_sampler(HARD, samples=2, name="hard")
        problem = objective("smooth")
        rows, again = (draws_of(method, problem, dtype=dtype) for _ in range(2))
        assert torch.equal(rows, again)
        assert rows.dtype == dtype
        assert len(rows.unique(dim=0)) == len(rows)
        assert not torch.equal(rows, draws_of(method, problem, seed=1, dtype=dtype))

    def test_successive_chunks_differ(self):
        problem = objective("smooth")
        noise = Noise(3, "chunks", dtype=torch.float64)
        method = from_sampler(F.gumbel_softmax)
        first, second = (method.draw(problem, problem.params, 4, noise) for _ in range(2))
        assert not torch.equal(first, second)

    def test_global_generators_are_left_alone(self):
        def noisy(logits):
            return F.gumbel_softmax(logits) * (1 + 0 * float(np.random.random()))

        torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
        draws_of(from_sampler(noisy), objective("smooth"))
        assert torch.equal(torch_before, torch.get_rng_state())
        assert (numpy_before == np.random.get_state()[1]).all()

    def test_amortized_items_stay_apart(self):
        rows = draws_of(from_sampler(F.gumbel_softmax), objective("digits_vae categorical"))
        assert rows.shape[1:] == objective("digits_vae categorical").params.shape
        assert torch.isfinite(rows).all()

    def test_it_is_refused_on_families_it_was_not_made_for(self):
        with pytest.raises(Exception, match="made for categorical latents, not bernoulli"):
            compare("golden_bits", [from_sampler(F.gumbel_softmax)], draws=128)

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            (lambda logits: logits.detach(), "without a gradient"),
            (lambda logits: logits[..., :1], "shape and dtype of its logits"),
            (lambda _logits: 3, "returned int"),
            (lambda logits: logits @ logits, "failed on logits"),
        ],
    )
    def test_a_broken_one_is_one_line(self, function, said):
        with pytest.raises(BrokenContract, match=said) as error:
            draws_of(from_sampler(function), objective("smooth"))
        assert "\n" not in str(error.value)

    def test_an_argument_it_does_not_take_is_one_line(self):
        with pytest.raises(BadArgument, match="cannot be called as"):
            from_sampler(F.gumbel_softmax, temperature=0.5)


def reinforce(logits, cost, samples=2):
    law = torch.distributions.Bernoulli(logits=logits)
    z = law.sample((samples,)).transpose(0, 1)
    found = cost(z).detach()
    score = torch.distributions.Bernoulli(logits=logits[:, None]).log_prob(z).sum(-1)
    return ((found - found.mean(1, keepdim=True)) * score).sum(1) / (samples - 1)


class TestSurrogate:
    def test_leave_one_out_as_a_loss_is_unbiased_and_a_shrink_is_seen(self):
        problem = objective("golden_bits")
        method = from_surrogate(reinforce, evaluations=2, unbiased=True)
        assert verdict(problem, method) == "unbiased"

        def shrunk(logits, cost):
            return 0.95 * reinforce(logits, cost)

        assert verdict(problem, from_surrogate(shrunk)) == "biased"

    def test_the_direct_term_flows_through_the_cost(self):
        problem = objective("digits_vae")

        def pathless(logits, cost):
            z = torch.bernoulli(logits.sigmoid()).detach()
            return cost(z)  # [draws, images]

        rows = draws_of(from_surrogate(pathless), problem)
        assert rows.shape[1:] == problem.params.shape
        assert rows.abs().max() > 0

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            (lambda logits, cost: reinforce(logits, cost).mean(), "one entry a row"),
            (lambda logits, cost: cost((logits > 0).double()), "without a gradient"),
            (lambda logits, cost: cost(logits.flatten()), "asked for the cost of z"),
            (lambda _logits, _cost: None, "returned a loss NoneType"),
        ],
    )
    def test_a_broken_one_is_one_line(self, function, said):
        with pytest.raises(BrokenContract, match=said):
            draws_of(from_surrogate(function), objective("golden_bits"))

    def test_a_function_that_takes_no_cost_is_refused(self):
        with pytest.raises(BadArgument, match=r"cannot be called as \(logits, cost"):
            from_surrogate(lambda logits: logits)


SPEC = """
name: mine
objectives: [{name: smooth, dimensions: 2, categories: 3}]
estimators:
  - {name: "torch.nn.functional:gumbel_softmax", as: sampler, tau: [0.5, 1.0], hard: true}
  - {name: "reinmax:reinmax", as: sampler, tau: 1.0, samples: 2}
samples: [1, 2]
draws: 256
timing: 0
"""


class TestInSweeps:
    def test_a_sampler_is_swept_like_any_other(self, tmp_path):
        outcome = run_sweep(parse_spec(SPEC), tmp_path, jobs=1)
        assert outcome.exit_code == 0
        assert len(expand(parse_spec(SPEC))[0]) == 5  # 2 temperatures x 2 samples + 1

    def test_an_unknown_way_to_take_it_is_one_line(self):
        with pytest.raises(BadArgument, match="write as: sampler"):
            build_estimator("torch.nn.functional:gumbel_softmax", **{"as": "loss"})

    def test_an_installed_package_is_known_by_its_version(self):
        """Not by reading the thousands of files that torch is made of."""
        assert fingerprint_of("torch.nn.functional:gumbel_softmax", "") == fingerprint_of(
            "torch.nn.functional:softmax", ""
        )
        assert fingerprint_of("torch.nn:ReLU", "") != fingerprint_of("reinmax:reinmax", "")


PLUGIN = '''
from benchbed.estimators.leave_one_out import leave_one_out
from benchbed.objectives.golden_bits import golden_bits

def four(samples: int = 4):
    """Leave-one-out with four samples."""
    return leave_one_out(samples)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a package that offers an estimator, an objective and one that is broken."""
    (tmp_path / "someones_plugin.py").write_text(PLUGIN)
    info = tmp_path / "someones_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[benchbed.estimators]\nfour = someones_plugin:four\nbroken = someones_plugin:nothing\n"
        "[benchbed.objectives]\ntheirs = someones_plugin:golden_bits\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("someones_plugin", None)


@pytest.mark.usefixtures("plugin")
class TestEntryPoints:
    def test_its_names_work_like_the_tables_own(self, tmp_path):
        assert build_estimator("four").samples == 4
        assert build_objective("theirs").name == "golden_bits"
        text = "{name: p, objectives: [theirs], estimators: [four], draws: 128, timing: 0}"
        assert run_sweep(parse_spec(text), tmp_path / "results", jobs=1).exit_code == 0

    def test_they_are_listed_and_a_broken_one_says_why(self):
        from benchbed.catalogue import listing

        rows = {row["name"]: row for row in listing("estimators")}
        assert rows["four"]["summary"] == "Leave-one-out with four samples."
        assert "cannot be imported from someones_plugin:nothing" in rows["broken"]["summary"]
        assert "theirs" in {row["name"] for row in listing("objectives")}

    def test_a_broken_one_is_one_line(self):
        with pytest.raises(UnknownName, match="someones-plugin cannot be imported"):
            build_estimator("broken")

    def test_a_slip_finds_the_nearest(self):
        with pytest.raises(UnknownName, match="did you mean 'four'"):
            build_estimator("fours")


def benchbed_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("benchbed"), *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


class TestSkeleton:
    def test_it_works_as_it_stands_and_its_test_can_fail(self, tmp_path):
        done = benchbed_in(tmp_path, "new", "estimator", "my_own")
        assert done.returncode == 0, done.stderr
        assert "my_own.py:my_own" in done.stdout
        assert self._pytest(tmp_path) == 0
        source = (tmp_path / "my_own.py").read_text()
        assert "NAME" not in source
        assert "product / (samples - 1)" in source
        (tmp_path / "my_own.py").write_text(
            source.replace("product / (samples - 1)", "product / samples")
        )
        assert self._pytest(tmp_path) == 1
        compared = compare({"name": "golden_bits"}, [{"name": f"{tmp_path}/my_own.py:my_own"}])
        assert float(compared["bias"].iloc[0]) > 0.4  # halved

    def _pytest(self, folder: Path) -> int:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_own.py"],
            cwd=folder, capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        ).returncode  # fmt: skip

    @pytest.mark.parametrize("name", ["My-Own", "class", "disarm", "a b"])
    def test_a_name_that_cannot_be_is_one_line(self, tmp_path, name):
        done = benchbed_in(tmp_path, "new", "estimator", name)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_overwritten(self, tmp_path):
        (tmp_path / "test_mine.py").write_text("kept")
        done = benchbed_in(tmp_path, "new", "estimator", "mine")
        assert done.returncode == 2
        assert "is there already" in done.stderr
        assert (tmp_path / "test_mine.py").read_text() == "kept"
        assert not (tmp_path / "mine.py").exists()


def test_torch_and_numpy_are_seeded_apart():
    """Both are Mersenne Twisters: one seed for both would give them the same integers."""
    seen = []

    def both(logits):
        seen.append((torch.randint(0, 4, (2_000,)).numpy(), np.random.randint(0, 4, 2_000)))
        return F.gumbel_softmax(logits)

    draws_of(from_sampler(both), objective("smooth"))
    ours, theirs = seen[0]
    assert (ours == theirs).mean() < 0.35  # a quarter by chance, sd 0.01


@pytest.mark.parametrize("adapter", [from_sampler, from_surrogate])
def test_what_is_no_function_or_forgets_the_logits_is_one_line(adapter):
    with pytest.raises(BadArgument, match="is no function"):
        adapter(3)
    with pytest.raises(BadArgument, match="families"):
        adapter(F.gumbel_softmax if adapter is from_sampler else reinforce, families=3)
    weights = torch.nn.Parameter(torch.zeros(()))

    def forgetful(logits, *_):
        return torch.zeros_like(logits) + weights

    with pytest.raises(BrokenContract, match="does not depend on its logits"):
        draws_of(adapter(forgetful), objective("smooth"))


def one_sample(logits, cost):
    z = torch.bernoulli(logits.sigmoid()).detach()
    score = torch.distributions.Bernoulli(logits=logits).log_prob(z).sum(-1)
    return cost(z).detach() * score


def test_samples_mean_what_they_say():
    """A loss that takes samples is given them; one that does not is not run at several."""
    assert from_surrogate(reinforce).samples == from_surrogate(reinforce).evaluations == 2
    four = from_surrogate(reinforce, samples=4)
    assert four.samples == four.evaluations == 4
    problem = objective("golden_bits")
    two_rows, four_rows = (
        blocks_of(problem, method, 32_768, SEED) for method in (from_surrogate(reinforce), four)
    )
    ratio = two_rows.distance[0].sum() / four_rows.distance[0].sum()
    assert 2.5 < ratio < 4  # 3.129 / 0.972 by the closed form
    text = (
        "{name: s, objectives: [golden_bits], samples: [2, 4], draws: 128, timing: 0, estimators: "
        "[{name: 'tests/test_adapters.py:one_sample', as: surrogate}, "
        "{name: 'tests/test_adapters.py:reinforce', as: surrogate}, "
        "'tests/test_adapters.py:zero']}"
    )
    cells = expand(parse_spec(text))[0]
    assert [cell.samples for cell in cells] == [1, 2, 4, 1]


def zero(o, p, d, n):
    """Return no gradient at all: a draw function by its four arguments, whatever their names."""
    del o, n
    return torch.zeros(d, *p.shape, dtype=p.dtype)


def test_a_draw_function_is_known_by_its_four_arguments():
    assert len(compare("golden_bits", [zero], draws=256, timing=0)) == 1
    with pytest.raises(BadArgument, match="takes no settings"):
        compare("golden_bits", [zero], draws=256, samples=4)


def test_a_sampler_that_is_not_named_one_is_told_how():
    with pytest.raises(BadArgument, match="write as: sampler"):
        compare("smooth", [F.gumbel_softmax], draws=256)
    with pytest.raises(BadArgument, match="as: surrogate"):
        compare("golden_bits", [one_sample], draws=256)


def test_a_skeleton_does_not_hide_a_module(tmp_path):
    for name in ("torch", "json", "test_mine"):
        done = benchbed_in(tmp_path, "new", "estimator", name)
        assert done.returncode == 2
        assert "choose another" in done.stderr
    assert list(tmp_path.iterdir()) == []
