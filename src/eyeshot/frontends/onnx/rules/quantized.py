"""Quantised tensors: each element goes by the scale and zero point of its tensor, channel or block.

A quantised operator reads what the operator on numbers reads, and the scales and zero points of all that goes
in and comes out. A dynamic scale is made of the tensor itself: then every element reads all of it.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from eyeshot.core import families
from eyeshot.core.primitives import Shape, Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.wrapping import (
    FLOAT,
    INT32,
    UINT8,
    channels_first,
    channels_last,
    core,
    made,
    per_channel,
    present,
)

__all__ = ["qlinear_conv", "scaled"]


def scales_of(c: Call, x: Value, *inputs: Value | None) -> list[int]:
    """Scales and zero points of ``x``: for all of it, or for each position or block along ``axis``."""
    axis = c.attr("axis", 1)
    axis += x.rank if axis < 0 else 0
    found = []
    for p in inputs:
        if p is None or (at := c.v(p)) is None:
            continue
        if p.rank == x.rank and p.size > 1 and c.attr("block_size", 0):
            found.append(_blocks(c, at, x, axis))
            continue
        if p.size > 1 and (axis >= x.rank or p.size != x.shape[axis]):
            raise c.fail(f"{p.size} scales for axis {axis} of {list(x.shape)}")
        found += per_channel(c, x.rank, axis, (p,))
    return found


def _blocks(c: Call, at: int, x: Value, axis: int) -> int:
    """One number for each block along ``axis``, the other dims alike."""
    block, n = c.attr("block_size"), x.shape[axis]
    shape = c.g.shapes[at]
    if shape[axis] != -(-n // block):
        raise c.fail(f"{shape[axis]} scales for {n} elements in blocks of {block}")
    if shape[axis] > 1 and block > 1:
        at = c.g.add(Stencil(axis, Taps(block, 1, (0,) * block, (1,) * block), n), at)
    return c.shaped(at, x.shape)


@rule("QuantizeLinear")
@rule("QuantizeLinear", domain="com.microsoft")
def quantize(c: Call, x: Value, scale: Value, zero: Value | None = None) -> Value:
    dtype = zero.dtype if zero is not None else c.attr("output_dtype", 0) or UINT8
    return made(c, [*present(c, x), *scales_of(c, x, scale, zero)], x.shape, dtype)


@rule("DequantizeLinear")
@rule("DequantizeLinear", domain="com.microsoft")
def dequantize(c: Call, x: Value, scale: Value, zero: Value | None = None) -> Value:
    dtype = c.attr("output_dtype", 0) or scale.dtype
    return made(c, [*present(c, x), *scales_of(c, x, scale, zero)], x.shape, dtype)


@rule("DynamicQuantizeLinear")
def dynamic_quantize(c: Call, x: Value) -> list[Value]:
    """The scale and the zero point are made of the smallest and the largest element."""
    at, dims = c.operand(x), range(x.rank)
    seen = families.reduce(c.g, at, dims, False) if x.rank else at
    return [
        made(c, [at, seen], x.shape, UINT8),
        made(c, [seen], (), FLOAT),
        made(c, [seen], (), UINT8),
    ]


# --- convolutions and products of matrices


@rule("QLinearConv")
@rule("QLinearConv", domain="com.microsoft")
def qlinear_conv(
    c: Call,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    y_scale: Value,
    y_zero: Value,
    b: Value | None = None,
    name: str = "Conv",
    last: bool = False,
) -> Value:
    """``channels_last``: of the input and the output; the weights' dims stay in order."""
    last = last or bool(c.attr("channels_last", 0))
    values, shape = core(c, name, channels_first(c, x) if last else x, w, b)
    values += per_channel(c, x.rank, None, (x_scale, x_zero, y_scale, y_zero))
    values += per_channel(c, x.rank, 1, (w_scale, w_zero))
    if last:
        values = [c.shaped(v, shape) for v in values]
        values, shape = channels_last(c, (values, shape))
    return made(c, values, shape, y_zero.dtype)


@rule("ConvInteger")
def conv_integer(
    c: Call, x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None
) -> Value:
    """The padding stands for the zero point: it reads nothing."""
    values, shape = core(c, "Conv", x, w)
    values += per_channel(c, x.rank, None, (x_zero,)) + per_channel(c, x.rank, 1, (w_zero,))
    return made(c, values, shape, INT32)


def rows_and_columns(
    c: Call, shape: Shape, rows: tuple[Value | None, ...], columns: tuple[Value | None, ...]
) -> list[int]:
    """Parameters of one number for all, for each row of the first matrix or column of the second.

    In one dim, or in as many as the product has.
    """
    found = []
    for inputs, dim in ((rows, -2), (columns, -1)):
        for p in inputs:
            if p is None or (at := c.v(p)) is None:
                continue
            if p.size == 1:
                at = families.reshape(c.g, at, (1,) * len(shape))
            elif p.rank == 1:
                if len(shape) < -dim:
                    raise NoRule("a parameter for each row of a vector")
                at = families.reshape(c.g, at, (p.size, *(1,) * (-dim - 1)))
            found.append(at)
    return found


@rule("QLinearMatMul")
def qlinear_matmul(
    c: Call,
    a: Value,
    a_scale: Value,
    a_zero: Value,
    b: Value,
    b_scale: Value,
    b_zero: Value,
    y_scale: Value,
    y_zero: Value,
) -> Value:
    """The product may have a scale for each row, as the first matrix may."""
    values, shape = core(c, "MatMul", a, b)
    rows = (a_scale, a_zero, y_scale, y_zero)
    values += rows_and_columns(c, shape, rows, (b_scale, b_zero))
    return made(c, values, shape, y_zero.dtype)


@rule("MatMulInteger")
def matmul_integer(
    c: Call, a: Value, b: Value, a_zero: Value | None = None, b_zero: Value | None = None
) -> Value:
    values, shape = core(c, "MatMul", a, b)
    values += rows_and_columns(c, shape, (a_zero,), (b_zero,))
    return made(c, values, shape, INT32)


@rule("MatMulInteger16", domain="com.microsoft")
def matmul_integer16(c: Call, a: Value, b: Value) -> Value:
    values, shape = core(c, "MatMul", a, b)
    return made(c, values, shape, INT32)


@rule("MatMulIntegerToFloat", domain="com.microsoft")
def matmul_integer_to_float(
    c: Call,
    a: Value,
    b: Value,
    a_scale: Value,
    b_scale: Value,
    a_zero: Value | None = None,
    b_zero: Value | None = None,
    bias: Value | None = None,
) -> Value:
    values, shape = core(c, "MatMul", a, b)
    values += rows_and_columns(c, shape, (a_scale, a_zero), (b_scale, b_zero, bias))
    return made(c, values, shape, a_scale.dtype)


@rule("DynamicQuantizeMatMul", domain="com.microsoft")
def dynamic_quantize_matmul(
    c: Call,
    a: Value,
    b: Value,
    b_scale: Value,
    b_zero: Value | None = None,
    bias: Value | None = None,
) -> Value:
    """The scale of the first matrix is made of all its elements."""
    values, shape = core(c, "MatMul", a, b)
    if (at := c.v(a)) is not None:
        values.append(families.opaque(c.g, (at,), (1,) * len(shape)))
    values += rows_and_columns(c, shape, (), (b_scale, b_zero, bias))
    return made(c, values, shape)


@rule("QGemm", domain="com.microsoft")
def qgemm(
    c: Call,
    a: Value,
    a_scale: Value,
    a_zero: Value,
    b: Value,
    b_scale: Value,
    b_zero: Value,
    bias: Value | None = None,
    y_scale: Value | None = None,
    y_zero: Value | None = None,
) -> Value:
    values, shape = core(c, "Gemm", a, b, bias)
    values += rows_and_columns(c, shape, (a_scale, a_zero, y_scale, y_zero), (b_scale, b_zero))
    dtype = y_zero.dtype if y_zero is not None else UINT8 if y_scale is not None else a_scale.dtype
    return made(c, values, shape, dtype)


# --- onnxruntime's quantised forms of other operators


def scaled(c: Call, found: tuple[list[int], Shape], *inputs: Value | None) -> Value:
    """An operator's output, and one scale and zero point of each of its inputs and of itself."""
    values, shape = found
    return made(c, [*values, *per_channel(c, len(shape), None, inputs)], shape)


@rule("QLinearAdd", "QLinearMul", domain="com.microsoft")
def qlinear_binary(
    c: Call,
    a: Value,
    a_scale: Value,
    a_zero: Value | None,
    b: Value,
    b_scale: Value,
    b_zero: Value | None,
    y_scale: Value,
    y_zero: Value | None = None,
) -> Value:
    return scaled(c, core(c, "Add", a, b), a_scale, a_zero, b_scale, b_zero, y_scale, y_zero)


@rule("QLinearConcat", domain="com.microsoft")
def qlinear_concat(c: Call, y_scale: Value, y_zero: Value, *inputs: Value) -> Value:
    """Each part goes by its own scale and zero point first, then by those of the whole."""
    rank = inputs[0].rank
    axis = c.attr("axis", 1)
    axis += rank if axis < 0 else 0
    parts = []
    for x, *scale in zip(inputs[::3], inputs[1::3], inputs[2::3], strict=True):
        values = [*present(c, x), *per_channel(c, rank, None, scale)]
        parts.append(c.join(values, x.shape) if values else c.operand(x))
    at = families.concat(c.g, parts, axis)
    return made(
        c, [at, *per_channel(c, rank, None, (y_scale, y_zero))], c.g.shapes[at], y_zero.dtype
    )


@rule("QLinearAveragePool", "QLinearGlobalAveragePool", domain="com.microsoft")
def qlinear_pool(c: Call, x: Value, *scales: Value | None) -> Value:
    last = c.attr("channels_last", 0)
    name = c.op.name.removeprefix("QLinear")
    found = core(c, name, channels_first(c, x) if last else x)
    return scaled(c, channels_last(c, found) if last else found, *scales)


@rule("QLinearLeakyRelu", "QLinearSigmoid", domain="com.microsoft")
def qlinear_unary(c: Call, x: Value, *scales: Value | None) -> Value:
    return scaled(c, (present(c, x), x.shape), *scales)


@rule("QLinearSoftmax", domain="com.microsoft")
def qlinear_softmax(c: Call, x: Value, *scales: Value | None) -> Value:
    """``opset``: of the ai.onnx operator that it stands for."""
    return scaled(c, core(c, "Softmax", x, opset=c.attr("opset", 13)), *scales)


@rule("QLinearReduceMean", domain="com.microsoft")
def qlinear_reduce_mean(c: Call, x: Value, *scales: Value | None) -> Value:
    return scaled(c, core(c, "ReduceMean", x, opset=13), *scales)


@rule("QLinearWhere", domain="com.microsoft")
def qlinear_where(
    c: Call,
    condition: Value,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    y: Value,
    y_scale: Value,
    y_zero: Value,
    z_scale: Value,
    z_zero: Value,
) -> Value:
    values, shape = core(c, "Where", condition, x, y)
    scales = (x_scale, x_zero, y_scale, y_zero, z_scale, z_zero)
    return made(c, [*values, *per_channel(c, len(shape), None, scales)], shape, x.dtype)


@rule("MulInteger", domain="com.microsoft")
def mul_integer(
    c: Call, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None = None
) -> Value:
    values, shape = core(c, "Mul", a, b)
    return made(c, [*values, *per_channel(c, len(shape), None, (a_zero, b_zero))], shape, INT32)


@rule("ReduceSumInteger", domain="com.microsoft")
def reduce_sum_integer(c: Call, x: Value) -> Value:
    values, shape = core(c, "ReduceSum", x, opset=11)
    return made(c, values, shape, INT32)


@rule("QuantizeWithOrder", "DequantizeWithOrder", "QOrderedGelu", domain="com.microsoft")
def ordered(c: Call, x: Value, *scales: Value | None) -> Any:
    """The order says how the tensor lies in memory; its shape stays."""
    dtype = TensorProto.INT8 if c.op.name == "QuantizeWithOrder" else c.attr("to", x.dtype)
    return made(c, [*present(c, x), *per_channel(c, x.rank, None, scales)], x.shape, dtype)


@rule("QOrderedMatMul", domain="com.microsoft")
def ordered_matmul(
    c: Call,
    a: Value,
    a_scale: Value,
    b: Value,
    b_scale: Value,
    y_scale: Value,
    bias: Value | None = None,
    added: Value | None = None,
    added_scale: Value | None = None,
) -> Value:
    values, shape = core(c, "MatMul", a, b)
    rows = (a_scale, y_scale, added_scale)
    values += rows_and_columns(c, shape, rows, (b_scale, bias)) + present(c, added)
    return made(c, values, shape)


@rule("QOrderedLayerNormalization", domain="com.microsoft")
def ordered_layer_norm(
    c: Call,
    x: Value,
    x_scale: Value,
    scale: Value,
    bias: Value | None = None,
    y_scale: Value | None = None,
) -> Value:
    values = [families.norm(c.g, at, (x.rank - 1,)) for at in present(c, x)]
    values += per_channel(c, x.rank, None, (x_scale, y_scale)) + present(c, scale, bias)
    return made(c, values, x.shape)
