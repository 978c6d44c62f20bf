"""How wide the narrowest path into a tensor is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from eyeshot.core.narrowest import Narrowest
from eyeshot.core.terms import Number

if TYPE_CHECKING:
    from eyeshot.analysis.report import Report
    from eyeshot.core.canvas import State

__all__ = ["Paths"]


class Paths:
    """The narrowest paths from a report's inputs to ``values`` of its graph."""

    def __init__(self, report: Report, values: Iterable[int]) -> None:
        self._states: dict[int, State] = Narrowest(report._graph, report._sources).run(values)

    def width(self, value: int, k: int) -> Number | None:
        """Positions that an element reads along axis ``k`` by the narrowest path to it.

        Of elements that differ (the phases of a decoder) the widest counts. 0: there is no path. inf: every
        path has read a whole axis, or an unbounded past. None: unknown, or an upper bound only.
        """
        state = self._states.get(value)
        field = None if state is None else state.fields[k]
        if field is None or field.terms is None or field.bound:
            return None
        local = [term for term in field.terms if not term.whole]
        if not local:
            return math.inf if field.terms else 0
        return min(
            max(max(0, high - low) for low, high in zip(term.lo, term.hi, strict=True))
            for term in local
        )

    def covers(self, value: int, k: int, length: int) -> bool | None:
        """Whether every element reads all ``length`` positions of axis ``k`` by the narrowest path alone.

        None where several paths are the narrowest of their kind, or holes are not excluded.
        """
        state = self._states.get(value)
        field = None if state is None else state.fields[k]
        if state is None or field is None or field.bound or len(field.terms or ()) != 1:
            return None
        assert field.terms is not None
        (term,) = field.terms
        if len(term.deps) > 1 or term.support or term.whole:
            return None
        ends: list[dict[int, int]] = [{}]
        if term.deps:
            ((factor, period, _),) = term.deps
            n = next(size for group in state.dims for f, size in group if f == factor)
            # Hulls are affine along a phase: its first and last element are the extremes.
            ends = [
                {factor: i}
                for phase in range(min(period, n))
                for i in (phase, phase + (n - 1 - phase) // period * period)
            ]
        hulls = [term.at(index) for index in ends]
        if any(low > 0 or high < length for low, high in hulls):
            return False
        reach = field.reach
        return True if reach is not None and reach[0] <= 0 and reach[1] >= length else None
