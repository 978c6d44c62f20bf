"""The adjoint engine: backwards from units, the exact set that they read and how much each element counts.

A mass of 1 starts at a unit and is spread, primitive by primitive, over what its elements read:

* through a stencil by its weights, evenly where it has none; what falls into padding is lost,
* through a mixing evenly over all that there is along its dims,
* through a join evenly over the tensors that read anything of the network's input at that element,
* through rearrangements and concatenations to the one element that is read.

So what arrives at the input is the gradient of the same network whose every weight is the uniform average: the
effective receptive field of an untrained one (Luo et al. 2016, arXiv 1701.04128). With booleans in the place
of numbers the same walk gives the exact set, whatever a mass would round to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from eyeshot.core.forward import Alive, grouped
from eyeshot.core.graph import Graph
from eyeshot.core.patches import Array, Patch
from eyeshot.core.primitives import Concat, Input, Join, Mix, Rearrange, Shape, Stencil
from eyeshot.core.windows import spread

__all__ = ["Adjoint", "units"]


class Adjoint:
    """Walks a graph backwards; what is alive in it is found once, for all walks.

    ``sources``: values that stand in the place of inputs, see :class:`Alive`.
    """

    def __init__(self, graph: Graph, sources: Iterable[int] = ()) -> None:
        self.graph = graph
        self.alive = Alive(graph, sources)

    def start(self, value: int, patch: Patch) -> Patch | None:
        """``patch`` without the elements of ``value`` that read nothing, the mass of which the others share.

        None where nothing is left.
        """
        alive = self.alive[value]
        if alive is True:
            return patch
        if alive is False:
            return None
        held = alive[tuple(
            slice(b, e) if n > 1 else slice(None)
            for b, e, n in zip(patch.begin, patch.end, alive.shape, strict=True)
        )]  # fmt: skip
        if not held.any():
            return None
        array = patch.array * held
        if array.dtype != bool:
            before = patch.sum(range(patch.array.ndim)).sum()
            after = Patch(patch.begin, patch.end, array).sum(range(array.ndim)).sum()
            if after:
                array = array * (before / after)
        return Patch(patch.begin, patch.end, array)

    def run(self, value: int, patch: Patch, stops: Iterable[int]) -> dict[int, Patch]:
        """What of ``patch`` over ``value`` arrives at ``stops``, and at inputs on ways that avoid them."""
        return self._walk({value: patch}, set(stops), set())

    def passing(self, starts: Mapping[int, Patch], watched: Iterable[int]) -> dict[int, Patch]:
        """What of ``starts``, patches over values, passes each of ``watched``, and arrives at inputs."""
        return self._walk(starts, set(), set(watched))

    def _walk(
        self, starts: Mapping[int, Patch], ends: set[int], watched: set[int]
    ) -> dict[int, Patch]:
        graph = self.graph
        pending: dict[int, Patch] = {}
        for value, patch in starts.items():
            first = self.start(value, patch)
            if first is not None:
                pending[value] = first
        arrived: dict[int, Patch] = {}
        while pending:
            v = max(pending)
            held = pending.pop(v)
            if v in watched:
                arrived[v] = held
            if v in ends or type(graph.prims[v]) is Input:
                arrived[v] = held
                continue
            for source, part in self._back(v, held):
                known = pending.get(source)
                pending[source] = part if known is None else known.plus(part)
        return arrived

    def _back(self, v: int, patch: Patch) -> Iterable[tuple[int, Patch]]:
        graph = self.graph
        prim, inputs = graph.prims[v], graph.inputs[v]
        part: Patch | None
        match prim:
            case Stencil(dim, taps, _):
                part = spread(patch, dim, taps, graph.shapes[inputs[0]][dim])
                if part is not None:
                    yield inputs[0], part
            case Mix():
                yield inputs[0], self._mix(prim, patch, inputs[0])
            case Rearrange():
                part = _rearranged(prim, patch, graph.shapes[inputs[0]])
                if part is not None:
                    yield inputs[0], part
            case Join():
                yield from self._join(v, patch)
            case Concat(dim):
                at = 0
                for source in inputs:
                    n = graph.shapes[source][dim]
                    part = _piece(patch, dim, at, at + n)
                    if part is not None and self.alive[source] is not False:
                        yield source, part
                    at += n
            case _:  # pragma: no cover - inputs end a walk
                raise AssertionError(prim)

    def _mix(self, prim: Mix, patch: Patch, source: int) -> Patch:
        """Evenly over what there is along the dims."""
        shape = self.graph.shapes[source]
        alive = self.alive[source]
        boolean = patch.array.dtype == bool
        if prim.causal:
            return _causal(prim.dims[0], patch, shape, alive)
        if prim.groups > 1:
            return _groups(prim, patch, shape, alive)
        dims = prim.dims
        total = patch.sum(dims)
        begin, end = list(patch.begin), list(patch.end)
        for d in dims:
            begin[d], end[d] = 0, shape[d]
        if alive is True:
            array = total if boolean else total / math.prod(shape[d] for d in dims)
        else:
            assert alive is not False
            near = _within(alive, patch.begin, patch.end, but=dims)
            array = total & near if boolean else total * _fractions(near, shape, dims)
        return Patch(tuple(begin), tuple(end), array)

    def _join(self, v: int, patch: Patch) -> Iterable[tuple[int, Patch]]:
        """Evenly over the tensors that are alive at an element."""
        graph = self.graph
        rank = len(graph.shapes[v])
        if len(graph.inputs[v]) == 1:
            (source,) = graph.inputs[v]
            yield source, _narrowed(patch, graph.shapes[source])
            return
        states: list[tuple[int, Array | None]] = []
        for source in graph.inputs[v]:
            alive = self.alive[source]
            if alive is not False:
                states.append((source, None if alive is True else alive))
        boolean = patch.array.dtype == bool
        if all(alive is None for _, alive in states):
            if not boolean and len(states) > 1:
                patch = patch._replace(array=patch.array / len(states))
            for source, _ in states:
                yield source, _narrowed(patch, graph.shapes[source])
        else:
            masks = [
                np.ones((1,) * rank, bool)
                if alive is None
                else _within(
                    alive.reshape((1,) * (rank - alive.ndim) + alive.shape), patch.begin, patch.end
                )
                for _, alive in states
            ]
            count: Array = np.asarray(sum(mask.astype(np.int64) for mask in masks))
            for (source, _), mask in zip(states, masks, strict=True):
                share = patch.array & mask if boolean else patch.array * mask / np.maximum(count, 1)
                if share.any():
                    part = Patch(patch.begin, patch.end, share)
                    yield source, _narrowed(part, graph.shapes[source])


def _piece(patch: Patch, dim: int, begin: int, end: int) -> Patch | None:
    """What lies in ``[begin, end)`` along ``dim``, moved by ``-begin``."""
    low, high = max(begin, patch.begin[dim]), min(end, patch.end[dim])
    if low >= high:
        return None
    array = patch.array
    if array.shape[dim] > 1:
        at = patch.begin[dim]
        array = array[(slice(None),) * dim + (slice(low - at, high - at),)]
    return Patch(
        (*patch.begin[:dim], low - begin, *patch.begin[dim + 1 :]),
        (*patch.end[:dim], high - begin, *patch.end[dim + 1 :]),
        array,
    )


def _narrowed(patch: Patch, shape: Shape) -> Patch:
    """A broadcast undone: added up over dims that the tensor of ``shape`` lacks, or has of size 1."""
    lead = len(patch.begin) - len(shape)
    dims = [
        d
        for d in range(len(patch.begin))
        if d < lead or (shape[d - lead] == 1 and (patch.begin[d], patch.end[d]) != (0, 1))
    ]
    if not dims:
        return patch
    array = patch.sum(dims)
    begin = [0 if d in dims else b for d, b in enumerate(patch.begin)]
    end = [1 if d in dims else e for d, e in enumerate(patch.end)]
    return Patch(tuple(begin[lead:]), tuple(end[lead:]), array.reshape(array.shape[lead:]))


def _within(alive: Array, begin: Shape, end: Shape, but: Iterable[int] = ()) -> Array:
    """The part of a whole tensor's marks that lies in a box, along all dims ``but`` some."""
    return alive[tuple(
        slice(b, e) if n > 1 and d not in but else slice(None)
        for d, (b, e, n) in enumerate(zip(begin, end, alive.shape, strict=True))
    )]  # fmt: skip


def _fractions(alive: Array, shape: Shape, dims: tuple[int, ...]) -> Array:
    """What each element that is alive gets of a mass that they share along ``dims``."""
    times = math.prod(shape[d] for d in dims if alive.shape[d] == 1)
    count = alive.sum(axis=dims, keepdims=True) * times
    fractions: Array = alive / np.maximum(count, 1)
    return fractions


def _causal(dim: int, patch: Patch, shape: Shape, alive: Array | bool) -> Patch:
    """Output i evenly over what there is of 0 … i: from the end on, sums of what later outputs give."""
    n = shape[dim]
    held = patch.full(dim)
    begin, end = patch.begin[dim], patch.end[dim]
    if alive is True:
        there = np.ones((n, *(1,) * (held.ndim - 1)), bool)
    else:
        assert alive is not False
        near = np.moveaxis(_within(alive, patch.begin, patch.end, but=(dim,)), dim, 0)
        there = np.broadcast_to(near, (n, *near.shape[1:]))
    before = np.cumsum(there, axis=0)[begin:end]
    given = held & (before > 0) if held.dtype == bool else held / np.maximum(before, 1)
    add = np.logical_or if held.dtype == bool else np.add
    later = add.accumulate(given[::-1], axis=0)[::-1]
    # Everything before the first output gets what that one gives on.
    front = np.broadcast_to(later[:1], (begin, *later.shape[1:]))
    out = np.concatenate([front, later]) * there[:end]
    return patch.along(dim, 0, end, out)


def _groups(prim: Mix, patch: Patch, shape: Shape, alive: Array | bool) -> Patch:
    """Output block g evenly over what there is of input block g."""
    (dim,), (size,), groups = prim.dims, prim.sizes, prim.groups
    each, made = shape[dim] // groups, size // groups
    boolean = patch.array.dtype == bool
    if alive is True and patch.array.shape[dim] == 1 and patch.end[dim] - patch.begin[dim] == size:
        moved = np.moveaxis(patch.array, dim, 0)
        return patch.along(dim, 0, shape[dim], moved if boolean else moved * (made / each))
    low, high = patch.begin[dim] // made, -(-patch.end[dim] // made)
    blocks = patch.grown(dim, low * made, high * made).full(dim)
    rest = blocks.shape[1:]
    blocks = blocks.reshape((high - low, made, *rest))
    sums = blocks.any(axis=1, keepdims=True) if boolean else blocks.sum(axis=1, keepdims=True)
    if alive is True:
        share = sums if boolean else sums / each
        out = np.broadcast_to(share, (high - low, each, *rest))
    else:
        assert alive is not False
        near = np.moveaxis(_within(alive, patch.begin, patch.end, but=(dim,)), dim, 0)
        there = grouped(near, shape[dim], groups)[low:high]
        out = sums & there if boolean else sums * there / np.maximum(there.sum(1, keepdims=True), 1)
    out = out.reshape(((high - low) * each, *out.shape[2:]))
    return patch.along(dim, low * each, high * each, out)


def _rearranged(prim: Rearrange, patch: Patch, shape: Shape) -> Patch | None:
    """A rearrangement backwards."""
    split, order, target, expand = prim[:4]
    moved = tuple(split[k] for k in order)
    back = patch.reshaped(target, expand or moved)
    if back is None:
        return None
    if expand is not None:
        back = _narrowed(back, moved)
    back = back.transposed(sorted(range(len(order)), key=order.__getitem__))
    return back.reshaped(split, shape)


def units(shape: Shape, index: Mapping[int, tuple[int, int]], boolean: bool) -> Patch:
    """A mass of 1 over the units of a tensor whose dims lie within ``index``, over all of the other dims."""
    begin = tuple(index.get(d, (0, n))[0] for d, n in enumerate(shape))
    end = tuple(index.get(d, (0, n))[1] for d, n in enumerate(shape))
    count = math.prod(e - b for b, e in zip(begin, end, strict=True))
    array = np.ones((1,) * len(shape), bool)
    return Patch(begin, end, array if boolean else array / count)
