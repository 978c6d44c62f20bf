"""One panel of a unit's picture: padding, input, heat, what is read, boxes and the centre; or a curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.views.pictures.images import Backdrop
from eyeshot.views.pictures.panels import (
    halo,
    heat_colours,
    raster,
    rectangle,
    ticks,
    whole_numbers,
)
from eyeshot.views.pictures.planes import Plane, reduced
from eyeshot.views.pictures.style import SMALL, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FARTHEST", "panel"]

#: An outline has at most this many straight pieces, and a grid this many cells a side.
MAX_EDGES, MAX_GRID = 20_000, 48
#: The band below a curve has at most this many cells; more are averaged.
MAX_BAND = 400
#: How far a view follows a box outside the input, in sizes of the input.
FARTHEST = 1.0
#: Colours of the heat on an image.
ON_IMAGE = ("#e8601c", "#ee8026", "#f4a736", "#f9cf57", "#fff7bc")


def panel(
    ax: Axes,
    plane: Plane,
    view: tuple[tuple[float, float], ...],
    back: Backdrop | None,
    style: Theme,
    layers: tuple[bool, bool, bool],
    top_mass: float,
    bar: bool,
    of: str | None,
) -> None:
    """Draw a plane on ``ax``. Its artists have labels: "_box", "_clipped", "_mask", "_mass", "_centre", …

    ``view``: what is shown of each axis; ``layers``: whether box, mask and mass are drawn. ``top_mass``: where
    the scale of the heat ends; ``bar``: whether it is shown.
    """
    if len(plane.axes) == 1:
        _curve(ax, plane, view[0], style, layers)
        return
    box, mask, mass = layers
    (top, bottom), (left, right) = view
    (y0, y1), (x0, x1) = plane.clipped
    rows, columns = plane.shape
    if box:
        _padding(ax, plane, style)
    if back is not None:
        # Heat has no colour that an image may not have too.
        pixels = _grey(back.pixels) if mass else back.pixels
        raster(ax, pixels, (0, columns, rows, 0), "_image", 1)
    else:
        rectangle(ax, (0, rows), (0, columns), "_input", facecolor=style.cell, lw=0, zorder=1)
    if mass and top_mass > 0:
        heat = _heat(ax, plane, top_mass, back is not None, style)
        if bar:
            _bar(ax, heat, top_mass, "mass per unit" if of else "mass per pixel", style)
    if mask:
        _set(ax, plane, style, back is not None, mass)
    if max(bottom - top, right - left) <= MAX_GRID:
        _grid(ax, plane, style)
    edge = style.quiet
    rectangle(ax, (0, rows), (0, columns), "_frame", fill=False, edgecolor=edge, lw=0.7, zorder=4)
    if box:
        _boxes(ax, plane, style)
    if y0 < y1 and x0 < x1:
        _cross(ax, plane, style)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_aspect("equal")
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=2)
    ticks(ax)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same image without colours, by the luma of ITU-R BT.601."""
    luma = np.round(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def _finite(pair: tuple[float, float], n: int) -> tuple[float, float]:
    """A box's side that can be drawn: one without end goes beyond what is shown."""
    far = 4 * (1 + FARTHEST) * n
    return max(pair[0], -far), min(pair[1], far)


def _padding(ax: Axes, plane: Plane, style: Theme) -> None:
    """Hatched, beneath the input, so that only what lies outside shows."""
    pairs = [_finite(pair, n) for pair, n in zip(plane.box, plane.shape, strict=True)]
    outside = any(low < 0 or high > n for (low, high), n in zip(pairs, plane.shape, strict=True))
    if outside:
        rectangle(
            ax, pairs[0], pairs[1], "_padding", facecolor=style.ground, edgecolor=style.quiet,
            hatch="/////", lw=0, zorder=0, hatch_linewidth=0.4,
        )  # fmt: skip


def _heat(ax: Axes, plane: Plane, top: float, on_image: bool, style: Theme) -> Any:
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    (y0, y1), (x0, x1) = plane.clipped
    colours: Any = heat_colours(style)
    if on_image:
        rgba = LinearSegmentedColormap.from_list("eyeshot", ON_IMAGE)(np.linspace(0, 1, 256))
        rgba[:, 3] = 0.9 * np.sqrt(np.linspace(0, 1, 256))
        colours = ListedColormap(rgba, "eyeshot")
    heat = raster(ax, plane.mass, (x0, x1, y1, y0), "_mass", 2)
    heat.set_cmap(colours)
    heat.set_clim(0, top)
    if not on_image:
        heat.set_alpha((plane.mass != 0).astype(np.float64))
    return heat


def _bar(ax: Axes, heat: Any, top: float, label: str, style: Theme) -> None:
    made: Any = ax.get_figure(root=False)
    bar = made.colorbar(heat, ax=ax, shrink=0.5, aspect=18, pad=0.02)
    greatest = f"{top:.2g}"
    bar.set_ticks([0, top], labels=["0", greatest])
    # Between the two numbers there is room for it.
    bar.set_label(label, size=SMALL, labelpad=3 - 0.55 * SMALL * len(greatest))
    bar.outline.set_linewidth(0.4)
    bar.outline.set_edgecolor(style.quiet)
    bar.ax.tick_params(length=2)
    bar.ax.set_label("_bar")


def _set(ax: Axes, plane: Plane, style: Theme, on_image: bool, heat: bool) -> None:
    """A veil over what is not read, and the outline of what is."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (y0, y1), (x0, x1) = plane.clipped
    rows, columns = plane.shape
    veil = np.zeros((*plane.read.shape, 4))
    if on_image:
        thick = 0.55
        veil[..., :3] = to_rgb(style.ground)
        veil[..., 3] = thick * (1 - plane.read)
        hole = ((x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0))
        around = Path(
            [*((0, 0), (columns, 0), (columns, rows), (0, rows), (0, 0)), *hole],
            [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * 2,
        )
        ax.add_patch(
            PathPatch(around, facecolor=style.ground, alpha=thick, lw=0, zorder=3, label="_veil")
        )
    elif heat:
        veil[..., :3] = to_rgb(style.cell)
        veil[..., 3] = 1 - plane.read
    else:
        veil[..., :3] = to_rgb(style.read)
        veil[..., 3] = 0.75 * plane.read
    if veil.size:
        raster(ax, veil, (x0, x1, y1, y0), "_mask", 3)
    if plane.read.shape == (y1 - y0, x1 - x0):
        pieces = _outline(plane.read > 0, (y0, x0))
        if 0 < len(pieces) <= MAX_EDGES:
            few = len(pieces) <= 400
            lines = LineCollection(
                list(pieces), colors=style.ink, linewidths=0.5 if few else 0.25, zorder=3.5
            )
            lines.set_label("_outline")
            ax.add_collection(lines)


def _outline(read: NDArray[np.bool_], begin: tuple[int, int]) -> NDArray[np.float64]:
    """The border between what is read and what is not, as straight pieces: [pieces, 2 ends, x and y]."""
    wide = np.pad(read, 1)
    out = []
    for axis in (0, 1):
        turned = wide if axis == 0 else wide.T
        edge = turned[1:] != turned[:-1]  # edge k lies before row k
        change = np.diff(edge.astype(np.int8), axis=1, prepend=0, append=0)
        line, start = np.nonzero(change == 1)
        _, stop = np.nonzero(change == -1)
        along = np.stack([start, stop], 1) - 1.0 + begin[1 - axis]
        across = np.repeat((line + 0.0 + begin[axis])[:, None], 2, axis=1)
        pair = (along, across) if axis == 0 else (across, along)
        out.append(np.stack(pair, axis=-1))
    return np.concatenate(out)


def _grid(ax: Axes, plane: Plane, style: Theme) -> None:
    from matplotlib.collections import LineCollection

    rows, columns = plane.shape
    (top, bottom), (left, right) = ((0, rows), (0, columns))
    if max(rows, columns) > 4 * MAX_GRID:  # zoomed: only what is near
        (y, x) = plane.centre
        near = MAX_GRID + 1
        top, bottom = max(0, math.floor(y) - near), min(rows, math.ceil(y) + near)
        left, right = max(0, math.floor(x) - near), min(columns, math.ceil(x) + near)
    lines = [((x, top), (x, bottom)) for x in range(left, right + 1)]
    lines += [((left, y), (right, y)) for y in range(top, bottom + 1)]
    drawn = LineCollection(lines, colors=style.grid, linewidths=0.4, zorder=3.2, alpha=0.7)
    drawn.set_label("_grid")
    ax.add_collection(drawn)


def _boxes(ax: Axes, plane: Plane, style: Theme) -> None:
    """The box on the unbounded canvas, dashed, under the part inside the input, solid."""
    pairs = [_finite(pair, n) for pair, n in zip(plane.box, plane.shape, strict=True)]
    if all(low < high for low, high in pairs) and plane.box != plane.clipped:
        rectangle(
            ax, pairs[0], pairs[1], "_box", fill=False, edgecolor=style.unit, lw=1.1,
            ls=(0, (4, 2.5)), zorder=5, path_effects=halo(style, 2.2),
        )  # fmt: skip
    if all(low < high for low, high in plane.clipped):
        rectangle(
            ax, plane.clipped[0], plane.clipped[1], "_clipped", fill=False, edgecolor=style.unit,
            lw=1.4, zorder=6, path_effects=halo(style, 2.6),
        )  # fmt: skip


def _cross(ax: Axes, plane: Plane, style: Theme) -> None:
    (line,) = ax.plot(
        [plane.centre[1]], [plane.centre[0]], marker="+", ms=7, mew=1.3, ls="", color=style.unit,
        zorder=7, path_effects=halo(style, 3.0), label="_centre",
    )  # fmt: skip
    line.set_clip_on(True)


# --- an input of one axis


def _curve(
    ax: Axes,
    plane: Plane,
    view: tuple[float, float],
    style: Theme,
    layers: tuple[bool, bool, bool],
) -> None:
    box, mask, mass = layers
    (n,), ((begin, end),) = plane.shape, plane.clipped
    low, high = _finite(plane.box[0], n)
    if box and low < high:
        if low < 0 or high > n:
            for left, right in ((low, min(high, 0)), (max(low, n), high)):
                if left < right:
                    ax.axvspan(
                        left, right, facecolor=style.ground, edgecolor=style.quiet, lw=0,
                        hatch="/////", hatch_linewidth=0.4, zorder=0, label="_padding",
                    )  # fmt: skip
        ax.axvspan(low, high, fill=False, ec=style.unit, ls=(0, (4, 2.5)), lw=1.0, label="_box")
    if box and begin < end:
        ax.axvspan(begin, end, facecolor=style.unit, alpha=0.1, lw=0, zorder=0, label="_clipped")
    if len(plane.mass):
        cells = -(-(end - begin) // len(plane.mass))
        edges = np.minimum(begin + cells * np.arange(len(plane.mass) + 1), end)
        top = float(plane.mass.max()) or 1.0
        if mass:
            # Lines around it, so that a spike is seen that is thinner than a pixel.
            ax.stairs(
                plane.mass, edges, fill=True, fc=style.read, ec=style.read, lw=0.5, zorder=2,
                label="_mass",
            )  # fmt: skip
            ax.set_ylim(min(-0.13 * top * mask, 1.1 * plane.mass.min()), 1.12 * top)
        if mask:
            # A band at the foot: what is read is filled, holes are left open.
            foot = [-0.1 * top, -0.04 * top] if mass else [0.3, 0.7]
            band = reduced(plane.read, MAX_BAND)
            blocks = edges[:: -(-len(plane.read) // len(band))]
            ax.pcolormesh(
                [*blocks[: len(band)], end], foot, band[None, :], cmap=_one_colour(style.read),
                vmin=0, vmax=1, zorder=3, label="_mask",
            )  # fmt: skip
        ax.axvline(plane.centre[0], color=style.unit, lw=1, ls=":", zorder=3, label="_centre")
    ax.axvline(0, color=style.quiet, lw=0.7)
    ax.axvline(n, color=style.quiet, lw=0.7)
    ax.set_xlim(*view)
    ax.xaxis.set_major_locator(whole_numbers(7))
    ax.tick_params(length=2)
    if mass:
        ax.set_ylabel("mass of an element", size=SMALL)
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
        ax.yaxis.get_offset_text().set_fontsize(SMALL)
        low, high = ax.get_ylim()
        least = 0 if plane.mass.min(initial=0.0) >= 0 else low
        ax.set_yticks([tick for tick in ax.get_yticks() if least <= tick <= high])
    else:
        ax.set_yticks([])


def _one_colour(colour: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    rgb = to_rgb(colour)
    return LinearSegmentedColormap.from_list(
        "eyeshot", [(0, (*rgb, 0.0)), (0.01, (*rgb, 0.3)), (1, (*rgb, 1.0))]
    )
