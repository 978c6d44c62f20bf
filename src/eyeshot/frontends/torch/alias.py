"""Which tensors share memory, so that a write through one is read through the others.

Every tensor seen in a trace has a :class:`Track`. A view's track knows the tensor it looks at and the call
that made it. A write to a view is carried up to the tensor that owns the memory, by running the view's
primitives backwards; other views notice by the owner's version and are looked up anew when they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Input, Mix, Primitive, Rearrange, Shape, Stencil, Taps

__all__ = ["Track", "put", "read", "undo", "write"]

#: Positions overwritten one by one are written down; past this many the write is only bounded.
MAX_POSITIONS = 1 << 20


class Track:
    """One tensor of the trace: the graph's value that it holds, and what it is a view of.

    ``value`` is None for a constant: a tensor that no input reaches. ``replay`` makes a view's value from
    its parent's. ``foreign`` marks a tensor that was there before the trace, such as a parameter. The owner
    of memory is ``lost`` once its numbers are no longer those that the module would see. ``tensor`` keeps a
    tensor without data alive, so that its identity stays its own; one with data is left to the module.
    """

    __slots__ = (
        "foreign",
        "lost",
        "parent",
        "replay",
        "root",
        "shape",
        "tensor",
        "value",
        "version",
    )

    def __init__(
        self,
        tensor: Any,
        value: int | None,
        parent: Track | None = None,
        replay: Callable[[int], int | None] | None = None,
    ) -> None:
        self.tensor = tensor
        self.shape: Shape = tuple(tensor.shape)
        self.value = value
        self.parent = parent
        self.replay = replay
        self.root: Track = self if parent is None else parent.root
        self.version: int = 0 if parent is None else parent.root.version
        self.foreign = False
        self.lost = False


def read(track: Track) -> int | None:
    """The value that the tensor holds now."""
    root = track.root
    if track.version == root.version:
        return track.value
    assert track.parent is not None and track.replay is not None
    whole = read(track.parent)
    track.value = None if whole is None else track.replay(whole)
    track.version = root.version
    return track.value


def write(graph: Graph, track: Track, value: int | None) -> bool:
    """The tensor now holds ``value`` (None: a constant). False if that could only be bounded."""
    exact = True
    view, new = track, value
    while view.parent is not None:
        owner = view.parent
        old = read(owner)
        if old is None:
            if new is None:
                return True
            old = graph.add(Input(owner.shape))
        if new is None:
            new = graph.add(Input(view.shape))
        assert view.replay is not None
        seen = view.replay(old)
        assert seen is not None
        new, fits = put(graph, old, seen, new)
        exact = exact and fits
        view = owner
    if view.value is None and new is None:
        return True
    view.value = new
    view.version += 1
    view.lost = True
    track.value = value
    track.version = view.version
    return exact


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
