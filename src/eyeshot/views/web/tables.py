"""Hulls of all units of a layer as the page's data: arrays of integers, written down as runs.

A table is ``{"shape": […], "lo": runs, "hi": runs}``: one entry per unit dim in ``shape``, 1 where that dim
makes no difference; ``runs`` is the array in row-major order as ``[count, first, step, count, first, step,
…]``. An infinite end is ±``ENDLESS``. An empty hull is ``lo == hi == 0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.search import FAR

__all__ = [
    "ENDLESS",
    "MAX_RUNS",
    "MAX_UNITS",
    "Hulls",
    "Ints",
    "Tables",
    "canonical",
    "narrowed",
    "runs",
    "same",
]

Ints = NDArray[np.int64]
Hulls = tuple[Ints, Ints]

#: An infinite end; JavaScript's numbers hold integers up to 2^53.
ENDLESS = 1 << 52
#: A table with more runs than this is left out of the page.
MAX_RUNS = 1 << 14
#: Longer maps, and what reads longer inputs, are not looked at unit by unit, so that a page costs no more for
#: a larger input.
MAX_UNITS = 1 << 15


def canonical(lo: Ints, hi: Ints) -> Hulls:
    """The same hulls, an empty one always as (0, 0)."""
    reads = lo < hi
    return np.where(reads, lo, 0), np.where(reads, hi, 0)


def narrowed(lo: Ints, hi: Ints) -> Hulls:
    """The same hulls with size 1 along every dim that makes no difference."""
    for dim in range(lo.ndim):
        if lo.shape[dim] > 1:
            first = tuple(slice(0, 1) if d == dim else slice(None) for d in range(lo.ndim))
            if (lo == lo[first]).all() and (hi == hi[first]).all():
                lo, hi = lo[first], hi[first]
    return lo, hi


def runs(values: NDArray[Any]) -> list[int]:
    """The array, in row-major order, as arithmetic progressions ``[count, first, step, …]``."""
    flat = np.where(abs(values) >= FAR, np.sign(values) * ENDLESS, values).ravel().astype(np.int64)
    out: list[int] = []
    if not flat.size:
        return out
    steps = np.diff(flat)
    # Where a step differs from the one before it a progression ends.
    breaks = [*(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    at = 0
    for end in breaks:
        if end < at:
            continue  # the step from one progression to the next
        out += [end - at + 1, int(flat[at]), int(steps[at]) if end > at else 0]
        at = end + 1
    if at < flat.size:
        out += [1, int(flat[at]), 0]
    return out


class Tables:
    """The tables of a page; equal ones are kept once."""

    def __init__(self) -> None:
        self.tables: list[dict[str, Any]] = []
        self._known: dict[tuple[Any, ...], int] = {}

    def add(self, lo: Ints, hi: Ints) -> int | None:
        """The number of the table with these hulls (arrays over the unit dims); None where it is too long."""
        lo, hi = narrowed(*canonical(lo, hi))
        return self._add(lo.shape, lo, hi)

    def numbers(self, values: Ints) -> int | None:
        """The number of a table of one integer per unit, in its ``lo``."""
        values, _ = narrowed(values, values)
        return self._add(values.shape, values, None)

    def _add(self, shape: Sequence[int], lo: Ints, hi: Ints | None) -> int | None:
        low = runs(lo)
        high = [] if hi is None else runs(hi)
        if len(low) + len(high) > 3 * MAX_RUNS:
            return None
        key = (tuple(shape), tuple(low), tuple(high))
        if key not in self._known:
            self._known[key] = len(self.tables)
            table: dict[str, Any] = {"shape": list(shape), "lo": low}
            if hi is not None:
                table["hi"] = high
            self.tables.append(table)
        return self._known[key]


def same(one: Hulls, other: Hulls) -> bool:
    """Whether the hulls are equal everywhere, all empty ones being alike."""
    (lo, hi), (low, high) = canonical(*one), canonical(*other)
    return bool((lo == low).all() and (hi == high).all())
