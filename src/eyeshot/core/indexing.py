"""Known indices: the elements that they read, and writes at the places that they name.

A gather along one dim is an index in which the other dims count up, so that one function, :func:`indexed`,
serves all of them. A write runs the primitives of the read of the same index backwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Mix, Primitive, Rearrange, Shape, Stencil, Taps

__all__ = ["MAX_TABLE", "Index", "TooLong", "added", "along", "indexed", "put", "repeats", "undo"]

#: Indices that tie several dims together become a table of at most this many positions.
MAX_TABLE = 1 << 20

#: Positions overwritten one by one are written down; past this many the write is only bounded.
MAX_POSITIONS = 1 << 20

#: One array of positions, none negative, per dim; None for a dim left whole.
Index = list[NDArray[Any] | None]


class TooLong(Exception):
    """An index of more elements than are written down."""


# --- reads


def along(shape: Sequence[int], dim: int, positions: NDArray[Any]) -> Index:
    """The index of a gather of ``shape``: along ``dim`` positions are given, the other dims count up."""
    arrays: Index = [
        np.arange(size).reshape([size if k == d else 1 for k in range(len(shape))])
        for d, size in enumerate(shape)
    ]
    arrays[dim] = positions
    return arrays


def indexed(graph: Graph, x: int, arrays: Index, expand: bool = True) -> int | None:
    """``x[arrays]`` as NumPy indexes: arrays broadcast, and their dims come first unless the dims adjoin.

    Dims whose arrays vary along their own broadcast dims are taken one by one, so that closed forms stay;
    those that vary together are flattened. Without ``expand`` no element is broadcast, so that the result
    can be written through. None if there is no element; raises TooLong.
    """
    shape = graph.shapes[x]
    dims = [d for d, a in enumerate(arrays) if a is not None]
    given = [a for a in arrays if a is not None]
    wide = np.broadcast_shapes(*(a.shape for a in given))
    if not math.prod(wide):
        return None
    rest = [d for d in range(len(shape)) if d not in dims]
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    given = [_narrowest(a, wide) for a in given]
    for axis, size in enumerate(wide):
        if size > 1 and not expand and all(a.shape[axis] == 1 for a in given):
            given[0] = np.repeat(given[0], size, axis)
    parts = _components(given)
    order = [*rest[:at], *(dims[j] for part, _ in parts for j in part), *rest[at:]]
    if order != list(range(len(shape))):
        x = families.permute(graph, x, order)
    head, tail = tuple(shape[d] for d in rest[:at]), tuple(shape[d] for d in rest[at:])
    if any(len(part) > 1 for part, _ in parts):
        merged = tuple(math.prod(shape[dims[j]] for j in part) for part, _ in parts)
        x = families.reshape(graph, x, (*head, *merged, *tail))
    walked: list[int] = []
    for k, (part, axes) in enumerate(parts):
        flat = np.zeros((1,) * len(wide), np.int64)
        for j in part:
            flat = flat * shape[dims[j]] + given[j]
        if len(part) > 1 and flat.size > MAX_TABLE:
            raise TooLong(f"an index of {flat.size} elements over several dims")
        x = families.pick(graph, x, at + k, flat.ravel().tolist())
        walked += axes
    # From the parts' dims to the broadcast dims: split, put in order, and broadcast where nothing varies.
    split = (*head, *(wide[a] for a in walked), *tail)
    places = sorted(range(len(walked)), key=walked.__getitem__)
    moved = [*range(at), *(at + p for p in places), *range(at + len(walked), len(split))]
    seen = [size if a in walked else 1 for a, size in enumerate(wide)]
    out = (*head, *seen, *tail)
    if moved != list(range(len(split))):
        x = families.rearrange(graph, x, split, moved, out)
    elif graph.shapes[x] != out:
        x = families.reshape(graph, x, out)
    return families.expand(graph, x, (*head, *wide, *tail))


def _narrowest(a: NDArray[Any], wide: tuple[int, ...]) -> NDArray[Any]:
    """The array with size 1 along every dim in which it does not vary."""
    a = a.reshape((1,) * (len(wide) - a.ndim) + a.shape)
    for axis in range(a.ndim):
        if a.shape[axis] > 1:
            first = a.take([0], axis)
            if (a == first).all():
                a = first
    return a


def _components(given: Sequence[NDArray[Any]]) -> list[tuple[list[int], list[int]]]:
    """Which arrays vary along common dims: (arrays, dims) of each such group."""
    parts: list[tuple[list[int], list[int]]] = []
    for j, a in enumerate(given):
        members, axes = [j], {k for k, size in enumerate(a.shape) if size > 1}
        apart = []
        for other, dims in parts:
            if axes.intersection(dims):
                members, axes = other + members, axes.union(dims)
            else:
                apart.append((other, dims))
        parts = [*apart, (sorted(members), sorted(axes))]
    return sorted(parts)


def repeats(arrays: Index, shape: Sequence[int]) -> bool:
    """Whether one place is meant twice."""
    flat: Any = 0
    for d, a in enumerate(arrays):
        if a is not None:
            flat = flat * shape[d] + a
    return bool(np.unique(flat).size != np.size(flat))


# --- writes


def added(graph: Graph, old: int, seen: int, new: int) -> int:
    """``new`` at the places that ``seen`` shows of ``old``, added up; elsewhere nothing is read."""
    while seen != old:
        prim = graph.prims[seen]
        (seen,) = graph.inputs[seen]
        if isinstance(prim, Rearrange):
            new = undo(graph, prim, new, graph.shapes[seen])
        else:
            assert isinstance(prim, Stencil)
            at = [prim.taps.window(i)[0] for i in range(prim.size)]
            new = families.spread(graph, new, prim.dim, at, graph.shapes[seen][prim.dim])
    return new


def put(graph: Graph, old: int, seen: int, new: int, whole: bool = False) -> tuple[int, bool]:
    """``old`` with the part that the view ``seen`` shows replaced by ``new``; whether that is exact.

    ``whole``: a place that is seen twice is written twice, so that either write may stay.
    """
    chain: list[tuple[Primitive, int]] = []
    at = seen
    while at != old:
        if len(graph.inputs[at]) != 1:
            return families.join(
                graph, old, families.opaque(graph, (new,), graph.shapes[old])
            ), False
        chain.append((graph.prims[at], graph.inputs[at][0]))
        (at,) = graph.inputs[at]
    exact = True
    for prim, below in chain:
        shape = graph.shapes[below]
        if isinstance(prim, Rearrange) and prim.expand is None:
            new = undo(graph, prim, new, shape)
        elif isinstance(prim, Stencil) and prim.taps.counts == (1,) * prim.taps.period:
            new, fits = _overwrite(graph, below, prim, new, whole)
            exact = exact and fits
        elif isinstance(prim, Mix) and not prim.causal and prim.groups == 1:
            new = families.expand(graph, new, shape)  # complex numbers, of both parts at once
        else:
            # Written through overlapping or mixed memory: whatever is there may have come from either.
            new = families.join(graph, below, families.opaque(graph, (new,), shape))
            exact = False
    return new, exact


def undo(graph: Graph, prim: Rearrange, x: int, shape: Shape) -> int:
    """A rearrangement backwards, to ``shape``."""
    back = tuple(sorted(range(len(prim.order)), key=prim.order.__getitem__))
    moved = tuple(prim.split[k] for k in prim.order)
    return families.rearrange(graph, x, moved, back, shape, prim.merged, prim.parts)


def _overwrite(graph: Graph, old: int, prim: Stencil, new: int, whole: bool) -> tuple[int, bool]:
    """Positions along one dim replaced, those that the stencil reads."""
    dim, taps, size = prim
    n = graph.shapes[old][dim]
    if taps.period == 1 and taps.advance == 1:
        start = taps.first[0]
        pieces = []
        if start:
            pieces.append(families.narrow(graph, old, dim, 0, start))
        pieces.append(new)
        if start + size < n:
            pieces.append(families.narrow(graph, old, dim, start + size, n))
        return (families.concat(graph, pieces, dim) if len(pieces) > 1 else new), True
    if taps.period == 1 and taps.advance > 1 and taps.advance <= MAX_POSITIONS:
        step, start = taps.advance, taps.first[0]
        first, held = [], []
        for phase in range(step):
            hit = (phase - start) % step == 0
            first.append((phase - start) // step if hit else 0)
            held.append(hit)
        stop = start + step * (size - 1) + 1
        put = Taps(step, 1, tuple(first), tuple(map(int, held)))
        inside = Taps(step, step, tuple(range(step)), tuple(int(not hit) for hit in held))
        if start < step and stop + step > n:
            return _merge(graph, old, new, dim, n, inside, put), True
    if n > MAX_POSITIONS:
        mixed = families.mix(graph, new, (dim,), (1,))
        return families.join(graph, old, mixed), False
    source = {taps.window(i)[0]: i for i in range(size)}
    if len(source) < size and not whole:
        # One place under several names, of which one was written to.
        mixed = families.mix(graph, new, (dim,), (1,))
        return families.join(graph, old, mixed), False
    put = Taps(
        n, 0, tuple(source.get(p, 0) for p in range(n)), tuple(int(p in source) for p in range(n))
    )
    keep = Taps(n, 0, tuple(range(n)), tuple(int(p not in source) for p in range(n)))
    return _merge(graph, old, new, dim, n, keep, put), True


def _merge(graph: Graph, old: int, new: int, dim: int, n: int, keep: Taps, put: Taps) -> int:
    """Each position along ``dim`` from one of two tensors."""
    kept = graph.add(Stencil(dim, keep, n), old)
    return families.join(graph, kept, graph.add(Stencil(dim, put, n), new))
