"""Operators that read along whole dims: reductions and running sums."""

from __future__ import annotations

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axis_of

__all__ = []


@rule("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
      "ReduceProd", "ReduceSum", "ReduceSumSquare")  # fmt: skip
def reduction(c: Call, x: Value, axes: Value | None = None) -> int:
    """Over all dims where none are named, unless an attribute says that then over none."""
    given = c.attr("axes")
    if given is None and axes is not None:
        given = c.ints(axes) if axes.size else []
    if not given and c.attr("noop_with_empty_axes", 0):
        return c.operand(x)
    dims = {axis_of(c, d, x.rank) for d in given} if given else set(range(x.rank))
    at = c.operand(x)
    return families.reduce(c.g, at, sorted(dims), bool(c.attr("keepdims", 1))) if dims else at


@rule("ArgMax", "ArgMin")
def arg(c: Call, x: Value) -> int:
    """Where the greatest of all lies."""
    dim = axis_of(c, c.attr("axis", 0), x.rank)
    return families.reduce(c.g, c.operand(x), (dim,), bool(c.attr("keepdims", 1)))


@rule("CumSum", "CumProd")
def cumulative(c: Call, x: Value, axis: Value) -> int:
    """All up to its own position, or before it; from the other end where reversed."""
    given = c.ints(axis) or [0]
    dim = axis_of(c, given[0], x.rank)
    at = c.operand(x)
    if c.attr("reverse", 0):
        at = families.flip(c.g, at, (dim,))
    at = families.causal_mix(c.g, at, dim)
    if c.attr("exclusive", 0):
        at = families.placed(c.g, at, dim, 1, x.shape[dim])
    return families.flip(c.g, at, (dim,)) if c.attr("reverse", 0) else at
