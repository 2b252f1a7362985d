"""A draw as one graph of operations, ready to be compiled: what is small is worked out apart.

The draw is followed operation by operation, autograd's included, on numbers that are thrown away:
tensors without any would end the process where numpy reads them. What depends on no random number
(probabilities, thresholds, weights) is worked out once, by the very operations of the plain draw,
and is an input of what is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx import GraphModule, Node

from benchbed.errors import BenchbedError
from benchbed.layout import draws_first, draws_last
from benchbed.measurement.draws_last_graph import DrawsLast, in_memory, only_elementwise, users
from benchbed.measurement.float32_functions import DECOMPOSITIONS, of_words

MOST_NODES = 1500  # what takes the compiler about a minute


class TooLarge(BenchbedError):
    """Raised where a draw is more operations than are worth compiling."""


@dataclass(frozen=True)
class DrawGraph:
    """A draw in two parts.

    Attributes:
        point: (params) -> what depends on no random number, as inputs of ``main``.
        main: (random numbers [draws, ...], ..., those inputs) -> (gradients [draws, ...],).
    """

    point: Callable[[Tensor], list[Tensor]]
    main: GraphModule


def graph_of(
    function: Callable[..., Tensor], noise: Sequence[Tensor], params: Tensor, draws: int
) -> DrawGraph:
    """Follow ``function(*uniforms, params)``.

    Args:
        function: returns gradients [draws, ...].
        noise: what uniforms are made of, [draws, ...] laid out draws last: themselves, or words.
        params: the point.
        draws: size of the first axis.

    Raises:
        TooLarge: a draw of too many operations.
        Exception: of many kinds, where numbers decide what is done, or numpy does it.
    """
    from torch._inductor.decomposition import select_decomp_table

    uniforms = [_uniform(x, False) for x in noise]
    raw = traced(function, *uniforms, params)
    constants = _lifted(raw)
    if len(raw.graph.nodes) > MOST_NODES:
        raise TooLarge(f"a draw is {len(raw.graph.nodes):,} operations, of {MOST_NODES:,} at most")
    whole = traced(torch.func.functionalize(raw), *uniforms, params, *constants)
    before, after = _parted(whole, len(uniforms), draws)
    small = list(before(params, *constants))
    plain = traced(after, *uniforms, *small, decomposition_table=select_decomp_table())
    turned = DrawsLast(plain, len(uniforms), draws)
    often = [len(users(node)) > 1 for node in plain.graph.nodes if node.op == "placeholder"]

    def from_noise(*inputs: Tensor) -> tuple[Tensor]:  # a bare tensor, Inductor would wrap again
        found = [_uniform(x, again) for x, again in zip(inputs[: len(noise)], often, strict=False)]
        return (turned.run(*found, *inputs[len(noise) :]),)

    main = traced(from_noise, *noise, *small, decomposition_table=DECOMPOSITIONS)
    main.graph.eliminate_dead_code()
    main.recompile()
    apart = only_elementwise(main)[len(uniforms) :]

    def point(params: Tensor) -> list[Tensor]:
        found = before(params, *constants)
        return [_spread(x) if one else x for x, one in zip(found, apart, strict=True)]

    return DrawGraph(point, main)


def _uniform(noise: Tensor, again: bool) -> Tensor:
    """Make uniforms of words, once only if they are used again and again."""
    if noise.is_floating_point():
        return noise
    found = of_words(draws_last(noise))
    return draws_first(in_memory(found) if again else found)


def traced(function: Callable[..., Any], *inputs: Tensor, **options: Any) -> GraphModule:
    """Return what ``function`` does to tensors such as ``inputs``."""
    from torch.fx.experimental.proxy_tensor import make_fx

    tracer = make_fx(function, **options)
    with compiling():
        found: GraphModule = tracer(*inputs)
    return found


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Have ``torch.compiler.is_compiling()`` say so."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def _lifted(graph: GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that the draw found in its closures, and return them."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    found: dict[int, Node] = {}
    constants: list[Tensor] = []
    for node in list(graph.graph.nodes):
        if node.op != "get_attr":
            continue
        constant = getattr(graph, node.target)
        if id(constant) not in found:
            with graph.graph.inserting_after(inputs[-1]):
                inputs.append(graph.graph.placeholder(f"constant_{len(constants)}"))
            found[id(constant)] = inputs[-1]
            constants.append(constant)
        node.replace_all_uses_with(found[id(constant)])
        graph.graph.erase_node(node)
    graph.recompile()
    return constants


def _parted(whole: GraphModule, uniforms: int, draws: int) -> tuple[GraphModule, GraphModule]:
    """Part what depends on no random number from what does; the first gives the second inputs.

    Whatever has the axis of draws stays with the second: it is repeated there, and read here.
    """
    inputs = [node for node in whole.graph.nodes if node.op == "placeholder"]
    after = set(inputs[:uniforms])
    for node in whole.graph.nodes:
        value = node.meta.get("val")
        large = isinstance(value, Tensor) and draws in value.shape
        used = any(source in after for source in node.all_input_nodes)
        if node.op == "call_function" and (large or used):
            after.add(node)
    wanted: dict[Node, None] = {}  # in order
    for node in whole.graph.nodes:
        if node in after or node.op == "output":
            wanted |= {source: None for source in node.all_input_nodes if source not in after}
    copies: dict[Node, Node] = {}
    first = fx.Graph()
    for node in whole.graph.nodes:
        if node.op != "output" and node not in after:
            copies[node] = first.node_copy(node, copies.__getitem__)
    first.output([copies[node] for node in wanted])
    second = fx.Graph()
    copies = {node: second.node_copy(node, copies.__getitem__) for node in inputs[:uniforms]}
    for number, node in enumerate(wanted):
        copies[node] = second.placeholder(f"small_{number}")
        copies[node].meta = dict(node.meta)
    for node in whole.graph.nodes:
        if node.op == "output" or (node in after and node not in copies):
            copies[node] = second.node_copy(node, copies.__getitem__)
    first.eliminate_dead_code()
    return GraphModule(whole, first), GraphModule(whole, second)


def _spread(x: Tensor) -> Tensor:
    """Return ``x`` with gaps between its numbers.

    Inductor takes vectors along an axis that is contiguous in some input, the last of several;
    this one would then be the ten categories of a threshold, and not the thousands of draws.
    """
    spread = x.new_zeros(*x.shape, 2)
    spread[..., 0] = x
    return spread[..., 0]
