"""Which of many hulls contain a position, and which centre is nearest to it: for arrays of positions at once.

Hulls are pairs of int64 arrays ``lo, hi``, half-open; ``lo >= hi`` is the empty one, ±FAR an infinite end.
Answers are indices; of equals the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.core.terms import Number
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.field import Canvas

__all__ = [
    "FAR",
    "Line",
    "brute_nearest",
    "brute_seeing",
    "hulls_of",
    "middles",
    "nearest_of",
    "seeing_of",
    "table_of",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hulls = tuple[Ints, Ints]

#: An infinite end; coordinates of a report stay far below.
FAR = 1 << 62
#: Few phases are tried one after the other; more units than this are not written down for the others.
FEW_PHASES = 4
MANY_UNITS = 1 << 20
#: Comparisons of positions with units: made at once, and made at all.
AT_ONCE = 1 << 22
AT_MOST = 1 << 37


def hulls_of(begin: Sequence[Number], end: Sequence[Number]) -> Hulls:
    """Ends that may be infinite as integers."""
    lo, hi = ([_end(n) for n in side] for side in (begin, end))
    return np.array(lo, np.int64), np.array(hi, np.int64)


def _end(number: Number) -> int:
    if math.isfinite(number):
        return int(number)
    return FAR if number > 0 else -FAR


def table_of(lo: Ints, hi: Ints, cell: Ints, offset: Ints) -> Hulls:
    """The hulls in these cells of a table, moved; what is infinite stays so."""
    return _moved(lo, cell, offset), _moved(hi, cell, offset)


def _moved(table: Ints, cell: Ints, offset: Ints) -> Ints:
    found = table[cell]
    if (abs(table) == FAR).any():
        return np.where(abs(found) == FAR, found, found + offset)
    return np.asarray(found + offset)


def middles(lo: Ints, hi: Ints, length: int) -> Floats:
    """The middle of each hull, nan for an empty one.

    Where one end is infinite, the middle of the last element at the other end: the newest of a past. Where both
    are, the middle of the axis.
    """
    past, future = lo == -FAR, hi == FAR
    out = (lo + hi) / 2
    if past.any() or future.any():
        out = np.where(past, hi - 0.5, np.where(future, lo + 0.5, out))
        out = np.where(past & future, length / 2, out)
    return np.where(lo < hi, out, np.nan)


class Line(NamedTuple):
    """Hulls with a closed form along one index: ``lo(i) = advance * (i // period) + lo[i % period]``."""

    period: int
    advance: int
    lo: Ints
    hi: Ints

    def same(self, canvas: Canvas) -> bool:
        """Whether it is written as the canvas is."""
        if (self.period, self.advance) != canvas[:2]:
            return False
        lo, hi = hulls_of(canvas.begin, canvas.end)
        return bool((self.lo == lo).all() and (self.hi == hi).all())

    def at(self, i: Ints) -> Hulls:
        """The hulls of these units."""
        turn, phase = np.divmod(i, self.period)
        return table_of(self.lo, self.hi, phase, turn * self.advance)

    def nearest(self, positions: Floats, size: int, length: int) -> Ints:
        """The unit of ``size`` whose centre is nearest to each position; -1 if none reads anything."""
        period, advance, lo, hi = self
        if period > FEW_PHASES and size <= MANY_UNITS:
            return nearest_of(middles(*self.at(np.arange(size)), length), positions)
        found = np.full(positions.shape, -1, np.int64)
        least = np.full(positions.shape, np.inf)
        for phase, middle in enumerate(middles(lo, hi, length)[:size]):
            if np.isnan(middle):
                continue
            if advance == 0 or (lo[phase] == -FAR and hi[phase] == FAR):
                turns = [np.zeros(positions.shape, np.int64)]
            else:
                most = (size - 1 - phase) // period
                below = np.floor((positions - middle) / advance)
                turns = [np.clip(below + k, 0, most).astype(np.int64) for k in (0, 1)]
            for turn in turns:
                unit = turn * period + phase
                distance = abs(positions - (middle + turn * advance))
                better = (distance < least) | ((distance == least) & (unit < found))
                found, least = np.where(better, unit, found), np.where(better, distance, least)
        return found

    def seeing(self, positions: Ints, size: int) -> Hulls:
        """The first and the last unit of ``size`` whose hull contains each position; first > last for none."""
        period, advance, lo, hi = self
        if period > FEW_PHASES and size <= MANY_UNITS:
            return seeing_of(*self.at(np.arange(size)), positions)
        first = np.full(positions.shape, size)
        last = np.full(positions.shape, -1)
        for phase in range(min(period, size)):
            begin, end = int(lo[phase]), int(hi[phase])
            if begin >= end:
                continue
            most = (size - 1 - phase) // period
            low, high = np.zeros(positions.shape, np.int64), np.full(positions.shape, most)
            if advance == 0:
                high = np.where((begin <= positions) & (positions < end), most, -1)
            elif advance > 0:
                if end != FAR:  # positions < end + advance * turn
                    low = np.maximum(low, (positions - end) // advance + 1)
                if begin != -FAR:  # begin + advance * turn <= positions
                    high = np.minimum(high, (positions - begin) // advance)
            else:
                if begin != -FAR:
                    low = np.maximum(low, -((positions - begin) // -advance))
                if end != FAR:
                    high = np.minimum(high, -((positions - end) // -advance) - 1)
            some = low <= high
            first = np.where(some, np.minimum(first, low * period + phase), first)
            last = np.where(some, np.maximum(last, high * period + phase), last)
        return first, last


def nearest_of(centres: Floats, positions: Floats) -> Ints:
    """The number of the nearest of ``centres``, one-dimensional with nan for none; -1 if all are nan."""
    there = np.flatnonzero(~np.isnan(centres))
    if not len(there):
        return np.full(positions.shape, -1, np.int64)
    places, index = np.unique(centres[there], return_index=True)
    units = there[index]
    right = np.searchsorted(places, positions)
    left = np.maximum(right - 1, 0)
    right = np.minimum(right, len(places) - 1)
    near, far = abs(positions - places[left]), abs(positions - places[right])
    take = (far < near) | ((far == near) & (units[right] < units[left]))
    return np.where(take, units[right], units[left]).astype(np.int64)


def seeing_of(lo: Ints, hi: Ints, positions: Ints) -> Hulls:
    """The first and the last of one-dimensional hulls that contain each position; first > last for none."""
    size = len(lo)
    there = np.flatnonzero(lo < hi)
    a, b = lo[there], hi[there]
    for turned in (False, True):
        x, y = (a[::-1], b[::-1]) if turned else (a, b)
        if (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all():
            low = np.searchsorted(y, positions, side="right")
            high = np.searchsorted(x, positions, side="right") - 1
            some = low <= high
            if turned:
                low, high = len(there) - 1 - high, len(there) - 1 - low
            names = np.append(there, 0)
            return np.where(some, names[low], size), np.where(some, names[high], -1)
    ((first, last),) = _compared([(lo, hi)], [positions])
    return first, last


def brute_nearest(centres: Sequence[Floats], positions: Sequence[Floats]) -> list[Ints]:
    """Per dim, the index of the unit whose centre is nearest: ``centres`` per axis over all units, one shape.

    -1 if no unit has one along all axes.
    """
    shape = centres[0].shape
    if len(shape) == 1 and len(centres) == 1:
        return [nearest_of(centres[0], positions[0])]
    units = np.stack([each.reshape(-1) for each in centres])
    there = np.flatnonzero(~np.isnan(units).any(axis=0))
    count = len(positions[0])
    if not len(there):
        return [np.full(count, -1, np.int64) for _ in shape]
    units = units[:, there]
    found = np.empty(count, np.int64)
    for part in _parts(count, len(there)):
        distance: Any = 0
        for places, each in zip(units, positions, strict=True):
            distance = distance + (each[part, None] - places) ** 2
        found[part] = there[distance.argmin(axis=1)]
    return [each.astype(np.int64) for each in np.unravel_index(found, shape)]


def brute_seeing(hulls: Sequence[Hulls], positions: Sequence[Ints]) -> list[Hulls]:
    """Per dim, the first and the last index of the units whose hulls contain a position along all axes."""
    shape = hulls[0][0].shape
    if len(shape) == 1 and len(hulls) == 1:
        return [seeing_of(*hulls[0], positions[0])]
    return _compared(hulls, positions)


def _compared(hulls: Sequence[Hulls], positions: Sequence[Ints]) -> list[Hulls]:
    """The same, by comparing every unit with every position that differs."""
    shape = hulls[0][0].shape
    pieces, inverse = _coded(positions, hulls)
    rows = len(pieces)
    answers = [(np.full(rows, n), np.full(rows, -1)) for n in shape]
    for part in _parts(rows, math.prod(shape)):
        seen: Any = True
        for each, (lo, hi) in zip(pieces.T, hulls, strict=True):
            place = each[part].reshape(-1, *(1 for _ in shape))
            seen = seen & (lo <= place) & (place < hi)
        for dim, n in enumerate(shape):
            along = seen.any(axis=tuple(d + 1 for d in range(len(shape)) if d != dim))
            some = along.any(axis=1)
            first, last = answers[dim]
            first[part] = np.where(some, along.argmax(axis=1), n)
            last[part] = np.where(some, n - 1 - along[:, ::-1].argmax(axis=1), -1)
    return [(first[inverse], last[inverse]) for first, last in answers]


def _coded(positions: Sequence[Ints], hulls: Sequence[Hulls]) -> tuple[Ints, Ints]:
    """The different positions, int [positions, axes], and which of them each one is.

    Where hulls begin and end cuts an axis into pieces; positions in one piece are alike.
    """
    number = np.zeros(positions[0].shape, np.int64)
    cuts = []
    for each, (lo, hi) in zip(positions, hulls, strict=True):
        ends = np.unique(np.concatenate([[-FAR], lo.reshape(-1), hi.reshape(-1)]))
        cuts.append(ends)
        number = number * len(ends) + np.searchsorted(ends, each, side="right") - 1
    found, inverse = np.unique(number, return_inverse=True)
    rows = np.empty((len(found), len(cuts)), np.int64)
    for column in range(len(cuts) - 1, -1, -1):
        found, piece = np.divmod(found, len(cuts[column]))
        rows[:, column] = cuts[column][piece]
    return rows, inverse.reshape(-1)


def _parts(rows: int, units: int) -> list[slice]:
    """Rows that are compared with all units at once."""
    if rows * units > AT_MOST:
        raise EyeshotError(
            f"{rows} positions by {units} units without a closed form are too many; ask for fewer at once"
        )
    step = max(1, AT_ONCE // max(1, units))
    return [slice(begin, min(rows, begin + step)) for begin in range(0, rows, step)]
