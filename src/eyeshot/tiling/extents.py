"""What the outputs read along one axis: every unit's exact hull, and the grid on which all of it repeats.

A crop of the input that begins on the *grid* is treated by every layer as the same part of the whole is: its
first position falls on the first position of every stride. The grid is the least common multiple of what all
layers on the way to the output advance by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from eyeshot.analysis.field import Canvas as Closed
from eyeshot.analysis.field import Form
from eyeshot.analysis.findings.blockers import dim_along
from eyeshot.analysis.report import Layer, Report
from eyeshot.errors import EyeshotError
from eyeshot.tiling.crops import Walk

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

    from eyeshot.core.image import Span

__all__ = ["Extent", "NotTileable", "extents"]


#: Outputs per repetition beyond which a stated halo finds no scale.
MAX_PERIOD = 1 << 10
#: Outputs along an axis beyond which hulls are those of the closed form. At borders that fold reads back inside
#: these may be too small; the crops are then found too short, and enlarged.
LONG = 1 << 18
MAX = np.iinfo(np.int64).max


class NotTileable(EyeshotError):
    """No crop of the input gives what the whole gives; the message names the layers."""


@dataclass(frozen=True, eq=False)
class Extent:
    """What the units of one layer read along axis ``axis`` of the input, whose dim in the layer is ``dim``.

    ``size`` input positions give ``out`` units; unit i reads ``[low[i], high[i])`` of this input and no
    more (int64 ``[out]``; low >= high where it reads nothing), but see :data:`LONG`. Inside, ``period`` units
    lie ``advance`` positions further than the ``period`` before: ``canvas``. ``grid``: see the module.
    """

    axis: int
    dim: int
    size: int
    out: int
    canvas: Closed
    grid: int
    low: NDArray[int64]
    high: NDArray[int64]

    @property
    def scale(self) -> Fraction:
        """Outputs per input position."""
        return Fraction(self.canvas.period, self.canvas.advance)

    def reads(self, begin: int, end: int) -> tuple[int, int]:
        """The hull of what units ``begin`` to ``end`` read; (0, 0) where they read nothing."""
        low, high = self.low[begin:end], self.high[begin:end]
        some = low < high
        if not some.any():
            return 0, 0
        return int(low[some].min()), int(high[some].max())

    def halo(self) -> tuple[int, int]:
        """How far a tile on the grid reads beyond its own positions, on the left and on the right."""
        turns = self.grid // self.canvas.advance
        begin, end = self.canvas.at(0)
        for i in range(self.canvas.period):
            lo, hi = self.canvas.at(i)
            if lo < hi:
                begin, end = min(begin, lo), max(end, hi + (turns - 1) * self.canvas.advance)
        return max(0, int(-begin)), max(0, int(end - self.grid))

    def unit_halo(self) -> tuple[int, int]:
        """The same of the worst single unit, which is what tiles off the grid may need.

        A unit's own positions are ``[i / scale, (i + 1) / scale)``, rounded to whole ones outwards.
        """
        left = right = 0
        for i in range(self.canvas.period):
            lo, hi = self.canvas.at(i)
            if lo < hi:
                left = max(left, math.floor(i / self.scale) - int(lo))
                right = max(right, int(hi) - math.ceil((i + 1) / self.scale))
        return left, right


def extents(
    report: Report, output: Layer, halo: Sequence[int] | None = None, walk: Walk | None = None
) -> tuple[Extent, ...]:
    """The extents of ``output`` along every axis of the report's one input; ``walk``: if it is made already.

    ``halo``, per axis: units are taken to read their own positions and so many on either side, whatever they
    really read (an approximation, which asks no more than a map that follows the axis).

    Raises :class:`NotTileable` where there is none, with the layer at which it shows.
    """
    if len(report._sources) != 1:
        names = ", ".join(source.name for source in report._sources)
        raise NotTileable(f"the network has several inputs ({names}); tiles are of one")
    source = report._sources[0]
    walk = walk or Walk(report, output)
    if output.status == "bound" and halo is None:
        bounds = report._graph.bounds
        why = next((bounds[v] for v in walk.values if v in bounds), None)
        told = f"{why.layer}: {why.message}" if why else "what it reads is only bounded"
        raise NotTileable(f"{output.name}: what it reads is not known exactly ({told})")
    long = max(output.shape) > LONG
    hulls = () if long or halo is not None else report._hulls(output._value)
    found = []
    for k, axis in enumerate(source.axes):
        form = Form(output, walk.states[output._value], k)
        name = f"axis {axis} of {source.name}"
        if not form.raw.reads:
            raise NotTileable(f"{output.name} reads nothing along {name}")
        dim = form.dim if halo is None else dim_along(output, k)
        canvas = form.canvas if halo is None else _stated(output, k, dim, halo[k])
        finite = canvas is not None and all(map(math.isfinite, (*canvas.begin, *canvas.end)))
        if dim is None or canvas is None or not finite:
            layer = walk.first(k)
            raise NotTileable(
                f"{layer.name} ({layer.op}) has no map along {name} that tiles could be parts of"
            )
        if form.is_global and halo is None:
            raise NotTileable(f"{output.name} reads the whole of {name}")
        n = output.shape[dim]
        if canvas.advance <= 0:
            raise NotTileable(f"{output.name} runs against {name}")
        low, high = _lines(hulls[k], dim, n) if hulls else _clipped(canvas, n, source.shape[axis])
        grid = canvas.advance
        for v in walk.reading:
            terms = walk.states[v].fields[k].terms
            if terms is None and halo is None:
                raise NotTileable(f"{walk.name(v)} has no closed form along {name}")
            for term in terms or ():
                for _, _, advance in term.deps:
                    if advance:
                        grid = math.lcm(grid, abs(advance))
        found.append(
            Extent(
                axis=axis,
                dim=dim,
                size=source.shape[axis],
                out=n,
                canvas=canvas,
                grid=grid,
                low=low,
                high=high,
            )
        )
    dims = [extent.dim for extent in found]
    if len(set(dims)) < len(dims):
        raise NotTileable(f"{output.name} has one dim for several axes of {source.name}")
    return tuple(found)


def _stated(output: Layer, k: int, dim: int | None, halo: int) -> Closed | None:
    """The closed form of units that read their own positions and ``halo`` on either side."""
    source, axis = output._report._axes[k]
    if dim is None:
        return None
    own = output._forms[k].canvas
    ratio = Fraction(source.shape[axis], output.shape[dim])
    if own is not None and own.advance > 0:
        ratio = Fraction(own.advance, own.period)
    period, advance = ratio.denominator, ratio.numerator
    if period > MAX_PERIOD:
        return None
    begin = tuple(math.floor(i * ratio) - halo for i in range(period))
    end = tuple(math.ceil((i + 1) * ratio) + halo for i in range(period))
    return Closed(period, advance, begin, end)


def _clipped(canvas: Closed, n: int, size: int) -> tuple[NDArray[int64], NDArray[int64]]:
    """The hulls of a closed form inside the input."""
    turn, phase = np.divmod(np.arange(n), canvas.period)
    begin, end = np.array(canvas.begin, dtype=np.int64), np.array(canvas.end, dtype=np.int64)
    low, high = begin[phase] + canvas.advance * turn, end[phase] + canvas.advance * turn
    return np.clip(low, 0, size), np.clip(high, 0, size)


def _lines(span: Span | None, dim: int, n: int) -> tuple[NDArray[int64], NDArray[int64]]:
    """The exact hulls along ``dim``, those of the other dims united; low >= high where nothing is read."""
    if span is None:
        return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    low, high = np.broadcast_arrays(span.lo, span.hi)
    low = np.moveaxis(low, dim, 0).reshape(low.shape[dim], -1)
    high = np.moveaxis(high, dim, 0).reshape(high.shape[dim], -1)
    some = low < high
    lows, highs = np.where(some, low, MAX).min(axis=1), np.where(some, high, -1).max(axis=1)
    return (
        np.ascontiguousarray(np.broadcast_to(lows, (n,))),
        np.ascontiguousarray(np.broadcast_to(highs, (n,))),
    )
