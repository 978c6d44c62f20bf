"""com.microsoft: positions and sequences: rotations, searches, and attention that data steers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, NoRule, Value, fixed
from eyeshot.frontends.onnx.fold import MAX_ELEMENTS
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.attention import split_heads
from eyeshot.frontends.onnx.rules.positions import rotated
from eyeshot.frontends.onnx.rules.wrapping import bounded, core, made, present

__all__ = []

MS = "com.microsoft"


@rule("DecoderMaskedSelfAttention", domain=MS)
def decoder_self_attention(
    c: Call, x: Value, weights: Value, bias: Value, mask: Value | None, past: Value, *more: Any
) -> list[Value]:
    """One new token; how much of the cache is filled, an input says."""
    size = weights.shape[1] // 3
    why = "how much of the cache is filled depends on data"
    return [bounded(c, (*x.shape[:2], size), why), bounded(c, past.shape, why)]


@rule("PackedAttention", "PackedMultiHeadAttention", domain=MS)
def packed_attention(c: Call, x: Value, *more: Value | None) -> Value:
    """Tokens of several sequences one after another; where each ends, an input says."""
    if c.op.name == "PackedAttention":
        weights = more[0]
        sizes = c.attr("qkv_hidden_sizes")
        size = sizes[2] if sizes else (weights.shape[1] // 3 if weights else 0)
    else:
        value = more[1]
        size = value.shape[-1] if value is not None else x.shape[-1] * x.shape[-3]
    return bounded(c, (x.shape[0], size), "where packed sequences end depends on data")


@rule("LongformerAttention", "QOrderedLongformerAttention", domain=MS)
def longformer_attention(c: Call, x: Value, *more: Value | None) -> Value:
    """Which tokens look at all others, an input says."""
    return bounded(c, x.shape, "which tokens are global depends on data")


@rule("RotaryEmbedding", domain=MS)
def rotary_embedding(c: Call, x: Value, positions: Value, cos: Value, sin: Value) -> Value:
    """By heads already, or not; positions for each token, or one number to count from."""
    split = x.rank == 3
    each = x.shape[-1]
    if split:
        count = c.attr("num_heads", 0) or x.shape[2] // (2 * cos.shape[-1])
        if not count or x.shape[2] % count:
            raise c.fail(f"{x.shape[2]} features do not make {count} heads")
        each = x.shape[2] // count
    shape = (*x.shape[:2], x.shape[2] // each, each) if split else x.shape
    rows = shape[1] if split else shape[2]
    first = c.constant(positions)
    if positions.size == 1 and first is not None and rows <= MAX_ELEMENTS:
        positions = fixed(first.reshape(-1)[0] + np.arange(rows))
    elif positions.size == 1 and c.depends and present(c, cos, sin):
        return bounded(c, x.shape, "which angles are looked up depends on data")
    at = c.v(x)
    if at is not None and split:
        at = families.reshape(c.g, at, shape)
    interleaved = bool(c.attr("interleaved", 0))
    out = rotated(
        c, at, shape, (cos, sin), positions, 2 if split else 1, 2 * cos.shape[-1], interleaved
    )
    return made(c, [families.reshape(c.g, out, x.shape)], x.shape)


@rule("LinearAttention", domain=MS)
def linear_attention(
    c: Call, q: Value, k: Value, v: Value, past: Value | None = None, *gates: Value | None
) -> list[Value]:
    """As in ai.onnx, but for states kept by position."""
    if c.attr("state_window", 0):
        raise NoRule("states of several positions")
    newest = onnx.defs.onnx_opset_version()
    out = core(c, "LinearAttention", q, k, v, past, *gates, opset=newest)
    end = core(c, "LinearAttention", q, k, v, past, *gates, opset=newest, output=1)
    return [made(c, *out), made(c, *end, dtype=past.dtype if past is not None else q.dtype)]


@rule("SparseAttention", domain=MS)
def sparse_attention(
    c: Call,
    query: Value,
    key: Value | None,
    value: Value | None,
    past_key: Value,
    past_value: Value,
    *more: Value | None,
) -> list[Value]:
    """Which blocks are looked at, tables say."""
    why = "which blocks are looked at depends on data"
    size = c.attr("num_heads") * past_key.shape[3]
    return [
        bounded(c, (*query.shape[:2], size), why),
        *(bounded(c, p.shape, why) for p in (past_key, past_value)),
    ]


@rule("GatedRelativePositionBias", domain=MS)
def gated_position_bias(
    c: Call,
    query: Value,
    query_bias: Value,
    positions: Value,
    weight: Value,
    bias: Value,
    scale: Value,
    offset: Value | None = None,
) -> Value:
    """A gate of each head's query, times a number for each pair of positions."""
    if offset is not None or query.rank != 3:
        raise NoRule("packed sequences")
    if c.depends and present(c, query_bias, weight, bias):
        raise NoRule("weights that depend on the input")
    heads, length = c.attr("num_heads"), query.shape[1]
    values = present(c, positions, scale)
    for at in present(c, query):
        values.append(families.mix(c.g, split_heads(c, at, heads), (3,), (1,)))
    return made(c, values, (query.shape[0], heads, length, positions.shape[3]))


@rule("DynamicQuantizeLSTM", domain=MS)
def dynamic_quantize_lstm(
    c: Call,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    *more: Value | None,
) -> list[Value]:
    """The scale of the input spans all of it: each output reads all."""
    directions, hidden = w.shape[0], c.attr("hidden_size", r.shape[1])
    end = (directions, x.shape[1], hidden)
    whole = (x.shape[0], *end)
    if c.depends and present(c, w, r, b, lengths, *more):
        why = "states and weights that depend on the input are taken to be read whole"
        return [bounded(c, shape, why, code="unknown-case") for shape in (whole, end, end)]
    values = [families.opaque(c.g, (at,), (1,)) for at in present(c, x)]
    return [made(c, values, shape) for shape in (whole, end, end)]


@rule("MRotaryEmbedding", domain=MS)
def sectioned_rotary(c: Call, x: Value, positions: Value, cos: Value, sin: Value) -> Value:
    """Three positions for each token, of which each pair of features takes one."""
    if c.depends and present(c, positions, cos, sin):
        return bounded(c, x.shape, "which angles are looked up depends on data")
    return rotary_embedding(c, x, fixed(np.zeros(1, np.int64)), cos, sin)


@rule("GemmaRotaryEmbedding", domain=MS)
def gemma_rotary(
    c: Call, angles: Value, q: Value, q_turned: Value, k: Value, k_turned: Value
) -> list[Value]:
    """Each element, its turned one, and the angle that all heads share."""
    shared = [families.unsqueeze(c.g, at, 1) for at in present(c, angles)]
    return [
        made(c, [*present(c, *pair), *shared], pair[0].shape, q.dtype)
        for pair in ((q, q_turned), (k, k_turned))
    ]


@rule("RelativePositionBias", domain=MS)
def relative_position_bias(c: Call, table: Value, queries: Value, keys: Value) -> Value:
    """Numbers of a table, by the distance of two positions."""
    (rows,), (columns,) = c.ints(queries) or [0], c.ints(keys) or [0]
    shape = (1, table.shape[1], rows, columns)
    if c.depends and present(c, table):
        return bounded(c, shape, "a table that depends on the input is taken to be read whole")
    return Value(None, shape, table.dtype)


@rule("RestorePadding", domain=MS)
def restore_padding(c: Call, x: Value, offsets: Value) -> Value:
    """Tokens of several sequences, back in rows of the same length."""
    shape = (*offsets.shape, x.shape[1])
    return bounded(c, shape, "where a token goes depends on data")


@rule("DecoderAttention", domain=MS)
def decoder_attention(c: Call, query: Value, key: Value, *more: Value | None) -> list[Value]:
    """Whether it looks at itself or at another sequence, and with a cache, flags among the inputs say."""
    why = "what a decoder looks at depends on flags"
    out = [bounded(c, query.shape, why)]
    if any(c.node.output[1:]):
        # The new cache holds what the old one did, and the new keys.
        flags = [c.known(x) for x in more[-4:-1]]
        if any(f is None for f in flags):
            raise NoRule(why)
        static, past, _ = (bool(f.reshape(-1)[0]) for f in flags if f is not None)
        heads = c.attr("num_heads")
        old = more[4] if past else None
        length = key.shape[0] if static else query.shape[0]
        if old is not None:
            length = old.shape[2] if static else old.shape[2] + query.shape[0]
        kept = (query.shape[1], heads, length, query.shape[2] // heads)
        out += [bounded(c, kept, why), bounded(c, kept, why)]
    return out


@rule("BeamSearch", "WhisperBeamSearch", "GreedySearch", "Sampling", domain=MS)
def search(c: Call, ids: Value, longest: Value, *more: Value | None) -> list[Value]:
    """Words one after another, each chosen by a network of its own that has read those before."""
    (length,) = c.ints(longest) or [0]
    lead = ids.shape[:1]
    if c.op.name.endswith("BeamSearch"):
        (count,) = c.ints(more[2] if len(more) > 2 else None) or [1]
        lead = (*lead, count)
    if any(c.node.output[1:]):
        raise NoRule("scores of a search")
    return [bounded(c, (*lead, length), "a search is steered by data", onnx.TensorProto.INT32)]
