"""All centres of a layer, on an image or on an empty frame of the input's size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from eyeshot.analysis.report import Layer, Report

__all__ = ["MAX_DOTS", "centres"]

#: More dots than these melt into one; then every k-th unit along each axis is drawn.
MAX_DOTS = 2500


def centres(
    report: Report,
    layer: str,
    image: Any = None,
    *,
    stretch: bool = False,
    ax: Axes | None = None,
    theme: str | style.Theme = "light",
) -> Axes:
    """Draw where all units of ``layer`` look: a dot at the centre of each one's field, on the input.

    The box is the field of the first unit that reads anything, dashed where it lies in padding; a ring marks
    its centre. Of more than ``MAX_DOTS`` units every k-th along each axis is drawn, and the title says so. An
    input of one axis is drawn as a line. ``image``: what lies beneath, a path, a Pillow image or an array,
    cropped to the input's proportions or, with ``stretch``, stretched. Returns the axes, in input pixels:
    pixel k covers [k, k + 1].

    Raises :class:`~eyeshot.errors.EyeshotError` for an input of more than two axes, or units that all read the
    same.
    """
    look = style.theme(theme)
    chosen = report[layer]
    name, shape, follows = _input(report, chosen)
    points, step, first = _points(chosen, name, follows)
    boxes = [(b, e) for (b, e), f in zip(chosen.box(first), chosen.fields, strict=True)]
    boxes = [_bounded(b, e, n) for (b, e), n in zip(boxes, shape, strict=True)]
    if len(shape) == 1:
        points = np.column_stack([np.zeros(len(points)), points])
        boxes = [(-0.5, 0.5), boxes[0]]
    frame = (0.0, float(shape[0])) if len(shape) == 2 else (-0.5, 0.5)
    (top, bottom), (left, right) = boxes
    wide, high = shape[-1], shape[0] if len(shape) == 2 else 1
    view_x, view_y = _view(left, right, wide), _view(top, bottom, high)
    if image is not None and len(shape) == 1:
        raise EyeshotError(f"{name}: an image goes with an input of 2 axes, it has 1")
    backdrop = None
    if image is not None:
        from eyeshot.views.pictures.images import fitted

        backdrop = fitted(image, (shape[0], shape[1]), stretch)
    ax = style.axes(ax, look, _inches(view_x, view_y, len(shape)))
    with look.context():
        _frame(ax, look, frame, wide, backdrop)
        _dots(ax, look, points)
        halo = [Stroke(linewidth=2.8, foreground=look.ground), Normal()]
        edge = {"fc": "none", "ec": look.unit, "lw": 1.4, "zorder": 5, "path_effects": halo}
        _box(ax, (left, right), (top, bottom), (0, wide), frame, edge)
        ax.plot(
            points[:1, 1],
            points[:1, 0],
            ls="",
            marker="o",
            ms=8,
            mfc="none",
            mec=look.unit,
            mew=1.4,
            zorder=6,
            path_effects=halo,
            gid="first",
        )
        ax.set_title(_title(chosen, follows, step))
        ax.set_xlim(*view_x)
        if len(shape) == 2:
            ax.set_ylim(*reversed(view_y))
            ax.set_aspect("equal")
        else:
            ax.set_ylim(1.1, -1.1)
            ax.yaxis.set_visible(False)
            ax.spines["left"].set_visible(False)
            ax.set_xlabel("position on the input")
    return ax


def _input(report: Report, layer: Layer) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The one input that the layer's units tell apart: its name, its sizes along the axes, the layer's dims."""
    if len(report.inputs) != 1:
        names = ", ".join(source["name"] for source in report.inputs)
        raise EyeshotError(f"the network has several inputs ({names}); this picture is of one")
    source = report.inputs[0]
    shape = tuple(source["shape"][d] for d in source["axes"])
    if len(shape) > 2:
        raise EyeshotError(
            f"{source['name']}: centres are drawn on an input of 1 or 2 axes, it has {len(shape)}"
        )
    if not layer.unit_dims:
        what = "all of the input" if layer.is_global else "one place"
        raise EyeshotError(f"{layer.name}: its units all read {what}, there are no centres to draw")
    return source["name"], shape, layer.unit_dims


def _points(
    layer: Layer, name: str, follows: tuple[int, ...]
) -> tuple[NDArray[np.float64], int, tuple[int, ...]]:
    """The centres [units, axes], of how many along an axis one is drawn, and the first unit that reads."""
    units = [layer.shape[d] for d in follows]
    step = 1
    while math.prod(-(-n // step) for n in units) > MAX_DOTS:
        step += 1
    index = np.stack(
        np.meshgrid(*(np.arange(0, n, step) for n in units), indexing="ij"), axis=-1
    ).reshape(-1, len(units))
    points = layer.centres(index)
    seen = ~np.isnan(points).any(axis=1)
    if not seen.any():
        raise EyeshotError(f"{layer.name}: its units read nothing of {name}")
    return points[seen], step, tuple(int(i) for i in index[seen][0])


def _bounded(begin: float, end: float, n: int) -> tuple[float, float]:
    """A box without end is cut off where the input ends."""
    return (
        0.0 if math.isinf(begin) else float(begin),
        float(n) if math.isinf(end) else float(end),
    )


def _view(begin: float, end: float, n: int) -> tuple[float, float]:
    """The input, and of the box beyond it as much as the input is long."""
    low, high = max(min(0.0, begin), -float(n)), min(max(float(n), end), 2.0 * n)
    margin = 0.02 * (high - low)
    return low - margin, high + margin


def _inches(x: tuple[float, float], y: tuple[float, float], axes: int) -> tuple[float, float]:
    if axes == 1:
        return style.WIDTH, 1.3
    across, down = x[1] - x[0], y[1] - y[0]
    wide = min(4.2, 6.5 * across / down)
    return max(2.2, wide) + 0.4, max(1.2, wide * down / across) + 0.5


def _frame(
    ax: Axes, look: style.Theme, frame: tuple[float, float], wide: int, backdrop: Any
) -> None:
    low, high = frame
    if backdrop is not None:
        ax.imshow(
            backdrop.pixels,
            extent=(0, wide, high, low),
            zorder=0.5,
            gid="image",
        )
    ax.add_patch(
        Rectangle(
            (0, low),
            wide,
            high - low,
            fc="none" if backdrop is not None else look.cell,
            ec=look.quiet,
            lw=0.8,
            zorder=1,
            gid="frame",
        )
    )


def _dots(ax: Axes, look: style.Theme, points: NDArray[np.float64]) -> None:
    """Dark dots with a light rim (or the other way round), to be seen on any image."""
    size = float(np.clip(90 / math.sqrt(len(points)), 1.6, 4.0))
    ax.plot(
        points[:, 1],
        points[:, 0],
        ls="",
        marker="o",
        ms=size,
        mfc=look.read,
        mec=look.ground,
        mew=min(0.6, 0.2 * size),
        zorder=5.5,
        gid="centres",
    )


def _box(
    ax: Axes,
    x: tuple[float, float],
    y: tuple[float, float],
    columns: tuple[float, float],
    rows: tuple[float, float],
    edge: dict[str, Any],
) -> None:
    """The first unit's field, and solid the part of it inside the input."""
    whole = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0], gid="box", **edge)
    x, y = _clipped(x, columns), _clipped(y, rows)
    if x[0] >= x[1] or y[0] >= y[1]:
        whole.set_linestyle((0, (3, 2)))
        ax.add_patch(whole)
        return
    inside = Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0], gid="clipped", **edge)
    if inside.get_bbox().bounds != whole.get_bbox().bounds:
        whole.set_linestyle((0, (3, 2)))
    ax.add_patch(whole)
    ax.add_patch(inside)


def _clipped(pair: tuple[float, float], within: tuple[float, float]) -> tuple[float, float]:
    return max(pair[0], within[0]), min(pair[1], within[1])


def _title(layer: Layer, follows: tuple[int, ...], step: int) -> str:
    units = "×".join(str(layer.shape[d]) for d in follows)
    note = ""
    if step > 1:
        ending = {1: "st", 2: "nd", 3: "rd"}.get(
            step % 10 if step % 100 not in (11, 12, 13) else 0, "th"
        )
        note = f", every {step}{ending} drawn"
        if len(follows) > 1:
            note += " on each axis"
    return f"{layer.name}: {units} units{note}"
