"""Feature maps as grids of few units: where each one stands, and the cells that are drawn for it.

A map of two axes is a level; level 0 is the input. Positions are input pixels, or, relative to a layer
(``of``), that layer's units. Index and position come in the order rows, columns; only what is drawn is x, y.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeshot.analysis.report import Field, Layer, Report

__all__ = [
    "MAX_CELLS",
    "Level",
    "Reads",
    "article",
    "base",
    "cell_inches",
    "cells",
    "grid_levels",
    "hair",
    "inches",
    "level",
    "names_of_maps",
    "reads",
    "square",
]

Cell = tuple[int, int]
Extent = tuple[tuple[int, int], tuple[int, int]]
#: Cells a side, padding included, that can still be told apart on a page.
MAX_CELLS = 40
#: Maps that a picture of several levels shows.
MAX_MAPS = 4


class Level(NamedTuple):
    """One map: its size, and the closed form of where its units look. ``layer`` is None for the input."""

    name: str
    shape: Cell
    fields: tuple[Field, Field] | None
    layer: Layer | None

    def box(self, index: Sequence[int]) -> Extent:
        """``[begin, end)`` per axis of what a unit reads, on the unbounded canvas; it may lie in padding."""
        if self.fields is None:
            return (index[0], index[0] + 1), (index[1], index[1] + 1)
        rows, columns = (_hull(self.name, f, i) for f, i in zip(self.fields, index, strict=True))
        return rows, columns

    def centre(self, index: Sequence[int]) -> tuple[float, float]:
        """The middle of that hull: start + index * jump in plain strided networks."""
        (top, bottom), (left, right) = self.box(index)
        return (top + bottom) / 2, (left + right) / 2

    @property
    def side(self) -> float:
        """How large a unit is drawn: a pixel, or less where units lie closer together than that."""
        if self.fields is None:
            return 1.0
        return min(1.0, *(float(f.jump) for f in self.fields if f.jump))

    @property
    def title(self) -> str:
        """The name, with the word input where it is that and does not say so."""
        known = self.layer is not None or self.name == "input"
        return self.name if known else f"input {self.name}"

    @property
    def indices(self) -> Iterable[Cell]:
        return product(range(self.shape[0]), range(self.shape[1]))


def _hull(name: str, field: Field, index: int) -> tuple[int, int]:
    assert field.canvas is not None
    begin, end = field.canvas.at(index)
    if begin >= end or math.isinf(end - begin):
        what = "nothing of the input" if begin >= end else "the input without end"
        raise EyeshotError(f"{name}: a unit reads {what}, which has no place on a grid")
    return int(begin), int(end)


def article() -> Report:
    """The article's network."""
    from eyeshot.api import analyze

    return analyze("example:five-by-five")


def base(report: Report, of: str | None = None) -> Level:
    """The level that everything is placed on: the input, or the layer ``of``."""
    if of is not None:
        layer = report[of]
        if len(layer.unit_dims) != 2:
            raise EyeshotError(f"{of}: a map of 2 axes is wanted, its units have {layer.unit_dims}")
        a, b = (layer.shape[d] for d in layer.unit_dims)
        return _small(Level(layer.name, (a, b), None, layer))
    if len(report.inputs) != 1:
        names = ", ".join(source["name"] for source in report.inputs)
        raise EyeshotError(f"the network has several inputs ({names}); this picture is of one")
    source = report.inputs[0]
    if len(source["axes"]) != 2:
        raise EyeshotError(
            f"{source['name']}: the picture is of an input of 2 axes, it has {len(source['axes'])}"
        )
    a, b = (source["shape"][d] for d in source["axes"])
    return _small(Level(source["name"], (a, b), None, None))


def level(layer: Layer) -> Level:
    """The map of a layer. Raises :class:`~eyeshot.errors.EyeshotError` for one that is no grid."""
    fields = layer.fields
    if len(fields) != 2 or len(layer.unit_dims) != 2 or any(f.dim is None for f in fields):
        raise EyeshotError(
            f"{layer.name}: the picture is of a map of 2 axes, its shape is "
            f"{'x'.join(map(str, layer.shape))}"
        )
    if any(f.canvas is None for f in fields):
        raise EyeshotError(f"{layer.name}: its units have no closed form to place them by")
    rows, columns = fields
    return _small(Level(layer.name, (rows.n, columns.n), (rows, columns), layer))


def _small(found: Level) -> Level:
    if max(found.shape) > MAX_CELLS:
        raise EyeshotError(
            f"{found.name}: a grid of {found.shape[0]}x{found.shape[1]} can't be drawn cell by cell, "
            f"{MAX_CELLS}x{MAX_CELLS} can; take a smaller input"
        )
    return found


def grid_levels(report: Report, names: Sequence[str] | None) -> list[Level]:
    """The input, and these layers; by default maps that differ from the one before, at most ``MAX_MAPS``."""
    ground = base(report)
    if names is None:
        names = names_of_maps(report)
        if not names:
            raise EyeshotError("no layer has a map of 2 axes with a closed form")
        if len(names) > MAX_MAPS:
            picked = np.linspace(0, len(names) - 1, MAX_MAPS).round().astype(int)
            names = [names[k] for k in picked]
    return [ground, *(level(report[name]) for name in names)]


def names_of_maps(report: Report) -> list[str]:
    """The layers whose map is a grid, without those whose units look exactly as those before do."""
    out: list[str] = []
    last: Any = None
    for layer in report:
        fields = layer.fields
        if len(fields) != 2 or len(layer.unit_dims) != 2 or not all(map(_placed, fields)):
            continue
        key = [(f.n, f.canvas) for f in fields]
        if key != last:
            out.append(layer.name)
        last = key
    return out


def _placed(field: Field) -> bool:
    """Whether every unit has a place along this axis."""
    if field.dim is None or field.canvas is None:
        return False
    begin, end = field.canvas.begin, field.canvas.end
    return all(math.isfinite(e - b) and b < e for b, e in zip(begin, end, strict=True))


class Reads(NamedTuple):
    """What a unit reads of a level: its cells, and places in the padding; ``box`` is the hull of both."""

    inside: list[Cell]
    padding: list[Cell]
    box: Extent


def reads(report: Report, layer: Layer, index: Sequence[int], of: str | None) -> Reads:
    """The exact set inside, and outside it the places where the kernel stands on padding.

    What is read there is not part of a unit's set. It is taken from a unit whose field has the same extents and
    lies inside; where there is none, all of the box counts.
    """
    unit = report.unit(layer.name, tuple(index), of=of)
    mask = unit.mask
    h, w = mask.shape
    (top, bottom), (left, right) = box = _finite(layer.name, unit.box)
    inside = [(int(i), int(j)) for i, j in np.argwhere(mask)]
    outside = [
        (i, j)
        for i, j in product(range(top, bottom), range(left, right))
        if not (0 <= i < h and 0 <= j < w)
    ]
    if outside:
        pattern = _pattern(report, layer, (bottom - top, right - left), of)
        if pattern is not None:
            outside = [(i, j) for i, j in outside if pattern[i - top, j - left]]
    return Reads(inside, outside, box)


def _pattern(report: Report, layer: Layer, extents: Cell, of: str | None) -> Any:
    """What is read inside a box of these extents, by a unit near the middle that loses nothing to padding."""
    unit = report.unit(layer.name, layer.middle, of=of)
    found = unit.mask_in_box
    # A jump of several phases may move holes about.
    plain = all(f.canvas is not None and f.canvas.period == 1 for f in layer.fields)
    return found if plain and unit.box == unit.clipped and found.shape == extents else None


def _finite(name: str, box: Sequence[tuple[float, float]]) -> Extent:
    if any(math.isinf(n) for pair in box for n in pair):
        raise EyeshotError(f"{name}: a unit reads the input without end, which fits no grid")
    (top, bottom), (left, right) = box
    extent = (int(top), int(bottom)), (int(left), int(right))
    if max(bottom - top, right - left) > 2 * MAX_CELLS:
        raise EyeshotError(
            f"{name}: a field of {int(bottom - top)}x{int(right - left)} can't be drawn cell by cell"
        )
    return extent


# --- what is drawn


def cell_inches(width: float, height: float, largest: float = 0.24) -> float:
    """The side of a cell, of so many across and down a page."""
    return min(largest, style.WIDTH / width, 8.5 / height)


def inches(width: float, height: float, largest: float = 0.24) -> tuple[float, float]:
    """The size of a figure of so many cells: as wide as a page at most."""
    cell = cell_inches(width, height, largest)
    return max(1.5, width * cell), max(1.0, height * cell)


def hair(cell: float) -> float:
    """The width of the lines between cells of this side in inches, in points."""
    return min(0.6, max(0.1, 72 * cell * 0.05))


def square(x: float, y: float, side: float = 1.0) -> list[tuple[float, float]]:
    """The corners of a cell whose middle is at x, y."""
    h = side / 2
    return [(x - h, y - h), (x + h, y - h), (x + h, y + h), (x - h, y + h)]


def cells(
    ax: Axes,
    squares: Sequence[Sequence[tuple[float, float]]],
    gid: str,
    *,
    face: str = "none",
    edge: str = "none",
    alpha: float = 1.0,
    width: float = 0.6,
    dashed: bool = False,
    order: float = 1.0,
) -> None:
    """Draw polygons as one path, which is found again (also in an SVG) by ``gid``; ``alpha`` is the face's.

    Dashed edges are a path of their own, ``gid`` with ``-edges`` after it: where neighbours share an edge it is
    drawn once, lest dashes fill each other's gaps.
    """
    if not squares:
        return
    fill = to_rgba(face, alpha) if face != "none" else "none"
    path = _path([[*corners, corners[0]] for corners in squares], True)
    line = "none" if dashed else edge
    made = PathPatch(path, fc=fill, ec=line, lw=width, joinstyle="miter", zorder=order, gid=gid)
    ax.add_patch(made)
    if dashed:
        edges = {
            tuple(sorted((_round(a), _round(b))))
            for corners in squares
            for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
        }
        path = _path(sorted(edges), False)
        made = PathPatch(path, fc="none", ec=edge, lw=width, zorder=order, gid=f"{gid}-edges")
        made.set_linestyle((0, (2.2, 1.8)))
        ax.add_patch(made)


def _path(pieces: Sequence[Any], closed: bool) -> Path:
    """One path of polygons (or lines) of equally many points."""
    points = np.asarray(pieces, dtype=float)
    count, length, _ = points.shape
    codes = np.full((count, length), Path.LINETO)
    codes[:, 0] = Path.MOVETO
    if closed:
        codes[:, -1] = Path.CLOSEPOLY
    return Path(points.reshape(-1, 2), codes.ravel())


def _round(point: tuple[float, float]) -> tuple[float, float]:
    return round(point[0], 6), round(point[1], 6)
