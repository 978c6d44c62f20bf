"""com.microsoft: attention in its many forms, with projections, caches and masks.

A unit reads its own query, and all keys and values that it may look at. A mask hides no read: the product
with a masked key is computed before the mask is added. What a causal flag leaves out is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from eyeshot.core import families
from eyeshot.core.primitives import Input, Shape
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.attention import Keys, merged, split_heads
from eyeshot.frontends.onnx.rules.positions import rotated
from eyeshot.frontends.onnx.rules.wrapping import bounded, made, per_channel, present

__all__ = []

MS = "com.microsoft"


def _attended(
    c: Call, q: int, k: int, v: int, masks: Sequence[int], seen: Keys, shape: Shape
) -> list[int]:
    """(B, N, S, F) of queries (B, N, S, E), keys (B, N, T, E), values (B, N, T, F); then (B, S, N·F)."""
    keys = seen.along(c, families.mix(c.g, k, (3,), (1,)), shape[2])
    scores = c.join([families.mix(c.g, q, (3,), (1,)), keys])
    weights = c.join([scores, *masks])
    return [merged(c, c.join([weights, seen.along(c, v, shape[2])], shape))]


class Masks:
    """What masks add to the scores; whether that is known to be all of it."""

    def __init__(self, c: Call, seen: Keys, batch: int, rows: int, total: int) -> None:
        self.c = c
        self.seen = seen
        self.batch = batch
        self.rows = rows
        self.total = total
        self.values: list[int] = []
        self.why = ""

    def keys(self, x: Value | None) -> None:
        """A mask of keys in any of its forms: lengths, or numbers for each key, or for each query and key."""
        if x is None or (at := self.c.v(x)) is None:
            return
        g, batch = self.c.g, self.batch
        if x.shape == (batch,):
            self.values.append(families.reshape(g, at, (batch, 1, 1, 1)))
        elif x.shape == (2 * batch,):
            at = families.reduce(g, families.reshape(g, at, (2, batch)), (0,), False)
            self.values.append(families.reshape(g, at, (batch, 1, 1, 1)))
        elif x.rank == 2 and x.shape[0] in (1, batch) and x.shape[1] == self.total:
            at = families.reshape(g, at, (x.shape[0], 1, self.total, 1))
            self.values.append(self.seen.along(self.c, at, self.rows))
        elif x.rank == 3 and x.shape[1:] == (self.rows, self.total):
            self.scores(x, families.unsqueeze(g, at, 1))
        else:
            self.values.append(families.opaque(g, (at,), (1, 1, 1, 1)))
            self.why = "a mask of another form is taken to be read whole"

    def scores(self, x: Value | None, at: int | None = None) -> None:
        """Numbers for each query and key."""
        if x is None or (at is None and (at := self.c.v(x)) is None):
            return
        g = self.c.g
        shape = g.shapes[at]
        if not self.seen.whole():
            if len(shape) != 4 or shape[2:] != (self.rows, self.total):
                self.why = "which numbers a causal flag leaves out is not followed"
            elif (held := families.masked(g, at, self.seen.allowed(*shape[2:]))) is None:
                self.why = "a causal mask too long to write down is taken to hide nothing"
            else:
                at = held
        self.values.append(families.mix(g, at, (len(shape) - 1,), (1,)))

    def done(self, out: Value) -> Value:
        """The output, marked as a bound if need be."""
        if self.why and out.at is not None:
            out.at = self.c.bound(out.at, "unknown-case", self.why)
        return out


def _together(c: Call, past: Value | int | None, at: int) -> int:
    """What is cached, then what is new, along the dim of positions."""
    if past is None or (isinstance(past, Value) and 0 in past.shape):
        return at
    return families.concat(c.g, (past if isinstance(past, int) else c.operand(past), at), 2)


def _seen(c: Call, past: int) -> Keys:
    """All keys, or with the flag those of the past and up to the query's own."""
    return Keys(past, None, 0 if c.attr("unidirectional", 0) else None)


# --- with the projections


class Projection(NamedTuple):
    """Queries, keys, values (B, N, S, E) as input and weights make them: all features are mixed."""

    q: int
    k: int
    v: int
    shapes: tuple[Shape, Shape, Shape]


def _projected(
    c: Call,
    x: Value,
    weights: Value,
    columns: Sequence[Value | None],
    others: Sequence[Value | None] = (),
) -> Projection:
    """``columns``: one number for each column of the weights, or one for all; ``others`` are for all."""
    g, heads = c.g, c.attr("num_heads")
    sizes = c.attr("qkv_hidden_sizes") or (weights.shape[1] // 3,) * 3
    if not heads or sum(sizes) != weights.shape[1] or any(n % heads for n in sizes):
        raise c.fail(f"{heads} heads of {list(sizes)} columns, the weights have {weights.shape[1]}")
    common = [
        families.reshape(g, families.mix(g, at, (2,), (1,)), (*x.shape[:1], 1, x.shape[1], 1))
        for at in present(c, x)
    ]
    common += per_channel(c, 4, None, others)
    flat = [families.reduce(g, at, (0,), False) for at in present(c, weights)]
    for p in columns:
        if p is not None and (at := c.v(p)) is not None:
            flat.append(families.reshape(g, at, (p.size,)))
    out, shapes, start = [], [], 0
    for n in sizes:
        shape = (x.shape[0], heads, x.shape[1], n // heads)
        values = list(common)
        for at in flat:
            if g.shapes[at] == (1,):
                values.append(families.reshape(g, at, (1, 1, 1, 1)))
            else:
                part = families.narrow(g, at, 0, start, start + n)
                values.append(families.reshape(g, part, (1, heads, 1, n // heads)))
        start += n
        if not values:
            values = [g.add(Input(shape))]
        out.append(c.join(values, shape))
        shapes.append(shape)
    q, k, v = out
    return Projection(q, k, v, (shapes[0], shapes[1], shapes[2]))


def _self_attention(
    c: Call,
    p: Projection,
    mask: Value | None,
    past: Value | None,
    bias: Value | None,
    dtype: int,
) -> list[Value]:
    g = c.g
    batch, heads, rows, features = p.shapes[2]
    if c.attr("past_present_share_buffer", 0) and past is not None:
        why = "how much of a shared buffer is filled depends on data"
        return [
            bounded(c, (batch, rows, heads * features), why, dtype),
            bounded(c, past.shape, why, dtype),
        ]
    before: list[Any] = [None, None]
    length = 0
    if past is not None and 0 not in past.shape:
        length = past.shape[3]
        before = [families.index(g, c.operand(past), 0, n) for n in (0, 1)]
    k, v = (_together(c, b, at) for b, at in zip(before, (p.k, p.v), strict=True))
    seen = _seen(c, length)
    masks = Masks(c, seen, batch, rows, length + rows)
    masks.keys(mask)
    masks.scores(bias)
    shape = (batch, heads, rows, features)
    out = made(
        c,
        _attended(c, p.q, k, v, masks.values, seen, shape),
        (batch, rows, heads * features),
        dtype,
    )
    outputs = [masks.done(out)]
    if len(c.node.output) > 1 and c.node.output[1]:
        kept = families.concat(g, [families.unsqueeze(g, at, 0) for at in (k, v)], 0)
        outputs.append(made(c, [kept], g.shapes[kept], dtype))
    return outputs


@rule("Attention", domain=MS)
def attention(
    c: Call,
    x: Value,
    weights: Value,
    bias: Value | None = None,
    mask: Value | None = None,
    past: Value | None = None,
    scores: Value | None = None,
    length: Value | None = None,
) -> list[Value]:
    p = _projected(c, x, weights, (bias,))
    return _self_attention(c, p, mask, past, scores, x.dtype)


@rule("QAttention", domain=MS)
def quantized_attention(
    c: Call,
    x: Value,
    weights: Value,
    bias: Value,
    x_scale: Value,
    w_scale: Value,
    mask: Value | None = None,
    x_zero: Value | None = None,
    w_zero: Value | None = None,
    past: Value | None = None,
) -> list[Value]:
    p = _projected(c, x, weights, (bias, w_scale, w_zero), (x_scale, x_zero))
    return _self_attention(c, p, mask, past, None, x_scale.dtype)


@rule("QOrderedAttention", domain=MS)
def ordered_attention(c: Call, x: Value, *more: Value | None) -> list[Value]:
    """Weights of queries, keys and values apart, each with scales."""
    weights, (mask, past, scores) = more[4:7], (*more[16:], None, None, None)[:3]
    if c.depends and present(c, *more[:16]):
        raise NoRule("weights that depend on the input")
    heads, found, shapes = c.attr("num_heads"), [], []
    for w in weights:
        if w is None or not heads or w.shape[1] % heads:
            raise c.fail(f"weights that do not make {heads} heads")
        shape = (x.shape[0], heads, x.shape[1], w.shape[1] // heads)
        one = (x.shape[0], 1, x.shape[1], 1)
        values = [
            families.reshape(c.g, families.mix(c.g, at, (2,), (1,)), one) for at in present(c, x)
        ]
        found.append(c.shaped(values[0], shape) if values else c.g.add(Input(shape)))
        shapes.append(shape)
    p = Projection(found[0], found[1], found[2], (shapes[0], shapes[1], shapes[2]))
    return _self_attention(c, p, mask, past, scores, x.dtype)


# --- queries, keys and values as they are


@rule("MultiHeadAttention", domain=MS)
def multi_head_attention(
    c: Call,
    query: Value,
    key: Value | None = None,
    value: Value | None = None,
    bias: Value | None = None,
    mask: Value | None = None,
    scores: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    length: Value | None = None,
    beams: Value | None = None,
) -> list[Value]:
    """Keys and values beside the queries, in one tensor with them or with each other, or by heads already."""
    g, heads = c.g, c.attr("num_heads")
    q, k, v = _split(c, query, key, value)
    offset = 0
    parts = []
    for at, first in (
        (q, True),
        (k, key is None or key.rank != 4),
        (v, value is None or value.rank != 4),
    ):
        size = heads * g.shapes[at][3]
        # Keys that come by heads have had their bias.
        if first and bias is not None and (b := c.v(bias)) is not None:
            b = families.narrow(g, b, 0, offset, offset + size)
            at = c.join([at, families.reshape(g, b, (1, heads, 1, size // heads))])
        offset += size
        parts.append(at)
    q, k, v = parts
    batch, _, rows, _ = g.shapes[q]
    shape = (batch, heads, rows, g.shapes[v][3])
    if beams is not None or (length is not None and past_key is not None):
        why = "how much of a shared buffer is filled depends on data"
        kept = [bounded(c, p.shape, why) for p in (past_key, past_value) if p is not None]
        return [bounded(c, (batch, rows, heads * shape[3]), why), *kept]
    k, v = _together(c, past_key, k), _together(c, past_value, v)
    total = g.shapes[k][2]
    seen = _seen(c, total - rows if past_key else 0)
    masks = Masks(c, seen, batch, rows, total)
    masks.keys(mask)
    masks.scores(scores)
    out = made(c, _attended(c, q, k, v, masks.values, seen, shape), (batch, rows, heads * shape[3]))
    outputs = [masks.done(out), made(c, [k], g.shapes[k]), made(c, [v], g.shapes[v])]
    if len(c.node.output) > 3 and c.node.output[3]:
        outputs.append(bounded(c, (batch, heads, rows, total), "scores are not followed"))
    return outputs


def _split(c: Call, query: Value, key: Value | None, value: Value | None) -> list[int]:
    """Queries, keys and values as (B, N, S, E)."""
    g, heads = c.g, c.attr("num_heads")

    def of(x: Value, k: int) -> int:
        return families.permute(g, families.index(g, c.operand(x), 3, k), (0, 2, 1, 3))

    if query.rank == 5:
        return [of(query, k) for k in range(3)]
    q = split_heads(c, c.operand(query), heads)
    if key is None:
        raise NoRule("queries without keys")
    if key.rank == 5:
        return [q, of(key, 0), of(key, 1)]
    if value is None:
        raise NoRule("keys without values")
    return [
        q,
        *(
            c.operand(x) if x.rank == 4 else split_heads(c, c.operand(x), heads)
            for x in (key, value)
        ),
    ]


@rule("DecoderMaskedMultiHeadAttention", domain=MS)
def decoder_attention(
    c: Call,
    query: Value,
    key: Value | None = None,
    value: Value | None = None,
    mask: Value | None = None,
    scores: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    length: Value | None = None,
    width: Value | None = None,
    beams: Value | None = None,
    bias: Value | None = None,
) -> list[Value]:
    """One new token. With a shared buffer or beams an input says what is read."""
    if key is None or value is None:
        raise NoRule("queries, keys and values in one tensor")
    if past_key is not None and not c.attr("past_present_share_buffer", 0):
        length = None
    return multi_head_attention(
        c, query, key, value, bias, mask, scores, past_key, past_value, length, beams
    )


@rule("GroupQueryAttention", domain=MS)
def group_query_attention(
    c: Call,
    query: Value,
    key: Value | None,
    value: Value | None,
    past_key: Value | None,
    past_value: Value | None,
    lengths: Value,
    total: Value,
    *more: Value | None,
) -> list[Value]:
    """Causal, several heads of queries to one of keys. Without gaps in the cache it is known who reads what."""
    g, heads, shared = c.g, c.attr("num_heads"), c.attr("kv_num_heads")
    at = c.operand(query)
    if key is None or value is None:
        each = query.shape[2] // (heads + 2 * shared)
        ends = [0, heads * each, (heads + shared) * each, (heads + 2 * shared) * each]
        q, k, v = (families.narrow(g, at, 2, a, b) for a, b in pairwise(ends))
    else:
        q, k, v = at, c.operand(key), c.operand(value)
    q, k, v = split_heads(c, q, heads), split_heads(c, k, shared), split_heads(c, v, shared)
    batch, _, rows, _ = g.shapes[q]
    features = g.shapes[v][3]
    shape = (batch, rows, heads * features)
    past = past_key.shape[2] if past_key is not None else 0
    sums = c.known(total)
    whole = int(sums.reshape(-1)[0]) if sums is not None and sums.size else None
    filled = c.constant(lengths)
    plain = (
        whole == past + g.shapes[k][2]
        and filled is not None
        and (filled.reshape(-1) + 1 == whole).all()
        and not any(x is not None and c.v(x) is not None for x in (*more, total) if c.depends)
        and not c.attr("qk_output", 0)
        and not c.attr("sliding_window_cache", 0)
        and not any(x is not None for x in more[9:])
    )
    cache = past_key.dtype if past_key is not None else query.dtype
    if not plain:
        why = "how much of the cache is filled depends on data"
        if whole is None:
            raise NoRule(why)
        kept = (batch, shared, max(past, whole), features)
        outputs = [bounded(c, shape, why), *(bounded(c, kept, why, cache) for _ in range(2))]
        if len(c.node.output) > 3 and c.node.output[3]:
            outputs.append(bounded(c, (batch, heads, rows, whole), why))
        return outputs
    # What is cached is normalised and turned by its position.
    if any(x is not None for x in more[7:9]):
        k = families.norm(g, k, (3,))
    elif c.attr("do_rotary", 0) and c.depends:
        cos, sin = more[:2]
        if cos is None or sin is None:
            raise c.fail("positions without angles")
        turned = bool(c.attr("rotary_interleaved", 0))
        k = rotated(c, k, g.shapes[k], (cos, sin), None, 1, 2 * cos.shape[-1], turned)
    k, v = _together(c, past_key, k), _together(c, past_value, v)
    held = [made(c, [x], g.shapes[x], cache) for x in (k, v)]
    window = max(c.attr("local_window_size", -1), 0)
    right = 0 if c.attr("causal", 1) else None
    seen = Keys(past, window - 1 if window else None, right)
    times = heads // shared
    k, v = (families.repeat(g, x, 1, times) for x in (k, v))
    values = _attended(c, q, k, v, (), seen, (batch, heads, rows, features))
    return [made(c, values, shape), *held]
