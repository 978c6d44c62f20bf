"""com.microsoft: several operators in one, as onnxruntime's optimizers write them, and some of its own.

These operators have no schema in the onnx package, so that element types are set here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from onnx import TensorProto

from eyeshot.core import families
from eyeshot.core.primitives import Stencil
from eyeshot.frontends.onnx.calls import Call, NoRule, Value, broadcast
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axis_of
from eyeshot.frontends.onnx.rules.wrapping import (
    FLOAT,
    core,
    made,
    per_channel,
    present,
)

__all__ = []

MS = "com.microsoft"


# --- elements


@rule(
    "Gelu",
    "QuickGelu",
    "SampleOp",
    "BiasGelu",
    "FastGelu",
    "BiasAdd",
    "ScaledSiLU",
    "GatedAdd",
    domain=MS,
)
def pointwise(c: Call, *inputs: Value | None) -> int:
    """A function of the same element of every input."""
    if c.op.name == "GatedAdd" and len(inputs) > 3 and inputs[3] is not None:
        raise NoRule("a projected gate")
    return c.pointwise(*inputs)


@rule("BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", domain=MS)
def dropout(c: Call, x: Value, *more: Value | None) -> list[Any]:
    """The mask is drawn; in ``Bitmask`` operators 32 elements share a number."""
    added = more[:2] if "Bias" in c.op.name else ()
    values = present(c, x, *added)
    packed = c.op.name.startswith("Bitmask")
    shape, kind = x.shape, TensorProto.BOOL
    if packed:
        shape, kind = (-(-x.size // 32),), TensorProto.UINT32
    return [made(c, values, x.shape), Value(None, shape, kind)]


@rule("BiasSplitGelu", domain=MS)
def bias_split_gelu(c: Call, x: Value, bias: Value) -> Value:
    """One half of the features times a function of the other."""
    return _halves(c, present(c, x, bias), broadcast(x.shape, bias.shape))


def _halves(c: Call, values: Sequence[int], shape: tuple[int, ...]) -> Value:
    last, n = len(shape) - 1, shape[-1]
    if n % 2:
        raise c.fail(f"{n} features do not make two halves")
    at = c.join(values, shape)
    parts = [families.narrow(c.g, at, last, k, k + n // 2) for k in (0, n // 2)]
    return made(c, parts, (*shape[:-1], n // 2))


@rule("SwiGLU", domain=MS)
def swiglu(c: Call, gate: Value, up: Value | None = None) -> Any:
    """Without ``up`` both halves are in one."""
    if up is None:
        return _halves(c, present(c, gate), gate.shape)
    return c.pointwise(gate, up)


@rule("LinearAttentionGate", domain=MS)
def linear_attention_gate(
    c: Call, a: Value, bias: Value, scale: Value, b: Value | None = None
) -> list[Any]:
    beta = None if b is None else made(c, present(c, b), b.shape)
    return [made(c, present(c, a, bias, scale), a.shape), beta]


@rule("ComplexMul", "ComplexMulConj", domain=MS)
def complex_mul(c: Call, a: Value, b: Value) -> Value:
    """The last dim holds real and imaginary parts."""
    values = [families.mix(c.g, at, (len(c.g.shapes[at]) - 1,)) for at in present(c, a, b)]
    return made(c, values, broadcast(a.shape, b.shape))


# --- windows along one dim


@rule("UnfoldTensor", domain=MS)
def unfold(c: Call, x: Value) -> int:
    """Windows along one dim, as a new last dim."""
    dim = axis_of(c, c.attr("dim", -1), x.rank)
    size, step = c.attr("size"), c.attr("step", 1)
    count = families.conv_size(x.shape[dim], size, step, 1, (0, 0))
    taps = families.gathered(size, step, 1, 0)
    at = c.g.add(Stencil(dim, taps, count * size), c.operand(x))
    split = (*x.shape[:dim], count, size, *x.shape[dim + 1 :])
    order = [k for k in range(x.rank + 1) if k != dim + 1] + [dim + 1]
    parts = [1 + (k == dim) for k in range(x.rank)]
    shape = tuple(split[k] for k in order)
    return families.rearrange(c.g, at, split, order, shape, parts, (1,) * (x.rank + 1))


@rule("CausalConvWithState", domain=MS)
def causal_conv(
    c: Call, x: Value, w: Value, bias: Value | None = None, past: Value | None = None
) -> list[Value]:
    """A convolution of each channel by itself, behind what is kept of earlier steps."""
    if c.attr("ndim", 1) != 1 or x.rank < 3 or any(
        c.attr(name, 0) > 0
        for name in ("state_window", "state_length", "state_update_capacity", "input_channels",
                     "input_channel_offset")
    ):  # fmt: skip
        raise NoRule("a state of another form")
    last = c.attr("channels_last", 0)
    rest, length = (x.shape[2:], x.shape[1]) if last else (x.shape[1:2], x.shape[2])
    dilation, taps = c.attr("dilation", 1), w.shape[-1]
    reach = (taps - 1) * dilation
    channels = math.prod(rest)

    def first(at: int, n: int) -> int:
        """Channels first, in one dim."""
        if not last:
            return at
        return families.permute(
            c.g, families.reshape(c.g, at, (x.shape[0], n, channels)), (0, 2, 1)
        )

    def back(at: int, n: int) -> Value:
        if last:
            at = families.reshape(c.g, families.permute(c.g, at, (0, 2, 1)), (x.shape[0], n, *rest))
        return made(c, [at], c.g.shapes[at])

    at = first(c.operand(x), length)
    if past is not None and reach:
        at = families.concat(c.g, (first(c.operand(past), reach), at), 2)
    else:
        at = families.pad(c.g, at, ((reach, 0),))
    out = families.pool(c.g, at, (taps,), (1,), ((0, 0),), (dilation,))
    values = [out, *per_channel(c, 3, 1, (bias,))]
    if (v := c.v(w)) is not None:
        v = families.reduce(c.g, v, tuple(range(1, w.rank)), False)
        values.append(families.reshape(c.g, v, (1, channels, 1)))
    made_of = c.join(values, c.g.shapes[out])
    if not reach:
        return [back(made_of, length)]
    state = families.narrow(c.g, at, 2, length, length + reach)
    return [back(made_of, length), back(state, reach)]


# --- norms


@rule("BiasSoftmax", domain=MS)
def bias_softmax(c: Call, x: Value, bias: Value) -> Value:
    """Over all dims from ``axis`` on."""
    dims = range(axis_of(c, c.attr("axis", 1), x.rank), x.rank)
    at = c.join(present(c, x, bias), x.shape)
    return made(c, [families.norm(c.g, at, dims)], x.shape)


@rule("SimplifiedLayerNormalization")
def simplified_layer_norm(c: Call, x: Value, scale: Value) -> list[Value]:
    """onnxruntime writes it into the domain of ai.onnx."""
    values, shape = core(c, "RMSNormalization", x, scale, opset=23)
    dims = range(axis_of(c, c.attr("axis", -1), x.rank), x.rank)
    stats = [families.mix(c.g, at, dims, (1,) * len(dims)) for at in present(c, x)]
    kept = tuple(1 if k in dims else n for k, n in enumerate(x.shape))
    return [made(c, values, shape), made(c, stats, kept, FLOAT)]


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MS)
def skip_layer_norm(c: Call, x: Value, skip: Value, *parameters: Value | None) -> list[Any]:
    """The sum of what goes in comes out too, as do mean and deviation."""
    simplified = c.op.name.startswith("SkipSimplified")
    scales = parameters[:1] if simplified else parameters[:2]
    bias = parameters[len(scales) :]
    whole = made(c, present(c, x, skip, *bias), broadcast(x.shape, skip.shape))
    stats = []
    if (at := c.v(whole)) is not None:
        stats = [families.mix(c.g, at, (whole.rank - 1,), (1,))]
    values = [*present(c, whole), *stats, *present(c, *scales)]
    kept = made(c, stats, (*whole.shape[:-1], 1), FLOAT)
    return [made(c, values, whole.shape), kept, kept, whole]


@rule("EmbedLayerNormalization", "QEmbedLayerNormalization", domain=MS)
def embed_layer_norm(
    c: Call,
    words: Value,
    segments: Value | None,
    word_table: Value,
    position_table: Value,
    segment_table: Value | None,
    gamma: Value,
    beta: Value,
    mask: Value | None = None,
    *more: Value | None,
) -> list[Any]:
    """The sum of what is found in tables for the word, its position and its segment, normalised."""
    quantized = c.op.name.startswith("Q")
    positions = None if quantized or not more else more[0]
    n, features = words.shape[-1], word_table.shape[1]
    shape = (*words.shape, features)
    values = [families.unsqueeze(c.g, at, 2) for at in present(c, words, segments, positions)]
    guessed = False
    for table, places in (
        (word_table, words),
        (position_table, positions),
        (segment_table, segments),
    ):
        if table is None or (at := c.v(table)) is None:
            continue
        if places is None and table is position_table:
            values.append(families.narrow(c.g, at, 0, 0, n))
        else:
            values.append(families.mix(c.g, at, (0,), (1,)))
            guessed = True
    if quantized:
        values += [families.opaque(c.g, (at,), (1, 1, 1)) for at in present(c, *more)]
    whole = made(c, values, shape, gamma.dtype)
    outer = present(c, gamma, beta)
    if values:
        outer.append(families.norm(c.g, c.operand(whole), (2,)))
    out = made(c, outer, shape, more[0].dtype if quantized and more[0] else gamma.dtype)
    if guessed and c.depends:
        why = "which rows of the tables are read depends on the words"
        for x in (whole, out):
            if x.at is not None:
                x.at = c.bound(x.at, "data-dependent", why)
    kept = [families.reduce(c.g, at, (1,), False) for at in present(c, mask)]
    return [out, made(c, kept, words.shape[:1], words.dtype), whole]


@rule("GroupNorm", "SkipGroupNorm", domain=MS)
def group_norm(
    c: Call,
    x: Value,
    gamma: Value,
    beta: Value,
    skip: Value | None = None,
    bias: Value | None = None,
) -> list[Value]:
    """Channels last unless told otherwise; with a tensor, or one number for each channel, added before."""
    last = c.attr("channels_last", 1)
    dim = x.rank - 1 if last else 1
    values = present(c, x)
    if skip is not None and (at := c.v(skip)) is not None:
        if skip.rank == 2:
            at = families.reshape(
                c.g, at, [n if k in (0, dim) else 1 for k, n in enumerate(x.shape)]
            )
        values.append(at)
    values += per_channel(c, x.rank, dim, (bias,))
    whole = made(c, values, x.shape)
    found = per_channel(c, x.rank, dim, (gamma, beta))
    if values:
        at = c.operand(whole)
        order = [0, dim, *(k for k in range(1, x.rank) if k != dim)]
        if last:
            at = families.permute(c.g, at, order)
        at = families.group_norm(c.g, at, c.attr("groups"))
        found.append(families.permute(c.g, at, [0, *range(2, x.rank), 1]) if last else at)
    return [made(c, found, x.shape), whole]


@rule("GatedRMSNorm", "BranchwiseRMSNorm", domain=MS)
def branch_norm(c: Call, x: Value, scale: Value | None = None, gate: Value | None = None) -> Value:
    """Runs of features by themselves: as many as there are scales, or as there are features to a branch."""
    features = x.shape[-1]
    if c.op.name.startswith("Gated"):
        each = scale.size if scale is not None else features
    else:
        each = features // (c.attr("num_branches", 0) or 1)
    if not each or features % each:
        raise c.fail(f"{features} features in runs of {each}")
    values = present(c, gate)
    if (at := c.v(x)) is not None:
        at = families.reshape(c.g, at, (*x.shape[:-1], features // each, each))
        at = families.norm(c.g, at, (x.rank,))
        values.append(families.reshape(c.g, at, x.shape))
    if scale is not None and (at := c.v(scale)) is not None:
        if each < features and scale.size == each:
            at = families.expand(c.g, families.reshape(c.g, at, (each,)), (features // each, each))
            at = families.reshape(c.g, at, (features,))
        elif scale.size > features and x.rank > 1:
            at = families.reshape(c.g, at, x.shape[-2:])
        values.append(families.reshape(c.g, at, (features,)) if scale.size == features else at)
    return made(c, values, x.shape)


@rule("EngramGate", domain=MS)
def engram_gate(
    c: Call, key: Value, query: Value, value: Value, *scales: Value | None
) -> list[Any]:
    """How alike keys and queries are, times a value that all branches share; and that normalised."""
    last = key.rank - 1
    values = []
    for at in present(c, key, query, *scales[:2]):
        values.append(families.mix(c.g, at, (len(c.g.shapes[at]) - 1,), (1,)))
    for at in present(c, value):
        values.append(families.unsqueeze(c.g, at, value.rank - 1))
    out = made(c, values, key.shape)
    normal = present(c, *scales[2:])
    if values:
        normal.append(families.norm(c.g, c.operand(out), (last,)))
    return [out, made(c, normal, key.shape)]


@rule("HyperConnectionPreMix", domain=MS)
def pre_mix(c: Call, streams: Value, gates: Value) -> Value:
    """A sum over branches, each with its gates: one for all features, or one for each."""
    count, features, lead = _branches(c, streams)
    values = [families.reshape(c.g, at, (*lead, count, features)) for at in present(c, streams)]
    for at in present(c, gates):
        each = gates.size // (streams.size // features)
        values.append(families.reshape(c.g, at, (*lead, count, each)))
    dim = len(lead)
    values = [families.reduce(c.g, at, (dim,), False) for at in values]
    return made(c, values, (*lead, features))


@rule("HyperConnectionPostMix", domain=MS)
def post_mix(
    c: Call, streams: Value, block: Value, gates: Value, matrix: Value | None = None
) -> Value:
    """One branch's output added to all, each with its gates, after a matrix has mixed the branches."""
    count, features, lead = _branches(c, streams)
    dim = len(lead)
    values = []
    for at in present(c, streams):
        at = families.reshape(c.g, at, (*lead, count, features))
        values.append(at if matrix is None else families.mix(c.g, at, (dim,)))
    for at in present(c, block):
        values.append(families.unsqueeze(c.g, at, dim))
    for at in present(c, gates):
        each = gates.size // (streams.size // features)
        values.append(families.reshape(c.g, at, (*lead, count, each)))
    for at in present(c, matrix):
        # Of branch k the column k.
        at = families.reduce(c.g, at, (dim,), False)
        values.append(families.unsqueeze(c.g, at, dim + 1))
    whole = made(c, values, (*lead, count, features))
    flat = [families.reshape(c.g, c.operand(whole), streams.shape)] if values else []
    return made(c, flat, streams.shape)


def _branches(c: Call, x: Value) -> tuple[int, int, tuple[int, ...]]:
    """How many branches of how many features there are, and the dims before them."""
    count = c.attr("num_branches", 0)
    if not count:
        return x.shape[-2], x.shape[-1], x.shape[:-2]
    if x.shape[-1] % count:
        raise c.fail(f"{x.shape[-1]} features do not make {count} branches")
    return count, x.shape[-1] // count, x.shape[:-1]
