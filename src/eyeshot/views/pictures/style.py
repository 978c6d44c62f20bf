"""The style that all pictures share: colours of two themes, and figures that leave matplotlib's settings alone.

Colours that mean different things differ in lightness, and lines also in dash and marker, so that the pictures
can be read by the colour-blind and in grey print. Their hues are those of Okabe and Ito (Color Universal
Design, 2008), lighter or darker where the ground asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LARGE", "SMALL", "TEXT", "THEMES", "WIDTH", "Theme", "axes", "bare", "figure", "theme"]

#: Sizes of type in points, at the width that pictures are printed in.
SMALL, TEXT, LARGE = 7.0, 8.0, 9.0
#: The width of a page's text, in inches.
WIDTH = 6.3
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.2, 1.2, 1.2)),
    (0, (9, 2)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Theme(NamedTuple):
    """Colours by what they mean.

    ``ground`` the paper; ``ink`` text; ``quiet`` what stands back (axes, notes); ``grid`` lines between cells;
    ``cell`` a cell that nothing happens in. ``levels``: the input, the first map, the second, … as in the
    article: blue, green, orange, purple, grey. ``read`` the cells that a unit reads; ``unit`` the unit, and its
    box; ``dot`` a mark on a coloured cell; ``series`` the lines of a diagram; ``heat`` the name of a colormap
    that is ordered in lightness.
    """

    name: str
    ground: str
    ink: str
    quiet: str
    grid: str
    cell: str
    levels: tuple[str, ...]
    read: str
    unit: str
    dot: str
    series: tuple[str, ...]
    heat: str

    @contextmanager
    def context(self) -> Iterator[None]:
        """Inside it, matplotlib makes artists in this theme; outside, its settings are what they were."""
        matplotlib = _matplotlib()
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(self.settings())
            yield

    def settings(self) -> dict[str, Any]:
        """The theme as matplotlib's rcParams."""
        return {
            "axes.axisbelow": True,
            "axes.edgecolor": self.quiet,
            "axes.facecolor": self.ground,
            "axes.labelcolor": self.ink,
            "axes.labelsize": TEXT,
            "axes.linewidth": 0.6,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": self.ink,
            "axes.titlelocation": "left",
            "axes.titlesize": LARGE,
            "figure.edgecolor": self.ground,
            "figure.facecolor": self.ground,
            "font.family": ["DejaVu Sans"],
            "font.size": TEXT,
            "grid.color": self.grid,
            "grid.linewidth": 0.5,
            "legend.fontsize": SMALL,
            "legend.frameon": False,
            "legend.labelcolor": self.ink,
            "lines.linewidth": 1.4,
            "lines.markersize": 3.5,
            "savefig.edgecolor": "auto",
            "savefig.facecolor": "auto",
            "text.color": self.ink,
            "text.parse_math": False,  # layers may have dollars in their names
            "xtick.color": self.quiet,
            "xtick.labelcolor": self.ink,
            "xtick.labelsize": SMALL,
            "ytick.color": self.quiet,
            "ytick.labelcolor": self.ink,
            "ytick.labelsize": SMALL,
        }

    def line(self, k: int) -> dict[str, Any]:
        """Colour, dash and marker of a diagram's line ``k``; 35 lines are all different."""
        return {
            "color": self.series[k % len(self.series)],
            "linestyle": DASHES[k % len(DASHES)],
            "marker": MARKERS[k % len(MARKERS)],
        }

    def level(self, k: int) -> str:
        """The colour of level ``k``: 0 is the input."""
        return self.levels[k % len(self.levels)]


THEMES = {
    "light": Theme(
        name="light",
        ground="#ffffff",
        ink="#1a1a1a",
        quiet="#6b6b6b",
        grid="#c9ced3",
        cell="#f3f5f7",
        levels=("#b3def8", "#1f9d75", "#eda720", "#8a4a74", "#6f7a83"),
        read="#4a9fd8",
        unit="#a83a00",
        dot="#1a1a1a",
        series=("#0072b2", "#e06a00", "#003d2c", "#cc79a7", "#7a2500"),
        heat="cividis",
    ),
    "dark": Theme(
        name="dark",
        ground="#14171a",
        ink="#eceff1",
        quiet="#9aa3ab",
        grid="#3d454c",
        cell="#20262b",
        levels=("#235f87", "#1f8765", "#cf8f17", "#e0a9cc", "#8e9aa5"),
        read="#4aa3dc",
        unit="#ffe7a3",
        dot="#14171a",
        series=("#7cc8f5", "#f07f1d", "#f4ec7a", "#c46a9c", "#0a9a6a"),
        heat="cividis",
    ),
}


def theme(name: str | Theme = "light") -> Theme:
    """The theme ``light`` or ``dark``. Raises :class:`~eyeshot.errors.EyeshotError` for another name."""
    if isinstance(name, Theme):
        return name
    if name not in THEMES:
        raise EyeshotError(f"theme: expected light or dark, got {name!r}")
    return THEMES[name]


def figure(theme: Theme, size: tuple[float, float] = (WIDTH, 3.2)) -> Figure:
    """An empty figure in the theme, of this size in inches; it is known to nobody else (no pyplot)."""
    _matplotlib()
    from matplotlib.figure import Figure

    with theme.context():
        return Figure(figsize=size, layout="constrained")


def axes(ax: Axes | None, theme: Theme, size: tuple[float, float] = (WIDTH, 3.2)) -> Axes:
    """``ax``, or where it is None the axes of a figure of its own."""
    if ax is not None:
        return ax
    made = figure(theme, size)
    with theme.context():
        return made.add_subplot()


def bare(ax: Axes) -> None:
    """Axes that hold a drawing in place of a diagram: no frame, no ticks, y downwards as rows run."""
    ax.set_axis_off()
    ax.set_aspect("equal")
    if not ax.yaxis_inverted():
        ax.invert_yaxis()


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise EyeshotError("pictures need matplotlib: pip install 'eyeshot[plot]'") from None
    return matplotlib
