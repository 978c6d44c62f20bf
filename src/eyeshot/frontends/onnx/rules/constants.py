"""Constants, what is drawn, and what is known of a tensor without its numbers: shapes and sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import SparseTensorProto, TensorProto, numpy_helper

from eyeshot.core import families
from eyeshot.core.primitives import MAX_SIZE
from eyeshot.frontends.onnx.calls import Call, NoRule, Value, fixed
from eyeshot.frontends.onnx.fold import MAX_ELEMENTS
from eyeshot.frontends.onnx.read import inside
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import declared, sizes_of

__all__ = []


@rule("Constant")
def constant(c: Call) -> Value:
    """What an attribute holds."""
    tensor = c.attr("value")
    if tensor is not None:
        inside(tensor)
        return Value(None, c.shape_of(tuple(tensor.dims)), tensor.data_type, tensor)
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64), ("value_floats", np.float32),
                        ("value_ints", np.int64)):  # fmt: skip
        if (numbers := c.attr(name)) is not None:
            return fixed(np.asarray(numbers, dtype))
    if (sparse := c.attr("sparse_value")) is not None:
        shape = c.shape_of(tuple(sparse.dims))
        return Value(None, shape, sparse.values.data_type, _filled(c, sparse, shape))
    texts = c.attr("value_strings", c.attr("value_string"))
    if texts is None:
        raise c.fail("a constant without a value")
    return Value(None, (len(texts),) if isinstance(texts, tuple) else (), TensorProto.STRING)


def _filled(c: Call, sparse: SparseTensorProto, shape: tuple[int, ...]) -> Any:
    """A small sparse tensor's numbers, zeros among them; None if it is not small, or not well made."""
    count = math.prod(shape)
    for tensor in (sparse.values, sparse.indices):
        if tensor.data_location == TensorProto.EXTERNAL:
            return None
        if tensor.data_type == TensorProto.STRING:
            return None
    if count > MAX_ELEMENTS or math.prod(sparse.values.dims) > count:
        return None
    if not c.walker.folder.spend(count):
        return None
    try:
        values, places = map(numpy_helper.to_array, (sparse.values, sparse.indices))
        out = np.zeros(count, values.dtype)
        if places.ndim == 2:  # one row of coordinates for each
            places = np.ravel_multi_index(tuple(places.T), shape)
        if len(places) != len(values) or (places.size and places.min() < 0):
            return None
        out[places] = values
    except Exception:  # numbers that are not as many, or places outside
        return None
    return out.reshape(shape)


@rule("ConstantOfShape", "ConstantFill")
def constant_of_shape(c: Call, shape: Value | None = None) -> Value:
    """One number everywhere. ConstantFill, an early experiment, took the shape from attributes too."""
    value = c.attr("value")
    legacy = c.op.name == "ConstantFill"
    sizes = list(c.attr("shape", ())) if shape is None else None
    if shape is not None and legacy and not c.attr("input_as_shape", 0):
        sizes = list(shape.shape)
    if sizes is None:
        sizes = sizes_of(c, shape)
        sizes = list(declared(c)) if sizes is None else sizes
    if legacy:
        sizes += c.attr("extra_shape", ())
        return Value(None, c.shape_of(tuple(sizes)), c.attr("dtype", TensorProto.FLOAT))
    dtype = value.data_type if value is not None else TensorProto.FLOAT
    return c.later(c.shape_of(tuple(sizes)), dtype)


@rule("GivenTensorFill")
def given_tensor_fill(c: Call, shape: Value | None = None) -> Value:
    """Numbers of an attribute: an experiment of early versions."""
    values = c.attr("values", ())
    sizes = list(c.attr("shape", (len(values),)))
    if shape is not None:
        given = sizes_of(c, shape) if c.attr("input_as_shape", 0) else list(shape.shape)
        if given is None:
            raise NoRule("what decides the shape depends on data")
        sizes = [*given, *c.attr("extra_shape", ())]
    out = c.shape_of(tuple(sizes))
    if math.prod(out) != len(values):
        raise c.fail(f"{len(values)} values for {math.prod(out)} elements")
    return fixed(np.asarray(values, np.float32).reshape(out))


@rule("Shape")
def shape(c: Call, x: Value) -> Any:
    start, end = c.attr("start", 0), c.attr("end", x.rank)
    return np.asarray(x.shape[slice(start, end)], dtype=np.int64)


@rule("Size")
def size(c: Call, x: Value) -> Any:
    return np.asarray(min(x.size, np.iinfo(np.int64).max), dtype=np.int64)


@rule("Range")
def range_(c: Call, start: Value, limit: Value, delta: Value) -> Any:
    """Numbers in steps; how many is known only if all three are."""
    numbers = [n for x in (start, limit, delta) if (n := c.known(x)) is not None]
    if len(numbers) < 3:
        return _range_of(c, start, delta)
    if any(n.size != 1 for n in numbers):
        raise c.fail("the ends of a range are no single numbers")
    first, last, step = (n.reshape(-1)[0].item() for n in numbers)
    if not step or not all(map(math.isfinite, (first, last, step))):
        raise c.fail(f"a range from {first} to {last} in steps of {step}")
    whole = all(isinstance(n, int) for n in (first, last, step))
    count = -((first - last) // step) if whole else math.ceil((last - first) / step)
    if count > MAX_SIZE:
        raise c.fail(f"a range of {count} numbers")
    shape = (max(0, count),)
    # Where it begins and how it goes on is read, if an input says so; where it ends is a matter of its size.
    if c.depends and shape[0] and (values := _origins(c, start, delta)):
        return c.join(values, shape)
    return c.later(shape, start.dtype)


def _origins(c: Call, *parts: Value) -> list[int]:
    return [families.reshape(c.g, at, (1,)) for x in parts if (at := c.v(x)) is not None]


def _range_of(c: Call, start: Value, delta: Value) -> Any:
    """A range whose ends depend on data, of a length that is declared."""
    shape = declared(c)
    values = _origins(c, start, delta)
    if not c.depends or not values or not shape[0]:
        return Value(None, shape, start.dtype)
    return c.join(values, shape)


@rule("EyeLike")
def eye_like(c: Call, x: Value) -> Value:
    """Ones on a diagonal: of the input only the shape counts."""
    if x.rank != 2:
        raise c.fail(f"{x.rank} dims")
    dtype = c.attr("dtype", x.dtype)
    held = None
    if x.size <= MAX_ELEMENTS and c.walker.folder.spend(x.size):
        kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        offset = max(min(c.attr("k", 0), x.shape[1]), -x.shape[0])
        held = np.eye(x.shape[0], x.shape[1], k=offset, dtype=kind)
    return Value(None, x.shape, dtype, held)


# --- what is drawn


@rule("RandomNormal", "RandomUniform")
def drawn(c: Call) -> Value:
    sizes = c.attr("shape")
    if sizes is None:
        raise c.fail("no shape is given")
    return Value(None, c.shape_of(tuple(sizes)), c.attr("dtype", TensorProto.FLOAT))


@rule("RandomNormalLike", "RandomUniformLike")
def drawn_like(c: Call, x: Value) -> Value:
    """Of the input only the shape counts."""
    return Value(None, x.shape, c.attr("dtype", x.dtype))


@rule("Multinomial")
def multinomial(c: Call, x: Value) -> Any:
    """Numbers drawn from a row look at all of its probabilities."""
    count = c.attr("sample_size", 1)
    if x.rank != 2:
        raise c.fail(f"{x.rank} dims")
    if count < 1 or not x.size:
        return Value(None, c.shape_of((x.shape[0], count)), c.attr("dtype", TensorProto.INT32))
    c.dtype = c.attr("dtype", TensorProto.INT32)
    return families.mix(c.g, c.operand(x), (1,), (c.shape_of((count,))[0],))
