"""Indexing: which elements a known index reads, one by one, and what an unknown one may read.

Known indices are :mod:`eyeshot.core.indexing`'s. Where the index depends on an input, or is not known, every
position that it might choose is taken as read, and the result is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eyeshot.core import families, indexing
from eyeshot.core.indexing import Index
from eyeshot.frontends.torch.calls import Call, NeedsData, NoRule
from eyeshot.frontends.torch.rules import function, rule
from eyeshot.frontends.torch.rules.shared import blank, the, values_of
from eyeshot.frontends.torch.trace import Tracer

__all__ = [
    "DEPENDENT", "DEPENDS", "MASKS", "UNKNOWN", "along", "index", "indexed", "known", "reason", "wrapped",
]  # fmt: skip

#: The code of the bounds here, and their reasons.
DEPENDENT = "data-dependent"
DEPENDS = "which elements are read depends on the input; all that may be chosen are taken as read"
UNKNOWN = "the index is not known; all that may be chosen is taken as read"

#: An index of these types is a mask, not a list of positions.
MASKS = (torch.bool, torch.uint8)


# --- known indices


def known(c: Call, shape: Sequence[int], indices: Sequence[Any]) -> Index | None:
    """One array of positions per dim, None for a dim left whole. None if an index is not known."""
    out: Index = []
    for index in indices:
        if index is None:
            out.append(None)
            continue
        numbers = c.known(index)
        if numbers is None:
            return None
        if index.dtype in MASKS:
            if not index.ndim:
                raise NoRule("a mask without dims")
            fits = tuple(shape[len(out) : len(out) + index.ndim])
            if fits != tuple(index.shape):
                raise NeedsData(f"a mask of shape {list(index.shape)} does not fit {list(fits)}")
            out += numbers.nonzero()
        else:
            out.append(wrapped(numbers, shape[len(out)], len(out)))
    return out


def wrapped(numbers: Any, n: int, dim: int) -> Any:
    """Positions counted from the end made positive. One outside fails in a real run, in PyTorch's words."""
    numbers = np.asarray(numbers).astype(np.int64)
    if numbers.size and (numbers.min() < -n or numbers.max() >= n):
        worst = numbers.max() if numbers.max() >= n else numbers.min()
        raise NeedsData(f"index {worst} is out of bounds for dimension {dim} with size {n}")
    return np.where(numbers < 0, numbers + n, numbers)


def along(shape: Sequence[int], dim: int, index: Any, n: int) -> Index:
    """The index of a gather along ``dim``, whose size is n."""
    return indexing.along(shape, dim, wrapped(index, n, dim))


def indexed(c: Call, x: int, arrays: Index, expand: bool = True) -> int | None:
    """``x[arrays]``; see :func:`eyeshot.core.indexing.indexed`."""
    try:
        return indexing.indexed(c.g, x, arrays, expand)
    except indexing.TooLong as error:
        raise NoRule(str(error)) from None


# --- indices that are not known


def reason(c: Call, *indices: Any) -> str:
    """Why the result of an index that is not known is a bound."""
    return DEPENDS if values_of(c, *indices) else UNKNOWN


def _anywhere(c: Call, self: Tensor, indices: Sequence[Any]) -> int | None:
    """``self[indices]`` where an index depends on an input or is not known."""
    g = c.g
    given = [i for i in indices if i is not None]
    if any(i.dtype in MASKS for i in given):
        if c.out is None:  # how much a mask chooses, only data tells
            raise NeedsData("indexing by a mask needs numbers")
        read = [value for _, value in c.reads()]
        return c.bound(families.opaque(g, read, tuple(c.out.shape)), DEPENDENT, DEPENDS)
    wide = np.broadcast_shapes(*(tuple(i.shape) for i in given))
    x = c.v(self)
    dims = [d for d, i in enumerate(indices) if i is not None]
    rest = [d for d in range(self.ndim) if d not in dims]
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    head = tuple(self.shape[d] for d in rest[:at])
    tail = tuple(self.shape[d] for d in rest[at:])
    parts = []
    if x is not None:
        y = families.mix(g, x, dims, (1,) * len(dims))
        if at != dims[0]:
            y = families.permute(g, y, [*dims, *rest])
        parts.append(families.reshape(g, y, (*head, *(1,) * len(wide), *tail)))
    for i in given:
        if (v := c.v(i)) is not None:
            parts.append(families.reshape(g, v, (*i.shape, *(1,) * len(tail))))
    out = (*head, *wide, *tail)
    if not parts or not math.prod(out):
        return None
    y = c.join(parts, out)
    return y if x is None else c.bound(y, DEPENDENT, reason(c, *given))


# --- what Python's brackets hold


@function(Tensor.__getitem__, Tensor.__setitem__)
def brackets(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Lists and arrays of numbers become tensors with data: PyTorch would put them where ``x`` is."""
    tensor, index, *value = args
    index = tuple(map(_numbers, index)) if isinstance(index, tuple) else _numbers(index)
    return func(tensor, index, *value, **kwargs)


def _numbers(index: Any) -> Any:
    if isinstance(index, (list, range, np.ndarray)) and len(index):
        array = np.asarray(index if isinstance(index, np.ndarray) or _plain(index) else [None])
        if array.dtype.kind in "biu":
            return torch.from_numpy(array.astype(bool if array.dtype.kind == "b" else np.int64))
    return index


def _plain(items: Any) -> bool:
    """Whether nothing but numbers is in nested lists."""
    return all(isinstance(i, int) or (isinstance(i, (list, range)) and _plain(i)) for i in items)


# --- gather


@rule("index", "_unsafe_index", kernel=blank)
def index(c: Call, self: Tensor, indices: Sequence[Any]) -> int | None:
    arrays = known(c, self.shape, indices)
    if arrays is None or c.v(self) is None:
        return _anywhere(c, self, indices)
    if all(a is None for a in arrays):
        return c.join([the(c, self)])
    return indexed(c, the(c, self), arrays)


@rule("_unsafe_masked_index")
def unsafe_masked_index(
    c: Call, self: Tensor, mask: Tensor, indices: Sequence[Any], fill: Any
) -> int | None:
    """Positions outside are clamped, and ``fill`` stands where the mask is false."""
    numbers = [None if i is None else c.known(i) for i in indices]
    parts = values_of(c, mask)
    if any(n is None and i is not None for n, i in zip(numbers, indices, strict=True)):
        y = _anywhere(c, self, indices)
    elif c.v(self) is None:
        y = None
    else:
        sizes = self.shape[: len(numbers)]
        arrays = [n if n is None else n.clip(0, m - 1) for n, m in zip(numbers, sizes, strict=True)]
        y = indexed(c, the(c, self), arrays)
    if y is not None:
        parts.append(y)
    return c.join(parts, c.out.shape) if parts else None


@rule("index_select", kernel=blank)
def index_select(c: Call, self: Tensor, dim: int, index: Tensor) -> int | None:
    if not self.ndim:
        return c.join([value for _, value in c.reads()])
    dim %= self.ndim
    before: list[Any] = [None] * dim
    numbers = c.known(index)
    if numbers is None or c.v(self) is None:
        if not index.ndim:
            raise NoRule("an index without dims that is not known")
        return _anywhere(c, self, [*before, index])
    return indexed(c, the(c, self), [*before, wrapped(numbers, self.shape[dim], dim).reshape(-1)])


@rule("gather", kernel=blank)
def gather(
    c: Call, self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False
) -> int | None:
    if not self.ndim or not index.ndim:
        return c.join([value for _, value in c.reads()])
    dim %= self.ndim
    numbers = c.known(index)
    x = c.v(self)
    if numbers is not None:
        return indexed(c, the(c, self), along(index.shape, dim, numbers, self.shape[dim]))
    parts = values_of(c, index)
    if x is not None:
        for d, size in enumerate(index.shape):
            if d != dim:
                x = families.narrow(c.g, x, d, 0, size)
        parts.append(families.mix(c.g, x, (dim,), (1,)))
    y = c.join(parts, index.shape)
    return y if x is None else c.bound(y, DEPENDENT, reason(c, index))


@function(torch.take_along_dim, Tensor.take_along_dim)
def take_along_dim(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """As PyTorch decomposes it, without its check that both tensors are on one device."""

    def taken(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
        if dim is None:
            return torch.gather(input.reshape(-1), 0, indices.reshape(-1))
        if input.ndim != indices.ndim:
            return func(input, indices, dim)
        dim %= input.ndim
        wide = torch.broadcast_shapes(
            *([1 if d == dim else n for d, n in enumerate(t.shape)] for t in (input, indices))
        )
        input, indices = (
            t.expand(*wide[:dim], t.shape[dim], *wide[dim + 1 :]) for t in (input, indices)
        )
        return torch.gather(input, dim, indices)

    args = list(args)
    if "self" in kwargs:
        kwargs = {**kwargs, "input": kwargs["self"]}
        del kwargs["self"]
    if tracer.real or "out" in kwargs:
        return func(*args, **kwargs)
    return taken(*args, **kwargs)


@rule("take", kernel=blank)
def take(c: Call, self: Tensor, index: Tensor) -> int | None:
    numbers = c.known(index)
    x = c.v(self)
    if numbers is not None:
        x = families.reshape(c.g, the(c, self), (self.numel(),))
        return indexed(c, x, [wrapped(numbers, self.numel(), 0)])
    parts = values_of(c, index)
    if x is not None:
        parts.append(families.opaque(c.g, (x,), tuple(index.shape)))
    y = c.join(parts)
    return y if x is None else c.bound(y, DEPENDENT, reason(c, index))
