"""Compiled draws: the plain draws' numbers from the same noise, or the plain draws themselves."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache

import numpy as np
import panel
import pytest
import torch

from benchbed import api
from benchbed.catalogue import build_estimator, build_objective
from benchbed.cli import main
from benchbed.contracts import Estimator, Objective
from benchbed.measurement.compiled import compile_facts, compiled
from benchbed.measurement.draw_graph import traced
from benchbed.measurement.float32_functions import DECOMPOSITIONS, log_of_uniform, of_words
from benchbed.measurement.inductor import NoCompiler, check_compiler
from benchbed.measurement.noise_requests import drawn
from benchbed.rng import Noise, SideBySide
from benchbed.store import Results
from benchbed.sweep.cells import expand
from benchbed.sweep.run import run_sweep
from benchbed.sweep.spec_file import parse_spec

DRAWS = 256
# What rounding leaves of a float32 draw, as a share of its largest coordinate or of the usual one.
ROUNDING = {torch.float32: 3e-5, torch.float64: 1e-12}
NO_COMPILER = "no C++ compiler found: install g++ or clang++"
# Laws whose draws are plain. Gammas reject, on generators of their own; how long a Poisson's table
# of counts is, and how many steps of Newton's a snapped code takes, follows from the params: what
# was followed at one point would be too short at another. A tree reads its table of spans as it
# goes; so do those who list particles of one-hots their numbers, others on that law are compiled.
NOT_COMPILED = {
    **dict.fromkeys(("gamma", "beta", "dirichlet"), "its noise is made of the stream's seed"),
    **dict.fromkeys(
        ("poisson", "snap", "binary_tree", "categorical particles"),
        "what it does depends on numbers",
    ),
}
TOO_LONG = "operations, of 1,500 at most"  # takes the compiler minutes
SPEC = """
name: small
objectives: {name: quadratic, dimensions: 2}
estimators: [score_function, exact]
seeds: 2
draws: 1024
blocks: 8
timing: 0
"""


def has_compiler() -> bool:
    try:
        check_compiler(torch.device("cpu"))
    except NoCompiler:
        return False
    return True


NEEDS_A_COMPILER = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")


@cache
def problem_named(name: str, **settings: object) -> Objective:
    return build_objective(name, **settings)


def twice(method: Estimator, problem: Objective, noise: Noise, draws: int = DRAWS) -> torch.Tensor:
    """Draw two chunks."""
    params = problem.params.to(noise.dtype)
    with torch.no_grad():
        return torch.cat([method.draw(problem, params, draws, noise) for _ in range(2)])


def rows_apart(found: torch.Tensor, plain: torch.Tensor) -> int:
    """Count draws that differ by more than rounding."""
    size = plain.abs().flatten(1).amax(1) + plain.square().mean().sqrt()
    apart = (found - plain).abs().flatten(1).amax(1) > ROUNDING[plain.dtype] * size
    return int(apart.sum()) + int((found.isnan() != plain.isnan()).sum())


def both(
    problem: Objective, method: Estimator, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, Estimator]:
    """Return compiled draws, plain draws from the same noise, and the compiled estimator."""
    quick = compiled(method)
    one, other = (Noise(5, "compiled", dtype=dtype) for _ in range(2))
    found, plain = twice(quick, problem, one), twice(method, problem, other)
    assert one.drawn == other.drawn
    assert found.dtype == plain.dtype == dtype
    assert plain.std() > 0
    return found, plain, quick


@NEEDS_A_COMPILER
class TestTheSameNoise:
    @pytest.mark.parametrize(
        ("where", "method"),
        [
            ({"name": "quadratic", "dimensions": 3}, {"name": "score_function"}),
            (
                {"name": "polynomial", "dimensions": 3, "categories": 4},
                {"name": "straight_through_gumbel_softmax", "samples": 2, "temperature": 0.7},
            ),
            ({"name": "normal_quadratic", "dimensions": 3}, {"name": "reparameterization"}),
            ({"name": "digits_vae", "training_steps": 0}, {"name": "straight_through"}),
            # A stream of its own for every replicate, named by how much was drawn before.
            ({"name": "quadratic", "dimensions": 3}, {"name": "gumbel_rao", "replicates": 2}),
        ],
        ids=lambda entry: entry["name"],
    )
    def test_gives_the_same_gradients(self, where, method):
        found, plain, quick = both(build_objective(**where), build_estimator(**method))
        assert compile_facts(quick) == {"compiled": True}
        assert rows_apart(found, plain) == 0

    def test_gives_them_in_float64(self):
        problem = problem_named("polynomial", dimensions=3, categories=4)
        found, plain, quick = both(problem, build_estimator("reinmax"), torch.float64)
        assert compile_facts(quick) == {"compiled": True}
        assert rows_apart(found, plain) == 0

    def test_of_streams_side_by_side(self):
        problem, method = problem_named("quadratic", dimensions=3), build_estimator("gumbel_rao")
        quick = compiled(replace(method, draw=build_estimator("gumbel_rao", replicates=2).draw))
        found, plain = (
            twice(each, problem, SideBySide([Noise(7, "beside", block) for block in range(4)]))
            for each in (quick, replace(quick, draw=quick.draw.plain))
        )
        assert compile_facts(quick) == {"compiled": True}
        assert rows_apart(found, plain) == 0

    def test_at_another_point(self):
        """What was worked out of the parameters is worked out again for others."""
        problem, method = problem_named("quadratic", dimensions=3), build_estimator("darn")
        quick, params = compiled(method), problem.params.float()
        with torch.no_grad():
            for point in (params, params + 1, params):
                found = quick.draw(problem, point, DRAWS, Noise(8))
                plain = method.draw(problem, point, DRAWS, Noise(8))
                assert rows_apart(found, plain) == 0
        assert compile_facts(quick) == {"compiled": True}

    def test_at_a_point_laid_out_otherwise(self):
        """Compiled loops do not look at strides."""
        problem = problem_named("polynomial", dimensions=3, categories=4)

        def draw(objective, params, draws, noise):
            del objective
            return noise.uniform(draws, 3, 3) @ params

        method = replace(build_estimator("score_function"), draw=draw)
        quick, params = compiled(method), problem.params.float().clone()
        with torch.no_grad():
            for point in (params, torch.empty(4, 3).T.copy_(params + 0.5)):
                found = quick.draw(problem, point, DRAWS, Noise(8))
                assert rows_apart(found, draw(problem, point, DRAWS, Noise(8))) == 0
        assert compile_facts(quick) == {"compiled": True}
        assert len(quick.draw.compiled) == 1

    def test_at_a_point_changed_in_place(self):
        problem, method = problem_named("quadratic", dimensions=3), build_estimator("darn")
        quick, params = compiled(method), problem.params.float().clone()
        with torch.no_grad():
            for _ in range(2):
                found = quick.draw(problem, params, DRAWS, Noise(8))
                assert rows_apart(found, method.draw(problem, params, DRAWS, Noise(8))) == 0
                params.add_(1)
        assert compile_facts(quick) == {"compiled": True}

    def test_of_noise_of_another_dtype(self):
        """It is other memory: loops made for one would read beyond the other."""
        problem, params = problem_named("quadratic", dimensions=3), torch.zeros(3)
        method = build_estimator("score_function")
        quick = compiled(method)
        with torch.no_grad():
            for dtype in (torch.float64, torch.float32, torch.float64):
                found = quick.draw(problem, params, DRAWS, Noise(8, dtype=dtype))
                plain = method.draw(problem, params, DRAWS, Noise(8, dtype=dtype))
                assert rows_apart(found, plain) == 0
        assert len(quick.draw.compiled) == 2

    @pytest.mark.prove
    @pytest.mark.parametrize("which", panel.ESTIMATORS)
    def test_gives_the_same_gradients_for_every_estimator(self, which):
        """Or one line that says why not."""
        problems = {
            panel.objective(where).family.name: where for where, name in panel.pairs()
            if name == which
        }  # fmt: skip
        assert problems
        for law, where in problems.items():
            method = panel.ready(where, which)
            if method.constant:
                assert compile_facts(compiled(method)) == {"compiled": False}
                continue
            found, plain, quick = both(panel.objective(where), method)
            facts = compile_facts(quick)
            why = str(facts.get("not_compiled")).partition(": ")[2]
            expected = why == NOT_COMPILED.get(law) or why.endswith(TOO_LONG)
            assert facts["compiled"] or expected, (where, facts)
            # An arg-max or a threshold may turn over.
            assert rows_apart(found, plain) <= (1 if facts["compiled"] else 0)


def refused(draw) -> tuple[str, Estimator]:
    """Return why a draw of your own was not compiled; it must have been drawn plainly."""
    method = replace(build_estimator("score_function"), name="mine", draw=draw)
    found, plain, quick = both(problem_named("quadratic", dimensions=3), method)
    assert torch.equal(found, plain)
    facts = compile_facts(quick)
    assert facts["compiled"] is False
    assert facts["not_compiled"] == str(facts["not_compiled"]).splitlines()[0]
    return str(facts["not_compiled"]), quick


class TestWhatIsDrawnPlainly:
    """Each says why, in one line."""

    def test_noise_from_a_generator(self):
        def draw(objective, params, draws, noise):
            del objective
            normal = torch.randn(draws, *params.shape, generator=noise.torch_generator())
            noise.drawn += normal.numel()
            return normal.to(params)

        why, _ = refused(draw)
        assert why in ("mine: its noise is a torch generator's", NO_COMPILER)

    def test_noise_that_is_asked_for_as_numbers_come(self):
        def draw(objective, params, draws, noise):
            del objective
            u = noise.uniform(draws, *params.shape)
            while bool((u < 0.4).any()):
                u = torch.where(u < 0.4, noise.uniform(draws, *params.shape), u)
            return u

        why, _ = refused(draw)
        assert why in ("mine: its noise differs from call to call", NO_COMPILER)

    @NEEDS_A_COMPILER
    def test_what_torch_does_not_see(self):
        """What numpy makes of the noise would be made once and for all."""

        def draw(objective, params, draws, noise):
            del objective
            return torch.from_numpy(np.square(noise.uniform(draws, *params.shape).numpy()))

        why, _ = refused(draw)
        assert why == "mine: compiled, its draws were others than the plain ones"

    @NEEDS_A_COMPILER
    def test_memory_viewed_by_strides(self):
        def draw(objective, params, draws, noise):
            del objective
            u = noise.uniform(draws, *params.shape).contiguous()
            return u.as_strided((draws, 3), (3, 1)) * 2

        why, _ = refused(draw)
        assert why == "mine: it views memory by strides, which are others here"

    @NEEDS_A_COMPILER
    def test_a_number_that_decides(self):
        def draw(objective, params, draws, noise):
            del objective
            u = noise.uniform(draws, *params.shape)
            return u if float(u.sum()) > 0 else -u

        why, _ = refused(draw)
        assert why == "mine: what it does depends on numbers"

    @NEEDS_A_COMPILER
    def test_what_the_compiler_refuses(self, monkeypatch):
        monkeypatch.setattr("benchbed.measurement.inductor.OPTIONS", {"cpp.march": "no-such"})

        def draw(objective, params, draws, noise):
            del objective
            return noise.uniform(draws, *params.shape) * 1.2345

        why, _ = refused(draw)
        assert why.startswith("mine: ")
        assert len(why) <= 200
        print(why)

    def test_one_number_is_left_alone(self):
        method = build_estimator("exact")
        assert compiled(method) is method
        assert compile_facts(method) == {"compiled": False}

    def test_no_compiler(self, monkeypatch, capfd):
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CXX", raising=False)
        methods = ["score_function", "darn"]
        found = api.compare("quadratic", methods, draws=512, blocks=8, timing=0, compile=True)
        plain = api.compare("quadratic", methods, draws=512, blocks=8, timing=0)
        told = capfd.readouterr()
        assert told.err == f"benchbed: compile: {NO_COMPILER}; going on without it\n"
        assert told.out == ""
        assert (found["variance"] == plain["variance"]).all()


@NEEDS_A_COMPILER
class TestASweep:
    def test_says_so_in_the_address_only_where_it_compiles(self):
        plain, quick = (
            expand(parse_spec(SPEC + more))[0] for more in ("compile: false", "compile: true")
        )
        assert [cell.id for cell in plain] == [cell.id for cell in expand(parse_spec(SPEC))[0]]
        assert all("compile" not in cell.address for cell in plain)
        assert all(cell.address["compile"] is True for cell in quick)
        assert not {cell.id for cell in plain} & {cell.id for cell in quick}

    def test_gives_the_same_numbers_on_any_number_of_processes(self, tmp_path):
        spec = parse_spec(SPEC + "compile: true")
        records = []
        for jobs in (1, 2):
            outcome = run_sweep(spec, tmp_path / str(jobs), jobs)
            assert [done.notice for done in outcome.done] == [""] * len(outcome.done)
            records.append([Results(outcome.path).get(cell.id) for cell in expand(spec)[0]])
        for one, other in zip(*records, strict=True):
            assert one.facts["compiled"] is other.facts["compiled"]
            assert one.facts["compiled"] is (one.estimator["name"] != "exact")
            for name in ("first", "powers", "largest", "distance"):
                assert np.array_equal(getattr(one.blocks, name), getattr(other.blocks, name))

    def test_by_the_command_line(self, tmp_path, monkeypatch):
        """``--compile`` is the key; where nothing compiles, one line on stderr and the numbers."""
        (tmp_path / "small.yaml").write_text(SPEC, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        code, out, err = command("run", "small.yaml", "--compile")
        assert (code, err) == (0, "")
        assert "4 measured" in out
        cells = expand(parse_spec(SPEC + "compile: true"))[0]
        store = Results(tmp_path / "results" / "small")
        facts = [store.get(cell.id).facts["compiled"] for cell in cells]
        assert facts == [cell.estimator["name"] != "exact" for cell in cells]
        path = os.environ["PATH"]
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CXX", raising=False)
        bare = ("run", "small.yaml", "--compile", "--results", "bare")
        for counted in ("4 measured", "0 measured"):
            code, out, err = command(*bare)
            assert (code, err) == (0, f"benchbed: compile: {NO_COMPILER}; going on without it\n")
            assert counted in out
        monkeypatch.setenv("PATH", path)  # with a compiler, the same command measures the others
        code, out, err = command(*bare)
        assert (code, err) == (0, "")
        assert "4 measured" in out


def command(*words: str) -> tuple[int, str, str]:
    """Run the command line in this process; return its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(os, "environ", os.environ.copy())
        patch.setattr(sys, "argv", ["benchbed", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


@NEEDS_A_COMPILER
def test_another_process_finds_what_was_compiled():
    """In benchbed's own cache folder, and quietly."""
    code = """
import json, os
from torch._dynamo.utils import counters
from benchbed.catalogue import build_estimator, build_objective
from benchbed.measurement.compiled import compile_facts, compiled
from benchbed.rng import Noise
problem, method = build_objective("quadratic", dimensions=3), compiled(build_estimator("darn"))
method.draw(problem, problem.params.float(), 96, Noise(1))
found = {key.partition("_")[2]: n for key, n in counters["inductor"].items() if "fxgraph" in key}
print(json.dumps([compile_facts(method), found, os.environ["TORCHINDUCTOR_CACHE_DIR"]]))
"""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TORCHIND")}
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        said.append(json.loads(done.stdout))
    folder = os.path.join(os.environ["XDG_CACHE_HOME"], "benchbed", "compiled")
    assert said[1] == [{"compiled": True}, {"cache_hit": 1}, folder]
    assert said[0][0] == {"compiled": True}


@NEEDS_A_COMPILER
def test_a_graph_that_holds_a_tensor_without_numbers_is_refused():
    """Reading it would end the process: in one of its own, so that it would be seen."""
    code = """
import torch
from torch._subclasses import FakeTensorMode
from benchbed.measurement.inductor import NoNumbers, compile_graph, use_cache_folder
use_cache_folder()
with FakeTensorMode():
    hollow = torch.arange(4.0)
held = torch.fx.Graph()
x, constant = held.placeholder("x"), held.get_attr("hollow")
held.output((held.call_function(torch.ops.aten.mm.default, (constant, x)),))
module = torch.fx.GraphModule({"hollow": hollow.view(2, 2)}, held)
for given in ([torch.ones(2, 2)], [hollow.view(2, 2)]):
    try:
        compile_graph(module, given)
    except NoNumbers as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = "it holds a tensor without numbers, made while another was followed\n"
    assert (done.returncode, done.stdout) == (0, 2 * line), done.stderr


class TestFunctionsOfFloat32:
    """As exact as a few units in the last place, against float64."""

    @pytest.mark.parametrize(
        ("name", "units"), [("erfinv", 4), ("tanh", 4), ("power 1.5", 3), ("power 1 / 0.7", 40)]
    )
    def test_agree_with_float64(self, name, units):
        spread = torch.linspace(-1, 1, 40_001)[1:-1]
        exponent = {"power 1.5": 1.5, "power 1 / 0.7": 1 / 0.7}.get(name)
        if exponent:
            x = spread.abs() + 1e-6
            found = DECOMPOSITIONS[torch.ops.aten.pow.Tensor_Scalar](x, exponent)
            exact = x.double() ** exponent
        else:
            x = torch.cat((spread, 9 * spread, 1e-3 * spread)) if name == "tanh" else spread
            found = DECOMPOSITIONS[getattr(torch.ops.aten, name).default](x)
            exact = getattr(torch, name)(x.double())
        off = ((found - exact) / exact)[exact != 0].abs().max()
        assert 2.0**-26 < off < units * 2.0**-23

    def test_ends(self):
        ends = torch.tensor([0.0, 1.0, -1.0, 2.0, math.nan])
        for name in ("erfinv", "tanh"):
            found = DECOMPOSITIONS[getattr(torch.ops.aten, name).default](ends)
            torch.testing.assert_close(found, getattr(torch, name)(ends), equal_nan=True)

    def test_logarithm_of_a_uniform(self):
        u = torch.cat((Noise(2).uniform(40_000), torch.tensor([2.0**-24, 1 - 2.0**-24])))
        exact = u.double().log()
        assert ((log_of_uniform(u) - exact) / exact).abs().max() < 2 * 2.0**-23

    def test_words_make_the_very_uniforms(self):
        words = drawn(Noise(3), (1001, 2))
        plain = Noise(3).uniform(1001, 2)
        assert torch.equal(words if words.is_floating_point() else of_words(words), plain)
        bits = torch.tensor([0, 511, 512, -1, 2**31 - 1, -(2**31)], dtype=torch.int32)
        halves = torch.tensor([0, 0, 1, 2**23 - 1, 2**22 - 1, 2**22]) + 0.5
        assert torch.equal(of_words(bits).double(), halves.double() / 2**23)

    def test_other_dtypes_are_left_to_torch(self):
        x = torch.rand(5, dtype=torch.float64)
        graph = traced(lambda x: x.tanh().erfinv(), x, decomposition_table=DECOMPOSITIONS)
        assert torch.equal(graph(x), x.tanh().erfinv())
