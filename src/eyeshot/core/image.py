"""The image engine: the exact hull of every unit inside one input, borders included.

Per value and input axis it carries arrays of hulls, ``[lo, hi)`` per element. An array has the tensor's
rank; a dim of size 1 in it means that the hull does not vary along that dim, so that a feature map costs
as much as one of its edges. Padding is dropped, and any rearrangement is NumPy's own.

The local field and the global context (a reduction over a whole axis) are kept apart, as on the canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.core.canvas import Source
from eyeshot.core.graph import Graph
from eyeshot.core.patches import runs
from eyeshot.core.primitives import Concat, Input, Join, Mix, Rearrange, Shape, Stencil, Taps
from eyeshot.core.windows import fold
from eyeshot.errors import EyeshotError

__all__ = ["MAX_ELEMENTS", "Hulls", "Image"]

Array = NDArray[np.int64]

#: Hulls are computed for at most this many elements at once.
MAX_ELEMENTS = 1 << 27
# Sentinels of an empty hull; coordinates are only gathered and compared, never added to.
FAR = np.int64(1 << 62)


class Span(NamedTuple):
    """Hulls of one tensor's elements: two arrays of its rank, ``lo >= hi`` where nothing is read."""

    lo: Array
    hi: Array


class Hulls(NamedTuple):
    """What a tensor's elements read along one input axis; None for nothing at all."""

    local: Span | None
    whole: Span | None

    def total(self) -> Span | None:
        """Local field and global context together."""
        return _unite([span for span in (self.local, self.whole) if span is not None])


class Parts(NamedTuple):
    """The same while the engine runs, as unions that are not carried out where they would cost a product.

    A table of queries by keys reads one token for its row and one for its column: two short arrays. Every
    primitive reads a union as the union of what it reads of the parts.
    """

    local: tuple[Span, ...]
    whole: tuple[Span, ...]


BLANK = Parts((), ())
State = tuple[Parts, ...]
#: Parts of a union that are kept apart at most.
MAX_PARTS = 8


class Image:
    """Evaluates a graph's exact hulls relative to ``sources``."""

    def __init__(self, graph: Graph, sources: list[Source]) -> None:
        self.graph = graph
        self.sources = sources
        self.axes = [(k, axis) for k, source in enumerate(sources) for axis in source.axes]

    def run(
        self, keep: Mapping[int, tuple[int, ...]], budget: int = MAX_ELEMENTS
    ) -> dict[int, tuple[Hulls, ...]]:
        """The hulls of the values in ``keep``, computed from what they depend on alone.

        ``keep`` says along which dims: over the others they are united. The first value is among the
        results, others as long as all hulls together have no more elements than ``budget``.
        """
        graph = self.graph
        kept = keep.keys()
        done: dict[int, tuple[Hulls, ...]] = {}
        origins = {source.value: k for k, source in enumerate(self.sources)}
        needed: set[int] = set()
        stack = list(kept)
        while stack:
            v = stack.pop()
            if v not in needed:
                needed.add(v)
                if v not in origins:
                    stack.extend(graph.inputs[v])
        last: dict[int, int] = {}
        order = sorted(needed)
        for v in order:
            for i in graph.inputs[v]:
                last[i] = v
        states: dict[int, State] = {}
        for v in order:
            if v in origins:
                state = self._origin(origins[v])
            else:
                inputs = graph.inputs[v]
                state = self._apply(v, [states[i] for i in inputs])
                for i in inputs:
                    if last[i] == v:
                        states.pop(i, None)
            if v in kept and (budget > 0 or not done):
                found = tuple([_along(parts, keep[v]) for parts in state])
                budget -= sum(span.lo.size for hulls in found for span in hulls if span is not None)
                done[v] = found
            if v in last:
                states[v] = state
        return done

    def _origin(self, k: int) -> State:
        source = self.sources[k]
        out = []
        for j, axis in self.axes:
            if j != k:
                out.append(BLANK)
                continue
            n = source.shape[axis]
            _afford((n,))
            shape = [1] * len(source.shape)
            shape[axis] = n
            lo = np.arange(n, dtype=np.int64).reshape(shape)
            out.append(Parts((Span(lo, lo + 1),), ()))
        return tuple(out)

    def _apply(self, v: int, states: list[State]) -> State:
        graph = self.graph
        prim = graph.prims[v]
        shapes = [graph.shapes[i] for i in graph.inputs[v]]
        fields = list(zip(*states, strict=True)) if states else [()] * len(self.axes)
        match prim:
            case Input():
                return (BLANK,) * len(self.axes)
            case Stencil(dim, taps, size):
                reader = _Reader(taps, shapes[0][dim], size, dim)
                return tuple(_map(field, reader) for (field,) in fields)
            case Mix():
                return tuple(_mix(field, prim, shapes[0]) for (field,) in fields)
            case Rearrange():
                return tuple(
                    _map(field, lambda span: _rearrange(span, prim, shapes[0]))
                    for (field,) in fields
                )
            case Join():
                rank = len(graph.shapes[v])
                return tuple(
                    Parts(
                        _gather(_rank(span, rank) for parts in field for span in parts.local),
                        _gather(_rank(span, rank) for parts in field for span in parts.whole),
                    )
                    for field in fields
                )
            case Concat(dim):
                return tuple(
                    Parts(
                        _concat_parts([parts.local for parts in field], shapes, dim),
                        _concat_parts([parts.whole for parts in field], shapes, dim),
                    )
                    for field in fields
                )


def _afford(shape: Iterable[int]) -> None:
    total = 1
    for n in shape:
        total *= n
    if total > MAX_ELEMENTS:
        raise EyeshotError(
            f"the exact hulls of {total} units are more than {MAX_ELEMENTS}; ask for a smaller input"
        )


def _map(parts: Parts, act: Callable[[Span], Span]) -> Parts:
    return Parts(tuple(map(act, parts.local)), tuple(map(act, parts.whole)))


def _unite(spans: list[Span]) -> Span | None:
    if not spans:
        return None
    lo, hi = spans[0]
    for span in spans[1:]:
        _afford(np.broadcast_shapes(lo.shape, span.lo.shape))
        lo, hi = np.minimum(lo, span.lo), np.maximum(hi, span.hi)
    return Span(lo, hi)


def _gather(spans: Iterable[Span]) -> tuple[Span, ...]:
    """A union, carried out where one part varies along all dims that the other does."""
    out: list[Span] = []
    for span in spans:
        for k, other in enumerate(out):
            pairs = list(zip(span.lo.shape, other.lo.shape, strict=True))
            if all(a >= b for a, b in pairs) or all(a <= b for a, b in pairs):
                lo, hi = np.minimum(span.lo, other.lo), np.maximum(span.hi, other.hi)
                out[k] = Span(lo, hi)
                break
        else:
            out.append(span)
    if len(out) > MAX_PARTS:
        united = _unite(out)
        assert united is not None
        return (united,)
    return tuple(out)


def _along(parts: Parts, dims: tuple[int, ...]) -> Hulls:
    """Hulls as functions of ``dims`` alone."""

    def along(span: Span) -> Span:
        others = tuple(d for d in range(span.lo.ndim) if d not in dims and span.lo.shape[d] > 1)
        if not others:
            return span
        return Span(
            span.lo.min(axis=others, keepdims=True), span.hi.max(axis=others, keepdims=True)
        )

    return Hulls(_unite(list(map(along, parts.local))), _unite(list(map(along, parts.whole))))


def _rank(span: Span, rank: int) -> Span:
    if span.lo.ndim == rank:
        return span
    shape = (1,) * (rank - span.lo.ndim) + span.lo.shape
    return Span(span.lo.reshape(shape), span.hi.reshape(shape))


class _Reader:
    """Gathers hulls through one stencil's taps; the positions are worked out once for all axes."""

    def __init__(self, taps: Taps, n_in: int, n_out: int, dim: int) -> None:
        _afford((n_out,))
        self.taps, self.n_in, self.n_out, self.dim = taps, n_in, n_out, dim
        turn, phase = np.divmod(np.arange(n_out, dtype=np.int64), taps.period)
        self.first = np.asarray(taps.first, dtype=np.int64)[phase] + taps.advance * turn
        self.counts = np.asarray(taps.counts, dtype=np.int64)[phase]
        if taps.border == "drop":
            # Only taps that fall inside are read: skip those before 0, cut those from n on.
            skip = np.maximum(0, -(self.first // taps.step))
            self.counts = np.minimum(self.counts, -((self.first - n_in) // taps.step)) - skip
            self.first = self.first + skip * taps.step

    def __call__(self, span: Span) -> Span:
        reads = self.counts > 0
        if span.lo.shape[self.dim] == 1:
            if reads.all():
                return span
            shape = [1] * span.lo.ndim
            shape[self.dim] = self.n_out
            mask = reads.reshape(shape)
            return Span(np.where(mask, span.lo, FAR), np.where(mask, span.hi, -FAR))
        if span.lo.shape[self.dim] != self.n_in:  # pragma: no cover - a fault of the engine
            raise AssertionError("hulls and taps disagree")
        _afford(n for k, n in enumerate((*span.lo.shape, self.n_out)) if k != self.dim)
        lo = self._least(span.lo.swapaxes(0, self.dim), reads, np.minimum, FAR)
        hi = self._least(span.hi.swapaxes(0, self.dim), reads, np.maximum, -FAR)
        return Span(lo.swapaxes(0, self.dim), hi.swapaxes(0, self.dim))

    def _least(
        self, array: Array, reads: NDArray[np.bool_], ufunc: np.ufunc, far: np.int64
    ) -> Array:
        out = np.full((self.n_out, *array.shape[1:]), far, dtype=np.int64)
        longest = int(self.counts.max(initial=0))
        if self.taps.border != "drop":
            for t in range(longest):
                rows = np.flatnonzero(self.counts > t)
                out[rows] = ufunc(out[rows], array[self._landed(rows, t)])
            return out
        # A window of c taps is covered by two runs of 2^k taps, and those are built by doubling:
        # log(c) passes however large the kernel.
        step, width, table = self.taps.step, 1, array
        while width <= longest:
            rows = np.flatnonzero(reads & (self.counts >= width) & (self.counts < 2 * width))
            if rows.size:
                begin = self.first[rows]
                other = begin + (self.counts[rows] - width) * step
                out[rows] = ufunc(table[begin], table[other])
            if 2 * width <= longest:
                reach = width * step
                table = ufunc(table[: max(0, len(table) - reach)], table[reach:])
            width *= 2
        return out

    def _landed(self, rows: NDArray[np.intp], t: int) -> Array:
        """Where tap ``t`` lands once the border has folded it back inside."""
        border, first = self.taps.border, self.first[rows]
        if border == "linear":  # the window is moved before its taps are
            first = np.clip(first, 0, self.n_in - 1)
        return fold(first + self.taps.step * t, self.n_in, border)


def _mix(parts: Parts, prim: Mix, shape: Shape) -> Parts:
    local = []
    whole = [_mixed(span, prim, shape) for span in parts.whole]
    for span in parts.local:
        varied = any(span.lo.shape[dim] > 1 for dim in prim.dims)
        mixed = _mixed(span, prim, shape)
        if varied and not prim.causal and _constant(mixed):
            # No element is told apart any more: the axis has been read whole.
            whole.append(mixed)
        else:
            local.append(mixed)
    return Parts(_gather(local), _gather(whole))


def _constant(span: Span) -> bool:
    return bool((span.lo == span.lo.flat[0]).all() and (span.hi == span.hi.flat[0]).all())


def _mixed(span: Span, prim: Mix, shape: Shape) -> Span:
    lo, hi = span
    if prim.causal or prim.groups > 1:
        (dim,), (size,) = prim.dims, prim.sizes
        if lo.shape[dim] == 1:
            return span
        if prim.causal:
            return Span(np.minimum.accumulate(lo, axis=dim), np.maximum.accumulate(hi, axis=dim))
        split = (*lo.shape[:dim], prim.groups, shape[dim] // prim.groups, *lo.shape[dim + 1 :])
        lo = np.repeat(lo.reshape(split).min(axis=dim + 1), size // prim.groups, axis=dim)
        hi = np.repeat(hi.reshape(split).max(axis=dim + 1), size // prim.groups, axis=dim)
        return Span(lo, hi)
    return Span(lo.min(axis=prim.dims, keepdims=True), hi.max(axis=prim.dims, keepdims=True))


def _rearrange(span: Span, prim: Rearrange, shape: Shape) -> Span:
    split, order, target, expand = prim[:4]
    moved = tuple(split[k] for k in order)
    out = []
    for array in span:
        array = _reshape(array, shape, split).transpose(order)
        out.append(_reshape(array, expand or moved, target))
    return Span(*out)


def _reshape(array: Array, shape: Shape, target: Shape) -> Array:
    """Row-major reshape of an array that stands for ``shape`` but may have size 1 where it is constant."""
    if shape == target:
        return array
    out: list[int] = []
    wide: list[int] = []
    for (i0, i), (j0, j) in runs(shape, target):
        if all(n == 1 for n in array.shape[i0:i]):
            wide += array.shape[i0:i]
            out += [1] * (j - j0)
        else:
            wide += shape[i0:i]
            out += target[j0:j]
    _afford(wide)
    return np.broadcast_to(array, wide).reshape(out)


def _concat_parts(
    pieces: list[tuple[Span, ...]], shapes: list[Shape], dim: int
) -> tuple[Span, ...]:
    """The k-th parts of all inputs one after another, for every k."""
    out = []
    for k in range(max(map(len, pieces))):
        made = _concat([piece[k] if k < len(piece) else None for piece in pieces], shapes, dim)
        assert made is not None
        out.append(made)
    return _gather(out)


def _concat(spans: list[Span | None], shapes: list[Shape], dim: int) -> Span | None:
    if all(span is None for span in spans):
        return None
    rank = len(shapes[0])
    first = spans[0]
    if (
        first is not None
        and first.lo.shape[dim] == 1
        and all(
            span is not None
            and span.lo.shape == first.lo.shape
            and np.array_equal(span.lo, first.lo)
            and np.array_equal(span.hi, first.hi)
            for span in spans
        )
    ):
        return first  # alike and constant along the dim: still constant
    wide = [1] * rank
    for span in spans:
        if span is not None:
            wide = [max(a, b) for a, b in zip(wide, span.lo.shape, strict=True)]
    los, his = [], []
    wide[dim] = sum(shape[dim] for shape in shapes)
    _afford(wide)
    for span, shape in zip(spans, shapes, strict=True):
        wide[dim] = shape[dim]
        if span is None:
            los.append(np.full(wide, FAR, dtype=np.int64))
            his.append(np.full(wide, -FAR, dtype=np.int64))
        else:
            los.append(np.broadcast_to(span.lo, wide))
            his.append(np.broadcast_to(span.hi, wide))
    return Span(np.concatenate(los, axis=dim), np.concatenate(his, axis=dim))
