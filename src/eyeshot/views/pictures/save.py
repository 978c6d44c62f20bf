"""A figure as a file: PNG, SVG or PDF, whole or not there, and the same bytes every time."""

from __future__ import annotations

import io
import math
import os
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeshot.errors import EyeshotError
from eyeshot.files import replace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "check", "rendered", "save"]

SUFFIXES = (".png", ".svg", ".pdf")
#: What a PNG may have along one side, and in all.
SIDE, PIXELS = 30_000, 100_000_000
#: Nothing that changes from one run to the next.
METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
SETTINGS: dict[Any, Any] = {"svg.hashsalt": "eyeshot", "svg.fonttype": "path", "pdf.fonttype": 42}


def check(path: str | PathLike[str]) -> str:
    """The suffix of a picture's file. Raises :class:`~eyeshot.errors.EyeshotError` for any other."""
    if not os.fspath(path):
        raise EyeshotError("--output: no file name")
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise EyeshotError(f"{path}: a picture is written as {', '.join(SUFFIXES)}")
    return suffix


def save(drawn: Figure | Axes, path: str | PathLike[str], dpi: float = 200) -> None:
    """Write a figure, or the figure of these axes, to ``path``: PNG, SVG or PDF by its suffix.

    ``dpi``: pixels per inch of a PNG. The file is whole or not there. Raises
    :class:`~eyeshot.errors.EyeshotError` for another suffix, a picture of too many pixels, or a file that can't
    be written.
    """
    replace(path, rendered(drawn, check(path), dpi))


def rendered(drawn: Any, suffix: str, dpi: float = 200) -> bytes:
    """The content of the file."""
    import matplotlib

    figure = drawn.get_figure(root=True)
    if not (math.isfinite(dpi) and dpi > 0):
        raise EyeshotError(f"dpi: expected a number above 0, got {dpi:g}")
    width, height = figure.get_size_inches() * dpi
    if suffix == ".png" and (max(width, height) > SIDE or width * height > PIXELS):
        raise EyeshotError(
            f"the picture has {width:.0f}x{height:.0f} pixels; take a smaller size or dpi"
        )
    if suffix == ".png" and min(width, height) < 1:
        raise EyeshotError("the picture is smaller than a pixel; take a larger size or dpi")
    content = io.BytesIO()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # A name in a script that the font lacks becomes boxes, and a tiny figure has no room for all of it.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from (current )?font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure.savefig(content, format=suffix[1:], dpi=dpi, metadata=METADATA[suffix])
    return content.getvalue()
