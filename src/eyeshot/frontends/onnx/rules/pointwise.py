"""Pointwise operators: each element reads the same element of every input, broadcast as in NumPy."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, Value, broadcast
from eyeshot.frontends.onnx.rules import rule

__all__ = []


@rule("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Bernoulli", "BitwiseNot", "Ceil", "Celu",
      "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "IsInf", "IsNaN",
      "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
      "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
      "Affine", "ImageScaler", "ParametricSoftplus", "ScaledTanh")  # fmt: skip
def unary(c: Call, x: Value, *rest: Any) -> Any:
    """A function of each element. The value is the input's own: nothing is added to the graph."""
    return c.operand(x)


@rule("Cast", "BitCast")
def cast(c: Call, x: Value) -> int:
    """Until opset 5 the type is named."""
    to = c.attr("to")
    c.dtype = TensorProto.DataType.Value(to.upper()) if isinstance(to, str) else to
    return c.operand(x)


@rule("CastLike")
def cast_like(c: Call, x: Value, like: Value) -> Any:
    """Of the other input only the type counts: a constant stays one."""
    if x.at is None and c.depends:
        numbers = c.constant(x)
        if numbers is not None:
            numbers = numbers.astype(onnx.helper.tensor_dtype_to_np_dtype(like.dtype))
        return Value(None, x.shape, like.dtype, numbers)
    c.dtype = like.dtype
    return c.operand(x)


@rule("And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Greater", "GreaterOrEqual", "Less",
      "LessOrEqual", "Max", "Mean", "Min", "Mod", "Or", "Sum", "SwiGLU", "Xor")  # fmt: skip
def several(c: Call, *inputs: Value) -> int:
    return c.pointwise(*inputs)


@rule("Where")
def where(c: Call, condition: Value, yes: Value, no: Value) -> Any:
    """One of two tensors; which one is known where the condition is a constant."""
    if c.v(condition) is not None:
        return c.pointwise(condition, yes, no)
    shape = broadcast(condition.shape, yes.shape, no.shape)
    mask = c.constant(condition)
    if mask is None:
        why = "the condition is not known; what it may hide is taken as read"
        return c.bound(c.pointwise(condition, yes, no), "unknown-mask", why)
    kept = []
    for x, held in ((yes, mask.astype(bool)), (no, ~mask.astype(bool))):
        if (at := c.v(x)) is None or not held.any():
            continue
        room = c.walker.folder.write(min(held.size, families.MAX_MASK))
        at = families.masked(c.g, c.shaped(at, shape), held) if room else None
        if at is None:
            why = "the condition is large; what it hides is taken as read"
            return c.bound(c.pointwise(condition, yes, no), "large-mask", why)
        kept.append(at)
    return c.join(kept) if kept else Value(None, shape, yes.dtype)


@rule("Add", "Sub", "Mul", "Div", "Pow", "PRelu")
def binary(c: Call, a: Value, b: Value) -> int:
    """Until opset 6 the second input was broadcast from ``axis`` on, and PRelu's slope along the channels."""
    channels = c.op.name == "PRelu" and c.opset < 7 and b.rank == 1 and b.size > 1
    if c.opset >= 7 or not (channels or c.attr("broadcast")) or a.rank == b.rank:
        return c.pointwise(a, b)
    axis = 1 if channels else c.attr("axis", a.rank - b.rank) % a.rank
    shape = (*(1,) * axis, *b.shape, *(1,) * (a.rank - axis - b.rank))
    values = [at] if (at := c.v(a)) is not None else []
    if (at := c.v(b)) is not None:
        values.append(families.reshape(c.g, at, shape))
    return c.join(values, a.shape)


@rule("Clip")
def clip(c: Call, x: Value, low: Value | None = None, high: Value | None = None) -> int:
    return c.pointwise(x, low, high)


@rule("Dropout")
def dropout(
    c: Call, x: Value, ratio: Value | None = None, training: Value | None = None
) -> list[Any]:
    """Kept or dropped, an element has to do with itself alone; so has the mask, which is drawn.

    In training what is kept is scaled by the ratio.
    """
    values = [at] if (at := c.v(x)) is not None else []
    mask: Any = Value(None, x.shape, TensorProto.BOOL if c.opset >= 10 else x.dtype)
    mode = c.constant(training)
    drawn = [at for p in (ratio, training) if (at := c.v(p)) is not None]
    if drawn and training is not None and (mode is None or mode.any()):
        values += drawn
        mask = c.join(drawn, x.shape)
    return [c.join(values, x.shape) if values else Value(None, x.shape, x.dtype), mask]
