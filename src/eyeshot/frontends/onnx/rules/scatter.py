"""Scatter: writes at positions. Where they are known, each element lands where it says.

A scatter is a write through the gather of the same positions. Where they depend on an input, or are not known,
whatever is written may be anywhere, and what was there may still be: a bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eyeshot.core import families, indexing
from eyeshot.core.indexing import Index
from eyeshot.core.primitives import Input
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.indexing import (
    UNKNOWN,
    coordinates,
    fits,
    numbers,
    spots,
    within,
)
from eyeshot.frontends.onnx.rules.views import DEPENDENT, axis_of, empty

__all__ = []

WHERE = "where it writes depends on the input; any element may go to any place"
TWICE = "one place is written twice, and which write stays is not defined"

MODES = ("none", "add", "mul", "min", "max")


def _mode(c: Call) -> str:
    """``none``, where what is written stands alone; the others read what was there too."""
    mode = c.attr("reduction", "none")
    if mode not in MODES:
        raise c.fail(f"the reduction {mode!r}")
    return mode


def _written(c: Call, x: Value, arrays: Index, new: int | None, mode: str) -> int:
    """``x`` with ``new`` (None: constants), of the index's shape, written at known positions."""
    g = c.g
    old = c.operand(x)
    if new is None and mode != "none":
        return old
    try:
        seen = indexing.indexed(g, old, arrays, expand=False)
    except indexing.TooLong as error:
        raise NoRule(str(error)) from None
    if seen is None:
        return old
    twice = mode == "none" and new is not None and indexing.repeats(arrays, x.shape)
    value = (
        g.add(Input(g.shapes[seen])) if new is None else families.reshape(g, new, g.shapes[seen])
    )
    if mode == "none" and not twice:
        return indexing.put(g, old, seen, value, whole=True)[0]
    y = c.join([old, indexing.added(g, old, seen, value)])
    return c.bound(y, DEPENDENT, TWICE) if twice else y


def _anywhere(c: Call, x: Value, positions: Value | None, parts: list[int]) -> int:
    """``x`` and what may be written, broadcast, where the positions are not known."""
    values = [at] if (at := c.v(x)) is not None else []
    y = c.join(values + parts, x.shape)
    if not values and all(v is None or c.v(v) is None for v in c.inputs[2:3]):
        return y  # of constants alone it is the positions that tell which is where
    why = WHERE if positions is not None and c.v(positions) is not None else UNKNOWN
    return c.bound(y, DEPENDENT, why)


@rule("Scatter", "ScatterElements")
def scatter_elements(c: Call, x: Value, positions: Value, updates: Value) -> Any:
    """Single elements, each moved along one dim only."""
    dim = axis_of(c, c.attr("axis", 0), x.rank)
    fits(c, positions, x, dim)
    if updates.shape != positions.shape:
        raise c.fail(f"{list(updates.shape)} updates for {list(positions.shape)} positions")
    mode = _mode(c)
    if not c.depends or not x.size:
        return c.later(x.shape, x.dtype) if x.size else empty(c, x.shape, x)
    if not positions.size:
        return x
    known = numbers(c, positions)
    if known is not None:
        arrays = indexing.along(positions.shape, dim, within(c, known, x.shape[dim], dim))
        return _written(c, x, arrays, c.v(updates), mode)
    parts = []
    for y in (positions, updates):
        if (at := c.v(y)) is None:
            continue
        at = families.mix(c.g, at, (dim,), (1,))
        for d, n in enumerate(x.shape):
            if d != dim:
                at = families.placed(c.g, at, d, 0, n)
        parts.append(at)
    return _anywhere(c, x, positions, parts)


@rule("ScatterND")
def scatter_nd(c: Call, x: Value, positions: Value, updates: Value) -> Any:
    """Slices at coordinates, which are the last dim of the positions."""
    count = coordinates(c, x, positions, 0)
    rest = x.shape[count:]
    if updates.shape != (*positions.shape[:-1], *rest):
        raise c.fail(f"{list(updates.shape)} updates for positions {list(positions.shape)}")
    mode = _mode(c)
    if not c.depends or not x.size:
        return c.later(x.shape, x.dtype) if x.size else empty(c, x.shape, x)
    if not updates.size:
        return x
    if not count:  # each update is the whole tensor
        known: Any = np.zeros((*positions.shape[:-1], 0), np.int64)
    else:
        known = numbers(c, positions)
    new = c.v(updates)
    if known is not None and count:
        return _written(c, x, spots(c, x, known), new, mode)
    parts = []
    if (at := c.v(positions)) is not None and count:
        parts.append(families.opaque(c.g, (at,), (1,) * x.rank))
    if new is not None:
        dims = range(positions.rank - 1)
        new = families.mix(c.g, new, dims, (1,) * len(dims))
        parts.append(families.reshape(c.g, new, (*(1,) * count, *rest)))
    return _anywhere(c, x, positions, parts)


@rule("TensorScatter")
def tensor_scatter(c: Call, x: Value, updates: Value, starts: Value | None = None) -> Any:
    """A cache: each sequence of a batch is written from its own place on, round the end if circular."""
    axis = axis_of(c, c.attr("axis", -2), x.rank)
    batch, n, size = x.shape[0], x.shape[axis], 0
    if updates.rank == x.rank:
        size = updates.shape[axis]
    if axis < 1 or size > n or updates.shape != (*x.shape[:axis], size, *x.shape[axis + 1 :]):
        raise c.fail(f"{list(updates.shape)} written along dim {axis} of {list(x.shape)}")
    if starts is not None and starts.shape != (batch,):
        raise c.fail(f"{list(starts.shape)} places for a batch of {batch}")
    if not c.depends or not x.size:
        return c.later(x.shape, x.dtype) if x.size else empty(c, x.shape, x)
    if not size:
        return x
    first = np.zeros(batch, np.int64) if starts is None else numbers(c, starts)
    new = c.v(updates)
    if first is not None and c.walker.folder.write(batch * size):
        places = first.astype(np.int64)[:, None] + np.arange(size)
        if c.attr("mode", "linear") == "circular":
            places %= n
        places = within(c, places, n, axis)
        if (places == places[:1]).all():
            return _written(c, x, [*[None] * axis, places[0]], new, "none")
        arrays: Index = [None] * x.rank
        arrays[0], arrays[axis] = np.arange(batch)[:, None], places
        if new is not None:
            order = [0, axis, *(d for d in range(1, x.rank) if d != axis)]
            new = families.permute(c.g, new, order)
        return _written(c, x, arrays, new, "none")
    parts = []
    if new is not None:
        parts.append(families.mix(c.g, new, (axis,), (1,)))
    if starts is not None and (at := c.v(starts)) is not None:
        parts.append(families.reshape(c.g, at, (batch, *(1,) * (x.rank - 1))))
    return _anywhere(c, x, starts, parts)
