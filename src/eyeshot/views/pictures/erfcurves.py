"""Effective receptive fields along one axis: sums of the map with its fit, and maps of one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyeshot.views.pictures.panels import whole_numbers
from eyeshot.views.pictures.planes import reduced
from eyeshot.views.pictures.style import SMALL, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeshot.analysis.erf import Erf

__all__ = ["curve", "profiles_beside", "window"]

Floats = NDArray[np.float64]

#: A curve has at most this many cells; more are averaged.
MAX_CELLS = 4096


def window(view: tuple[float, float], n: int) -> tuple[int, int]:
    """The elements of an axis that a view shows, ``[begin, end)``."""
    begin, end = max(0, math.floor(view[0])), min(n, math.ceil(view[1]))
    return (begin, end) if begin < end else (0, n)


def _fitted(erf: Erf, axis: int, where: Floats) -> Floats:
    """The fit, added up over the other axes, at positions ``where`` of one axis."""
    fit = erf.fit
    assert fit is not None
    height = fit.peak
    for k, n in enumerate(erf.map.shape):
        if k != axis:
            away = (np.arange(n) + 0.5 - fit.centre[k]) / fit.sigma[k]
            height *= float(np.exp(-(away**2) / 2).sum())
    out: Floats = height * np.exp(-(((where - fit.centre[axis]) / fit.sigma[axis]) ** 2) / 2)
    return out


def _half(marginal: Floats) -> tuple[float, float]:
    """Between which positions the sum is above half of its maximum: their distance is ``Erf.fwhm``."""
    half = float(marginal.max()) / 2
    above = np.flatnonzero(marginal >= half)
    low, high = 0.0, float(len(marginal))
    first, last = int(above[0]), int(above[-1])
    if first > 0:
        a, b = marginal[first - 1 : first + 1]
        low = first - 0.5 + float((half - a) / (b - a))
    if last < len(marginal) - 1:
        a, b = marginal[last : last + 2]
        high = last + 0.5 + float((a - half) / (a - b))
    return low, high


def _marginal(erf: Erf, axis: int) -> Floats:
    out: Floats = erf.map.sum(axis=tuple(k for k in range(erf.map.ndim) if k != axis))
    return out


def profiles_beside(
    erf: Erf, ax: Axes, view: Sequence[tuple[float, float]], style: Theme, fit: bool
) -> None:
    above = ax.inset_axes((0.0, 1.02, 1.0, 0.17))
    beside = ax.inset_axes((1.02, 0.0, 0.17, 1.0))
    for axis, inset, label in ((1, above, "_across"), (0, beside, "_down")):
        inset.set_label(label)
        marginal = _marginal(erf, axis)
        top = float(marginal.max()) or 1.0
        upright = axis == 0
        edges = np.arange(len(marginal) + 1)
        inset.stairs(
            marginal / top, edges, fill=True, color=style.read, alpha=0.55, lw=0,
            orientation="horizontal" if upright else "vertical", label="_marginal",
        )  # fmt: skip
        where = np.linspace(*view[axis], 400)
        bell = None
        if fit and erf.fit is not None:
            bell = _fitted(erf, axis, where) / top
            inset.plot(
                *((bell, where) if upright else (where, bell)),
                color=style.ink,
                lw=0.9,
                ls=(0, (1, 1.4)),
                label="_fit",
            )
        if erf.fwhm is not None:
            span = _half(marginal)
            ends = ((0.5, 0.5), span) if upright else (span, (0.5, 0.5))
            inset.plot(*ends, color=style.unit, lw=1.2, label="_fwhm", solid_capstyle="butt")
        inset.set_axis_off()
        most = 1.05 * max(1.0, float(bell.max()) if bell is not None else 0.0)
        if upright:
            inset.set_ylim(*reversed(view[0]))
            inset.set_xlim(0, most)
        else:
            inset.set_xlim(*view[1])
            inset.set_ylim(0, most)


def curve(
    erf: Erf, ax: Axes, view: tuple[float, float], style: Theme, show: tuple[bool, bool, bool]
) -> None:
    """A map of one axis; squares are bars above it."""
    squares, fit, box = show
    top = float(erf.map.max(initial=0.0)) or 1.0
    n = len(erf.map)
    begin, end = window(view, n)
    cells = reduced(erf.map[begin:end], MAX_CELLS)
    block = -(-(end - begin) // max(1, len(cells)))
    edges = np.minimum(begin + block * np.arange(len(cells) + 1), end)
    ax.stairs(cells / top, edges, fill=True, color=style.read, alpha=0.55, lw=0, label="_map")
    low, high = max(erf.box[0][0], -n), min(erf.box[0][1], 2 * n)
    if box and low < high:
        ax.axvspan(low, high, fill=False, ec=style.unit, ls=(0, (4, 2.5)), lw=1.0, label="_box")
    if fit and erf.fit is not None:
        where = np.linspace(*view, 600)
        ax.plot(
            where, _fitted(erf, 0, where) / top, color=style.ink, ls=(0, (1, 1.4)), label="_fit"
        )
    if erf.fwhm is not None:
        ax.plot(_half(erf.map), (0.5, 0.5), color=style.unit, lw=1.4, label="_fwhm")
    if squares:
        for k, square in enumerate(reversed(erf.squares)):
            y = 1.08 + 0.11 * k
            ax.plot(
                (square.begin[0], square.end[0]), (y, y), color=style.read, lw=2.2,
                solid_capstyle="butt", label=f"_square {square.share:g}",
            )  # fmt: skip
            ax.annotate(
                f"{100 * square.share:g} %", (square.end[0], y), xytext=(3, 0), va="center",
                textcoords="offset points", size=SMALL, color=style.read, annotation_clip=True,
            )  # fmt: skip
    ax.axvline(0, color=style.quiet, lw=0.7)
    ax.axvline(n, color=style.quiet, lw=0.7)
    margin = 0.02 * (view[1] - view[0])
    ax.set_xlim(view[0] - margin, view[1] + margin)
    ax.set_ylim(min(0.0, 1.1 * float(cells.min(initial=0.0)) / top), 1.55 if squares else 1.1)
    ax.xaxis.set_major_locator(whole_numbers(7))
    ax.set_yticks([0, 0.5, 1])
    ax.tick_params(length=2)
    ax.set_ylabel("part of the maximum", size=SMALL)
