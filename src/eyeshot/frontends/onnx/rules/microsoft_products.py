"""com.microsoft: convolutions and products of matrices, with what onnxruntime's optimizers fuse to them.

Weights may be quantised and packed. Where they are constants, as in all such models, only sizes count.
"""

from __future__ import annotations

from typing import Any

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axis_of
from eyeshot.frontends.onnx.rules.wrapping import (
    FLOAT,
    bounded,
    channels_first,
    channels_last,
    core,
    made,
    moved,
    per_channel,
    present,
)

__all__ = []

MS = "com.microsoft"


@rule("FusedConv", domain=MS)
def fused_conv(
    c: Call, x: Value, w: Value, b: Value | None = None, added: Value | None = None
) -> Value:
    """With a tensor added before the activation."""
    values, shape = core(c, "Conv", x, w, b)
    return made(c, [*values, *present(c, added)], shape)


@rule("NhwcConv", "NhwcFusedConv", domain=MS)
def nhwc_conv(
    c: Call, x: Value, w: Value, b: Value | None = None, added: Value | None = None
) -> Value:
    """Channels last; the weights' are last too in ``NhwcConv``, and second in ``NhwcFusedConv``."""
    each = x.shape[-1] // c.attr("group", 1)
    fits = [k for k in (1, w.rank - 1) if w.shape[k] == each]
    if not fits:
        raise c.fail(f"weights {list(w.shape)} on {x.shape[-1]} channels")
    if fits == [w.rank - 1] or (c.op.name == "NhwcConv" and len(fits) == 2):
        w = moved(c, w, [0, w.rank - 1, *range(1, w.rank - 1)])
    values, shape = channels_last(c, core(c, "Conv", channels_first(c, x), w, b))
    return made(c, [*values, *present(c, added)], shape)


@rule("NhwcMaxPool", domain=MS)
def nhwc_max_pool(c: Call, x: Value) -> Value:
    return made(c, *channels_last(c, core(c, "MaxPool", channels_first(c, x))))


@rule("ConvTransposeWithDynamicPads", domain=MS)
def conv_transpose(
    c: Call, x: Value, w: Value, pads: Value | None = None, b: Value | None = None
) -> Value:
    """Pads come as an input."""
    given = c.ints(pads)
    more: dict[str, Any] = {"pads": given} if given else {}
    return made(c, *core(c, "ConvTranspose", x, w, b, **more))


@rule("MaxpoolWithMask", domain=MS)
def max_pool_with_mask(c: Call, x: Value, mask: Value) -> Value:
    """Whether an element counts is read off the mask, which is repeated for each channel."""
    values, shape = core(c, "MaxPool", x)
    if (m := c.v(mask)) is None:
        return made(c, values, shape)
    lead = mask.shape[:-2]
    if mask.shape[2:] != x.shape[2:] or lead not in ((1, 1), (1, x.shape[1]), x.shape[:2]):
        raise NoRule("a mask of another shape")
    found, _ = core(c, "MaxPool", Value(m if c.depends else None, mask.shape, mask.dtype))
    return made(c, [*values, *found], shape)


@rule("FusedGemm", domain=MS)
def fused_gemm(c: Call, a: Value, b: Value, bias: Value | None = None) -> Value:
    return made(c, *core(c, "Gemm", a, b, bias))


@rule("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", domain=MS)
def fused_matmul(c: Call, a: Value, b: Value) -> Value:
    """``transBatch``: the rows' dim comes before those of the batch; ``trans``: a matrix is turned then."""
    a, b = _turned(c, a, "A"), _turned(c, b, "B")
    values, shape = core(c, "MatMul", a, b)
    if values and "softmax" in c.attr("activation", "").lower():
        axis = axis_of(c, c.attr("activation_axis", -1), len(shape))
        values = [families.norm(c.g, v, (axis,)) for v in values]
    return made(c, values, shape)


def _turned(c: Call, x: Value, which: str) -> Value:
    order = list(range(x.rank))
    if x.rank < 2:
        return x
    if c.attr(f"transBatch{which}", 0):
        order = [*order[1:-1], 0, order[-1]]
    if c.attr(f"trans{which}", 0):
        order[-2:] = order[:-3:-1]
    return x if order == sorted(order) else moved(c, x, order)


@rule("GemmFastGelu", domain=MS)
def gemm_fast_gelu(c: Call, x: Value, w: Value, bias: Value | None = None) -> Value:
    values, shape = core(c, "MatMul", x, w)
    return made(c, [*values, *present(c, bias)], shape)


@rule("GemmFloat8", domain=MS)
def gemm_float8(
    c: Call, a: Value, b: Value, bias: Value | None = None, *scales: Value | None
) -> Value:
    values, shape = core(c, "Gemm", a, b, bias)
    return made(c, [*values, *per_channel(c, 2, None, scales)], shape, c.attr("dtype", FLOAT))


@rule("MatMulNBits", domain=MS)
def matmul_n_bits(
    c: Call,
    a: Value,
    b: Value,
    scales: Value,
    zeros: Value | None = None,
    group: Value | None = None,
    bias: Value | None = None,
) -> Value:
    """A row of the weights and its scales lie together for each of N outputs; the bits are packed along K."""
    n = c.attr("N")
    values = _features(c, a, n)
    for x in (b, scales, zeros):
        if x is not None and (at := c.v(x)) is not None:
            if x.size % n:
                raise NoRule(f"{x.size} packed numbers for {n} outputs")
            at = families.reshape(c.g, at, (n, x.size // n))
            values.append(families.reduce(c.g, at, (1,), False))
    if group is not None and (at := c.v(group)) is not None:
        values.append(families.mix(c.g, at, (0,), (1,)))
    return made(c, [*values, *present(c, bias)], (*a.shape[:-1], n))


def _features(c: Call, x: Value, n: int) -> list[int]:
    """Features mixed to n by constant weights."""
    return [families.mix(c.g, at, (x.rank - 1,), (n,)) for at in present(c, x)]


@rule("MatMulBnb4", "MatMulFpQ4", "MatMulPacked", "MatMulBlockQuantizedFp4Weight",
      "MatMulBlockQuantizedFp8Weight", "MatMulNBitsQLoRA", domain=MS)  # fmt: skip
def matmul_packed(c: Call, a: Value, *weights: Value | None) -> Value:
    """Weights packed in other ways; which of their numbers belong to which output is not followed."""
    n = c.attr("N", 0)
    if c.op.name == "MatMulFpQ4":
        n = (c.ints(weights[1]) or [0])[-1]
    elif not n and weights[0] is not None:
        n = weights[0].shape[0]
    if n < 1:
        raise NoRule("the number of outputs is not known")
    if c.depends and present(c, *weights):
        return bounded(c, (*a.shape[:-1], n), "packed weights that depend on the input")
    return made(c, _features(c, a, n), (*a.shape[:-1], n))


@rule("MatMulNBitsMlp", "MatMulNBitsQkv", domain=MS)
def matmul_several(
    c: Call, a: Value, skip: Value | None, scale: Value | None, *weights: Value | None
) -> list[Value]:
    """Normalised features mixed by several weights; last comes the sum that went in."""
    if c.depends and present(c, *weights):
        raise NoRule("packed weights that depend on the input")
    sizes = (
        [c.attr("N")] if c.op.name.endswith("Mlp") else [c.attr("Nq"), c.attr("Nkv"), c.attr("Nkv")]
    )
    added = present(c, a, skip)
    mixed = [families.mix(c.g, at, (len(c.g.shapes[at]) - 1,), (1,)) for at in
             (*added, *present(c, scale))]  # fmt: skip
    lead = a.shape[:-1]
    return [*(made(c, mixed, (*lead, n)) for n in sizes), made(c, added, a.shape)]


@rule("MoE", "QMoE", "MoEPacked", domain=MS)
def mixture_of_experts(c: Call, x: Value, router: Value, *weights: Value | None) -> Value:
    """Each token by itself: all its features, and all its scores, which say who the experts are."""
    if c.depends and present(c, *weights):
        return bounded(c, x.shape, "which experts are asked depends on data")
    values = _features(c, x, x.shape[-1])
    if (at := c.v(router)) is not None:
        at = families.mix(c.g, at, (router.rank - 1,), (1,))
        values.append(families.reshape(c.g, at, (*x.shape[:-1], 1)))
    return made(c, values, x.shape)


@rule("CDist", domain=MS)
def cdist(c: Call, a: Value, b: Value) -> Value:
    """Distances of rows."""
    values = [families.mix(c.g, at, (1,), (1,)) for at in present(c, a)]
    for at in present(c, b):
        values.append(families.permute(c.g, families.mix(c.g, at, (1,), (1,)), (1, 0)))
    return made(c, values, (a.shape[0], b.shape[0]))


@rule("Inverse", domain=MS)
def inverse(c: Call, x: Value) -> int:
    return families.mix(c.g, c.operand(x), (x.rank - 2, x.rank - 1))
