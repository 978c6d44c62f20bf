"""Effective receptive fields: the map as heat, squares, the Gaussian fit, and what it adds up to per axis."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures.erfcurves import curve, profiles_beside, window
from eyeshot.views.pictures.panels import (
    at,
    caption,
    halo,
    heat_colours,
    rectangle,
    short,
    ticks,
    title,
)
from eyeshot.views.pictures.planes import reduced
from eyeshot.views.pictures.style import SMALL, WIDTH, Theme, figure
from eyeshot.views.pictures.style import theme as themed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeshot.analysis.erf import Erf

__all__ = ["draw_erf", "draw_erfs", "save_erf"]

Scale = Literal["linear", "root", "log"]
Floats = NDArray[np.float64]
View = tuple[tuple[float, float], ...]

#: Where a logarithmic scale begins, as a part of the maximum.
LEAST = 1e-4
SCALES = {
    "linear": "contribution, part of the maximum",
    "root": "contribution, part of the maximum (square-root scale)",
    "log": "contribution, part of the maximum (log scale)",
}
PROTOCOLS = {
    "mass": "of the architecture alone",
    "mean-abs": "mean size of the gradient",
    "positive": "positive gradients",
}
#: A map is shown without what lies far around the theoretical field, where that takes less of every side.
ZOOMED = 0.5
#: Letters that fit over a map that stands beside others.
NARROW = 32


def draw_erf(
    erf: Erf,
    ax: Axes | Sequence[Axes] | None = None,
    *,
    scale: Scale = "root",
    squares: bool = True,
    fit: bool = True,
    box: bool = True,
    profiles: bool | None = None,
    theme: str | Theme = "light",
    zoom: bool | None = None,
) -> Axes | list[Axes]:
    """An effective receptive field, in the coordinates of its input.

    ``scale``: of the heat: by the square root, so that the tails are seen, "linear", or "log" over four
    decades. ``squares``: the smallest that hold 20, 30, 50 and 99 % of the contribution. ``fit``: the
    Gaussian's 1 and 2 sigma. ``box``: the theoretical field, dashed. ``profiles``: the map added up along each
    axis, with the fit and the full width at half maximum; by default on a figure of its own. ``zoom``: show the
    theoretical field's surroundings, by default where it is less than half of the input.

    A map of one axis is drawn as a curve, one of three as slices through the centre, for which ``ax`` is three
    axes, as is the result.
    """
    style = themed(theme)
    _check(erf, scale)
    count = 3 if erf.map.ndim == 3 else 1
    with style.context():
        if ax is None:
            places = _own(erf, style, profiles is not False, zoom)
        else:
            places = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
            if len(places) != count:
                raise EyeshotError(f"the map takes {count} axes, got {len(places)}")
        show = (squares, fit, box)
        if profiles is None:
            profiles = ax is None
        views = _views(erf, zoom)
        drawn = _draw(erf, places, views, style, scale, show, labels=True)
        if profiles and erf.map.ndim == 2:
            profiles_beside(erf, places[0], views[0], style, fit)
        if drawn is not None:
            _bar(places[-1:], drawn, style, scale)
        above = 1.2 if profiles and erf.map.ndim == 2 else None  # above the profile
        title(places[0], _title(erf), y=above)
        remarks = _remarks(erf, show, erf.map.ndim == 1 or (profiles and erf.map.ndim == 2))
        if count > 1 and ax is None:
            made: Any = places[0].get_figure(root=True)
            made.supxlabel("\n".join(remarks), x=0.01, ha="left", size=SMALL, color=style.quiet)
        else:
            caption(places[0], remarks, style)
    return places if count > 1 else places[0]


def draw_erfs(
    erfs: Sequence[Erf],
    axes: Sequence[Axes] | None = None,
    *,
    scale: Scale = "root",
    squares: bool = True,
    fit: bool = True,
    box: bool = True,
    theme: str | Theme = "light",
    zoom: bool | None = None,
) -> list[Axes]:
    """Several fields side by side, each as a part of its own maximum, on one scale. See :func:`draw_erf`.

    Where all have inputs of one size they show the same part of it.
    """
    style = themed(theme)
    if not erfs:
        raise EyeshotError("there is no effective receptive field to draw")
    for erf in erfs:
        _check(erf, scale)
        if erf.map.ndim == 3:
            raise EyeshotError(f"{short(erf.title)}: maps of three axes are drawn one at a time")
    with style.context():
        if axes is not None:
            places = list(axes)
            if len(places) != len(erfs):
                raise EyeshotError(f"{len(erfs)} maps take as many axes, got {len(places)}")
        elif all(erf.map.ndim == 1 for erf in erfs):
            made = figure(style, (WIDTH, 2.4 * len(erfs)))
            places = [made.add_subplot(len(erfs), 1, k + 1) for k in range(len(erfs))]
        else:
            columns = min(len(erfs), 4)
            rows = -(-len(erfs) // columns)
            made = figure(style, (2.6 * columns + 0.9, 3.8 * rows))
            places = [made.add_subplot(rows, columns, k + 1) for k in range(len(erfs))]
        show = (squares, fit, box)
        drawn = None
        views = [_views(erf, zoom)[0] for erf in erfs]
        if len({erf.map.shape for erf in erfs}) == 1:
            views = [_union(views)] * len(views)
        for erf, place, view in zip(erfs, places, views, strict=True):
            drawn = _draw(erf, [place], [view], style, scale, show, labels=False) or drawn
            title(place, _title(erf, short_=True))
            caption(place, _remarks(erf, show, erf.map.ndim == 1), style)
        if drawn is not None:
            _bar(places if axes is None else places[-1:], drawn, style, scale)
    return places


def save_erf(
    erfs: Erf | Sequence[Erf],
    path: str | os.PathLike[str],
    theme: str | Theme = "light",
    dpi: float | None = None,
    size: tuple[float, float] | None = None,
    scale: Scale = "root",
) -> None:
    """Write the picture of one or several fields: PNG, SVG or PDF by the suffix, whole or not there.

    ``dpi``: pixels per inch of a PNG; ``size``: of the picture, in inches.
    """
    from eyeshot.views.pictures.save import check, save

    check(path)
    several = list(erfs) if isinstance(erfs, Sequence) else [erfs]
    if len(several) == 1:
        drawn: Any = draw_erf(several[0], theme=theme, scale=scale)
        first = drawn[0] if isinstance(drawn, list) else drawn
    else:
        first = draw_erfs(several, theme=theme, scale=scale)[0]
    made = first.get_figure(root=True)
    if size is not None:
        made.set_size_inches(size)
    if dpi is None:
        save(made, path)
    else:
        save(made, path, dpi)


def _check(erf: Erf, scale: str) -> None:
    if scale not in SCALES:
        raise EyeshotError(f"scale: expected linear, root or log, got {scale!r}")
    if not 1 <= erf.map.ndim <= 3:
        raise EyeshotError(
            f"{erf.input}: maps of one, two or three axes can be drawn, not of {erf.map.ndim}"
        )


def _own(erf: Erf, style: Theme, profiles: bool, zoom: bool | None) -> list[Axes]:
    """Axes of a figure of its own."""
    if erf.map.ndim == 1:
        return [figure(style, (WIDTH, 2.8)).add_subplot()]
    views = _views(erf, zoom)
    if erf.map.ndim == 2:
        (top, bottom), (left, right) = views[0]
        wide = 4.2
        high = min(1.6 * wide, wide * (bottom - top) / (right - left))
        return [
            figure(style, (wide + 1.4, max(high, 1.5) + (1.8 if profiles else 1.2))).add_subplot()
        ]
    heights = [2.3 * (bottom - top) / (right - left) for (top, bottom), (left, right) in views]
    made = figure(style, (8.1, min(max(max(heights), 1.2), 4.0) + 1.5))
    return [made.add_subplot(1, 3, k + 1) for k in range(3)]


def _pairs(erf: Erf) -> list[tuple[int, ...]]:
    """The axes of the map that are drawn together."""
    if erf.map.ndim < 3:
        return [tuple(range(erf.map.ndim))]
    return [(1, 2), (0, 2), (0, 1)]


def _views(erf: Erf, zoom: bool | None) -> list[View]:
    """What is shown of each pair of axes, ``(begin, end)`` per axis."""
    sides = list(zip(erf.clipped, erf.map.shape, strict=True))
    if zoom is None:
        zoom = all(0 < end - begin < ZOOMED * n for (begin, end), n in sides)
    out: list[View] = []
    for axes in _pairs(erf):
        wide = max(erf.clipped[k][1] - erf.clipped[k][0] for k in axes)
        margin = max(2.0, 0.1 * wide)
        middles = [sum(erf.clipped[k]) / 2 for k in axes]
        near = tuple((m - wide / 2 - margin, m + wide / 2 + margin) for m in middles)
        out.append(near if zoom else tuple((0.0, float(erf.map.shape[k])) for k in axes))
    return out


def _union(views: Sequence[View]) -> View:
    return tuple(
        (min(low for low, _ in sides), max(high for _, high in sides))
        for sides in zip(*views, strict=True)
    )


def _draw(
    erf: Erf,
    places: Sequence[Axes],
    views: Sequence[View],
    style: Theme,
    scale: Scale,
    show: tuple[bool, bool, bool],
    labels: bool,
) -> Any:
    """The map and what is marked on it; returns the last heat. ``labels``: of the squares."""
    top = float(erf.map.max(initial=0.0)) or 1.0
    drawn = None
    for axes, ax, view in zip(_pairs(erf), places, views, strict=True):
        gone = [j for j in range(erf.map.ndim) if j not in axes]
        part = erf.map
        if gone:
            where = _cut(erf, gone[0])
            title(ax, [f"axis {erf.axes[gone[0]]} at {where}"])
            part = np.asarray(np.take(erf.map, where, axis=gone[0]))
        if erf.map.ndim == 1:
            curve(erf, ax, view[0], style, show)
        else:
            drawn = _plane(erf, part, top, axes, ax, view, style, scale, show, labels)
    return drawn


def _cut(erf: Erf, axis: int) -> int:
    """Where a map of three axes is cut: at the unit's centre."""
    return min(max(math.floor(erf.centre[axis]), 0), erf.map.shape[axis] - 1)


def _plane(
    erf: Erf,
    part: Floats,
    top: float,
    axes: tuple[int, ...],
    ax: Axes,
    view: View,
    style: Theme,
    scale: Scale,
    show: tuple[bool, bool, bool],
    labels: bool,
) -> Any:
    from matplotlib.colors import LogNorm, Normalize, PowerNorm

    rows, columns = part.shape
    (above, below), (left, right) = view
    (y0, y1), (x0, x1) = (window(side, n) for side, n in zip(view, part.shape, strict=True))
    drawn = ax.imshow(
        reduced(part[y0:y1, x0:x1]) / top, extent=(x0, x1, y1, y0), interpolation="nearest",
        cmap=heat_colours(style), zorder=1,
    )  # fmt: skip
    drawn.set_label("_map")
    norms: dict[str, Normalize] = {
        "linear": Normalize(0, 1),
        "root": PowerNorm(0.5, 0, 1),
        "log": LogNorm(LEAST, 1, clip=True),
    }
    drawn.set_norm(norms[scale])
    rectangle(ax, (0, rows), (0, columns), "_frame", fill=False, ec=style.quiet, lw=0.7, zorder=2)
    squares, fit, box = show
    if box:
        _field(erf, axes, ax, style)
    if squares:
        _squares(erf, axes, ax, style, below - above, labels)
    if fit and erf.fit is not None:
        _ellipses(erf, axes, ax, style)
    ax.set_xlim(left, right)
    ax.set_ylim(below, above)
    ax.set_aspect("equal")
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=2)
    ticks(ax)
    return drawn


def _bar(places: Sequence[Axes], drawn: Any, style: Theme, scale: Scale) -> None:
    made: Any = places[0].get_figure(root=False)
    bar = made.colorbar(drawn, ax=list(places), shrink=0.6, aspect=22, pad=0.03)
    at_ = {"linear": [0, 0.5, 1], "root": [0, 0.1, 0.5, 1], "log": [1e-4, 1e-3, 1e-2, 0.1, 1]}[
        scale
    ]
    bar.set_ticks(at_, labels=[f"{value:g}" for value in at_], minor=False)
    bar.ax.minorticks_off()
    bar.set_label(SCALES[scale].replace(" (", "\n("), size=SMALL)
    bar.outline.set_linewidth(0.4)
    bar.outline.set_edgecolor(style.quiet)
    bar.ax.tick_params(length=2)
    bar.ax.set_label("_bar")


def _field(erf: Erf, axes: tuple[int, ...], ax: Axes, style: Theme) -> None:
    far = 2 * max(erf.map.shape)
    sides = [(max(erf.box[k][0], -far), min(erf.box[k][1], far)) for k in axes]
    if all(low < high for low, high in sides):
        rectangle(
            ax, sides[0], sides[1], "_box", fill=False, ec=style.unit, lw=1.1,
            ls=(0, (4, 2.5)), zorder=3, path_effects=halo(style, 2.2),
        )  # fmt: skip


def _squares(
    erf: Erf, axes: tuple[int, ...], ax: Axes, style: Theme, high: float, labels: bool
) -> None:
    """Solid, each with its share at a corner of its own."""
    corners = (("left", "bottom"), ("right", "top"), ("left", "top"), ("right", "bottom"))
    for k, square in enumerate(erf.squares):
        (top, left), (bottom, right) = (
            (square.begin[axes[0]], square.begin[axes[1]]),
            (square.end[axes[0]], square.end[axes[1]]),
        )
        rectangle(
            ax, (top, bottom), (left, right), f"_square {square.share:g}", fill=False,
            ec=style.ink, lw=1.1, zorder=4, path_effects=halo(style, 2.2),
        )  # fmt: skip
        if not labels:
            continue
        sideways, upright = corners[k % 4]
        inside = square.end[axes[0]] - square.begin[axes[0]] > 0.5 * high
        text_up = upright if inside else {"top": "bottom", "bottom": "top"}[upright]
        # Above the square's upper edge or below its lower one; a large square has it inside.
        y = top if upright == "top" else bottom
        ax.annotate(
            f"{100 * square.share:g} %", (left if sideways == "left" else right, y),
            xytext=(2 if sideways == "left" else -2, (-2 if (upright == "top") == inside else 2)),
            textcoords="offset points", ha=sideways, va=text_up, size=SMALL, color=style.ink,
            zorder=6, path_effects=halo(style, 2.0), annotation_clip=True,
        )  # fmt: skip


def _ellipses(erf: Erf, axes: tuple[int, ...], ax: Axes, style: Theme) -> None:
    from matplotlib.patches import Ellipse

    fit = erf.fit
    assert fit is not None
    y, x = (fit.centre[k] for k in axes)
    for times in (1, 2):
        height, width = (2 * times * fit.sigma[k] for k in axes)
        ax.add_patch(
            Ellipse(
                (x, y), width, height, fill=False, ec=style.ink, lw=1.0, ls=(0, (1, 1.4)), zorder=5,
                label=f"_{times} sigma", path_effects=halo(style, 1.8),
            )
        )  # fmt: skip


# --- words


def _title(erf: Erf, short_: bool = False) -> list[str]:
    """Which unit, and by which protocol."""
    name = " · ".join(filter(None, (short(erf.title, 30), f"{short(erf.layer)} {at(erf.index)}")))
    how = PROTOCOLS.get(erf.protocol, erf.protocol)
    if erf.samples:
        how += f", {erf.samples} sample{'s' * (erf.samples != 1)}"
    if erf.interrupted:
        how += " (interrupted)"
    out = [name.rstrip(), how if short_ else f"effective receptive field: {how}"]
    if short_ and len(out[0]) > NARROW:
        place = f" {at(erf.index)}".rstrip()
        names = (short(erf.title, NARROW), short(erf.layer, max(NARROW - len(place), 8)) + place)
        out[:1] = [name for name in names if name]
    if erf.map.ndim == 3:
        out.append(f"axis {erf.axes[0]} at {_cut(erf, 0)}")
    return out


def _remarks(erf: Erf, show: tuple[bool, bool, bool], widths: bool) -> list[str]:
    squares, fit, box = show
    found = erf.squares
    if not found:
        return ["the unit gets nothing of the input"]
    out = []
    if squares:
        word = {1: "bars", 2: "squares", 3: "cubes"}[erf.map.ndim]
        shares = ", ".join(f"{100 * s.share:g}" for s in found)
        out.append(f"{word} hold {shares} %: sides {', '.join(str(s.side) for s in found)}")
    if fit and erf.fit is not None:
        sigma = " × ".join(f"{s:.3g}" for s in erf.fit.sigma)
        which = "Gaussian fit" if erf.map.ndim == 1 else "1 and 2 σ of the Gaussian fit"
        out.append(f"dotted: {which}, σ {sigma}, R² {erf.fit.r2:.2f}")
    if erf.fwhm is not None and widths:
        out.append(f"full width at half maximum {' × '.join(f'{w:.3g}' for w in erf.fwhm)}")
    if box and any(low < high for low, high in erf.box):
        size = "×".join("∞" if math.isinf(e - b) else str(e - b) for b, e in erf.box)
        shown = any(
            low > 0 or high < n for (low, high), n in zip(erf.box, erf.map.shape, strict=True)
        )
        whole = all(pair == (0, n) for pair, n in zip(erf.box, erf.map.shape, strict=True))
        beyond = "" if shown else f", {'the whole' if whole else 'beyond the'} input"
        out.append(f"dashed: theoretical field {size}{beyond}")
    return out
