"""Inductor, the compiler behind torch.compile: what it needs, its cache on disk, one graph.

It is given graphs, not Python: torch.compile's reader of Python takes some five seconds for an
estimator, and checks at every call whether what it read still holds, for 20 microseconds; that is
half of what a chunk of draws takes.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from benchbed.errors import BenchbedError
from benchbed.objectives._trained import cache_folder

CACHE = "TORCHINDUCTOR_CACHE_DIR"
OPTIONS: dict[str, Any] = {
    "cpp.enable_floating_point_contract_flag": "fast",  # a product and a sum in one rounding
    "size_asserts": False,
    "alignment_asserts": False,
    # It takes softmax(x / t) for attention, and guards it against what cannot happen here.
    "pattern_matcher": False,
    # A process a core would be started for one file of C++, and by every worker.
    "compile_threads": 1,
}


class NoCompiler(BenchbedError):
    """Raised where nothing can be compiled."""


class NoNumbers(BenchbedError):
    """Raised where a graph holds tensors without numbers, whose memory cannot be read."""


def check_compiler(device: torch.device) -> None:
    """Raise NoCompiler, saying why, unless draws on ``device`` can be compiled here."""
    if device.type != "cpu":
        raise NoCompiler(f"draws are compiled on the cpu, not on {device.type}")
    if _cxx() is None:
        raise NoCompiler("no C++ compiler found: install g++ or clang++")


def compile_graph(graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """Return ``graph`` compiled for inputs of these shapes and strides, which are not checked.

    What was compiled once is found on disk again, in ``TORCHINDUCTOR_CACHE_DIR`` or in benchbed's
    own cache folder, by other processes, too.

    Raises:
        NoNumbers: reading a tensor that it holds, or was given, would end the process.
        Exception: of many kinds, where Inductor or the C++ compiler refuses.
    """
    from torch._inductor import compile as inductor
    from torch._inductor import config
    from torch._subclasses import FakeTensor, FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    for x in (*inputs, *_held(graph)):
        if isinstance(x, FakeTensor) or x.device.type == "meta":
            raise NoNumbers("it holds a tensor without numbers, made while another was followed")
    known = {
        name: value for name, value in OPTIONS.items() if hasattr(config, name.partition(".")[0])
    }
    # Inductor only looks into its cache where there is somebody to ask about shapes. All are fixed.
    shapes = FakeTensorMode(shape_env=ShapeEnv())
    shaped: list[Any] = [shapes.from_tensor(x, static_shapes=True) for x in inputs]
    context = torch._guards.TracingContext(shapes)
    with (
        warnings.catch_warnings(),  # of what Inductor itself still uses
        torch._guards.tracing(context),
        config.patch({"cpp.cxx": (_cxx(),)}),
    ):
        warnings.simplefilter("ignore")
        found: Callable[..., Any] = inductor(graph, shaped, options=known)
        found(*inputs)  # what is put off until the first call is done now
    return found


def _held(graph: GraphModule) -> list[Tensor]:
    """Return the tensors that are not inputs of the graph but part of it."""
    found = [getattr(graph, node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    return [x for x in found if isinstance(x, Tensor)]


def _cxx() -> str | None:
    """Return the C++ compiler that Inductor is set to use, or another that it could."""
    from torch._inductor import config

    given = config.cpp.cxx
    named = [name for name in (given if isinstance(given, tuple) else (given,)) if name]
    others = [] if os.environ.get("CXX") else ["g++", "clang++"]
    return next((name for name in [*named, *others] if shutil.which(name)), None)


def use_cache_folder() -> None:
    """Point Inductor to benchbed's cache, unless a person has pointed it elsewhere."""
    given = os.environ.get(CACHE)
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # which sets it as well

    if given not in (None, default_cache_dir()):
        return
    folder = cache_folder() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a folder of torch's own takes its place
    os.environ[CACHE] = str(folder)
