"""A graph turned over: every operation on ``[draws, ...]`` done on ``[..., draws]``.

Estimators speak of ``[draws, ...]`` while memory has the draws last. Inductor orders its loops by
the shapes it is told: told the shapes of memory, it takes vectors along the draws, and fuses loops
that it would have parted by transposed copies. A division by what is shared along an axis becomes
a product with the reciprocal, and what is dear and used again is kept in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx import GraphModule, Node

from benchbed.errors import BenchbedError
from benchbed.measurement.float32_functions import log_of_uniform

aten = torch.ops.aten
DIVISIONS = {aten.div.Tensor, aten.div.Scalar}
REDUCTIONS = {
    *(aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default),
    *(aten.argmax.default, aten.argmin.default, aten.prod.dim_int, aten.any.dim, aten.all.dim),
}
SCANS = {aten.cumsum.default, aten.cumprod.default}
CASTS = {torch.ops.prims.convert_element_type.default}
VIEWS = {
    *(aten.permute.default, aten.transpose.int, aten.t.default),
    *(aten.view.default, aten.reshape.default, aten._unsafe_view.default),
    *(aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.expand.default),
    *(aten.select.int, aten.slice.Tensor, aten.alias.default, aten.detach.default),
    *(aten.clone.default,),
}
SAME = {aten.clone.default, aten.alias.default, aten.detach.default}
RESHAPES = {aten.view.default, aten.reshape.default, aten._unsafe_view.default}
SCATTERS = {aten.select_scatter.default, aten.slice_scatter.default}
DEAR = {  # several times an addition
    *(aten.div.Tensor, aten.reciprocal.default, aten.sqrt.default, aten.rsqrt.default),
    *(aten.log.default, aten.log1p.default, aten.exp.default, aten.expm1.default),
    *(aten.sigmoid.default, aten.tanh.default, aten.erf.default, aten.erfinv.default),
    *(aten.cos.default, aten.sin.default, aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor),
}


class ByStrides(BenchbedError):
    """Raised where a draw views memory by strides, which are others draws last."""


class DrawsLast(fx.Interpreter):
    """Runs a functional graph of core operations with the axis of draws last in each of them.

    Args:
        graph: traced, with ``val`` in the meta of its nodes.
        uniforms: how many of its inputs, the first ones, are uniforms.
        draws: the size that the axis of draws is known by.

    Raises:
        ByStrides: the graph cannot be turned over.
    """

    def __init__(self, graph: GraphModule, uniforms: int, draws: int) -> None:
        super().__init__(graph)
        if any(node.target is aten.as_strided.default for node in graph.graph.nodes):
            raise ByStrides("it views memory by strides, which are others here")
        self.draws = draws
        inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
        self.logs = {
            user
            for node in inputs[:uniforms]
            for user in users(node)
            if user.target is aten.log.default and node.meta["val"].dtype is torch.float32
        }
        self.kept = _worth_keeping(graph)
        self.node: Node | None = None

    def run_node(self, n: Node) -> Any:
        """Remember which node it is."""
        self.node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Do one operation, turned over if it can be."""
        value = None if self.node is None else self.node.meta.get("val")
        if not isinstance(value, Tensor):
            return super().call_function(target, args, kwargs)
        if target in SAME:
            return args[0]
        if target in RESHAPES:
            return args[0].reshape(args[1])
        if target in SCATTERS:
            return self._scattered(target, *args)
        if self.node is not None and _elementwise(self.node):
            return self._elementwise(target, args, kwargs, value)
        if (
            (target in REDUCTIONS or target in SCANS)
            and len(args) > 1
            and args[1] not in (None, [])
        ):
            return self._along(target, args, kwargs)
        if target is aten.cat.default and all(x.ndim == value.ndim for x in args[0]):
            order = self._order(value)
            axis = (args[1] if len(args) > 1 else 0) % value.ndim
            parts = [x.permute(order) for x in args[0]]
            return target(parts, order.index(axis)).permute(_inverse(order))
        return super().call_function(target, args, kwargs)

    def _order(self, x: Tensor) -> list[int]:
        """Return the axes of ``x``, that of draws last."""
        found = [axis for axis, size in enumerate(x.shape) if size == self.draws]
        if len(found) > 1:
            found = [axis for axis in found if x.stride(axis) == 1] or found
        return [axis for axis in range(x.ndim) if axis not in found[:1]] + found[:1]

    def _elementwise(self, target: Any, args: Any, kwargs: Any, value: Tensor) -> Tensor:
        order = self._order(value)

        def turned(x: Any) -> Any:
            if not isinstance(x, Tensor) or x.ndim == 0:
                return x
            return x[(None,) * (value.ndim - x.ndim)].permute(order)

        inputs = [turned(x) for x in args]
        named = {name: turned(x) for name, x in kwargs.items() if name != "memory_format"}
        if target in DIVISIONS and value.is_floating_point() and not named:
            found = _divided(*inputs)
        elif self.node in self.logs:
            found = log_of_uniform(inputs[0])
        else:
            found = target(*inputs, **named)
        assert isinstance(found, Tensor)
        if self.node in self.kept:
            found = in_memory(found)
        return found.permute(_inverse(order))

    def _scattered(self, target: Any, x: Tensor, part: Tensor, axis: int, *place: int) -> Tensor:
        """Put ``part`` into ``x`` at one place along an axis, or at a stretch of places."""
        if target is aten.select_scatter.default:
            part, place = part.unsqueeze(axis), (place[0] % x.shape[axis],)
            place = (place[0], place[0] + 1)
        if part.shape == x.shape:
            return part
        order = self._order(x)
        moved = order.index(axis % x.ndim)
        found = aten.slice_scatter.default(x.permute(order), part.permute(order), moved, *place)
        assert isinstance(found, Tensor)
        return found.permute(_inverse(order))

    def _along(self, target: Any, args: Any, kwargs: Any) -> Tensor:
        """Reduce or scan along axes other than that of draws."""
        x, axes, *others = args
        order = self._order(x)
        given = [axes] if isinstance(axes, int) else list(axes)
        reduced = {axis % x.ndim for axis in given}
        moved = [order.index(axis % x.ndim) for axis in given]
        found = target(x.permute(order), moved[0] if isinstance(axes, int) else moved, *others)
        if kwargs:
            found = found.to(kwargs.get("dtype") or found.dtype)
        whole = target in SCANS or (len(others) > 0 and others[0] is True)
        left = [axis for axis in order if whole or axis not in reduced]
        assert isinstance(found, Tensor)
        return found.permute([left.index(axis) for axis in sorted(left)])


def only_elementwise(graph: GraphModule) -> list[bool]:
    """Return of every input whether it is small numbers that are used one by one."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    return [
        node.meta["val"].ndim > 0
        and node.meta["val"].is_floating_point()
        and all(_elementwise(user) or user.target in REDUCTIONS for user in users(node))
        for node in inputs
    ]


def _worth_keeping(graph: GraphModule) -> set[Node]:
    """Return the dear results that would be worked out more than once if they were not kept."""
    dear: dict[Node, bool] = {}
    kept: set[Node] = set()
    for node in graph.graph.nodes:
        viewed = node.op == "call_function" and node.target in VIEWS
        dear[node] = (viewed or _elementwise(node)) and any(map(dear.get, node.all_input_nodes))
        if not _elementwise(node):
            continue
        dear[node] = dear[node] or _dear(node)
        later, size = users(node), node.meta["val"].numel()
        wider = any(_elementwise(user) and user.meta["val"].numel() > size for user in later)
        inlined = any(not _elementwise(user) and user.target not in REDUCTIONS for user in later)
        if dear[node] and (len(later) > 1 or wider or inlined):
            kept.add(node)
            dear[node] = False
    return kept


def _dear(node: Node) -> bool:
    if node.target is aten.pow.Tensor_Scalar:
        return node.args[1] not in (1, 2, 3)
    if node.target in DIVISIONS:
        under = node.args[1]
        return isinstance(under, Node) and under.meta["val"].numel() == node.meta["val"].numel()
    return node.target in DEAR


def _elementwise(node: Node) -> bool:
    if node.op != "call_function" or node.target in VIEWS:
        return False
    tags = getattr(node.target, "tags", ())
    one = isinstance(node.meta.get("val"), Tensor)
    return one and (torch.Tag.pointwise in tags or node.target in CASTS)


def users(node: Node) -> list[Node]:
    """Return what uses a node's result, through views of it as well."""
    found: list[Node] = []
    for user in node.users:
        found += users(user) if user.target in VIEWS else [user]
    return found


def _divided(x: Any, y: Any) -> Any:
    if not isinstance(y, Tensor):
        return x * (1 / y)
    if isinstance(x, Tensor) and y.numel() < x.numel():
        return x * (in_memory(y.reciprocal()) if y.ndim else y.reciprocal())
    return x / y


def in_memory(x: Tensor) -> Tensor:
    """Return ``x``, which Inductor has then to write down: it never works out a strided view."""
    return torch.as_strided(x, x.shape, x.stride())


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]
