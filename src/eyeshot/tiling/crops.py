"""Whether a network makes of a crop what it makes of that part of the whole, told from its graph alone.

Three things are asked. Both graphs are the same: every stencil has the same taps, every rearrangement the
same order. Sizes differ by what the crop leaves out, at each value's own rate, so that element i of the crop is
element i + shift of the whole, and real ends are where they were. And no unit of the tile depends on an edge of
the crop that is none of the image's: on padding, a border's fold or a missing neighbour. By induction over the
graph the units are then computed from the same numbers in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from eyeshot.analysis.field import Form
from eyeshot.analysis.findings.network import Network
from eyeshot.core.canvas import Canvas, State
from eyeshot.core.image import Image, Parts, Span
from eyeshot.core.primitives import Concat, Mix, Primitive, Rearrange, Stencil
from eyeshot.core.taps import window

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

    from eyeshot.analysis.report import Layer, Report

__all__ = ["Edges", "Walk", "difference"]


@dataclass(frozen=True, eq=False)
class Edges:
    """By output unit along one axis: whether it depends on the first and on the last edge (bool ``[out]``)."""

    left: NDArray[bool_]
    right: NDArray[bool_]


class Walk:
    """The values on the way from a report's one input to ``output``, and their closed forms."""

    def __init__(self, report: Report, output: Layer) -> None:
        self.report = report
        self.output = output
        self.graph = report._graph
        self.net = Network(report)
        self.values = self.net.ancestors([output])
        self.states = _Apart(self.graph, list(report._sources)).run(self.values)

    @cached_property
    def reading(self) -> list[int]:
        """Those that are made of the input, in their order."""
        sources = self.net.sources
        found: set[int] = set()
        for v in self.values:
            if v in sources or not found.isdisjoint(self.graph.inputs[v]):
                found.add(v)
        return sorted(found)

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's."""
        return self.report._sources[0].shape

    @property
    def axes(self) -> tuple[int, ...]:
        """The dims of the input that are axes."""
        return self.report._sources[0].axes

    @property
    def names(self) -> list[str]:
        """Those of all layers of the network."""
        return [mark.name for mark in self.graph.layers]

    def name(self, v: int) -> str:
        """The layer in the course of which a value is made."""
        layer = self.net.owner(v)
        return layer.name if layer is not None else "the output"

    def first(self, k: int) -> Layer:
        """The layer at which the closed form along axis ``k`` is lost; the output where none loses it."""
        for v in self.reading:
            layer = self.net.layer(v)
            if layer is not None and Form(layer, self.states[v], k).canvas is None:
                return layer
        return self.output

    def follows(self, v: int, dim: int, k: int) -> bool:
        """Whether a dim of a value, or a factor of it, moves over axis ``k``."""
        state = self.states[v]
        field = state.fields[k]
        moving = {f for f, rank in field.tags if rank is not None}
        moving |= {f for term in field.terms or () for f, _, _ in term.deps}
        return any(factor in moving for factor, _ in state.dims[dim])

    def moves(self, v: int, k: int) -> set[tuple[tuple[int, int], int, int]]:
        """Along which factors of its dims a value moves over axis ``k``: (dim and place, period, advance)."""
        state = self.states[v]
        at = {f: (d, j) for d, group in enumerate(state.dims) for j, (f, _) in enumerate(group)}
        return {
            (at[f], period, advance)
            for term in state.fields[k].terms or ()
            if not term.whole
            for f, period, advance in term.deps
            if advance and f in at
        }

    def edges(self, dims: Sequence[int]) -> tuple[Edges, ...]:
        """Which units of the output depend on the input's edges, along its dim ``dims[k]`` for axis k."""
        value = self.output._value
        found = _Stains(self).run({value: tuple(dims)})[value]
        shape = self.graph.shapes[value]
        edges = []
        for dim, hulls in zip(dims, found, strict=True):
            span = hulls.total()
            out = shape[dim]
            if span is None:
                edges.append(Edges(np.zeros(out, dtype=bool), np.zeros(out, dtype=bool)))
                continue
            others = tuple(d for d in range(len(shape)) if d != dim)
            low, high = span.lo.min(axis=others) < 0, span.hi.max(axis=others) > 0
            edges.append(Edges(np.broadcast_to(low, out), np.broadcast_to(high, out)))
        return tuple(edges)


def difference(whole: Walk, crop: Walk) -> str | None:
    """What a network does otherwise on a crop than on the whole; None where both are treated alike."""
    # Also beside the way to the output: a layer that is left with nothing may stop the whole crop.
    ours, theirs = set(whole.names), set(crop.names)
    for name in (*whole.names, *crop.names):
        if name not in theirs:
            return f"{name} does not run"
        if name not in ours:
            return f"{name} runs too"
    if whole.names != crop.names or len(whole.reading) != len(crop.reading):
        return "layers run in another order"
    numbers = {v: k for k, v in enumerate(whole.reading)}
    others = {w: k for k, w in enumerate(crop.reading)}
    for v, w in zip(whole.reading, crop.reading, strict=True):
        a = [numbers.get(i) for i in whole.graph.inputs[v]]
        b = [others.get(i) for i in crop.graph.inputs[w]]
        if a != b or not _same(whole.graph.prims[v], crop.graph.prims[w]):
            return f"{whole.name(v)} works otherwise"
        if not _fits(whole, crop, v, w):
            return f"{whole.name(v)} grows otherwise"
    return None


def _same(a: Primitive, b: Primitive) -> bool:
    """Whether two primitives are one but for sizes."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Stencil) and isinstance(b, Stencil):
        return a.dim == b.dim and a.taps == b.taps
    if isinstance(a, Mix) and isinstance(b, Mix):
        return (a.dims, a.groups, a.causal) == (b.dims, b.groups, b.causal)
    if isinstance(a, Rearrange) and isinstance(b, Rearrange):
        return (a.order, a.parts, a.merged) == (b.order, b.parts, b.merged) and (
            (a.expand is None) == (b.expand is None)
        )
    if isinstance(a, Concat) and isinstance(b, Concat):
        return a.dim == b.dim
    return True


def _fits(whole: Walk, crop: Walk, v: int, w: int) -> bool:
    """Whether a value's sizes differ by what the crop leaves out, along what follows the axis alone."""
    a, b = _sizes(whole.states[v]), _sizes(crop.states[w])
    if a.keys() != b.keys():
        return False
    changed = {at for at in a if a[at] != b[at]}
    explained = set()
    for k, axis in enumerate(whole.axes):
        less = whole.shape[axis] - crop.shape[axis]
        moves = whole.moves(v, k)
        if moves != crop.moves(w, k):
            return False
        if not less or not moves:
            continue
        own = {at for at, _, _ in moves if at in changed}
        if len(own) != 1 or any(
            (a[at] - b[at]) * advance != less * period for at, period, advance in moves if at in own
        ):
            return False
        explained |= own
    return changed == explained


def _sizes(state: State) -> dict[tuple[int, int], int]:
    return {(d, j): n for d, group in enumerate(state.dims) for j, (_, n) in enumerate(group)}


class _Apart(Canvas):
    """Closed forms of one axis that know nothing of borders along another: supersets, fit to lay crops by.

    A row of zeros reads nothing along any axis, so that columns would have to be told apart by their rows.
    """

    def _stencil(self, state: State, prim: Stencil) -> State:
        if len(state.dims[prim.dim]) != 1:
            state = self._single(state, prim.dim)
        after = super()._stencil(state, prim)
        factor = state.dims[prim.dim][0][0]
        fields = zip(state.fields, after.fields, strict=True)
        return State(after.dims, tuple([new if old.uses(factor) else old for old, new in fields]))

    def _concat(self, states: list[State], dim: int) -> State:
        """What reads nothing, put beside what does, is a border of its own making: like padding."""
        reading = [k for k, state in enumerate(states) if any(f.reads for f in state.fields)]
        if len(reading) == 1:
            state = self._single(states[reading[0]], dim)
            if any(field.uses(state.dims[dim][0][0]) for field in state.fields):
                sizes = [math.prod(n for _, n in each.dims[dim]) for each in states]
                taps = window(1, 1, 1, sum(sizes[: reading[0]]))
                return self._stencil(state, Stencil(dim, taps, sum(sizes)))
        return super()._concat(states, dim)


class _Stains(Image):
    """The image engine over marks in the place of hulls: lo < 0 where the first edge shows, hi > 0 the last."""

    def __init__(self, walk: Walk) -> None:
        super().__init__(walk.graph, list(walk.report._sources))
        self.walk = walk
        self.made = set(walk.reading)

    def _origin(self, k: int) -> tuple[Parts, ...]:
        found = []
        for parts in super()._origin(k):
            zeros = [Span(np.zeros_like(lo), np.zeros_like(hi)) for lo, hi in parts.local]
            found.append(Parts(tuple(zeros), ()))
        return tuple(found)

    def _apply(self, v: int, states: list[tuple[Parts, ...]]) -> tuple[Parts, ...]:
        prim, inputs = self.graph.prims[v], self.graph.inputs[v]
        if isinstance(prim, Concat):
            states = [
                tuple(
                    self._beside(parts, v, k, place) if self.walk.follows(v, prim.dim, k) else parts
                    for k, parts in enumerate(state)
                )
                for place, state in enumerate(states)
            ]
        if not isinstance(prim, Stencil):
            return super()._apply(v, states)
        plain = super()._apply(v, states)
        n = self.graph.shapes[inputs[0]][prim.dim]
        found = []
        for k, (before, after) in enumerate(zip(states[0], plain, strict=True)):
            if self.walk.follows(inputs[0], prim.dim, k):
                marks = _marks(prim, n, len(self.graph.shapes[v]))
                after = Parts(*(tuple(_least(span, marks) for span in some) for some in after))
            elif all(span.lo.shape[prim.dim] == 1 for some in before for span in some):
                after = before  # nothing read along another axis says nothing of this one
            found.append(after)
        return tuple(found)

    def _beside(self, parts: Parts, v: int, k: int, place: int) -> Parts:
        """Pieces before the longest that reads the input stand at the first edge, those behind at the last."""
        prim, inputs = self.graph.prims[v], self.graph.inputs[v]
        assert isinstance(prim, Concat)
        sizes = [self.graph.shapes[i][prim.dim] if i in self.made else 0 for i in inputs]
        body = sizes.index(max(sizes))
        if place == body:
            return parts
        shape = [1] * len(self.graph.shapes[v])
        mark = Span(
            np.full(shape, -1 if place < body else 0, dtype=np.int64),
            np.full(shape, 1 if place > body else 0, dtype=np.int64),
        )
        if not parts.local and not parts.whole:
            return Parts((mark,), ())
        return Parts(*(tuple(_least(span, mark) for span in some) for some in parts))


def _marks(prim: Stencil, n: int, rank: int) -> Span:
    """Which outputs read before 0, and which behind the last of ``n``, wherever a border folds that to."""
    taps = prim.taps
    turn, phase = np.divmod(np.arange(prim.size, dtype=np.int64), taps.period)
    first = np.asarray(taps.first, dtype=np.int64)[phase] + taps.advance * turn
    count = np.asarray(taps.counts, dtype=np.int64)[phase]
    last = first + taps.step * (count - 1)
    before, behind = (first < 0) & (count > 0), (last >= n) & (count > 0)
    if taps.border == "wrap":
        before = behind = before | behind
    shape = [1] * rank
    shape[prim.dim] = prim.size
    return Span(-before.astype(np.int64).reshape(shape), behind.astype(np.int64).reshape(shape))


def _least(span: Span, other: Span) -> Span:
    return Span(np.minimum(span.lo, other.lo), np.maximum(span.hi, other.hi))
