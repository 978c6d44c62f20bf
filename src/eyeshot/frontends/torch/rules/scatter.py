"""Scatter: writes at positions. Where they are known, each element lands where it says.

A scatter is a write through the gather of the same index. Where the index depends on an input, or is not
known, whatever is written may be anywhere, and what was there may still be: a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eyeshot.core import families, indexing
from eyeshot.core.indexing import Index
from eyeshot.core.primitives import Input
from eyeshot.frontends.torch.calls import Call, NeedsData
from eyeshot.frontends.torch.rules import rule, views
from eyeshot.frontends.torch.rules.indexing import (
    DEPENDENT,
    MASKS,
    UNKNOWN,
    along,
    indexed,
    known,
    wrapped,
)
from eyeshot.frontends.torch.rules.shared import the, values_of

__all__ = []

WHERE = "where it writes depends on the input; any element may go to any place"
TWICE = "one place is written twice, and which write stays is not defined"


def _reason(c: Call, *indices: Tensor) -> str:
    return WHERE if values_of(c, *indices) else UNKNOWN


class _Holding(Call):
    """A call in which one tensor holds a given value."""

    __slots__ = ("tensor", "value")

    def __init__(self, c: Call, tensor: Tensor, value: int | None) -> None:
        super().__init__(c.tracer, c.op, c.func, c.args, c.kwargs)
        self.tensor, self.value = tensor, value

    def v(self, tensor: Any) -> int | None:
        return self.value if tensor is self.tensor else super().v(tensor)


# --- known places


def written(c: Call, self: Tensor, arrays: Index, new: Tensor | None, mode: str) -> int | None:
    """``self`` with ``new`` (None: a number) written at ``arrays``.

    ``mode``: set; add (both are read: sums and other reductions); reduce (the places begin anew).
    """
    g = c.g
    old = c.operand(self)
    value = None if new is None else c.v(new)
    if mode == "add" and value is None:
        return c.join([old]) if c.v(self) is not None else None
    seen = indexed(c, old, arrays, expand=False)
    if seen is None:
        return c.v(self)
    shape = g.shapes[seen]
    one = new is None or new.numel() == 1
    if new is not None and not one and not _broadcasts(tuple(new.shape), shape):
        raise NeedsData(f"values of shape {list(new.shape)} do not broadcast to {list(shape)}")
    if value is None:
        value = g.add(Input(shape))
    elif one:
        value = c.shaped(families.reshape(g, value, (1,) * len(shape)), shape)
    else:
        value = c.shaped(value, shape)
    twice = mode == "set" and not one and new is not None and c.v(new) is not None
    twice = twice and indexing.repeats(arrays, self.shape)
    if mode == "set" and not twice:
        y, _ = indexing.put(g, old, seen, value, whole=True)
        return y
    added = indexing.added(g, old, seen, value)
    if mode == "reduce":
        old, _ = indexing.put(g, old, seen, g.add(Input(shape)), whole=True)
    y = c.join([old, added])
    return c.bound(y, DEPENDENT, TWICE) if twice else y


def _broadcasts(shape: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    """Whether ``shape`` broadcasts to ``wide``."""
    if len(shape) > len(wide):
        return False
    return all(a in (1, b) for a, b in zip(shape[::-1], wide[::-1], strict=False))


# --- places that are not known


def _scattered(c: Call, self: Tensor, dim: int, index: Tensor, new: Any) -> int | None:
    """A scatter along one dim whose index is not known: the other dims keep their places."""
    g = c.g
    parts = values_of(c, self)
    for t in (index, new):
        if (v := c.v(t)) is None:
            continue
        if not t.ndim or not self.ndim:
            parts.append(families.reshape(g, v, (1,) * self.ndim))
            continue
        v = families.mix(g, v, (dim,), (1,))
        for d in range(t.ndim):
            n, size = g.shapes[v][d], self.shape[d]
            if d != dim and n > size:
                v = families.narrow(g, v, d, 0, size)
            elif d != dim and n < size:
                v = families.placed(g, v, d, 0, size)
        parts.append(v)
    y = c.join(parts, self.shape)
    if not values_of(c, index, new):
        return y  # constants go to places unknown: what was there may still be
    return c.bound(y, DEPENDENT, _reason(c, index))


# --- rules


@rule("index_put", "_index_put_impl", "_index_put_impl_", "_unsafe_index_put")
def index_put(
    c: Call,
    self: Tensor,
    indices: Sequence[Any],
    values: Tensor,
    accumulate: bool = False,
    unsafe: bool = False,
) -> int | None:
    arrays = known(c, self.shape, indices)
    if arrays is not None:
        if all(a is None for a in arrays):
            return _all(c, self, values, accumulate)
        return written(c, self, arrays, values, "add" if accumulate else "set")
    return _put_anywhere(c, self, indices, values)


def _all(c: Call, self: Tensor, values: Tensor, accumulate: bool) -> int | None:
    parts = values_of(c, self, values) if accumulate else values_of(c, values)
    return c.join(parts, self.shape) if parts else None


def _put_anywhere(c: Call, self: Tensor, indices: Sequence[Any], values: Tensor) -> int | None:
    """``self[indices] = values`` where an index depends on an input or is not known."""
    g = c.g
    rank = self.ndim
    dims: list[int] = []
    masks = []
    d = 0
    for i in indices:
        wide = i.ndim if i is not None and i.dtype in MASKS else 1
        if i is not None:
            dims += range(d, d + wide)
            masks.append(wide == i.ndim and i.dtype in MASKS)
        d += wide
    parts = values_of(c, self)
    given = [i for i in indices if i is not None]
    new = c.v(values)
    if all(masks) and len(given) == 1 and (new is None or values.numel() == 1):
        # One number where a mask says so: pointwise.
        (mask,) = given
        if (m := c.v(mask)) is not None:
            behind = rank - dims[-1] - 1
            parts.append(families.reshape(g, m, (*mask.shape, *(1,) * behind)))
        if new is not None:
            parts.append(families.reshape(g, new, (1,) * rank))
        return c.join(parts, self.shape) if parts else None
    for i in given:
        if (m := c.v(i)) is not None:
            parts.append(families.opaque(g, (m,), (1,) * rank))
    if new is not None:
        rest = [d for d in range(rank) if d not in dims]
        at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
        behind = len(rest) - at
        # Of the values' dims the last ones lie along the dims behind the index, those before it in front.
        wide = 1 if any(masks) else len(np.broadcast_shapes(*(tuple(i.shape) for i in given)))
        full = (1,) * (at + wide + behind - values.ndim) + tuple(values.shape)
        v = families.reshape(g, new, full)
        v = families.mix(g, v, range(at, at + wide), (1,) * wide) if wide else v
        shape = g.shapes[v]
        kept = (*shape[:at], *(1,) * len(dims), *shape[at + wide :])
        v = families.reshape(g, v, kept)
        if at != dims[0]:
            order = [*dims, *rest]
            v = families.permute(g, v, sorted(range(rank), key=order.__getitem__))
        parts.append(v)
    if not parts:
        return None
    y = c.join(parts, self.shape)
    if not values_of(c, *given, values):
        return y
    return c.bound(y, DEPENDENT, _reason(c, *given))


@rule("_unsafe_masked_index_put_accumulate")
def unsafe_masked_index_put_accumulate(
    c: Call, self: Tensor, mask: Tensor, indices: Sequence[Any], values: Tensor
) -> int:
    """Added where the mask is true; positions outside are clamped."""
    parts = []
    if masks := values_of(c, mask):
        parts.append(families.opaque(c.g, masks, tuple(self.shape)))
    if (y := _put_anywhere(c, self, indices, values)) is not None:
        parts.append(y)
    return c.join(parts)


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(
    c: Call,
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    reduce: Any = None,
    *,
    include_self: bool = True,
    value: Any = None,
) -> int | None:
    assert c.op is not None
    mode = "add" if reduce is not None or "scatter_add" in c.op.name else "set"
    if not include_self:
        mode = "reduce"
    if not self.ndim or not index.ndim:
        shape = tuple(self.shape)
        return c.join([families.reshape(c.g, v, shape) for v in values_of(c, self, index, src)])
    dim %= self.ndim
    numbers = c.known(index)
    if numbers is None:
        return _scattered(c, self, dim, index, src)
    if not index.numel():
        return c.v(self)
    arrays = along(index.shape, dim, numbers, self.shape[dim])
    new = src if isinstance(src, Tensor) else None
    if new is not None and new.ndim and tuple(new.shape) != tuple(index.shape):
        # Of a larger source the first elements along each dim are written.
        corner = torch.empty(tuple(index.shape), device="meta")
        part = c.v(new)
        if part is not None:
            for d, n in enumerate(index.shape):
                part = families.narrow(c.g, part, d, 0, n)
        return written(_Holding(c, corner, part), self, arrays, corner, mode)
    return written(c, self, arrays, new, mode)


@rule("index_add", "index_copy", "index_reduce")
def index_add(
    c: Call,
    self: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: Any = None,
    **kwargs: Any,
) -> int | None:
    assert c.op is not None
    mode = "set" if "index_copy" in c.op.name else "add"
    if not kwargs.get("include_self", True):
        mode = "reduce"
    return _along(c, self, dim, index, source, mode)


@rule("index_fill")
def index_fill(c: Call, self: Tensor, dim: int, index: Tensor, value: Any) -> int | None:
    return _along(c, self, dim, index, value, "set")


def _along(c: Call, self: Tensor, dim: int, index: Tensor, new: Any, mode: str) -> int | None:
    """Slices along ``dim`` written at the positions of a list."""
    new = new if isinstance(new, Tensor) else None
    if not self.ndim:
        parts = [families.reshape(c.g, v, ()) for _, v in c.reads()]
        return c.join(parts)
    dim %= self.ndim
    numbers = c.known(index)
    if numbers is not None:
        before: list[Any] = [None] * dim
        at = wrapped(numbers, self.shape[dim], dim).reshape(-1)
        return written(c, self, [*before, at], new, mode)
    parts = values_of(c, self)
    if (i := c.v(index)) is not None:
        parts.append(families.opaque(c.g, (i,), (1,) * self.ndim))
    if new is not None and (v := c.v(new)) is not None:
        v = families.mix(c.g, v, (dim,), (1,)) if new.ndim else v
        parts.append(v)
    return c.bound(c.join(parts, self.shape), DEPENDENT, _reason(c, index))


@rule("put")
def put(
    c: Call, self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False
) -> int | None:
    """Into the tensor seen flat."""
    numbers = c.known(index)
    if numbers is not None:
        at = np.unravel_index(wrapped(numbers, self.numel(), 0), tuple(self.shape) or (1,))
        if self.ndim:
            return written(c, self, list(at), source, "add" if accumulate else "set")
    parts = values_of(c, self)
    if others := values_of(c, index, source):
        parts.append(families.opaque(c.g, others, tuple(self.shape)))
    return c.bound(c.join(parts), DEPENDENT, _reason(c, index))


def _through(c: Call, self: Tensor, src: Tensor, view: Any, *args: Any) -> int:
    """``self`` with ``src`` written where a view of it looks."""
    old = c.operand(self)
    inner = _Holding(c, self, old)
    inner.out = torch.empty(tuple(src.shape), device="meta")
    y, exact = indexing.put(c.g, old, view(inner, self, *args), c.operand(src))
    return y if exact else c.bound(y, "overlapping-write", "a write through memory that overlaps")


@rule("slice_scatter")
def slice_scatter(
    c: Call,
    self: Tensor,
    src: Tensor,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> int | None:
    if not src.numel():
        return c.v(self)
    return _through(c, self, src, views.slice_, dim, start, end, step)


@rule("select_scatter")
def select_scatter(c: Call, self: Tensor, src: Tensor, dim: int, index: int) -> int:
    return _through(c, self, src, views.select, dim, index)


@rule("diagonal_scatter")
def diagonal_scatter(
    c: Call, self: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> int:
    return _through(c, self, src, views.diagonal, offset, dim1, dim2)


@rule("as_strided_scatter")
def as_strided_scatter(
    c: Call, self: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: Any = None
) -> int:
    return _through(c, self, src, views.as_strided, size, stride, storage_offset)


@rule("masked_scatter")
def masked_scatter(c: Call, self: Tensor, mask: Tensor, source: Tensor) -> int | None:
    """The source's elements in order, where the mask is true."""
    g = c.g
    held = c.known(mask)
    shape = tuple(np.broadcast_shapes(tuple(self.shape), tuple(mask.shape)))
    if held is not None:
        at = np.broadcast_to(held, shape).nonzero()
        count = len(at[0]) if at else 0
        if not count:
            return None if c.v(self) is None else c.shaped(the(c, self), shape)
        old = c.shaped(c.operand(self), shape)
        flat = families.reshape(g, c.operand(source), (source.numel(),))
        seen = indexed(c, old, list(at), expand=False)
        assert seen is not None
        y, _ = indexing.put(g, old, seen, families.narrow(g, flat, 0, 0, count))
        return y
    parts = values_of(c, self)
    if others := values_of(c, mask, source):
        parts.append(families.opaque(g, others, shape))
    y = c.join(parts, shape)
    return c.bound(y, DEPENDENT, _reason(c, mask)) if others else y
