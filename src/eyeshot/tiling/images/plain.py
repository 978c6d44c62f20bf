"""Images in one plain file: .npy, read in part, and what Pillow reads, decoded whole."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.images.base import Image, Slices
from eyeshot.tiling.raw import Truncated, read_region

__all__ = ["NpyHeader", "NpyImage", "PillowImage", "npy_header"]

#: What Pillow's modes are turned into so that the numbers mean colours.
MODES = {"1": "L", "PA": "RGBA", "RGBX": "RGB", "La": "LA", "RGBa": "RGBA"}
#: What Pillow has other programs draw.
PROGRAMS = ("EPS", "WMF")


class NpyHeader(NamedTuple):
    """What a .npy file says about itself, and the byte at which the array begins."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


def npy_header(path: Path) -> NpyHeader:
    """The header of a .npy file. Nothing is unpickled.

    Raises :class:`~eyeshot.errors.EyeshotError` where it isn't one, or is cut off.
    """
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ValueError(f"version {version[0]}.{version[1]} of the format is not known")
            shape, fortran, dtype = read(file)
        except (ValueError, OverflowError, TypeError, SyntaxError) as error:
            raise EyeshotError(
                f"{path}: is no .npy file: {' '.join(str(error).split())[:200]}"
            ) from None
        return NpyHeader(shape, fortran, dtype, file.tell())


class NpyImage(Image):
    """A .npy file, in C or Fortran order. It is opened anew for every read; nothing stays mapped or held."""

    _header: NpyHeader

    def _open(self) -> None:
        self._header = head = npy_header(self.path)
        self.shape, self.dtype = head.shape, head.dtype
        if self.dtype.hasobject:
            return  # refused for its dtype
        needed = head.offset + self.nbytes
        size = os.stat(self.path).st_size
        if size < needed:
            raise EyeshotError(f"{self.path}: is truncated: {size} bytes of {needed}")

    def _read(self, region: Slices) -> np.ndarray:
        head = self._header
        shape, where = (head.shape[::-1], region[::-1]) if head.fortran else (head.shape, region)
        try:
            with open(self.path, "rb", buffering=0) as file:
                found = read_region(file, head.offset, shape, head.dtype, where)
        except Truncated:
            raise EyeshotError(f"{self.path}: is truncated") from None
        return found.T if head.fortran else found


class PillowImage(Image):
    """What Pillow reads (PNG, JPEG, ...), decoded once and held."""

    _pixels: np.ndarray | None = None

    def _open(self) -> None:
        try:
            import PIL.Image as pillow
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "PIL":
                raise
            raise EyeshotError(
                f"{self.path}: needs the pillow package: pip install 'eyeshot[tile]'"
            ) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pillow.init()
                formats = [name for name in pillow.ID if name not in PROGRAMS]
                opened = pillow.open(self.path, formats=formats)
            except pillow.DecompressionBombError:
                raise EyeshotError(
                    f"{self.path}: has more pixels than Pillow decodes; make it a tiled TIFF or Zarr"
                ) from None
            except pillow.UnidentifiedImageError:
                raise EyeshotError(
                    f"{self.path}: is no image that can be read (Zarr, TIFF, .npy, or what "
                    "Pillow reads), or damaged"
                ) from None
            with opened:
                width, height = opened.size
                size = width * height * max(4, len(opened.getbands()))
                if size > self.limit:
                    raise self._too_large("the image", size)
                self._pixels = _decoded(opened)
        self.shape, self.dtype = self._pixels.shape, self._pixels.dtype
        self.axes = "yx" if self._pixels.ndim == 2 else "yxc"
        self.held = self.nbytes

    def _read(self, region: Slices) -> np.ndarray:
        assert self._pixels is not None
        return self._pixels[region].copy()

    @property
    def _closed(self) -> bool:  # type: ignore[override]
        return self._pixels is None

    def close(self) -> None:
        self._pixels = None


def _decoded(opened: Any) -> np.ndarray:
    mode = MODES.get(opened.mode)
    if opened.mode == "P":
        mode = "RGBA" if "transparency" in opened.info else "RGB"
    return np.array(opened if mode is None else opened.convert(mode))
