"""One stencil in numbers: where each of a run of outputs reads, and the two directions through it.

Shared by the engines that carry patches: the adjoint spreads what outputs hold over what they read, the forward
engine asks whether any of what an output reads is marked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyeshot.core.patches import Array, Patch, afford, front
from eyeshot.core.primitives import Border, Taps

__all__ = ["any_read", "fold", "misses", "spread"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Taps that are added one by one; longer windows are added up by doubling.
MAX_TAPS = 32
#: Phases times taps that are added slice by slice.
MAX_SLICES = 128
#: A table of outputs by positions is a matrix up to so many entries.
MAX_MATRIX = 1 << 22


def fold(at: Ints, n: int, border: Border) -> Ints:
    """Where reads at ``at`` land in a dim of ``n`` elements; those that are dropped stay outside."""
    if border == "wrap":
        return at % n
    if border == "reflect":
        period = max(1, 2 * (n - 1))
        at = at % period
        return np.where(at < n, at, period - at)
    if border in ("clamp", "linear"):
        return np.clip(at, 0, n - 1)
    return at


class _Run:
    """The windows of outputs ``begin … end-1``: first positions, numbers of taps and what a tap counts."""

    def __init__(self, taps: Taps, n: int, begin: int, end: int) -> None:
        self.taps, self.n = taps, n
        period = taps.period
        afford((end - begin,))
        if end - begin < period:
            self.phase = np.arange(begin, end, dtype=np.int64) % period
            phases = self.phase.tolist()
            first = np.array([taps.first[p] for p in phases], dtype=np.int64)
            self.counts = np.array([taps.counts[p] for p in phases], dtype=np.int64)
            turn = np.arange(begin, end, dtype=np.int64) // period
        else:
            turn, self.phase = np.divmod(np.arange(begin, end, dtype=np.int64), period)
            first = np.asarray(taps.first, dtype=np.int64)[self.phase]
            self.counts = np.asarray(taps.counts, dtype=np.int64)[self.phase]
        self.first: Ints = first + taps.advance * turn
        self.moved = np.zeros(len(first), dtype=bool)
        #: Whether every window lies where its phase says.
        self.placed = True
        if taps.border == "linear":
            inside = np.clip(self.first, 0, n - 1)
            self.moved = self.first < 0
            self.placed = bool((inside == self.first).all())
            self.first = inside

    def weights(self, t: int) -> Floats | None:
        """What tap ``t`` of each output counts, before what falls outside is made up for; None: all alike."""
        if self.taps.weights is None:
            return None
        rows = self.taps.weights
        out = np.array([rows[p][t] if t < len(rows[p]) else 0.0 for p in self.phase.tolist()])
        if self.moved.any():
            # PyTorch clamps the coordinate at 0 before it weighs the two neighbours.
            out[self.moved] = float(t == 0)
        return out

    def shares(self) -> Floats:
        """What each output's taps are multiplied with, so that they add up to 1, or lose what is outside."""
        counts = self.counts
        if not self.taps.renormalized:
            if self.taps.weights is not None:
                return np.ones(len(counts))
            return 1.0 / np.maximum(counts, 1)
        step = self.taps.step
        # The first tap inside, and the first beyond.
        low = np.clip(-(self.first // step), 0, counts)
        high = np.clip(-((self.first - self.n) // step), low, counts)
        total = (high - low).astype(np.float64)
        if self.taps.weights is not None:
            total = np.zeros(len(counts))
            for t in range(int(counts.max(initial=0))):
                weights = self.weights(t)
                assert weights is not None
                total += np.where((low <= t) & (t < high), weights, 0.0)
        return np.divide(1.0, total, out=np.zeros(len(counts)), where=total != 0)


def spread(patch: Patch, dim: int, taps: Taps, n: int) -> Patch | None:
    """What the outputs in ``patch`` hold, spread over what they read along ``dim`` of ``n`` elements.

    Numbers by the taps' weights, booleans to all that is read. None where nothing is.
    """
    begin, end = patch.begin[dim], patch.end[dim]
    if taps.period == 1 and taps.advance == 1 and taps.counts == (1,) and taps.border == "drop":
        return patch.moved(dim, taps.first[0]).cut(dim, 0, n)
    held = patch.full(dim)
    afford(held.shape)
    weighted = held.dtype != bool
    if taps.period == 1 and 0 < taps.counts[0] <= MAX_TAPS and taps.advance > 0 and _plain(taps):
        low = taps.first[0] + taps.advance * begin
        if weighted:
            held = held / taps.counts[0]
        return _folded_back(patch, dim, taps, n, low, _added(held, taps))
    run = _Run(taps, n, begin, end)
    if not run.counts.any():
        return None
    if weighted:
        shares = run.shares()
        held = held * shares.reshape(-1, *(1,) * (held.ndim - 1))
    longest = int(run.counts.max())
    low = int(run.first[run.counts > 0].min())
    high = int((run.first + taps.step * (run.counts - 1))[run.counts > 0].max()) + 1
    plain = taps.weights is None or not weighted
    if taps.period == 1 and plain and longest > MAX_TAPS and taps.advance > 0 and run.placed:
        out = _slide(_stuffed(held, taps.advance), longest, taps.step)
    elif run.placed and min(taps.period, end - begin) * longest <= MAX_SLICES:
        out = _slices(run, held, begin, low, high, weighted)
    elif plain and len(held) <= longest:
        out = _one_by_one(run, held, low, high)
    else:
        return _table(patch, dim, run, held, weighted)
    return _folded_back(patch, dim, taps, n, low, out)


def _plain(taps: Taps) -> bool:
    """Whether each read counts alike and lies where its phase says."""
    return taps.weights is None and not taps.renormalized and taps.border != "linear"


def _added(held: Array, taps: Taps) -> Array:
    """What one window after another reads, from the first one's beginning on."""
    step, advance, count = taps.step, taps.advance, taps.counts[0]
    reach = advance * (len(held) - 1) + 1
    shape = (reach + step * (count - 1), *held.shape[1:])
    afford(shape)
    out = np.zeros(shape, held.dtype)
    for t in range(count):
        out[step * t : step * t + reach : advance] += held
    return out


def _slices(run: _Run, held: Array, begin: int, low: int, high: int, weighted: bool) -> Array:
    """Every tap of every phase at once: its reads lie ``advance`` apart."""
    taps = run.taps
    afford((high - low, *held.shape[1:]))
    out = np.zeros((high - low, *held.shape[1:]), held.dtype)
    period = taps.period
    for start in range(min(period, len(held))):
        rows = held[start::period]
        count = int(run.counts[start])
        weights = None
        if weighted and taps.weights is not None:
            weights = taps.weights[(begin + start) % period]
        for t in range(count):
            at = int(run.first[start]) + taps.step * t - low
            piece = rows if weights is None else rows * weights[t]
            if len(rows) == 1:
                out[at] += piece[0]
            elif taps.advance == 0:
                out[at] += piece.any(axis=0) if held.dtype == bool else piece.sum(axis=0)
            elif taps.advance > 0:
                out[at : at + taps.advance * (len(rows) - 1) + 1 : taps.advance] += piece
            else:
                first = at + taps.advance * (len(rows) - 1)
                out[first : at + 1 : -taps.advance] += piece[::-1]
    return out


def _one_by_one(run: _Run, held: Array, low: int, high: int) -> Array:
    """Few outputs of wide windows: each is added to all that it reads."""
    afford((high - low, *held.shape[1:]))
    out = np.zeros((high - low, *held.shape[1:]), held.dtype)
    step = run.taps.step
    for row, first, count in zip(held, run.first.tolist(), run.counts.tolist(), strict=True):
        if count:
            out[first - low : first - low + step * (count - 1) + 1 : step] += row
    return out


def _stuffed(held: Array, step: int) -> Array:
    if step == 1:
        return held
    afford(((len(held) - 1) * step + 1, *held.shape[1:]))
    out = np.zeros(((len(held) - 1) * step + 1, *held.shape[1:]), held.dtype)
    out[::step] = held
    return out


def _slide(held: Array, count: int, step: int) -> Array:
    """out[p] = sum of held[p - step·t] over t < count, by doubling: log(count) passes."""
    size = len(held) + step * (count - 1)
    afford((size, *held.shape[1:]))
    out = np.zeros((size, *held.shape[1:]), held.dtype)
    block, width, done = held, 1, 0
    while True:
        if count & width:
            at = step * done
            out[at : at + len(block)] += block
            done += width
        if done == count:
            return out
        shift = step * width
        wide = np.zeros((len(block) + shift, *block.shape[1:]), block.dtype)
        wide[: len(block)] = block
        wide[shift:] += block
        block, width = wide, 2 * width


def _folded_back(patch: Patch, dim: int, taps: Taps, n: int, low: int, out: Array) -> Patch | None:
    """Positions from ``low`` on, with those outside dropped or folded back inside."""
    high = low + len(out)
    if taps.border == "drop" or (low >= 0 and high <= n):
        begin, end = max(low, 0), min(high, n)
        return patch.along(dim, begin, end, out[begin - low : end - low]) if begin < end else None
    at = fold(np.arange(low, high, dtype=np.int64), n, taps.border)
    begin, end = int(at.min()), int(at.max()) + 1
    inside = np.zeros((end - begin, *out.shape[1:]), out.dtype)
    here = slice(max(low, begin), min(high, end))
    if here.start < here.stop:
        inside[here.start - begin : here.stop - begin] = out[here.start - low : here.stop - low]
    add = np.logical_or if out.dtype == bool else np.add
    for outside in (slice(0, max(0, here.start - low)), slice(max(0, here.stop - low), len(out))):
        add.at(inside, at[outside] - begin, out[outside])
    return patch.along(dim, begin, end, inside)


def _table(patch: Patch, dim: int, run: _Run, held: Array, weighted: bool) -> Patch | None:
    """Outputs one by one: what each reads is looked up."""
    taps, n = run.taps, run.n
    rows, places, values = [], [], []
    for t in range(int(run.counts.max())):
        at = fold(run.first + taps.step * t, n, taps.border)
        chosen = np.flatnonzero((run.counts > t) & (at >= 0) & (at < n))
        weights = run.weights(t) if weighted else None
        rows.append(chosen)
        places.append(at[chosen])
        values.append(np.ones(len(chosen)) if weights is None else weights[chosen])
    row, place, value = np.concatenate(rows), np.concatenate(places), np.concatenate(values)
    if not row.size:
        return None
    begin, end = int(place.min()), int(place.max()) + 1
    shape = (end - begin, *held.shape[1:])
    afford(shape)
    if (end - begin) * len(held) <= MAX_MATRIX:
        matrix = np.zeros((end - begin, len(held)))
        np.add.at(matrix, (place - begin, row), value)
        flat = held.reshape(len(held), -1)
        if weighted:
            out = (matrix @ flat).reshape(shape)
        else:
            out = (matrix @ flat.astype(np.float64) > 0).reshape(shape)
    else:
        out = np.zeros(shape, held.dtype)
        if weighted:
            np.add.at(out, place - begin, held[row] * value.reshape(-1, *(1,) * (held.ndim - 1)))
        else:
            np.logical_or.at(out, place - begin, held[row])
    return patch.along(dim, begin, end, out)


def _near(taps: Taps, n: int, size: int, low: int, high: int) -> tuple[int, int]:
    """A run of outputs outside of which none reads any of ``[low, high)``."""
    if taps.advance <= 0 or taps.border in ("wrap", "reflect"):
        return 0, size
    # What is clamped reads an end.
    clamped = taps.border != "drop"
    span = taps.step * (max(taps.counts) - 1)
    begin, end = 0, size
    if not (clamped and low == 0):
        begin = (low - span - max(taps.first)) // taps.advance * taps.period
    if not (clamped and high == n):
        end = ((high - 1 - min(taps.first)) // taps.advance + 1) * taps.period
    return max(begin, 0), min(end, size)


def misses(taps: Taps, n: int, size: int) -> bool:
    """Whether one of ``size`` windows may have no position inside a dim of ``n`` elements."""
    if 0 in taps.counts:
        return True
    if taps.border != "drop":
        return False
    if taps.step > n:
        return True
    # Windows move evenly from turn to turn: if the first and the last meet the dim, all do.
    for phase in range(min(taps.period, size)):
        for i in (phase, phase + (size - 1 - phase) // taps.period * taps.period):
            first, count = taps.window(i)
            if first >= n or first + taps.step * (count - 1) < 0:
                return True
    return False


def any_read(patch: Patch, dim: int, taps: Taps, n: int, size: int, padding: bool) -> Patch | None:
    """Whether each of ``size`` outputs reads a marked element of ``patch`` along ``dim`` of ``n`` elements.

    ``padding``: padding counts as marked.
    """
    low, high = patch.begin[dim], patch.end[dim]
    whole = (low, high) == (0, n) and patch.array.shape[dim] == 1
    # Where padding counts, what reads it is marked whatever stands beside it.
    whole = whole and (not padding or bool(patch.array.all()))
    if whole and size and taps.period <= MAX_TAPS and not misses(taps, n, size):
        return patch.along(dim, 0, size, front(patch.array, dim))
    least, most = (0, size) if padding else _near(taps, n, size, low, high)
    if least >= most:
        return None
    run = _Run(taps, n, least, most)
    last = run.first + taps.step * (run.counts - 1)
    hit = run.counts > 0
    if not padding and taps.border in ("drop", "linear"):
        hit &= (run.first < high) & (last >= low)
    held = np.flatnonzero(hit)
    if not held.size:
        return None
    inner = slice(int(held[0]), int(held[-1]) + 1)
    begin, end = least + inner.start, least + inner.stop
    first, counts = run.first[inner], run.counts[inner]
    marked = front(patch.array, dim)
    alike = len(marked) == 1
    inside = np.ones((high - low, *(1,) * (marked.ndim - 1)), bool) if alike else marked
    shape = (end - begin, *inside.shape[1:])
    afford(shape)
    out = np.zeros(shape, bool)
    if taps.step == 1 and taps.border == "drop":
        # Windows without gaps: how many marks lie before their end, less those before their beginning.
        before = np.zeros((high - low + 1, *inside.shape[1:]), np.int64)
        np.cumsum(inside, axis=0, out=before[1:])
        out = (
            before[np.clip(first + counts - low, 0, high - low)]
            > (before[np.clip(first - low, 0, high - low)])
        )
    else:
        for t in range(int(counts.max())):
            at = fold(first + taps.step * t, n, taps.border)
            chosen = np.flatnonzero((counts > t) & (at >= low) & (at < high))
            out[chosen] |= inside[at[chosen] - low]
    if alike:
        # Along this dim by the windows, along the others by the marks.
        out = out & marked
    if padding and taps.border == "drop":
        outside = (counts > 0) & ((first < 0) | (first + taps.step * (counts - 1) >= n))
        out = out | outside.reshape(-1, *(1,) * (out.ndim - 1))
    if len(out) == size and out.all():
        out = np.ones((1,) * out.ndim, bool)
    return patch.along(dim, begin, end, out)
