"""com.microsoft: operators that ai.onnx has too, or had not yet, and transforms."""

from __future__ import annotations

import math
from typing import Any

from onnx import TensorProto

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axis_of
from eyeshot.frontends.onnx.rules.wrapping import bounded, core, made, present

__all__ = []

MS = "com.microsoft"


@rule("Pad", "Trilu", "GatherND", "GridSample", domain=MS)
def same(c: Call, x: Value, *more: Value | None) -> Value:
    """As in ai.onnx."""
    opset = {"Trilu": 14, "GatherND": 13, "GridSample": 16, "Pad": 19}[c.op.name]
    return made(c, *core(c, c.op.name, x, *more, opset=opset))


@rule("TorchEmbedding", domain=MS)
def torch_embedding(c: Call, table: Value, indices: Value, *more: Value | None) -> Value:
    return made(c, *core(c, "Gather", table, indices, opset=13, axis=0))


@rule("Range", domain=MS)
def range_(c: Call, start: Value, limit: Value, delta: Value | None = None) -> Value:
    """Its length is a matter of numbers."""
    given = [x for x in (start, limit, delta) if x is not None]
    numbers = [n for x in given if (n := c.known(x)) is not None]
    if len(numbers) < len(given):
        raise NoRule("the ends of a range depend on data")
    first, last, *step = (n.reshape(-1)[0].item() for n in numbers)
    by = step[0] if step else 1
    if not by:
        raise c.fail("a range in steps of 0")
    return Value(None, c.shape_of((max(0, math.ceil((last - first) / by)),)), start.dtype)


@rule("ExpandDims", domain=MS)
def expand_dims(c: Call, x: Value, axis: Value) -> int:
    (at,) = c.ints(axis) or [0]
    return families.unsqueeze(c.g, c.operand(x), axis_of(c, at, x.rank + 1))


@rule("Rfft", "Irfft", domain=MS)
def fourier(c: Call, x: Value) -> int:
    """The last dims are transformed; of a real signal one half of the last comes out, in two parts each."""
    count = c.attr("signal_ndim", 1)
    g, at = c.g, c.operand(x)
    whole = not c.attr("onesided", 1)
    if c.op.name == "Rfft":
        dims = range(x.rank - count, x.rank)
        sizes = [x.shape[d] for d in dims]
        sizes[-1] = sizes[-1] if whole else sizes[-1] // 2 + 1
        at = families.unsqueeze(g, families.mix(g, at, dims, sizes), x.rank)
        return families.expand(g, at, (*g.shapes[at][:-1], 2))
    dims = range(x.rank - count - 1, x.rank - 1)
    sizes = [x.shape[d] for d in dims]
    sizes[-1] = sizes[-1] if whole else 2 * (sizes[-1] - 1)
    at = families.mix(g, at, (*dims, x.rank - 1), (*sizes, 1))
    return families.squeeze(g, at, (x.rank - 1,))


@rule("CropAndResize", domain=MS)
def crop_and_resize(c: Call, x: Value, boxes: Value, batches: Value, size: Value) -> Value:
    """Each box is read somewhere in an image; where, its numbers say."""
    height, width = c.ints(size) or (0, 0)
    count = boxes.shape[0]
    values = [families.mix(c.g, at, (0, 2, 3), (1, 1, 1)) for at in present(c, x)]
    for p in (boxes, batches):
        for at in present(c, p):
            at = families.mix(c.g, at, (1,), (1,)) if p.rank > 1 else at
            values.append(families.reshape(c.g, at, (count, 1, 1, 1)))
    out = made(c, values, (count, x.shape[1], height, width))
    if out.at is not None:
        out.at = c.bound(out.at, "data-dependent", "where a box lies depends on data")
    return out


@rule("GatherBlockQuantized", domain=MS)
def gather_block_quantized(
    c: Call, data: Value, indices: Value, scales: Value, zeros: Value | None = None
) -> Value:
    """Rows of a table, packed into bytes where its numbers have fewer bits."""
    axis = axis_of(c, c.attr("gather_axis", 0), data.rank)
    sizes = list(data.shape)
    if data.dtype == TensorProto.UINT8:
        sizes[-1] *= 8 // c.attr("bits", 4)
    shape = (*sizes[:axis], *indices.shape, *sizes[axis + 1 :])
    if c.depends and present(c, data, scales, zeros):
        return bounded(c, shape, "a packed table that depends on the input", scales.dtype)
    values = []
    for at in present(c, indices):
        one = (*(1,) * axis, *indices.shape, *(1,) * (data.rank - axis - 1))
        values.append(families.reshape(c.g, at, one))
    return made(c, values, shape, scales.dtype)


@rule("IsAllFinite", domain=MS)
def is_all_finite(c: Call, *inputs: Value) -> Value:
    values = [families.opaque(c.g, (at,), ()) for at in present(c, *inputs)]
    return made(c, values, (), TensorProto.BOOL)


@rule("NGramRepeatBlock", domain=MS)
def ngram_repeat_block(c: Call, ids: Value, scores: Value) -> Value:
    """A word's score is spoilt if it would repeat what the row of words says."""
    values = present(c, scores)
    values += [families.mix(c.g, at, (1,), (1,)) for at in present(c, ids)]
    return made(c, values, scores.shape, scores.dtype)


@rule("MurmurHash3", domain=MS)
def murmur_hash(c: Call, x: Value) -> Value:
    kind = TensorProto.UINT32 if c.attr("positive", 1) else TensorProto.INT32
    return made(c, present(c, x), x.shape, kind)


@rule("WordConvEmbedding", domain=MS)
def word_conv_embedding(c: Call, words: Value, w: Value, b: Value, characters: Value) -> Any:
    """Convolutions over the letters of each word, of which the largest values stay."""
    shape = (*words.shape[:-1], w.shape[0])
    if c.depends and present(c, w, b, characters):
        return bounded(
            c, shape, "letters are looked up in a table that depends on the input", w.dtype
        )
    values = [families.mix(c.g, at, (words.rank - 1,), (1,)) for at in present(c, words)]
    return made(c, values, shape, w.dtype)
