"""The forward engine: which elements read any of what is marked, of an input or of all inputs at once.

Marks on a part of the input lead to the units that it touches, exactly, holes included. Marks on everything
lead to what is *alive*: an element that reads anything of the network's inputs, padding included (but not where
padding has no part in an average). The others are constants, or places that a mask leaves out, and have no part
in an average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from eyeshot.core.graph import Graph
from eyeshot.core.patches import Array, Patch
from eyeshot.core.primitives import Concat, Input, Join, Mix, Rearrange, Shape, Stencil
from eyeshot.core.windows import any_read, misses

__all__ = ["Alive", "grouped", "touched"]


class Alive:
    """Which elements of each value are alive: True, False, or an array with size 1 where it does not vary.

    ``sources``: values whose elements are all taken to be alive, beside the graph's inputs.
    """

    def __init__(self, graph: Graph, sources: Iterable[int] = ()) -> None:
        self.graph = graph
        self.sources = frozenset(sources)
        self._known: list[Array | bool] = []

    def __getitem__(self, value: int) -> Array | bool:
        known = self._known
        while len(known) <= value:
            known.append(self._of(len(known)))
        return known[value]

    def _of(self, v: int) -> Array | bool:
        graph = self.graph
        prim = graph.prims[v]
        if v in self.sources:
            return True
        if type(prim) is Input:
            return prim.name is not None
        inputs = graph.inputs[v]
        states = [self._known[i] for i in inputs]
        if all(state is False for state in states):
            return False
        kind = type(prim)
        if kind is Join:
            if any(state is True and graph.shapes[i] == graph.shapes[v]
                   for state, i in zip(states, inputs, strict=True)):  # fmt: skip
                return True
        elif all(state is True for state in states) and not (
            isinstance(prim, Stencil) and _idle(prim, graph.shapes[inputs[0]][prim.dim])
        ):
            return True
        patches = [
            None if state is False else _whole(graph.shapes[i], state)
            for state, i in zip(states, inputs, strict=True)
        ]
        patch = _forward(graph, v, patches, padding=True)
        if patch is None:
            return False
        shape = graph.shapes[v]
        if patch.array.size == 1 and patch.begin == (0,) * len(shape) and patch.end == shape:
            return bool(patch.array.all())
        for d, n in enumerate(shape):
            patch = patch.grown(d, 0, n)
        return True if patch.array.all() else patch.array


def _idle(prim: Stencil, n: int) -> bool:
    """Whether some outputs may have nothing to read in a dim of ``n`` elements, all of which are alive."""
    taps = prim.taps
    return 0 in taps.counts or (taps.renormalized and misses(taps, n, prim.size))


def _whole(shape: Shape, state: Array | bool) -> Patch:
    array = state if isinstance(state, np.ndarray) else np.ones((1,) * len(shape), bool)
    return Patch((0,) * len(shape), shape, array)


def touched(graph: Graph, marks: Mapping[int, Patch]) -> dict[int, Patch]:
    """For every value that reads any of what is marked, where it does."""
    out: dict[int, Patch] = dict(marks)
    for v in range(len(graph.prims)):
        if v in out:
            continue
        patches = [out.get(i) for i in graph.inputs[v]]
        if any(patch is not None for patch in patches):
            patch = _forward(graph, v, patches, padding=False)
            if patch is not None:
                out[v] = patch
    return out


def _forward(graph: Graph, v: int, patches: list[Patch | None], padding: bool) -> Patch | None:
    prim, inputs = graph.prims[v], graph.inputs[v]
    first = patches[0] if patches else None
    match prim:
        case Stencil(dim, taps, size):
            if first is None:
                return None
            counts = padding and not taps.renormalized
            return any_read(first, dim, taps, graph.shapes[inputs[0]][dim], size, counts)
        case Mix():
            return None if first is None else _mixed(prim, first, graph.shapes[inputs[0]])
        case Rearrange(split, order, shape, expand):
            if first is None:
                return None
            part = first.reshaped(graph.shapes[inputs[0]], split)
            if part is None:
                return None
            part = part.transposed(order)
            moved = tuple(split[k] for k in order)
            if expand is not None:
                part, moved = _widened(part, moved, expand), expand
            return part.reshaped(moved, shape)
        case Join():
            shape = graph.shapes[v]
            parts = [
                _widened(patch, graph.shapes[i], shape)
                for patch, i in zip(patches, inputs, strict=True)
                if patch is not None
            ]
            total = parts[0]
            for other in parts[1:]:
                total = total.plus(other)
            return total
        case Concat(dim):
            return _concatenated(
                [(patch, graph.shapes[i][dim]) for patch, i in zip(patches, inputs, strict=True)],
                dim,
            )
    return None


def _widened(patch: Patch, shape: Shape, wide: Shape) -> Patch:
    """A patch of a tensor that is broadcast to ``wide``."""
    lead = len(wide) - len(shape)
    begin = [0] * lead + list(patch.begin)
    end = list(wide[:lead]) + [
        w if n != w else e for n, w, e in zip(shape, wide[lead:], patch.end, strict=True)
    ]
    return Patch(tuple(begin), tuple(end), patch.array.reshape((1,) * lead + patch.array.shape))


def _mixed(prim: Mix, patch: Patch, shape: Shape) -> Patch | None:
    if prim.causal:
        (dim,) = prim.dims
        held = np.logical_or.accumulate(patch.full(dim), axis=0)
        rest = shape[dim] - patch.end[dim]
        tail = np.broadcast_to(held[-1:], (rest, *held.shape[1:]))
        return patch.along(dim, patch.begin[dim], shape[dim], np.concatenate([held, tail]))
    if prim.groups > 1:
        (dim,), (size,) = prim.dims, prim.sizes
        each, made = shape[dim] // prim.groups, size // prim.groups
        low, high = patch.begin[dim] // each, -(-patch.end[dim] // each)
        if patch.array.shape[dim] == 1 and not (patch.begin[dim] % each or patch.end[dim] % each):
            return patch.along(dim, low * made, high * made, np.moveaxis(patch.array, dim, 0))
        blocks = patch.grown(dim, low * each, high * each).full(dim)
        marked = blocks.reshape(high - low, each, *blocks.shape[1:]).any(axis=1)
        return patch.along(dim, low * made, high * made, np.repeat(marked, made, axis=0))
    array = patch.sum(prim.dims)
    begin, end = list(patch.begin), list(patch.end)
    for d, size in zip(prim.dims, prim.sizes, strict=True):
        begin[d], end[d] = 0, size
    return Patch(tuple(begin), tuple(end), array)


def _concatenated(pieces: list[tuple[Patch | None, int]], dim: int) -> Patch | None:
    at = 0
    placed: list[Patch] = []
    for patch, n in pieces:
        if patch is not None:
            placed.append(patch.moved(dim, at))
        at += n
    if not placed:
        return None
    total = placed[0]
    for other in placed[1:]:
        adjoins = (
            other.begin[dim] == total.end[dim]
            and total.array.shape[dim] == other.array.shape[dim] == 1
            and _alike(total, other, dim)
        )
        if adjoins:
            total = total._replace(end=(*total.end[:dim], other.end[dim], *total.end[dim + 1 :]))
        else:
            total = total.plus(other)
    return total


def _alike(a: Patch, b: Patch, dim: int) -> bool:
    """Whether two patches are the same but for their place along ``dim``."""
    return all(
        d == dim or (a.begin[d], a.end[d]) == (b.begin[d], b.end[d]) for d in range(len(a.begin))
    ) and np.array_equal(a.array, b.array)


def grouped(array: Array, n: int, groups: int) -> Array:
    """An array over ``n`` elements, first, as (groups, members, …)."""
    wide = np.broadcast_to(array, (n, *array.shape[1:]))
    return wide.reshape(groups, n // groups, *array.shape[1:])
