"""Other layouts: channels in blocks (com.microsoft.nchwc) and channels last (com.ms.internal.nhwc).

A blocked tensor has the shape of a plain one with its channels rounded up to whole blocks; how its elements
lie in memory does not show. A file does not say how long a block is, the weights do: a tensor keeps its own
channels until a convolution asks for more, and those that are filled up read nothing.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, NoRule, Value, fixed
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.quantized import qlinear_conv, scaled
from eyeshot.frontends.onnx.rules.wrapping import (
    channels_first,
    channels_last,
    core,
    made,
    moved,
    present,
    viewed,
)

__all__ = []

NCHWC = "com.microsoft.nchwc"
NHWC = "com.ms.internal.nhwc"


def _with_channels(c: Call, x: Value, n: int) -> Value:
    """With as many channels as the weights were filled up for."""
    if n == x.shape[1]:
        return x
    if c.depends and x.at is None:
        return Value(None, (x.shape[0], n, *x.shape[2:]), x.dtype)
    return viewed(c, x, families.placed(c.g, c.operand(x), 1, 0, n))


@rule("ReorderInput", domain=NCHWC)
def reorder_input(c: Call, x: Value) -> Value:
    x = channels_first(c, x) if c.attr("channels_last", 0) else x
    return made(c, present(c, x), x.shape)


@rule("ReorderOutput", domain=NCHWC)
def reorder_output(c: Call, x: Value) -> Value:
    """Without the channels that were filled up."""
    values = present(c, _with_channels(c, x, c.attr("channels", x.shape[1])))
    shape = (x.shape[0], c.attr("channels", x.shape[1]), *x.shape[2:])
    return made(
        c, *(channels_last(c, (values, shape)) if c.attr("channels_last", 0) else (values, shape))
    )


@rule("Conv", domain=NCHWC)
def conv(c: Call, x: Value, w: Value, b: Value | None = None, added: Value | None = None) -> Value:
    """With a tensor added before the activation."""
    channels = w.shape[1] * c.attr("group", 1)
    values, shape = core(c, "Conv", _with_channels(c, x, channels), w, b)
    if added is not None:
        values += present(c, _with_channels(c, added, shape[1]))
    return made(c, values, shape)


@rule("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", domain=NCHWC)
def pool(c: Call, x: Value) -> Value:
    return made(c, *core(c, c.op.name, x))


@rule("Upsample", domain=NCHWC)
def upsample(c: Call, x: Value) -> Value:
    """Whole multiples of the axes, as an attribute."""
    scales = c.attr("scales")
    if len(scales) != x.rank:
        scales = (1,) * (x.rank - len(scales)) + tuple(scales)
    more: dict[str, Any] = {"scales": None}
    if c.attr("mode", "nearest") == "nearest":
        # Each pixel is repeated.
        more |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    given = fixed([float(s) for s in scales], TensorProto.FLOAT)
    return made(c, *core(c, "Resize", x, None, given, opset=13, **more))


# --- channels last


@rule("Conv", "ConvTranspose", "AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
      "GlobalLpPool", "BatchNormalization", "InstanceNormalization", "LRN", "DepthToSpace", "SpaceToDepth",
      "GridSample", domain=NHWC)  # fmt: skip
def nhwc(c: Call, x: Value, *more: Value | None) -> Value:
    """The operator of ai.onnx between two transpositions; weights are as there."""
    if c.op.name == "MaxPool" and len(c.node.output) > 1 and c.node.output[1]:
        raise NoRule("where the maxima lie")
    return made(c, *channels_last(c, core(c, c.op.name, channels_first(c, x), *more)))


@rule("Resize", domain=NHWC)
def resize(c: Call, x: Value, *parameters: Value | None) -> Value:
    """Sizes and scales come in the order of the dims, of which some may be named."""
    order = [0, x.rank - 1, *range(1, x.rank - 1)]
    axes = [a % x.rank for a in c.attr("axes", ())]
    held = [_ordered(c, p, [] if axes else order) for p in parameters]
    more: dict[str, Any] = {"axes": [order.index(a) for a in axes]} if axes else {}
    return made(c, *channels_last(c, core(c, "Resize", moved(c, x, order), *held, **more)))


def _ordered(c: Call, p: Value | None, order: list[int]) -> Value | None:
    """A parameter of one number for each dim (or of two: region of interest), in the new order."""
    if p is None or not p.size or not order:
        return p
    numbers = c.known(p)
    if numbers is None:
        raise NoRule("sizes that depend on data")
    turns = p.size // len(order)
    return fixed(numbers.reshape(turns, len(order))[:, order].reshape(-1), p.dtype)


@rule("QLinearConv", "QLinearConvTranspose", "QLinearAveragePool", domain=NHWC)
def qlinear(c: Call, x: Value, *more: Value | None) -> Value:
    """Between two transpositions, as ``channels_last`` says in com.microsoft."""
    if c.op.name == "QLinearAveragePool":
        values, shape = channels_last(c, core(c, "AveragePool", channels_first(c, x)))
        return scaled(c, (values, shape), *more)
    name = c.op.name.removeprefix("QLinear")
    return qlinear_conv(c, x, *more, name=name, last=True)
