"""A unit's field, seen through the layers between it and the input: the article's second picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures import grids, style
from eyeshot.views.pictures.grids import Level, cells, square

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeshot.analysis.report import Report

__all__ = ["field"]


def field(
    report: Report | None = None,
    layer: str | None = None,
    at: Sequence[int] | None = None,
    through: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    theme: str | style.Theme = "light",
) -> Axes:
    """Draw what one unit reads of each layer before it, down to the input: planes one above the other.

    Every plane has the input's coordinates, its units stand where they look. Filled cells are exactly those
    that are read, the outline is their box, dashed cells are padding, and the lines between the planes join the
    corners of the boxes. ``layer``: by default the last with a map; ``at``: the unit, by default n // 2 on each
    axis; ``through``: the layers between, by default those whose maps differ, at most three.
    """
    look = style.theme(theme)
    report = grids.article() if report is None else report
    ground = grids.base(report)
    names = grids.names_of_maps(report)
    if not names and layer is None:
        raise EyeshotError("no layer has a map of 2 axes with a closed form")
    top = grids.level(report[names[-1] if layer is None else layer])
    assert top.layer is not None
    index = top.layer.middle if at is None else tuple(at)
    unit = top.layer._index(index)
    levels = [ground]
    levels += (
        _between(report, top, unit, names)
        if through is None
        else [grids.level(report[name]) for name in through]
    )
    found = [
        grids.reads(report, top.layer, unit, level.layer.name if level.layer else None)
        for level in levels
    ]
    levels.append(top)
    found.append(
        grids.Reads([(unit[0], unit[1])], [], ((unit[0], unit[0] + 1), (unit[1], unit[1] + 1)))
    )
    planes = [_Plane(level, read) for level, read in zip(levels, found, strict=True)]
    tall = max(plane.extent[1] - plane.extent[0] for plane in planes)
    gap = max(2.6, 0.62 * tall)
    for k, plane in enumerate(planes):
        plane.lift = k * gap
    shapes = [corner for plane in planes for corner in plane.corners()]
    low_x, high_x = min(x for x, _ in shapes), max(x for x, _ in shapes)
    low_y, high_y = min(y for _, y in shapes), max(y for _, y in shapes)
    side = max(5.0, 0.42 * (high_x - low_x))
    size = high_x - low_x + side + 0.6, high_y - low_y + 0.6
    thin = grids.hair(0.5 * grids.cell_inches(*size, largest=0.3))
    ax = style.axes(ax, look, grids.inches(*size, largest=0.3))
    with look.context():
        style.bare(ax)
        for k, plane in enumerate(planes):
            plane.draw(ax, look, k, k == len(planes) - 1, thin)
            if k:
                _cone(ax, look, plane, planes[k - 1], k)
            _label(ax, look, plane, found[k], high_x + 0.7, k, len(planes) - 1)
        ax.set_xlim(low_x - 0.3, high_x + side + 0.3)
        ax.set_ylim(high_y + 0.3, low_y - 0.3)
    return ax


class _Plane:
    """A level seen obliquely from above: rows run towards the viewer."""

    def __init__(self, level: Level, read: grids.Reads) -> None:
        self.level = level
        self.read = read
        self.lift = 0.0
        edges = [self.hull(read.box), self.hull(tuple((0, n) for n in level.shape))]
        self.box = edges[0]
        self.map = edges[1]
        self.extent = (
            min(edges[0][0], edges[1][0]),
            max(edges[0][1], edges[1][1]),
            min(edges[0][2], edges[1][2]),
            max(edges[0][3], edges[1][3]),
        )

    def hull(self, box: Any) -> tuple[float, float, float, float]:
        """Top, bottom, left, right of these units as they are drawn."""
        (r0, r1), (c0, c1) = box
        if r0 >= r1 or c0 >= c1:
            return (0.0, 0.0, 0.0, 0.0)
        half = self.level.side / 2
        ends = [self.level.centre(i) for i in ((r0, c0), (r1 - 1, c1 - 1))]
        return ends[0][0] - half, ends[1][0] + half, ends[0][1] - half, ends[1][1] + half

    def seen(self, x: float, y: float) -> tuple[float, float]:
        return x - 0.5 * y, 0.5 * y - self.lift

    def outline(self, hull: tuple[float, float, float, float]) -> list[tuple[float, float]]:
        top, bottom, left, right = hull
        around = ((left, top), (right, top), (right, bottom), (left, bottom))
        return [self.seen(x, y) for x, y in around]

    def corners(self) -> list[tuple[float, float]]:
        return self.outline(self.extent)

    def squares(self, which: Any) -> list[Any]:
        out = []
        for index in which:
            y, x = self.level.centre(index)
            out.append([self.seen(*corner) for corner in square(x, y, self.level.side)])
        return out

    def draw(self, ax: Axes, look: style.Theme, k: int, last: bool, thin: float) -> None:
        """The plane ``k``; what lies under it is seen faintly through its empty parts."""
        name, order = f"plane-{k}", 10.0 * k
        inside = set(self.read.inside)
        rest = self.squares(i for i in self.level.indices if i not in inside)
        line: dict[str, Any] = {"edge": look.quiet, "width": thin}
        shade: dict[str, Any] = {"face": look.read, "alpha": 0.2, "dashed": True, **line}
        ground: dict[str, Any] = {"face": look.cell, "alpha": 0.7, "edge": look.grid}
        cells(ax, [self.outline(self.map)], f"{name}-ground", order=order, **ground)
        cells(ax, rest, f"{name}-map", face=look.level(k), order=order + 1, **line)
        padding = self.squares(self.read.padding)
        cells(ax, padding, f"{name}-read-padding", order=order + 1, **shade)
        kind, face = ("unit", look.unit) if last else ("read", look.read)
        read = self.squares(self.read.inside)
        cells(ax, read, f"{name}-{kind}", face=face, order=order + 2, **line)
        if not last:
            box = [self.outline(self.box)]
            cells(ax, box, f"{name}-box", edge=look.unit, width=1.3, order=order + 3)


def _cone(ax: Axes, look: style.Theme, above: _Plane, below: _Plane, k: int) -> None:
    """The lines from the corners of one box to those of the box below."""
    pairs = list(zip(above.outline(above.box), below.outline(below.box), strict=True))
    sides = [
        [pairs[i][0], pairs[i][1], pairs[(i + 1) % 4][1], pairs[(i + 1) % 4][0]] for i in range(4)
    ]
    for n, side in enumerate(sides):
        cells(ax, [side], f"cone-{k}-side-{n}", face=look.unit, alpha=0.06, order=10.0 * k - 4)
    for upper, lower in pairs:
        ax.plot(
            [upper[0], lower[0]],
            [upper[1], lower[1]],
            color=look.unit,
            lw=0.8,
            zorder=10.0 * k - 3,
            gid=f"cone-{k}",
        )


def _label(
    ax: Axes, look: style.Theme, plane: _Plane, read: grids.Reads, x: float, k: int, last: int
) -> None:
    level = plane.level
    (r0, r1), (c0, c1) = read.box
    map_size = f"{level.shape[0]}×{level.shape[1]}"
    if k == last:
        text = f"unit ({r0}, {c0}) of {map_size}"
    else:
        text = f"reads {len(read.inside)} of {map_size}\nbox {r1 - r0}×{c1 - c0}"
        if read.padding:
            text += f", {len(read.padding)} in padding"
    top, bottom, *_ = plane.map
    y = plane.seen(0, (top + bottom) / 2)[1]
    ax.text(x, y - 0.1, level.title, size=style.TEXT, color=look.ink, va="bottom", weight="bold")
    ax.text(x, y + 0.1, text, size=style.SMALL, color=look.quiet, va="top", linespacing=1.3)


def _between(report: Report, top: Level, unit: Sequence[int], names: Sequence[str]) -> list[Level]:
    """The maps that the unit reads on its way to the input, at most as many as fit on a page."""
    out: list[Level] = []
    assert top.layer is not None
    own = [(f.n, f.canvas) for f in top.layer.fields]
    for layer in report:
        if layer.name == top.layer.name:
            break
        if layer.name in names and [(f.n, f.canvas) for f in layer.fields] != own:
            reached = report.unit(top.layer.name, unit, of=layer.name)
            if reached.mask.any():
                out.append(grids.level(layer))
    if len(out) > grids.MAX_MAPS - 1:
        kept = np.linspace(0, len(out) - 1, grids.MAX_MAPS - 1).round().astype(int)
        out = [out[k] for k in kept]
    return out
