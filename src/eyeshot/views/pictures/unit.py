"""A unit's field on an image: its box, the exact set, how much each pixel counts, its way through layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures.fieldpanel import FARTHEST, panel
from eyeshot.views.pictures.images import Backdrop, fitted
from eyeshot.views.pictures.panels import (
    at,
    caption,
    short,
    title,
)
from eyeshot.views.pictures.planes import Plane, planes
from eyeshot.views.pictures.style import TEXT, WIDTH, Theme, figure
from eyeshot.views.pictures.style import theme as themed
from eyeshot.views.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eyeshot.analysis.report import Report
    from eyeshot.analysis.unit import Part, Unit

__all__ = ["draw_path", "draw_unit"]

#: A field is drawn with its surroundings alone where it takes less than this part of every side.
ZOOMED = 0.2
#: An input of at most this many elements along an axis is drawn whole.
LITTLE = 32


def draw_unit(
    unit: Unit,
    image: Any = None,
    ax: Axes | Sequence[Axes] | None = None,
    *,
    box: bool = True,
    mask: bool = True,
    mass: bool = True,
    theme: str | Theme = "light",
    stretch: bool = False,
    zoom: bool | None = None,
) -> Axes | list[Axes]:
    """A unit's field, in the coordinates of the input; on ``image`` if one is given.

    ``image``: a file, a Pillow image or an array, brought to the input's shape by its shorter side and a centre
    crop, or by ``stretch``. ``box``: the box, dashed, and the part of it inside the input, solid; padding that
    it reaches is hatched. ``mask``: what is read stands out from what is not, so that holes are seen. ``mass``:
    how much each pixel counts, as heat. ``zoom``: show the field's surroundings or all of the input; by default
    the surroundings of a small field, if there is no image.

    An input of one axis is drawn as a curve; one of three axes as three slices through the field's centre. Each
    slice and each of several inputs takes axes of its own: ``ax`` is then a sequence, and so is the result.
    Raises :class:`~eyeshot.errors.EyeshotError` where it doesn't fit, or for an image that doesn't decode.
    """
    style = themed(theme)
    # An input without axes, such as a time step, has nothing to show.
    parts = [part for part in unit.parts if part.axes] or unit.parts
    shown = [(part, plane) for part in parts for plane in planes(part, part.centre)]
    if image is not None and not any(len(part.axes) == 2 for part, _ in shown):
        raise EyeshotError("an image can only be drawn under an input of two axes")
    backdrops = {
        part.name: fitted(image, (plane.shape[0], plane.shape[1]), stretch)
        for part, plane in shown
        if image is not None and len(part.axes) == 2
    }
    views = [_view(plane, backdrops.get(part.name), box, zoom) for part, plane in shown]
    last = {part.name: k for k, (part, _) in enumerate(shown)}
    with style.context():
        places = _places(ax, shown, views, style)
        above = ax is None and len(shown) > 1 and not _flat(views)
        if above:
            made: Any = places[0].get_figure(root=True)
            heading = _title(unit)
            if len(unit.parts) == 1:
                heading += f"\n{_numbers(unit, unit.parts[0])}"
            made.suptitle(heading, x=0.01, ha="left", size=TEXT, linespacing=1.4)
        for k, ((part, plane), view, place) in enumerate(zip(shown, views, places, strict=True)):
            back = backdrops.get(part.name)
            top = max((p.mass.max(initial=0.0) for q, p in shown if q is part), default=0.0)
            bar = k == last[part.name]
            panel(place, plane, view, back, style, (box, mask, mass), top, bar, unit.of)
            lines = [] if above or k else [_title(unit)]
            lines += [_label(unit, part, plane, above)]
            title(place, lines)
            first = k == 0 or shown[k - 1][0] is not part
            caption(place, _remarks(unit, part, plane, back, mass) if first else [], style)
    return places if len(shown) > 1 else places[0]


def draw_path(
    report: Report,
    layer: str | int,
    index: Sequence[int | slice] | int | slice | None = None,
    through: Sequence[str] = (),
    image: Any = None,
    axes: Sequence[Axes] | None = None,
    *,
    box: bool = True,
    mask: bool = True,
    mass: bool = True,
    theme: str | Theme = "light",
    stretch: bool = False,
    zoom: bool | None = None,
) -> list[Axes]:
    """What a unit reads of some layers before it, and of the input: a row of maps, each at its own resolution.

    ``index``: by default the unit in the middle. The first map is the unit's own, the last the input, on
    ``image`` if one is given; ``axes``, if given, are as many. See :func:`draw_unit` for the rest.
    """
    style = themed(theme)
    name = report[layer].name
    index = report[layer].middle if index is None else index
    units = [report.unit(name, index, of=of) for of in (name, *through, None)]
    shown: list[tuple[Unit, Part, Plane]] = []
    for unit in units:
        part = unit.parts[0]
        if len(unit.parts) != 1:
            names = ", ".join(part.name for part in unit.parts)
            raise EyeshotError(f"a way ends in one input, and the network has several: {names}")
        if len(part.axes) > 2:
            raise EyeshotError(f"{part.name}: a way is drawn through maps of one or two axes")
        shown.append((unit, part, planes(part, part.centre)[0]))
    back = None
    if image is not None:
        last = shown[-1][2]
        if len(last.axes) != 2:
            raise EyeshotError("an image can only be drawn under an input of two axes")
        back = fitted(image, (last.shape[0], last.shape[1]), stretch)
    views = [
        _view(plane, back if k == len(shown) - 1 else None, box, zoom, 0.15, 1.0)
        for k, (_, _, plane) in enumerate(shown)
    ]
    with style.context():
        if axes is None:
            places = _row(style, views, 2.5, 0.9 if back is None else 1.1)
        else:
            places = list(axes)
            if len(places) != len(views):
                raise EyeshotError(f"the way takes {len(views)} axes, got {len(places)}")
        for k, ((unit, part, plane), view, place) in enumerate(
            zip(shown, views, places, strict=True)
        ):
            under = back if k == len(shown) - 1 else None
            top = plane.mass.max(initial=0.0)
            panel(place, plane, view, under, style, (box, mask, mass), top, False, unit.of)
            title(place, _step(unit, part, k == 0).split("\n"))
            place.set_xlabel("")
            place.set_ylabel("")
            caption(place, [under.note] if under else [], style)
    return places


# --- one panel


def _view(
    plane: Plane,
    back: Backdrop | None,
    box: bool,
    zoom: bool | None,
    farthest: float = FARTHEST,
    around: float = 0.15,
) -> tuple[tuple[float, float], ...]:
    """What is shown of every axis, ``(begin, end)``."""
    out = []
    small = []
    for n, pair, inside in zip(plane.shape, plane.box, plane.clipped, strict=True):
        low, high = (min(pair[0], inside[0]), max(pair[1], inside[1])) if box else inside
        low, high = max(low, -farthest * n), min(high, (1 + farthest) * n)
        out.append((low, high))
        small.append(0 < high - low < ZOOMED * n and n > LITTLE)
    if zoom is None:
        zoom = back is None and all(small)
    if zoom and all(low < high for low, high in out):
        wide = max(high - low for low, high in out)
        margin = max(2.0, around * wide)
        return tuple(
            ((low + high - wide) / 2 - margin, (low + high + wide) / 2 + margin)
            for low, high in out
        )
    views = []
    for (low, high), n in zip(out, plane.shape, strict=True):
        begin, end = min(low, 0), max(high, n)
        views.append((begin - 0.02 * (end - begin), end + 0.02 * (end - begin)))
    return tuple(views)


def _places(
    ax: Axes | Sequence[Axes] | None,
    shown: Sequence[tuple[Part, Plane]],
    views: Sequence[tuple[tuple[float, float], ...]],
    style: Theme,
) -> list[Axes]:
    """The axes to draw on, one for each plane."""
    if ax is not None:
        places: list[Any] = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
        if len(places) != len(shown):
            raise EyeshotError(f"the unit's field takes {len(shown)} axes, got {len(places)}")
        return places
    each = {1: 4.6, 2: 3.3}.get(len(views), 2.6)
    return _row(style, views, each, 0.75 if len(views) == 1 else 1.3)


def _row(
    style: Theme, views: Sequence[tuple[tuple[float, float], ...]], width: float, extra: float
) -> list[Axes]:
    """Axes side by side, or for curves one below the other, on a figure as high as the highest of them."""
    count = len(views)
    if _flat(views):
        made = figure(style, (WIDTH, 0.4 + 1.9 * count))
        return [made.add_subplot(count, 1, k + 1) for k in range(count)]
    heights = [1.8]
    for view in views:
        if len(view) == 2:
            (top, bottom), (left, right) = view
            heights.append(min(1.6 * width, 0.85 * width * (bottom - top) / (right - left)))
    made = figure(style, (count * width, max(heights) + extra))
    return [made.add_subplot(1, count, k + 1) for k in range(count)]


def _flat(views: Sequence[tuple[tuple[float, float], ...]]) -> bool:
    return all(len(view) == 1 for view in views)


# --- words


def _title(unit: Unit) -> str:
    """Which unit: ``conv5 (6, 6) on pool1``."""
    words = [short(unit.layer), at(unit.index), f"on {short(unit.of)}" if unit.of else ""]
    if len(unit.parts) > 1 and unit.share_in_padding > 0:
        words.append(f"· {_percent(unit.share_in_padding)} in padding")
    return " ".join(filter(None, words))


def _label(unit: Unit, part: Part, plane: Plane, above: bool) -> str:
    """What is told of one plane: ``input · field 163×163 · jump 16``, or where a slice is."""
    words = [short(part.name, 24)] if len(unit.parts) > 1 else []
    words += [f"axis {dim} at {cut}" for dim, cut in plane.at.items()]
    if not plane.at or (plane.axes == part.axes[1:] and (len(unit.parts) > 1 or not above)):
        words.append(_numbers(unit, part))
    return ("\n" if len(unit.parts) > 1 and not plane.at else " · ").join(words)


def _numbers(unit: Unit, part: Part) -> str:
    """``field 163×163 · jump 16 · 7 % in padding``."""
    if not any(begin < end for begin, end in part.clipped):
        return "reads nothing"
    fields = [f for f in unit._layer.fields if f.input == part.name]
    size = "×".join(number(end - begin) for begin, end in part.box)
    if any(f.is_global for f in fields):
        size = "global" if _only_global(part) else f"{size} + global"
    words = [f"field {'≤ ' if unit.status == 'bound' else ''}{size}"]
    jumps = [number(f.jump) for f in fields]
    if any(f.jump is not None for f in fields):
        words.append(f"jump {'×'.join(jumps) if len(set(jumps)) > 1 else jumps[0]}")
    if unit.share_in_padding > 0 and len(unit.parts) == 1:
        words.append(f"{_percent(unit.share_in_padding)} in padding")
    return " · ".join(words)


def _only_global(part: Part) -> bool:
    """Whether the local box is all of the input too."""
    return part.box == tuple((0, n) for n in part.shape)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _remarks(unit: Unit, part: Part, plane: Plane, back: Backdrop | None, mass: bool) -> list[str]:
    out = []
    sides = list(zip(plane.box, plane.shape, strict=True))
    if any(f.is_global for f in unit._layer.fields if f.input == part.name):
        local = "" if _only_global(part) else "; dashed is its local box"
        out.append(f"global: the unit {'also ' if local else ''}reads the whole axis{local}")
    if any(low < 0 or high > n for (low, high), n in sides):
        out.append("hatched: padding inside the unit's box")
    if any(low < -FARTHEST * n or high > (1 + FARTHEST) * n for (low, high), n in sides):
        out.append("the box reaches farther than is shown")
    if unit.elsewhere > 1e-9:
        out.append(f"{_percent(unit.elsewhere)} of the mass goes around {short(unit.of or '')}")
    if len(plane.axes) == 1:
        out.append("filled: mass; the band below: what is read; dotted: the centre")
    elif mass and plane.mass.min(initial=0.0) < 0:
        out.append("mass below 0 (bicubic weights) is drawn as 0")
    if back is not None:
        out.append(back.note)
    return out


def _step(unit: Unit, part: Part, first: bool) -> str:
    """The title of a map on a way: its name and size, and what is read of it."""
    size = "×".join(map(str, part.shape))
    name = short(unit.of or part.name, 28)
    if first:
        return f"{name} {at(unit.index)}\n{size}"
    inside = part.mask_in_box
    holes = int((~inside).sum())
    words = [f"reads {'×'.join(map(str, inside.shape))}"]
    if holes:
        words.append(f"{holes} hole{'s' * (holes != 1)}")
    if unit.elsewhere > 1e-9:
        words.append(f"{_percent(unit.elsewhere)} around it")
    return f"{name} {size}\n{', '.join(words)}"
