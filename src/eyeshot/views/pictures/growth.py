"""Growth of the field over depth, for one network or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from eyeshot.errors import EyeshotError
from eyeshot.views.pictures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

    from eyeshot.analysis.report import Field, Layer, Report

__all__ = ["AXES", "SCALES", "growth"]

AXES = ("max", "each")
SCALES = ("linear", "log")
#: A line has about so many markers; more would hide its dashes.
MAX_MARKERS = 24
#: The input's size is left above the picture where it is this many times the largest field.
FAR = 2.5
#: Where a name may stand beside its point, in points; the first that is free is taken.
PLACES = [
    (x * side, y * side)
    for x, y in (
        (14, -14),
        (14, -26),
        (30, -26),
        (14, -40),
        (30, -40),
        (48, -40),
        (30, -56),
        (48, -70),
    )
    for side in (1, -1)
]


class _Curve(NamedTuple):
    """One line: per layer that reads its input a place ``x`` (1 is the first layer run) and a ``size``.

    Sizes are local; nan where units read nothing but the whole axis, inf where a past has no end.
    """

    label: str
    length: int
    names: list[str]
    x: list[int]
    size: list[float]
    everything: list[bool]


def growth(
    *reports: Report,
    labels: Sequence[str] | None = None,
    layers: Sequence[Sequence[Layer]] | None = None,
    axis: str = "max",
    scale: str = "linear",
    ax: Axes | None = None,
    theme: str | style.Theme = "light",
) -> Axes:
    """Draw the size of the receptive field over the layers, in the order they run.

    The line is the largest field so far; where branches run beside each other the shade reaches down to the
    smallest one still to come, and thin steps follow the layers as they run. The input's size is a line of its
    own, and the first layer whose field is larger is named. Stars on that line are layers that read the whole
    input (global pooling, attention, norms), triangles at the top fields without end.

    ``labels``: one per report, by default its title; ``layers``: for each report those to draw, by default all.
    ``axis``: ``max`` for the largest of the axes, ``each`` for a line per axis. ``scale``: ``linear`` or
    ``log``. Returns the axes.
    """
    look = style.theme(theme)
    _check(reports, labels, layers, axis, scale)
    curves = []
    for k, report in enumerate(reports):
        label = (report.title or f"network {k + 1}") if labels is None else labels[k]
        found = _curves(label, list(report) if layers is None else list(layers[k]), axis)
        if not found:
            raise EyeshotError(f"{label}: no layer reads the input along an axis")
        curves += found
    ax = style.axes(ax, look, (style.WIDTH, 3.4))
    with look.context():
        handles = [_line(ax, look, k, curve) for k, curve in enumerate(curves)]
        ax.set_yscale(scale)
        _limits(ax, curves, scale)
        _input_lines(ax, look, curves)
        extra = _marks(ax, look, curves)
        ax.set_xlabel("layer, in the order run")
        ax.set_ylabel("receptive field (input elements)")
        ax.grid(axis="y", color=look.grid, linewidth=0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if scale == "log":
            ax.yaxis.set_minor_formatter(lambda value, _: "")
        if len(handles) + len(extra) > 1:
            entries = [*handles, *extra]
            ax.legend(
                handles=entries,
                loc="lower left",
                bbox_to_anchor=(0, 1.0),
                ncols=min(4, len(entries)),
                handlelength=3.2,
                borderaxespad=0.2,
            )
        _name_crossings(ax, look, curves)
    return ax


def _check(reports: Any, labels: Any, layers: Any, axis: str, scale: str) -> None:
    if not reports:
        raise EyeshotError("growth: no report is given")
    for name, given in (("labels", labels), ("layers", layers)):
        if given is not None and len(given) != len(reports):
            raise EyeshotError(
                f"{name}: {len(reports)} are wanted, one per report; got {len(given)}"
            )
    for name, value, known in (("axis", axis, AXES), ("scale", scale, SCALES)):
        if value not in known:
            raise EyeshotError(f"{name}: expected {' or '.join(known)}, got {value!r}")


def _curves(label: str, layers: Sequence[Layer], axis: str) -> list[_Curve]:
    """One curve, or one per axis of every input."""
    lengths = _lengths(layers)
    if axis == "max":
        groups = [(label, list(lengths))] if lengths else []
    else:
        several = len({name for name, _ in lengths}) > 1
        groups = [
            (f"{label}, {f'{name} ' if several else ''}axis {dim}", [(name, dim)])
            for name, dim in lengths
        ]
    out = []
    for name, keys in groups:
        curve = _Curve(name, max(lengths[key] for key in keys), [], [], [], [])
        for x, layer in enumerate(layers, 1):
            fields = [f for f in layer.fields if (f.input, f.axis) in keys]
            local = [float(f.size) for f in fields if not _only_global(f) and f.size > 0]
            everything = any(f.is_global for f in fields)
            if local or everything:
                curve.names.append(layer.name)
                curve.x.append(x)
                curve.size.append(max(local, default=math.nan))
                curve.everything.append(everything)
        if curve.x:
            out.append(curve)
    return out


def _lengths(layers: Sequence[Layer]) -> dict[tuple[str, int], int]:
    """The axes of the inputs, and their sizes."""
    for layer in layers:
        sources = {source["name"]: source["shape"] for source in layer._report.inputs}
        return {(f.input, f.axis): sources[f.input][f.axis] for f in layer.fields}
    return {}


def _only_global(field: Field) -> bool:
    return field.is_global and field.jump is None


def _line(ax: Axes, look: style.Theme, k: int, curve: _Curve) -> Any:
    """The largest so far, the range of the branches, and the layers as they run."""
    made = look.line(k)
    known = [(x, size) for x, size in zip(curve.x, curve.size, strict=True) if math.isfinite(size)]
    xs = [x for x, _ in known]
    sizes = [size for _, size in known]
    upper, lower = _envelope(sizes)
    if upper != lower:
        ax.fill_between(
            xs, lower, upper, step="post", color=made["color"], alpha=0.18, lw=0, gid=f"range-{k}"
        )
        ax.plot(xs, sizes, drawstyle="steps-post", color=look.quiet, lw=0.6, gid=f"layers-{k}")
    (line,) = ax.plot(
        xs,
        upper,
        label=curve.label,
        drawstyle="steps-post",
        markevery=max(1, round(len(xs) / MAX_MARKERS)),
        markeredgewidth=0,
        gid=f"growth-{k}",
        zorder=3,
        **made,
    )
    return line


def _envelope(sizes: Sequence[float]) -> tuple[list[float], list[float]]:
    """The largest so far, and the smallest still to come."""
    upper, lower = [], []
    largest, smallest = -math.inf, math.inf
    for size in sizes:
        largest = max(largest, size)
        upper.append(largest)
    for size in reversed(sizes):
        smallest = min(smallest, size)
        lower.append(smallest)
    return upper, lower[::-1]


def _limits(ax: Axes, curves: Sequence[_Curve], scale: str) -> None:
    """Room for the lines, and for the input's size if that is not far above them."""
    sizes = [size for curve in curves for size in curve.size if math.isfinite(size)]
    lengths = [curve.length for curve in curves]
    highest = max(sizes, default=1)
    near = [n for n in lengths if scale == "log" or n <= FAR * highest]
    near += [curve.length for curve in curves if any(curve.everything)]  # their stars stand on it
    highest = max([highest, *near])
    last = max(curve.x[-1] for curve in curves)
    ax.set_xlim(1 - 0.03 * last, 0.5 + last * 1.03)
    lowest = min(sizes, default=1)
    ax.set_ylim((lowest * 0.7, highest * 1.6) if scale == "log" else (0, highest * 1.12))


def _input_lines(ax: Axes, look: style.Theme, curves: Sequence[_Curve]) -> None:
    """A line for every size of an axis, named at its right end; those that lie too near share a name."""
    top = ax.get_ylim()[1]
    lengths = sorted({curve.length for curve in curves})
    above = [n for n in lengths if n > top]
    groups: list[list[int]] = []
    for n in lengths:
        if n in above:
            continue
        ax.axhline(n, color=look.ink, lw=0.9, ls=(0, (1, 1.5)), zorder=2, gid=f"input-{n}")
        if (
            groups
            and ax.transData.transform((0, n))[1] - ax.transData.transform((0, groups[-1][-1]))[1]
            < 0.1 * ax.bbox.height
        ):
            groups[-1].append(n)
        else:
            groups.append([n])
    places = [(sum(group) / len(group), "center", group, "") for group in groups]
    if above:
        places.append((top, "top", above, " ↑"))
    for y, align, group, arrow in places:
        ax.annotate(
            "input\n" + "\n".join(f"{n:,}{arrow}" for n in reversed(group)),
            (1, y),
            xycoords=ax.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va=align,
            size=style.SMALL,
            color=look.ink,
            annotation_clip=False,
        )


def _marks(ax: Axes, look: style.Theme, curves: Sequence[_Curve]) -> list[Any]:
    """Layers that read the whole input, and fields without end; as entries of the legend."""
    out = []
    for k, curve in enumerate(curves):
        colour = look.line(k)["color"]
        whole = [x for x, everything in zip(curve.x, curve.everything, strict=True) if everything]
        endless = [x for x, size in zip(curve.x, curve.size, strict=True) if math.isinf(size)]
        if whole:
            ax.plot(
                whole,
                [curve.length] * len(whole),
                ls="",
                marker="*",
                ms=6,
                mfc=look.ground,
                mec=colour,
                mew=0.8,
                zorder=4,
                gid=f"global-{k}",
            )
        if endless:
            ax.plot(
                endless,
                [0.98] * len(endless),
                transform=ax.get_xaxis_transform(),
                ls="",
                marker="^",
                ms=5,
                mfc=look.ground,
                mec=colour,
                mew=0.8,
                zorder=4,
                gid=f"endless-{k}",
            )
        out += [("reads the whole input", "*", 6)] * bool(whole)
        out += [("without end", "^", 5)] * bool(endless)
    return [
        Line2D(
            [],
            [],
            ls="",
            marker=marker,
            ms=size,
            mfc=look.ground,
            mec=look.quiet,
            mew=0.8,
            label=text,
        )
        for text, marker, size in dict.fromkeys(out)
    ]


def _name_crossings(ax: Axes, look: style.Theme, curves: Sequence[_Curve]) -> None:
    """A ring around the first layer of each line whose field is larger than the input, and its name."""
    made: list[Annotation] = []
    for k, curve in enumerate(curves):
        found = [
            (x, size, name)
            for x, size, name in zip(curve.x, curve.size, curve.names, strict=True)
            if math.isfinite(size) and size > curve.length
        ]
        if not found:
            continue
        x, size, name = found[0]
        colour = look.line(k)["color"]
        ring = {"marker": "o", "ms": 7, "mfc": "none", "mec": colour, "mew": 1}
        ax.plot([x], [size], ls="", zorder=5, gid=f"first-{k}", **ring)
        made.append(
            ax.annotate(
                _short(name),
                (x, size),
                xytext=PLACES[0],
                textcoords="offset points",
                va="center",
                size=style.SMALL,
                color=look.ink,
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "lw": 0.7,
                    "shrinkA": 1,
                    "shrinkB": 3,
                },
                zorder=6,
                gid=f"name-{k}",
            )
        )
    if made:
        _place(ax, made, curves)


def _place(ax: Axes, texts: Sequence[Annotation], curves: Sequence[_Curve]) -> None:
    """Each text where it covers neither a line nor a text before it, near its point if that can be."""
    figure: Any = ax.get_figure(root=True)
    figure.draw_without_rendering()
    taken = _drawn(ax, curves)
    window = ax.get_window_extent()
    placed: list[Any] = []
    # The last point first: what stands right of it is free for its name.
    for text in sorted(texts, key=lambda text: -text.xy[0]):
        begin = ax.transData.transform(text.xy)
        tries: list[tuple[float, int, Any, Any]] = []
        for k, place in enumerate(PLACES):
            _move(text, place)
            extent = _extent(text)
            way = np.linspace(begin, begin + np.array(place) * figure.dpi / 72, 20)
            fault = 1000.0 * extent.count_overlaps(placed)
            fault += 100.0 * sum(other.padded(2).count_contains(way) for other in placed)
            fault += extent.padded(2).count_contains(taken)
            fault += 500.0 * (not window.contains(*extent.min) or not window.contains(*extent.max))
            tries.append((fault, k, extent, way))
            if not fault:
                break
        _, k, extent, way = min(tries, key=lambda found: found[:2])
        _move(text, PLACES[k])
        placed.append(extent)
        taken = np.concatenate([taken, way])


def _move(text: Annotation, place: tuple[float, float]) -> None:
    text.set_position(place)
    text.set_horizontalalignment("left" if place[0] > 0 else "right")


def _drawn(ax: Axes, curves: Sequence[_Curve]) -> Any:
    """Points along all lines, in pixels, a few pixels apart."""
    out = []
    for curve in curves:
        known = [(x, s) for x, s in zip(curve.x, curve.size, strict=True) if math.isfinite(s)]
        upper, _ = _envelope([size for _, size in known])
        corners = [(x, y) for (x, _), y in zip(known, upper, strict=True)]
        steps = [c for a, b in pairwise(corners) for c in (a, (b[0], a[1]))] + corners[-1:]
        ends = [(ax.get_xlim()[0], curve.length), (ax.get_xlim()[1], curve.length)]
        for line in (steps, ends):
            for a, b in pairwise(ax.transData.transform(line)):
                count = max(2, int(np.hypot(*(b - a)) // 3))
                out.append(np.linspace(a, b, count))
    return np.concatenate(out) if out else np.zeros((0, 2))


def _extent(text: Annotation) -> Any:
    """Where the words of an annotation stand, without its line."""
    text.get_window_extent()  # brings the place up to date
    return Text.get_window_extent(text)


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:18]}…{name[-21:]}"
