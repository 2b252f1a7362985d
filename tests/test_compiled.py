"""Compiled draws: the plain draws' numbers from the same noise, or the plain draws themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchbed.catalogue import build_estimator, build_objective
from benchbed.contracts import Estimator
from benchbed.measurement.compiled import compile_facts, compiled
from benchbed.measurement.inductor import NoCompiler, check_compiler
from benchbed.rng import Noise

DRAWS = 256


def has_compiler() -> bool:
    try:
        check_compiler(torch.device("cpu"))
    except NoCompiler:
        return False
    return True


NEEDS_A_COMPILER = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")


def both(problem, method, *path: str) -> tuple[torch.Tensor, torch.Tensor, Estimator]:
    """Return compiled draws, plain draws from the same noise, and the compiled estimator."""
    params, quick = problem.params.float(), compiled(method)
    with torch.no_grad():
        found = [
            quick.draw(problem, params, DRAWS, noise)
            for noise in (Noise(5, *path), Noise(6, *path))
        ]
        plain = [
            method.draw(problem, params, DRAWS, noise)
            for noise in (Noise(5, *path), Noise(6, *path))
        ]
    return torch.cat(found), torch.cat(plain), quick


@NEEDS_A_COMPILER
@pytest.mark.filterwarnings("default")  # torch's own, while it compiles
@pytest.mark.parametrize(
    ("problem", "name"),
    [("quadratic", "score_function"), ("polynomial", "reinmax"), ("polynomial", "gumbel_softmax")],
)
def test_the_same_noise_gives_the_same_gradients(problem, name):
    found, plain, quick = both(build_objective(problem, dimensions=3), build_estimator(name))
    assert compile_facts(quick) == {"compiled": True}
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
    assert plain.std() > 0


def test_what_cannot_be_compiled_is_drawn_plainly_and_says_why():
    """Noise from a torch generator is not followed."""

    def draw(objective, params, draws, noise):
        del objective
        normal = torch.randn(draws, *params.shape, generator=noise.torch_generator())
        return normal.to(params)

    method = replace(build_estimator("score_function"), draw=draw)
    found, plain, quick = both(build_objective("quadratic", dimensions=3), method)
    assert torch.equal(found, plain)
    facts = compile_facts(quick)
    assert facts["compiled"] is False
    assert facts["not_compiled"]
    assert "\n" not in str(facts["not_compiled"])
