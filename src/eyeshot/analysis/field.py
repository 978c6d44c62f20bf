"""One field of a layer: its numbers, and the closed form behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from eyeshot.core import terms as algebra
from eyeshot.core.terms import NoClosedForm, Number, Term
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer
    from eyeshot.core.canvas import State

__all__ = ["Canvas", "Field", "Form"]

#: Units that are looked at one by one where a closed form per dim does not exist.
MAX_UNITS = 1 << 12


class Canvas(NamedTuple):
    """The closed form of a field along one dim: ``begin(i) = advance * (i // period) + begin[i % period]``.

    Empty phases have begin == end; an unbounded end is ±inf.
    """

    period: int
    advance: int
    begin: tuple[Number, ...]
    end: tuple[Number, ...]

    def at(self, i: int) -> tuple[Number, Number]:
        """The hull ``[begin, end)`` of unit ``i``."""
        turn, phase = divmod(i, self.period)
        return self.begin[phase] + self.advance * turn, self.end[phase] + self.advance * turn


class Field(NamedTuple):
    """What a layer's units read along one input axis. Positions are input elements; None: not defined.

    ``dim`` is the tensor dim along which units follow the axis and ``n`` the output size. ``size`` is the
    largest unit's, ``jump`` the distance between neighbours (A/P on average where the period is longer than 1),
    ``start`` the first unit's centre (pixel k covers [k, k+1]), ``padding`` minus its begin; these three need
    a closed form.
    """

    input: str
    axis: int
    dim: int | None
    n: int
    size: Number
    jump: int | Fraction | None
    start: int | Fraction | None
    padding: Number | None
    is_global: bool
    status: str
    canvas: Canvas | None

    def to_dict(self) -> dict[str, Any]:
        """The field as JSON values; infinite numbers become null."""
        canvas = None
        if self.canvas is not None:
            canvas = {
                "period": self.canvas.period,
                "advance": self.canvas.advance,
                "begin": [_finite(b) for b in self.canvas.begin],
                "end": [_finite(e) for e in self.canvas.end],
            }
        return {
            "input": self.input,
            "axis": self.axis,
            "dim": self.dim,
            "n": self.n,
            "size": _finite(self.size),
            "jump": None if self.jump is None else float(self.jump),
            "start": None if self.start is None else float(self.start),
            "padding": None if self.padding is None else _finite(self.padding),
            "global": self.is_global,
            "status": self.status,
            "canvas": canvas,
        }


class Form:
    """One field of a layer, brought to the dims that tell its units apart; worked out when asked for."""

    __slots__ = ("_canvas", "_follows", "_inside", "_units", "dim", "k", "layer", "raw", "state")

    def __init__(self, layer: Layer, state: State, k: int) -> None:
        self.layer = layer
        self.k = k
        self.state = state
        self.raw = state.fields[k]
        self.dim = self._dim()
        self._canvas: Canvas | Literal["unknown"] | None = "unknown"
        self._units: tuple[Term, ...] | Literal["unknown"] | None = "unknown"
        self._follows: set[int] | None = None
        self._inside: set[int] | None = None

    def _dim(self) -> int | None:
        """The dim along which units move farthest, or else one along which only some of them read."""
        tags, terms = self.raw.tags, self.raw.terms
        best: int | None = None
        found = None
        for dim, group in enumerate(self.state.dims):
            for factor, size in group:
                for tagged, rank in tags:
                    if tagged != factor:
                        continue
                    if rank is not None:
                        if best is None or rank < best:
                            best, found = rank, dim
                    elif found is None and (
                        size > 1 if terms is None else any(t.uses(factor) for t in terms)
                    ):
                        # Mixed once; units still differ where only some of them read.
                        found = dim
        return found

    @property
    def is_global(self) -> bool:
        if self.raw.terms is None:
            return self.layer._report._spans(self.layer._value)[self.k].whole is not None
        return any(term.whole or self._elsewhere(term) for term in self.raw.terms)

    def _elsewhere(self, term: Term) -> bool:
        """Whether a term moves with dims that tell no units apart, as the keys in a table of queries by keys.

        Over these its union is the whole axis: global context for the units.
        """
        if len(self.raw.terms or ()) == 1:
            return False
        follows = self._follows
        if follows is None:
            follows = self._follows = {f for f, rank in self.raw.tags if rank is not None}
        moves = [f for f, _, _ in term.deps if f in follows]
        if not moves:
            return False
        inside = self._inside
        if inside is None:
            units = self.layer.unit_dims
            inside = self._inside = {f for dim in units for f, _ in self.state.dims[dim]}
        return inside.isdisjoint(moves)

    def _within(self, dims: Sequence[int], whole: bool) -> tuple[Term, ...] | None:
        """The local (or the global) terms as functions of the factors of ``dims`` alone."""
        if self.raw.terms is None:
            return None
        keep = [factor for dim in dims for factor, _ in self.state.dims[dim]]
        if len(self.raw.terms) == 1:
            (term,) = self.raw.terms
            if len(term.deps) == 1 and not term.support and term.deps[0][0] in keep:
                return self.raw.terms if term.whole == whole else ()
        out: tuple[Term, ...] = ()
        try:
            for term in self.raw.terms:
                if (term.whole or self._elsewhere(term)) == whole:
                    foreign = [f for f, _, _ in (*term.deps, *term.support) if f not in keep]
                    if foreign:
                        sizes = dict(factor for group in self.state.dims for factor in group)
                        for factor in foreign:
                            term = algebra.mix(term, factor, sizes[factor])
                    out = algebra.unite(out, (term,))
        except NoClosedForm:
            return None
        return out

    @property
    def canvas(self) -> Canvas | None:
        """The closed form along ``dim``; None where there is none, or no local field."""
        if self._canvas == "unknown":
            self._canvas = self._closed()
        return self._canvas

    def _closed(self) -> Canvas | None:
        if self.dim is None:
            return None
        group = self.state.dims[self.dim]
        terms = self._within((self.dim,), False)
        if terms and len(group) > 1:
            terms = self._merged(terms)
        if not terms or len(terms) != 1:
            return None
        ((deps, lo, hi, support, _),) = terms
        if support or len(deps) > 1:
            return None
        period, advance = (deps[0][1], deps[0][2]) if deps else (1, 0)
        if lo[0] >= hi[0] or (period > 1 and any(a >= b for a, b in zip(lo, hi, strict=True))):
            hulls = [(a, b) if a < b else (0, 0) for a, b in zip(lo, hi, strict=True)]
            lo, hi = tuple([h[0] for h in hulls]), tuple([h[1] for h in hulls])
        return Canvas(period, advance, lo, hi)

    def _merged(self, terms: tuple[Term, ...]) -> tuple[Term, ...] | None:
        """A flattened dim's factors as one index."""
        assert self.dim is not None
        group = self.state.dims[self.dim]
        names = {factor: -2 - k for k, (factor, _) in enumerate(group)}
        if any(f not in names for term in terms for f, _, _ in (*term.deps, *term.support)):
            return None
        plain = tuple([algebra.relabel(term, names) for term in terms])
        return _flattened(plain, tuple([n for _, n in group]))

    def at(self, where: dict[int, int]) -> tuple[Number, Number] | None:
        """The canvas hull of the unit at these indices; None where there is no closed form."""
        if self.canvas is None or self.dim is None:
            return None
        terms = self._units
        if terms == "unknown":
            terms = self._units = self._within(self.layer.unit_dims, False)
        if terms is None:
            return self.canvas.at(where[self.dim])
        index: dict[int, int] = {}
        for dim, i in where.items():
            for factor, size in reversed(self.state.dims[dim]):
                i, index[factor] = divmod(i, size)
        held = [
            term.at(index)
            for term in terms
            if all(begin <= index[f] < end for f, begin, end in term.support)
        ]
        if not held:
            # Nothing but padding is read along another axis; on the canvas that is read like the rest.
            return self.canvas.at(where[self.dim])
        return min(h[0] for h in held), max(h[1] for h in held)

    @property
    def jump(self) -> int | Fraction | None:
        """How far neighbouring units lie apart by the closed form; None where there is none."""
        if self.canvas is None:
            return None
        return _ratio(self.canvas.advance, self.canvas.period)

    @property
    def n(self) -> int:
        """The output size along the axis, also where a map of its rank no longer follows it."""
        source, axis = self.layer._report._axes[self.k]
        shape = self.layer.shape
        if self.dim is not None:
            return shape[self.dim]
        return shape[axis] if len(shape) == len(source.shape) else 1

    def field(self) -> Field:
        """The numbers of this field."""
        report = self.layer._report
        source, axis = report._axes[self.k]
        n = self.n
        canvas = self.canvas
        exact = True
        is_global = self.is_global
        size: Number
        start: int | Fraction | None = None
        padding: Number | None = None
        if canvas is not None:
            period, _, begin, end = canvas
            first: tuple[Number, Number] = (begin[0], end[0])
            if first == (-math.inf, math.inf) and len(set(begin)) == len(set(end)) == 1:
                # Past and future without end, as of a recurrence in both directions.
                is_global, size = True, source.shape[axis]
            else:
                size = max([end[p] - begin[p] for p in range(min(period, n))])
        else:
            size, first, exact = self._extent(source.shape[axis])
        if first[0] < first[1]:
            # Clipped hulls begin inside; how far padding reaches is known on the canvas alone.
            padding = None if canvas is None else -first[0]
            placed = canvas is not None or self.dim is None
            if placed and math.isfinite(first[0]) and math.isfinite(first[1]):
                start = _ratio(int(first[0] + first[1]), 2)
        return Field(
            source.name,
            axis,
            self.dim,
            n,
            size,
            self.jump,
            start,
            padding,
            is_global,
            "bound" if self.raw.bound or not exact else "exact",
            canvas,
        )

    def _unclipped(self) -> tuple[Number, tuple[Number, Number]] | None:
        """The largest unit's size and the first unit's hull, where the canvas has the exact ones."""
        units = self.layer.unit_dims
        terms = self._within(units, False) or self._within(units, True)
        if not terms:
            return None
        used = sorted({f for term in terms for f, _, _ in (*term.deps, *term.support)})
        sizes = {f: n for dim in units for f, n in self.state.dims[dim]}
        names = {f: -2 - k for k, f in enumerate(used)}
        plain = tuple([algebra.relabel(term, names) for term in terms])
        return _largest(plain, tuple([sizes[f] for f in used]))

    def _extent(self, length: int) -> tuple[Number, tuple[Number, Number], bool]:
        """Size and first hull where there is no canvas, clipped to the input, and whether they are exact."""
        terms = self.raw.terms
        if terms == ():
            return 0, (0, 0), True
        if (
            self.dim is None
            and self.raw.reach is not None
            and terms is not None
            and len({term.whole for term in terms}) == 1
        ):
            low, high = self.raw.reach
            return high - low, (low, high), True
        if self.raw.inside:
            found = self._unclipped()
            if found is not None:
                return *found, True
        report = self.layer._report
        try:
            hulls = report._spans(self.layer._value)[self.k]
        except EyeshotError:
            # Too many units to look at one by one; what the canvas says is then an upper bound.
            context = [*(self._within((), True) or ()), *(self._within((), False) or ())]
            if terms is None or not context:
                return length, (0, length), False
            low = max(0, min(term.lo[0] for term in context))
            high = min(length, max(term.hi[0] for term in context))
            return max(0, high - low), (low, high), False
        import numpy as np

        lo, hi = self.layer._united(hulls.local if hulls.local is not None else hulls.whole)
        reads = lo < hi
        if not reads.any():
            return 0, (0, 0), True
        first = (int(lo.flat[0]), int(hi.flat[0])) if reads.flat[0] else (0, 0)
        return int(np.where(reads, hi - lo, 0).max()), first, True


@lru_cache(maxsize=1024)
def _flattened(terms: tuple[Term, ...], sizes: tuple[int, ...]) -> tuple[Term, ...] | None:
    """Terms over the factors -2, -3, … of these sizes as functions of one row-major index.

    Layer after layer of a transformer asks for the same, hence the cache.
    """
    group = [(-2 - k, n) for k, n in enumerate(sizes)]
    fresh = -2 - len(group)
    try:
        while len(group) > 1:
            (major, n1), (minor, n2) = group[-2:]
            done: tuple[Term, ...] = ()
            for term in terms:
                pieces = algebra.merge(term, major, minor, n1, n2, fresh)
                done = algebra.unite(done, tuple(pieces))
            terms = done
            group[-2:] = [(fresh, n1 * n2)]
            fresh -= 1
    except NoClosedForm:
        return None
    return terms


@lru_cache(maxsize=1024)
def _largest(
    terms: tuple[Term, ...], sizes: tuple[int, ...]
) -> tuple[Number, tuple[Number, Number]] | None:
    """Over factors -2, -3, … of these sizes: the size of the largest unit, and the first one's hull."""
    if math.prod(sizes) > MAX_UNITS:
        return None
    largest: Number = 0
    first: tuple[Number, Number] | None = None
    for at in product(*map(range, sizes)):
        index = {-2 - k: i for k, i in enumerate(at)}
        hulls = [term.at(index) for term in terms]
        low, high = min([hull[0] for hull in hulls]), max([hull[1] for hull in hulls])
        if first is None:
            first = (low, high) if low < high else (0, 0)
        largest = max(largest, high - low)
    return largest, first or (0, 0)


def _finite(number: Number) -> int | None:
    return int(number) if math.isfinite(number) else None


@lru_cache(maxsize=1024)
def _ratio(above: int, below: int) -> int | Fraction:
    """The exact quotient, a plain int where it is one."""
    return Fraction(above, below) if above % below else above // below
