"""The hulls and centres of a layer's units, as functions of arrays of indices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.search import Line, hulls_of, middles, table_of
from eyeshot.core.image import MAX_ELEMENTS
from eyeshot.core.terms import Term
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer

__all__ = ["Placed"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hulls = tuple[Ints, Ints]


class Placed:
    """A layer whose units are looked up; ``at`` is one array of indices per unit dim, which broadcast."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.dims = layer.unit_dims
        self.extents = tuple(layer.shape[d] for d in self.dims)
        self.factors = [layer._state.dims[d] for d in self.dims]
        self._terms: dict[int, tuple[Term, ...] | None] = {}
        self._exact: dict[bool, list[Hulls]] = {}

    @staticmethod
    def of(layer: Layer) -> Placed:
        placed = layer.__dict__.get("_placed")
        if placed is None:
            placed = layer.__dict__["_placed"] = Placed(layer)
        found: Placed = placed
        return found

    def afford(self, axes: int = 1) -> None:
        """Refuses arrays over all units that are too large to be made."""
        count = math.prod(self.extents) * max(1, axes)
        if count > MAX_ELEMENTS:
            raise EyeshotError(
                f"{self.layer.name}: {count} numbers, for all units, are more than {MAX_ELEMENTS}; "
                "ask for some units, or for a smaller input"
            )

    def all_units(self) -> list[Ints]:
        """An index array per unit dim, which together make all units."""
        longest = max(self.extents, default=0)
        if longest > MAX_ELEMENTS:
            raise EyeshotError(f"{self.layer.name}: {longest} units are too many to look at")
        return list(np.ogrid[tuple(slice(n) for n in self.extents)])

    def length(self, k: int) -> int:
        """The size of the input axis."""
        source, axis = self.layer._report._axes[k]
        return source.shape[axis]

    def closed(self, k: int) -> bool:
        """Whether the field has a closed form."""
        form = self.layer._forms[k]
        return form.dim is not None and form.canvas is not None

    def terms(self, k: int) -> tuple[Term, ...] | None:
        """The terms of a closed form over the unit dims; None: the canvas along its dim is all there is."""
        if k not in self._terms:
            self._terms[k] = self.layer._forms[k]._within(self.dims, False)
        return self._terms[k]

    def line(self, k: int) -> tuple[int | None, int, Line] | None:
        """The closed form along one factor: (unit dim, factor of it, line); no dim where it is constant."""
        form = self.layer._forms[k]
        canvas = form.canvas
        assert canvas is not None and form.dim is not None
        terms = self.terms(k)
        if terms is None:
            dim = self.dims.index(form.dim)
            if len(self.factors[dim]) != 1:
                return None
            return dim, 0, Line(canvas.period, canvas.advance, *hulls_of(canvas.begin, canvas.end))
        if len(terms) != 1 or terms[0].support or len(terms[0].deps) > 1:
            return None
        (term,) = terms
        table = hulls_of(term.lo, term.hi)
        if not term.deps:
            return None, 0, Line(1, 0, *table)
        ((factor, period, advance),) = term.deps
        for dim, group in enumerate(self.factors):
            for at, (name, _) in enumerate(group):
                if name == factor:
                    return dim, at, Line(period, advance, *table)
        return None

    def plain(self, k: int) -> bool:
        """Whether the box of any unit is surely the canvas's; units are not looked at one by one."""
        form = self.layer._forms[k]
        if form.canvas is None or form.dim is None or form.raw.folds:
            return False
        if self.terms(k) is None:
            return True
        line = self.line(k)
        dim = self.dims.index(form.dim)
        if line is None or line[0] not in (None, dim) or len(self.factors[dim]) != 1:
            return False
        if line[0] == dim and line[2].same(form.canvas):
            return True
        # Two that are periodic and agree over twice both periods agree everywhere.
        often = 2 * math.lcm(line[2].period, form.canvas.period)
        if often > MAX_ELEMENTS:
            return False
        index = np.arange(min(self.extents[dim], often))
        (lo, hi), (low, high) = line[2].at(index), self.canvas_along(k, [index] * len(self.dims))
        reads = lo < hi
        return bool((np.where(reads, (lo == low) & (hi == high), low >= high)).all())

    def canvas_along(self, k: int, at: list[Ints]) -> Hulls:
        """The hulls by the report's canvas alone, which knows of one unit dim."""
        form = self.layer._forms[k]
        canvas = form.canvas
        assert canvas is not None and form.dim is not None
        line = Line(canvas.period, canvas.advance, *hulls_of(canvas.begin, canvas.end))
        return line.at(at[self.dims.index(form.dim)])

    def canvas(self, k: int, at: list[Ints]) -> Hulls:
        """The hulls on the unbounded canvas; lo >= hi where nothing is read, ±FAR for an infinite end."""
        along = self.canvas_along(k, at)
        terms = self.terms(k)
        if terms is None:
            return along
        index: dict[int, Ints] = {}
        for column, group in zip(at, self.factors, strict=True):
            rest = column
            for place in range(len(group) - 1, -1, -1):
                factor, size = group[place]
                if place == 0:
                    index[factor] = rest
                else:
                    rest, index[factor] = np.divmod(rest, size)
        lo, hi = hulls_of((math.inf,), (-math.inf,))
        held = np.zeros((), bool)
        for term in terms:
            inside = np.ones((), bool)
            for factor, begin, end in term.support:
                inside = inside & (index[factor] >= begin) & (index[factor] < end)
            cell = np.zeros((), np.int64)
            offset = np.zeros((), np.int64)
            for factor, period, advance in term.deps:
                turn, phase = np.divmod(index[factor], period)
                cell = cell * period + phase
                offset = offset + advance * turn
            low, high = table_of(*hulls_of(term.lo, term.hi), cell, offset)
            held = held | inside
            lo = np.where(inside, np.minimum(lo, low), lo)
            hi = np.where(inside, np.maximum(hi, high), hi)
        if not held.all():
            # Nothing but padding is read along another axis; on the canvas that is read like the rest.
            low, high = along
            lo, hi = np.where(held, lo, low), np.where(held, hi, high)
        return lo, hi

    def exact(self, k: int, local: bool) -> Hulls:
        """Arrays over the unit dims, size 1 along those that make no difference: the hulls inside the input.

        ``local``: global context is left out where a unit has a local field.
        """
        found = self._exact.get(local)
        if found is None:
            layer = self.layer
            report = layer._report
            found = []
            for hulls in report._spans(layer._value):
                lo, hi = layer._united(hulls.total())
                if local and hulls.local is not None:
                    low, high = layer._united(hulls.local)
                    lo, hi = np.where(low < high, low, lo), np.where(low < high, high, hi)
                shape = [lo.shape[d] for d in self.dims]
                found.append((lo.reshape(shape), hi.reshape(shape)))
            self._exact[local] = found
        return found[k]

    def looked_up(self, k: int, at: list[Ints], local: bool = False) -> Hulls:
        """The exact hulls of the units at these indices."""
        lo, hi = self.exact(k, local)
        where = tuple(column if n > 1 else 0 for column, n in zip(at, lo.shape, strict=True))
        return lo[where], hi[where]

    def box(self, k: int, at: list[Ints]) -> Hulls:
        """As ``layer.box``, but for units that read nothing of the input along another axis."""
        if not self.closed(k):
            return self.looked_up(k, at)
        lo, hi = self.canvas(k, at)
        if self.layer._forms[k].raw.folds:
            low, high = self.looked_up(k, at)
            here, there = lo < hi, low < high
            lo, hi = (
                np.where(here & there, np.minimum(lo, low), np.where(here, lo, low)),
                np.where(here & there, np.maximum(hi, high), np.where(here, hi, high)),
            )
        return lo, hi

    def middle(self, k: int, at: list[Ints]) -> Floats:
        """The centres along one axis; nan where nothing is read."""
        if not self.closed(k):
            return middles(*self.looked_up(k, at, local=True), self.length(k))
        lo, hi = self.canvas(k, at)
        if self.bent(k):
            low, high = self.looked_up(k, at, local=True)
            lo, hi = np.where(lo < hi, lo, low), np.where(lo < hi, hi, high)
        return middles(lo, hi, self.length(k))

    def bent(self, k: int) -> bool:
        """Whether units that read nothing on the canvas may read what a border folds back inside."""
        form = self.layer._forms[k]
        canvas = form.canvas
        assert canvas is not None
        terms = self.terms(k) or ()
        return form.raw.folds and any(
            begin >= end
            for lo, hi in ((canvas.begin, canvas.end), *((term.lo, term.hi) for term in terms))
            for begin, end in zip(lo, hi, strict=True)
        )

    def blind(self, fields: Iterable[int], at: list[Ints]) -> dict[str, NDArray[np.bool_]]:
        """By input: which units are known to read nothing of it, as along one axis they do not."""
        found: dict[str, NDArray[np.bool_]] = {}
        for k in fields:
            if not self.closed(k):
                lo, hi = self.looked_up(k, at)
                name = self.layer.fields[k].input
                found[name] = found.get(name, np.zeros((), bool)) | (lo >= hi)
        return found
