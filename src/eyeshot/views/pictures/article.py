"""The article's pictures of maps, of any network whose maps are grids of few units.

"Receptive Field Arithmetic for Convolutional Neural Networks" (rubikscode.net, 2020) explains itself with a
kernel that walks over its input, with a unit's field seen through the layers between (``through.py``), and with
maps at full size, whose units stand where they look. Without a report the article's own network is drawn: two
layers of k3 s2 p1 on 5x5.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures import grids, style
from eyeshot.views.pictures.grids import Cell, Level, cells, square

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeshot.analysis.report import Report

__all__ = ["maps", "walk"]

#: Steps of a walk that are drawn where none are chosen.
STEPS = 9


def walk(
    report: Report | None = None,
    layer: str | None = None,
    steps: Sequence[Sequence[int]] | None = None,
    *,
    of: str | None = None,
    ax: Axes | None = None,
    theme: str | style.Theme = "light",
) -> Axes:
    """Draw a layer's window walking over the input: one panel a step, the map so far beside it.

    Dashed cells are padding; dark blue ones are read; the unit that reads them is filled, those before it are
    tinted. ``layer``: by default the first with a map; ``steps``: the units drawn, by default all of up to
    nine, or the first three of the first three rows; ``of``: the layer walked over in place of the
    input. Returns the axes, in units of cells, one panel beside the other.
    """
    look = style.theme(theme)
    report = grids.article() if report is None else report
    ground = grids.base(report, of)
    chosen = report[_first(report) if layer is None else layer]
    rows, columns = _units(chosen)
    at = _steps(chosen.name, rows, columns, steps)
    found = [grids.reads(report, chosen, index, of) for index in at]
    corners = [grids.reads(report, chosen, i, of).box for i in ((0, 0), (rows - 1, columns - 1))]
    (top, bottom), (left, right) = (
        (min(0, *(b[k][0] for b in corners)), max(ground.shape[k], *(b[k][1] for b in corners)))
        for k in (0, 1)
    )
    high, wide = bottom - top, right - left
    if max(high, wide, rows, columns) > grids.MAX_CELLS:
        raise EyeshotError(
            f"{chosen.name}: {high}x{wide} cells with padding and a map of {rows}x{columns} can't be drawn "
            f"cell by cell, {grids.MAX_CELLS}x{grids.MAX_CELLS} can; take a smaller input"
        )
    across = columns if len(at) == rows * columns and columns <= 4 else min(3, len(at))
    panel = wide + 1.6 + columns
    step_x, step_y = panel + 2.2, max(high, rows) + 2.4
    down = -(-len(at) // across)
    size = across * step_x - 1.4, down * step_y - 0.6
    thin = grids.hair(grids.cell_inches(*size))
    depth = 0 if of is None else 1
    ax = style.axes(ax, look, grids.inches(*size))
    with look.context():
        style.bare(ax)
        for k, (index, read) in enumerate(zip(at, found, strict=True)):
            begin = (k // across) * step_y
            x, y = (k % across) * step_x - left, begin + (max(high, rows) - high) / 2 - top
            name = f"step-{index[0]}-{index[1]}"
            frame = (top, bottom, left, right)
            _window(ax, look, name, ground, read, frame, x, y, look.level(depth), thin)
            over, below = x + right + 1.6, begin + (max(high, rows) - rows) / 2
            done = [i for i in product(range(rows), range(columns)) if i < tuple(index)]
            later = [i for i in product(range(rows), range(columns)) if i > tuple(index)]
            placed = [
                (done, "done", look.level(depth + 1)),
                (later, "later", look.cell),
                ([index], "unit", look.unit),
            ]
            for which, kind, face in placed:
                shapes = [square(over + j + 0.5, below + i + 0.5) for i, j in which]
                cells(ax, shapes, f"{name}-{kind}", face=face, edge=look.quiet, width=thin, order=2)
            (r0, r1), (_, c1) = read.box
            unit_x, unit_y = over + index[1], below + index[0]
            rays = ((y + r0, unit_y), (y + r1, unit_y + 1)) if r0 < r1 else ()
            for ends in rays:
                ax.plot(
                    [x + c1, unit_x], ends, color=look.unit, lw=0.7, zorder=3.5, gid=f"{name}-ray"
                )
            ax.text(
                x + left,
                begin - 0.35,
                f"{chosen.name}[{index[0]}, {index[1]}]",
                size=style.SMALL,
                color=look.ink,
                va="bottom",
            )
        ax.set_xlim(-0.3, size[0] - 0.2)
        ax.set_ylim(size[1] - 1.5, -1.5)
    return ax


def _window(
    ax: Axes,
    look: style.Theme,
    name: str,
    ground: Level,
    read: grids.Reads,
    frame: tuple[int, int, int, int],
    x: float,
    y: float,
    colour: str,
    thin: float,
) -> None:
    """The input with its padding and the window on it, the input's corner at x, y."""

    def placed(which: Any) -> list[Any]:
        return [square(x + j + 0.5, y + i + 0.5) for i, j in which]

    top, bottom, left, right = frame
    h, w = ground.shape
    inside = set(read.inside)
    rest = [i for i in ground.indices if i not in inside]
    around = [
        (i, j)
        for i, j in product(range(top, bottom), range(left, right))
        if not (0 <= i < h and 0 <= j < w)
    ]
    line: dict[str, Any] = {"edge": look.quiet, "width": thin}
    shade: dict[str, Any] = {"face": look.read, "alpha": 0.25, "dashed": True, **line}
    padding: dict[str, Any] = {**line, "edge": look.grid, "dashed": True}
    cells(ax, placed(around), f"{name}-padding", order=0.5, **padding)
    cells(ax, placed(rest), f"{name}-input", face=colour, **line)
    cells(ax, placed(read.padding), f"{name}-read-padding", order=1.5, **shade)
    cells(ax, placed(read.inside), f"{name}-read", face=look.read, order=2, **line)
    (r0, r1), (c0, c1) = read.box
    if r0 < r1 and c0 < c1:
        outline = [(x + c0, y + r0), (x + c1, y + r0), (x + c1, y + r1), (x + c0, y + r1)]
        cells(ax, [outline], f"{name}-box", edge=look.unit, width=1.5, order=3)


def maps(
    report: Report | None = None,
    layers: Sequence[str] | None = None,
    *,
    axes: Any = None,
    theme: str | style.Theme = "light",
) -> Any:
    """Draw feature maps twice: packed, as usual, and at full size, every unit at the centre of its field.

    One row per map, the input first. On the right, the frame is the input with its pixels, dots are the
    centres, and the outline is the field of the first unit, dashed where it lies in padding. ``layers``: by
    default those whose maps differ, at most four. ``axes``: an array of axes, [1 + layers, 2], also returned.
    """
    look = style.theme(theme)
    report = grids.article() if report is None else report
    levels = grids.grid_levels(report, layers)
    boxes = [level.box((0, 0)) for level in levels]
    h, w = levels[0].shape
    if any(max(b[k][1] - b[k][0] for k in (0, 1)) > 2 * grids.MAX_CELLS for b in boxes):
        raise EyeshotError("a field is too large to be drawn cell by cell; choose earlier layers")
    widest = max(level.shape[1] for level in levels)
    reach = [_reach(level) for level in levels]
    spans = [
        (
            min(0, box[0][0], placed[0], (h - level.shape[0]) / 2) - 0.5,
            max(h, box[0][1], placed[1], (h + level.shape[0]) / 2) + 0.5,
        )
        for level, box, placed in zip(levels, boxes, reach, strict=True)
    ]
    left = min(0, *(box[1][0] for box in boxes), *(placed[2] for placed in reach)) - 0.5
    right = max(w, *(box[1][1] for box in boxes), *(placed[3] for placed in reach)) + 0.5
    sides = ((w - widest) / 2 - 0.5, (w + widest) / 2 + 0.5)
    heights = [bottom - top for top, bottom in spans]
    if axes is None:
        made = style.figure(look, grids.inches(widest + 1 + right - left + 5, sum(heights) + 2))
        with look.context():
            ratios = {"height_ratios": heights, "width_ratios": [widest + 1, right - left]}
            axes = made.subplots(len(levels), 2, squeeze=False, gridspec_kw=ratios)
    axes = np.asarray(axes)
    if axes.shape != (len(levels), 2):
        raise EyeshotError(
            f"axes: {len(levels)} rows of 2 are wanted, got an array of shape {axes.shape}"
        )
    with look.context():
        for k, level in enumerate(levels):
            for ax, (low, high) in zip(axes[k], (sides, (left, right)), strict=True):
                style.bare(ax)
                ax.set_xlim(low, high)
                ax.set_ylim(*reversed(spans[k]))
            _packed(axes[k, 0], look, level, k, (w / 2, h / 2))
            _placed(axes[k, 1], look, level, k, levels[0].shape)
            axes[k, 0].text(
                sides[0] - 0.2,
                h / 2,
                f"{level.title}\n{level.shape[0]}×{level.shape[1]}",
                size=style.SMALL,
                color=look.ink,
                va="center",
                ha="right",
            )
        for ax, title in zip(axes[0], ("packed", "at full size"), strict=True):
            ax.set_title(title, loc="center", size=style.TEXT, color=look.ink)
    return axes


def _reach(level: Level) -> tuple[float, float, float, float]:
    """Top, bottom, left, right of a map at full size."""
    half = level.side / 2
    centres = [level.centre(index) for index in level.indices]
    ys, xs = [y for y, _ in centres], [x for _, x in centres]
    return min(ys) - half, max(ys) + half, min(xs) - half, max(xs) + half


def _packed(ax: Axes, look: style.Theme, level: Level, k: int, middle: tuple[float, float]) -> None:
    """Cell beside cell, around the middle."""
    x, y = middle[0] - level.shape[1] / 2, middle[1] - level.shape[0] / 2
    shapes = [square(x + j + 0.5, y + i + 0.5) for i, j in level.indices]
    cells(ax, shapes, f"packed-{k}", face=look.level(k), edge=look.quiet)


def _placed(ax: Axes, look: style.Theme, level: Level, k: int, frame: Cell) -> None:
    """Every unit at the centre of its field, over the pixels of the input."""
    pixels = [square(j + 0.5, i + 0.5) for i, j in product(*map(range, frame))]
    cells(ax, pixels, f"frame-{k}", face=look.cell, edge=look.grid)
    centres = [level.centre(index) for index in level.indices]
    shapes = [square(x, y, level.side) for y, x in centres]
    cells(ax, shapes, f"placed-{k}", face=look.level(k), edge=look.quiet, order=2)
    if level.layer is None:
        return
    ax.plot(
        [x for _, x in centres],
        [y for y, _ in centres],
        linestyle="",
        marker="o",
        markersize=2.2,
        color=look.dot,
        markeredgecolor=look.ink if look.dot == look.ground else look.ground,
        markeredgewidth=0.3,
        zorder=4,
        gid=f"centres-{k}",
    )
    (r0, r1), (c0, c1) = level.box((0, 0))
    outline = [(c0, r0), (c1, r0), (c1, r1), (c0, r1)]
    cells(ax, [outline], f"field-{k}", edge=look.unit, width=1.2, dashed=True, order=3)
    h, w = frame
    r0, r1, c0, c1 = max(r0, 0), min(r1, h), max(c0, 0), min(c1, w)
    if r0 < r1 and c0 < c1:
        inside = [(c0, r0), (c1, r0), (c1, r1), (c0, r1)]
        cells(ax, [inside], f"clipped-{k}", edge=look.unit, width=1.2, order=3)


def _first(report: Report) -> str:
    names = grids.names_of_maps(report)
    if not names:
        raise EyeshotError("no layer has a map of 2 axes with a closed form")
    return names[0]


def _units(layer: Any) -> Cell:
    if len(layer.unit_dims) != 2:
        raise EyeshotError(
            f"{layer.name}: the picture is of a map of 2 axes, its shape is "
            f"{'x'.join(map(str, layer.shape))}"
        )
    a, b = (layer.shape[d] for d in layer.unit_dims)
    return a, b


def _steps(name: str, rows: int, columns: int, steps: Any) -> list[Cell]:
    """The units whose windows are drawn."""
    if steps is None:
        if rows * columns <= STEPS:
            return list(product(range(rows), range(columns)))
        return list(product(range(min(rows, 3)), range(min(columns, 3))))
    out = []
    for step in steps:
        index = tuple(step)
        if len(index) != 2 or not (0 <= index[0] < rows and 0 <= index[1] < columns):
            raise EyeshotError(f"{name}: there is no unit {index}, the map is {rows}x{columns}")
        out.append((index[0], index[1]))
    if not out:
        raise EyeshotError("steps: none are given")
    return out
