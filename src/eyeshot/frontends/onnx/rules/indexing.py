"""Selection: which elements a known index or mask takes, one by one, and what an unknown one may take.

Where positions depend on an input, or are not known, every element that they might choose is taken as read, and
the result is a bound. A constant table with positions that depend on an input is an embedding: exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from eyeshot.core import families, indexing
from eyeshot.core.indexing import Index
from eyeshot.core.primitives import Shape
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import (
    DEPENDENT,
    DEPENDS,
    MAX_POSITIONS,
    axis_of,
    declared,
    empty,
)

__all__ = ["UNKNOWN", "chosen", "numbers", "reason", "taken", "within"]

Array = NDArray[Any]

UNKNOWN = "the positions are not known; all that may be chosen is taken as read"


# --- positions


def numbers(c: Call, x: Value) -> Array | None:
    """The numbers of a constant that are to be written down as positions; None if they are not known."""
    if x.at is not None and c.depends:
        return None
    if x.size > MAX_POSITIONS:
        return None
    found = c.constant(x)
    if found is not None and found.dtype.kind not in "iu":
        raise c.fail("positions that are no whole numbers")
    return found if found is not None and c.walker.folder.write(found.size) else None


def within(c: Call, positions: Array, n: int, dim: int) -> Array:
    """Positions counted from the end made positive. One outside is an error in every run."""
    positions = positions.astype(np.int64)
    if positions.size and (positions.min() < -n or positions.max() >= n):
        worst = positions.max() if positions.max() >= n else positions.min()
        raise c.fail(f"position {worst} is outside dim {dim} of size {n}")
    return np.where(positions < 0, positions + n, positions)


def reason(c: Call, *positions: Value | None) -> str:
    """Why what is read at positions that are not known is a bound."""
    return DEPENDS if any(c.v(p) is not None for p in positions) else UNKNOWN


def taken(c: Call, x: int, arrays: Index, out: Shape) -> int:
    """The elements at known positions, of which there are some."""
    try:
        y = indexing.indexed(c.g, x, arrays)
    except indexing.TooLong as error:
        raise NoRule(str(error)) from None
    assert y is not None
    return families.reshape(c.g, y, out)


def chosen(
    c: Call, x: Value, positions: Value, read: int | None, own: int | None, out: Shape
) -> int:
    """What may be read of ``x`` (``read``) by what the positions say (``own``); both broadcast to ``out``."""
    values = [v for v in (read, own) if v is not None]
    y = c.join(values, out)
    return y if read is None else c.bound(y, DEPENDENT, reason(c, positions))


@rule("Gather")
def gather(c: Call, x: Value, positions: Value) -> Any:
    """Slices along one dim; their dim is replaced by those of the positions."""
    dim = axis_of(c, c.attr("axis", 0), x.rank)
    head, tail, n = x.shape[:dim], x.shape[dim + 1 :], x.shape[dim]
    out = c.shape_of((*head, *positions.shape, *tail))
    if not math.prod(out):
        return empty(c, out, x)
    if not c.depends:
        return c.later(out, x.dtype)
    at = c.v(x)
    known = numbers(c, positions)
    if known is not None and at is not None:
        places = within(c, known, n, dim)
        if not positions.rank:
            return families.index(c.g, at, dim, int(places))
        return taken(c, at, [*[None] * dim, places], out)
    wide = (1,) * positions.rank
    read = own = None
    if at is not None:
        at = families.mix(c.g, at, (dim,), (1,))
        read = families.reshape(c.g, at, (*head, *wide, *tail))
    if (i := c.v(positions)) is not None:
        own = families.reshape(c.g, i, (*positions.shape, *(1,) * len(tail)))
    return chosen(c, x, positions, read, own, out)


@rule("GatherElements")
def gather_elements(c: Call, x: Value, positions: Value) -> Any:
    """An element for each position, which moves it along one dim only."""
    dim = axis_of(c, c.attr("axis", 0), x.rank)
    out = positions.shape
    fits(c, positions, x, dim)
    if not positions.size:
        return empty(c, out, x)
    if not c.depends:
        return c.later(out, x.dtype)
    at = c.v(x)
    known = numbers(c, positions)
    if known is not None and at is not None:
        arrays = indexing.along(out, dim, within(c, known, x.shape[dim], dim))
        return taken(c, at, arrays, out)
    read = None
    if at is not None:
        read = families.mix(c.g, corner(c, at, out, dim), (dim,), (1,))
    return chosen(c, x, positions, read, c.v(positions), out)


def fits(c: Call, positions: Value, x: Value, dim: int) -> None:
    """Raises where positions for single elements lie beyond the tensor."""
    if positions.rank != x.rank or any(
        a > b for d, (a, b) in enumerate(zip(positions.shape, x.shape, strict=True)) if d != dim
    ):
        raise c.fail(f"positions {list(positions.shape)} for elements of {list(x.shape)}")


def corner(c: Call, at: int, shape: Sequence[int], dim: int) -> int:
    """The first elements along each dim but one."""
    for d, n in enumerate(shape):
        if d != dim:
            at = families.narrow(c.g, at, d, 0, n)
    return at


@rule("GatherND")
def gather_nd(c: Call, x: Value, positions: Value) -> Any:
    """Slices at coordinates, which are the last dim of the positions; the first dims may be a batch."""
    batch = c.attr("batch_dims", 0)
    count = coordinates(c, x, positions, batch)
    mid, rest = positions.shape[batch:-1], x.shape[batch + count :]
    out = c.shape_of((*positions.shape[:-1], *rest))
    if not math.prod(out):
        return empty(c, out, x)
    if not c.depends:
        return c.later(out, x.dtype)
    at = c.v(x)
    if not count and at is not None:
        at = families.reshape(c.g, at, (*x.shape[:batch], *(1,) * len(mid), *rest))
        return c.shaped(at, out)
    known = numbers(c, positions)
    if known is not None and at is not None:
        return taken(c, at, spots(c, x, known, batch), out)
    read = own = None
    if at is not None:
        dims = range(batch, batch + count)
        at = families.mix(c.g, at, dims, (1,) * count)
        read = families.reshape(c.g, at, (*x.shape[:batch], *(1,) * len(mid), *rest))
    if (i := c.v(positions)) is not None:
        i = families.reduce(c.g, i, (positions.rank - 1,), False)
        own = families.reshape(c.g, i, (*positions.shape[:-1], *(1,) * len(rest)))
    return chosen(c, x, positions, read, own, out)


def coordinates(c: Call, x: Value, positions: Value, batch: int) -> int:
    """How many coordinates each position has."""
    if not 0 <= batch < positions.rank or batch > x.rank:
        raise c.fail(f"{batch} batch dims of {list(x.shape)} and {list(positions.shape)}")
    count = positions.shape[-1]
    if count > x.rank - batch or positions.shape[:batch] != x.shape[:batch]:
        raise c.fail(f"positions {list(positions.shape)} in {list(x.shape)}")
    return count


def spots(c: Call, x: Value, known: Array, batch: int = 0) -> Index:
    """Coordinates as one array a dim."""
    wide = known.shape[:-1]
    arrays: Index = [
        np.arange(n).reshape([n if d == k else 1 for k in range(len(wide))])
        for d, n in enumerate(wide[:batch])
    ]
    for k in range(known.shape[-1]):
        arrays.append(within(c, known[..., k], x.shape[batch + k], batch + k))
    return arrays


@rule("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(c: Call, x: Value, positions: Value) -> Any:
    """Features by their places in the last dim; a vector is one row."""
    if not x.rank:
        raise c.fail("a tensor without dims")
    n = x.shape[-1]
    out = c.shape_of((*(x.shape[:-1] or (1,)), positions.size))
    if not math.prod(out):
        return empty(c, out, x)
    if not c.depends:
        return c.later(out, x.dtype)
    at = c.v(x)
    known = numbers(c, positions)
    if known is not None and at is not None:
        index = within(c, known.reshape(-1), n, x.rank - 1)
        return taken(c, at, [*[None] * (x.rank - 1), index], out)
    read = own = None
    if at is not None:
        at = families.mix(c.g, at, (x.rank - 1,), (1,))
        read = families.reshape(c.g, at, (*out[:-1], 1))
    if (i := c.v(positions)) is not None:
        own = families.reshape(c.g, i, (positions.size,))
    return chosen(c, x, positions, read, own, out)


# --- masks


@rule("Trilu")
def trilu(c: Call, x: Value, diagonal: Value | None = None) -> Any:
    """The elements on one side of a diagonal; elsewhere nothing is read."""
    if x.rank < 2:
        raise c.fail(f"{x.rank} dims")
    if not c.depends or not x.size:
        return c.later(x.shape, x.dtype) if x.size else empty(c, x.shape, x)
    at = c.v(x)
    offset = 0
    if diagonal is not None:
        known = c.constant(diagonal)
        if known is None:
            values = [v for v in (at, _whole(c, diagonal, x.shape)) if v is not None]
            y = c.join(values, x.shape)
            return y if at is None else c.bound(y, DEPENDENT, reason(c, diagonal))
        offset = int(known.reshape(-1)[0])
    assert at is not None
    rows, columns = x.shape[-2:]
    if rows * columns > families.MAX_MASK or not c.walker.folder.write(rows * columns):
        return c.bound(at, "large-mask", "the triangle is large; what it hides is taken as read")
    # Diagonals outside the matrix leave all of it, or nothing.
    offset = max(min(offset, columns), -rows)
    away = np.arange(columns) - np.arange(rows)[:, None] - offset
    held = away >= 0 if c.attr("upper", 1) else away <= 0
    if held.all():
        return at
    if not held.any():
        return Value(None, x.shape, x.dtype)
    return families.masked(c.g, at, held)


def _whole(c: Call, x: Value, shape: Sequence[int]) -> int | None:
    """All of a parameter, read by every element."""
    at = c.v(x)
    return None if at is None else families.opaque(c.g, (at,), (1,) * len(shape))


@rule("Compress")
def compress(c: Call, x: Value, condition: Value) -> Any:
    """The slices along a dim, or the elements of all, where a condition is true; beyond its end it is not."""
    axis = c.attr("axis")
    dim = 0 if axis is None else axis_of(c, axis, x.rank)
    n = x.size if axis is None else x.shape[dim]
    held = c.known(condition)
    if held is None:
        return _listed(c, [declared(c)], [x.dtype])[0]
    places = held.reshape(-1)[:n].astype(bool).nonzero()[0]
    out = (len(places),) if axis is None else (*x.shape[:dim], len(places), *x.shape[dim + 1 :])
    if not math.prod(out):
        return empty(c, out, x)
    if not c.depends:
        return c.later(out, x.dtype)
    if (i := c.v(condition)) is not None:
        # How many there are is known for this condition alone: which they are is its own say.
        values = [families.opaque(c.g, (i,), out)]
        if (whole := c.v(x)) is not None:
            dims = tuple(range(x.rank)) if axis is None else (dim,)
            whole = families.mix(c.g, whole, dims, (1,) * len(dims))
            values.append(whole if axis is not None else families.reshape(c.g, whole, (1,)))
        return c.bound(c.join(values, out), DEPENDENT, DEPENDS)
    at = c.operand(x)
    if axis is None:
        at = families.reshape(c.g, at, (x.size,))
    if len(places) > MAX_POSITIONS or not c.walker.folder.write(len(places)):
        raise NoRule("a long list of positions")
    return taken(c, at, [*[None] * dim, places], out)


# --- what depends on all elements


def _listed(c: Call, shapes: Sequence[Shape], dtypes: Sequence[int] = ()) -> list[Any]:
    """What is listed where depends on all elements of all inputs."""
    reads = [at for _, at in c.reads()] if c.depends else []
    made: list[Any] = []
    for k, shape in enumerate(shapes):
        dtype = dtypes[k] if k < len(dtypes) else TensorProto.INT64
        if not reads or not math.prod(shape):
            made.append(Value(None, shape, dtype))
        else:
            made.append(c.bound(families.opaque(c.g, reads, shape), DEPENDENT, DEPENDS))
    return made


@rule("NonZero")
def non_zero(c: Call, x: Value) -> Any:
    """The coordinates of what is not zero; how many there are is known only with the numbers."""
    held = c.known(x)
    if held is None:
        return _listed(c, [declared(c)])[0]
    found = np.array((np.atleast_1d(held) != 0).nonzero(), np.int64)
    if x.at is None:
        return (
            found
            if c.walker.folder.spend(found.size)
            else Value(None, found.shape, TensorProto.INT64)
        )
    return _listed(c, [c.shape_of(found.shape)])[0]


@rule("Unique")
def unique(c: Call, x: Value) -> list[Any]:
    """What occurs, where first, in which place each element is, and how often."""
    held = c.known(x)
    if held is None:
        shapes = [declared(c, k) for k in range(len(c.node.output))]
        return _listed(c, shapes, [x.dtype])
    axis = c.attr("axis")
    if axis is None:
        held = held.reshape(-1)
    dim = axis_of(c, axis or 0, held.ndim)
    values, first, inverse, counts = np.unique(held, True, True, True, axis=dim)
    inverse = inverse.reshape(-1)
    if not c.attr("sorted", 1):
        order = np.argsort(first)
        values, first, counts = values.take(order, dim), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    arrays = [values.astype(held.dtype), *(a.astype(np.int64) for a in (first, inverse, counts))]
    if x.at is None and c.walker.folder.spend(sum(a.size for a in arrays)):
        return arrays
    return _listed(c, [a.shape for a in arrays], [x.dtype])


@rule("TopK")
def top_k(c: Call, x: Value, k: Value | None = None) -> list[Any]:
    """Values and their places: each looks at the whole dim. Until opset 9 how many is an attribute."""
    dim = axis_of(c, c.attr("axis", -1), x.rank)
    count = c.attr("k")
    if k is not None:
        given = c.known(k)
        count = declared(c)[dim] if given is None else int(given.reshape(-1)[0])
    if count is None or not 0 <= count <= x.shape[dim]:
        raise c.fail(f"the {count} largest of {x.shape[dim]}")
    out = (*x.shape[:dim], count, *x.shape[dim + 1 :])
    if not math.prod(out):
        return [empty(c, out, x), Value(None, out, TensorProto.INT64)]
    at = families.mix(c.g, c.operand(x), (dim,), (count,))
    return [at, at]


@rule("OneHot")
def one_hot(c: Call, positions: Value, depth: Value, values: Value) -> Any:
    """Each element looks at its position, and at both values."""
    count = c.known(depth)
    rank = positions.rank + 1
    dim = axis_of(c, c.attr("axis", -1), rank)
    if count is not None and count.size != 1:
        raise c.fail(f"a depth of {count.size} numbers")
    n = declared(c)[dim] if count is None else int(count.reshape(-1)[0])
    out = c.shape_of((*positions.shape[:dim], n, *positions.shape[dim:]))
    if not math.prod(out):
        return Value(None, out, values.dtype)
    if not c.depends:
        return c.later(out, values.dtype)
    reads = []
    if (i := c.v(positions)) is not None:
        reads.append(families.unsqueeze(c.g, i, dim))
    if (v := c.v(values)) is not None:
        reads.append(families.opaque(c.g, (v,), (1,) * rank))
    c.dtype = values.dtype
    return c.join(reads, out) if reads else Value(None, out, values.dtype)


# --- turned round


@rule("ReverseSequence")
def reverse_sequence(c: Call, x: Value, lengths: Value) -> Any:
    """The first elements of each sequence of a batch in reverse order."""
    batch, time = c.attr("batch_axis", 1), c.attr("time_axis", 0)
    if {batch, time} != {0, 1} or x.rank < 2 or lengths.shape != x.shape[batch : batch + 1]:
        raise c.fail(f"axes {batch} and {time} of {list(x.shape)}, {list(lengths.shape)} lengths")
    if not c.depends or not x.size:
        return c.later(x.shape, x.dtype) if x.size else empty(c, x.shape, x)
    n = x.shape[time]
    at = c.v(x)
    known = numbers(c, lengths)
    if known is not None and at is not None and c.walker.folder.write(n * known.size):
        many = known.astype(np.int64)
        if many.min() < 0 or many.max() > n:
            raise c.fail(f"a sequence of {many.max()} elements in {n}")
        steps = np.arange(n)[:, None]
        places = np.where(steps < many, many - 1 - steps, steps)
        rows = np.arange(len(many))[None, :]
        arrays: Index = [places, rows] if not time else [rows.T, places.T]
        return taken(c, at, arrays, x.shape)
    read = None if at is None else families.mix(c.g, at, (time,), (1,))
    own = c.v(lengths)
    if own is not None:
        shape = [1] * x.rank
        shape[batch] = lengths.size
        own = families.reshape(c.g, own, shape)
    return chosen(c, x, lengths, read, own, x.shape)
