"""What rules of other domains are made of: those of ai.onnx, with the inputs put in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import onnx
from onnx import TensorProto

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Shape
from eyeshot.frontends.onnx.calls import Call, NoRule, Op, Value
from eyeshot.frontends.onnx.rules import Rule

__all__ = [
    "FLOAT",
    "INT32",
    "UINT8",
    "bounded",
    "channels_first",
    "channels_last",
    "core",
    "made",
    "moved",
    "per_channel",
    "present",
    "viewed",
]

FLOAT, UINT8, INT32 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT32


def _version(c: Call) -> int:
    """The opset of ai.onnx that the model imports."""
    return c.scope.versions.get("", onnx.defs.onnx_opset_version())


def core(
    c: Call,
    name: str,
    *inputs: Value | None,
    opset: int | None = None,
    output: int = 0,
    **more: Any,
) -> tuple[list[int], Shape]:
    """What an ai.onnx operator reads: one value, or none where all inputs are constants; and its shape.

    It has the node's own attributes, and ``more``; None takes one away.
    """
    inner = _call(c, name, inputs, opset, more, c.depends)
    if c.depends and all(x is None or x.at is None for x in inputs):
        # Only the shape is wanted: as for constants, on a graph that is thrown away.
        inner = _call(c, name, inputs, opset, more, False)
        inner.g = Graph()
        return [], _shape(inner, _rule(inner)(inner, *inputs), output)
    inner.g = c.g
    result = _rule(inner)(inner, *inputs)
    at = (result if isinstance(result, list) else [result])[output]
    if isinstance(at, Value):
        return ([] if at.at is None else [at.at]), at.shape
    return [at], c.g.shapes[at]


def _call(
    c: Call,
    name: str,
    inputs: Sequence[Any],
    opset: int | None,
    more: dict[str, Any],
    depends: bool,
) -> Call:
    op = Op("", name, _version(c) if opset is None else opset)
    inner = Call(c.walker, op, c.node, list(inputs), c.scope, depends, c.name)
    found = dict(c.attributes)
    for key, held in more.items():
        found.pop(key, None)
        if held is not None:
            found[key] = onnx.helper.make_attribute(key, held)
    inner._attributes = found
    return inner


def _rule(inner: Call) -> Rule:
    if inner.op.rule is None:
        raise NoRule(f"no rule for {inner.op.name}")
    return inner.op.rule


def _shape(inner: Call, result: Any, output: int) -> Shape:
    at = (result if isinstance(result, list) else [result])[output]
    return at.shape if isinstance(at, Value) else inner.g.shapes[at]


def made(c: Call, values: Sequence[int], shape: Sequence[int], dtype: int | None = None) -> Value:
    """An output: all of ``values`` joined, broadcast to ``shape``; a constant if there are none.

    Without ``dtype`` it is the first input's.
    """
    shape = tuple(shape)
    if dtype is None:
        dtype = c.inputs[0].dtype
    if not values:
        return Value(None, shape, dtype)
    at = c.join(values, shape)
    return Value(at if c.depends else None, shape, dtype)


def present(c: Call, *inputs: Value | None) -> list[int]:
    """The values of those that depend on the network's inputs."""
    return [at for x in inputs if (at := c.v(x)) is not None]


def per_channel(c: Call, rank: int, axis: int | None, inputs: Iterable[Value | None]) -> list[int]:
    """Parameters of one number for all elements, or of one for each position along ``axis`` of a tensor."""
    found = []
    for x in inputs:
        if x is None or (at := c.v(x)) is None:
            continue
        like = [1] * rank
        if x.size > 1:
            if axis is None:
                raise NoRule("a parameter that is neither one number nor one for each channel")
            like[axis] = x.size
        found.append(families.reshape(c.g, at, like))
    return found


def viewed(c: Call, x: Value, at: int) -> Value:
    """A value made of an input's, to be an input of a rule in its place."""
    return Value(at if c.depends else None, c.g.shapes[at], x.dtype)


def moved(c: Call, x: Value, order: Sequence[int]) -> Value:
    """An input with its dims in a new order."""
    if c.depends and x.at is None:
        return Value(None, tuple(x.shape[k] for k in order), x.dtype)
    return viewed(c, x, families.permute(c.g, c.operand(x), order))


def channels_first(c: Call, x: Value) -> Value:
    """(N, …, C) as (N, C, …)."""
    return moved(c, x, [0, x.rank - 1, *range(1, x.rank - 1)])


def channels_last(c: Call, found: tuple[list[int], Shape]) -> tuple[list[int], Shape]:
    """The reverse, of what :func:`core` gives."""
    values, shape = found
    order = [0, *range(2, len(shape)), 1]
    return [families.permute(c.g, v, order) for v in values], tuple(shape[k] for k in order)


def bounded(
    c: Call, shape: Sequence[int], why: str, dtype: int | None = None, code: str = "data-dependent"
) -> Value:
    """An output of known shape that may read everything of every input."""
    shape = tuple(shape)
    values = [at for _, at in c.reads()]
    dtype = c.inputs[0].dtype if dtype is None else dtype
    if 0 in shape:
        return Value(None, shape, dtype)
    at = c.bound(families.opaque(c.g, values, shape), code, why)
    return Value(at if c.depends else None, shape, dtype)
