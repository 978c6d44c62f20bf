"""What pictures of inputs share: rasters and rectangles in their coordinates, heat, captions, units' names."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eyeshot.views.pictures.style import SMALL, TEXT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = [
    "HEAT",
    "at",
    "caption",
    "halo",
    "heat_colours",
    "raster",
    "rectangle",
    "short",
    "ticks",
    "title",
    "whole_numbers",
]

#: Colours of the heat, from little to much: on light ground darker, on dark ground lighter.
HEAT = {
    "light": ("#fff1cf", "#fdbb5b", "#ef7a28", "#c43c1e", "#7d0f2b"),
    "dark": ("#33141f", "#7d1f35", "#c94a2a", "#f29a3c", "#ffedb0"),
}


def heat_colours(style: Theme) -> Colormap:
    """The colours of the theme's heat, ordered in lightness."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("eyeshot", HEAT[style.name])


def raster(
    ax: Axes, array: Any, extent: tuple[float, float, float, float], label: str, zorder: float
) -> Any:
    """An image of cells, each as it is."""
    drawn = ax.imshow(array, extent=extent, interpolation="nearest", zorder=zorder, aspect="equal")
    drawn.set_label(label)
    return drawn


def rectangle(
    ax: Axes, rows: tuple[float, float], columns: tuple[float, float], label: str, **how: Any
) -> Any:
    """``rows``, ``columns``: where it begins and ends."""
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = rows, columns
    return ax.add_patch(Rectangle((left, top), right - left, bottom - top, label=label, **how))


def halo(style: Theme, width: float) -> list[Any]:
    """Path effects that set a line off from any ground."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground=style.ground, alpha=0.8), Normal()]


def ticks(ax: Axes) -> None:
    """A few ticks, at whole numbers."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(whole_numbers(5))


def whole_numbers(most: int) -> Any:
    """A locator of at most so many steps."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, integer=True, steps=[1, 2, 5, 10])


def title(ax: Axes, lines: Sequence[str], **how: Any) -> None:
    """A title of some lines; a layer may have dollars in its name."""
    ax.set_title("\n".join(lines), size=TEXT, linespacing=1.4, parse_math=False, **how)


def caption(ax: Axes, remarks: Sequence[str], style: Theme) -> None:
    """Sentences under the axes, in lines that fit their column of the figure."""
    if not remarks:
        return
    spec = ax.get_subplotspec()
    columns = spec.get_gridspec().ncols if spec is not None else 1
    made: Any = ax.get_figure(root=True)
    inches = made.get_size_inches()[0] / columns - 0.5
    letters = max(24, int(inches * 72 / (0.58 * SMALL)))
    lines = [line for remark in remarks for line in textwrap.wrap(remark, letters)]
    ax.set_xlabel("\n".join(lines), size=SMALL, color=style.quiet, loc="left", parse_math=False)


def at(index: Any) -> str:
    """A unit's index as words: ``(3, 3)``."""
    if index is None:
        return "weighted units"
    if not index:
        return ""
    each = [f"{i.start}:{i.stop}" if isinstance(i, slice) else str(i) for i in index]
    return f"({', '.join(each)})"


def short(name: str, most: int = 40) -> str:
    """Without what steers, and without the middle of a very long name."""
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return plain if len(plain) <= most else f"{plain[: most // 2 - 1]}…{plain[-most // 2 :]}"
