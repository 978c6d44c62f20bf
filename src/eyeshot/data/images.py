"""Image files as samples. Needs Pillow."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.data.samples import (
    Normal,
    Sample,
    Samples,
    Wanted,
    Window,
    floats,
    shape_text,
    window_of,
)
from eyeshot.errors import EyeshotError

__all__ = ["SUFFIXES", "from_folder", "size_of_image"]

SUFFIXES = ".jpg .jpeg .png .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .jp2 .avif .tga".split()
#: What is decoded: pictures alone, nothing that runs another program (EPS) or holds a document.
FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "AVIF",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "TGA",
    "QOI",
    "ICO",
)
#: Modes that Pillow turns into red, green and blue without loss of meaning.
COLOURED = ("P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")


def from_folder(
    path: Path, wanted: Wanted, limit: int | None, resize: bool, normal: Normal
) -> Samples:
    """The images of a folder in the order of their names, or one image.

    Folders in the folder are not searched. Sizes are read from all the headers before the first image.
    """
    if (wanted.channel is None and len(wanted.shape) != 2) or len(wanted.axes) != 2:
        raise EyeshotError(
            f"data: {path}: images need an input with two axes and channels, but {wanted.name} is "
            f"{shape_text(wanted.shape)}"
        )
    files = _files(path)[:limit]
    _check_sizes(path, files, wanted, resize)
    normal, note = normal.or_usual(wanted)
    notes = [note]
    if resize:
        notes.append(
            f"images scaled (bicubic) and cropped at the centre to {shape_text(wanted.sizes)}"
        )

    def items() -> Iterator[Sample]:
        for file in files:
            image = _decoded(file, wanted, resize, notes)

            def make(window: Window, image: NDArray[Any] = image) -> NDArray[Any]:
                return normal.apply(floats(image[window_of(window, wanted)], "image"))

            yield Sample(file.name, make)

    return Samples(len(files), items(), notes)


def size_of_image(path: Path) -> tuple[int, int, int, int] | None:
    """The shape [1, channels, height, width] of a folder's first image, or of one image; None if there is none.

    Only its header is read. Channels are 1 for grey ones, otherwise 3.
    """
    if not path.is_dir() and not path.name.lower().endswith(tuple(SUFFIXES)):
        return None
    if not path.exists():
        return None
    with _opened(_files(path)[0]) as image:
        return 1, 1 if image.mode in GREY else 3, image.height, image.width


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise EyeshotError(f"data: {path}: can't be read: {error.strerror}") from None
    files = [
        path / n for n in names if n.lower().endswith(tuple(SUFFIXES)) and not n.startswith(".")
    ]
    files = [file for file in files if file.is_file()]
    if not files:
        inner = any((path / n).is_dir() for n in names)
        more = "; folders in it are not searched" if inner else ""
        raise EyeshotError(f"data: {path}: there is no image in this folder{more}")
    return files


def _opened(file: Path) -> Any:
    """The image, of which only the header has been read."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        if error.name != "PIL":
            raise
        raise EyeshotError("images need Pillow: pip install 'eyeshot[plot]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            Image.init()
            return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise EyeshotError(f"data: {file}: the image is too large to be decoded safely") from None
    except Exception as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> EyeshotError:
    why = " ".join(str(error).split()) or type(error).__name__
    if "cannot identify" in why:
        why = "it is no image that Pillow knows"
    return EyeshotError(f"data: {file}: can't be decoded: {why[:160]}")


def _check_sizes(path: Path, files: list[Path], wanted: Wanted, resize: bool) -> None:
    """Without resizing, all images must have the input's size."""
    if resize:
        return
    sizes: dict[tuple[int, int], str] = {}
    for file in files:
        with _opened(file) as image:
            sizes.setdefault((image.height, image.width), file.name)
    height, width = wanted.sizes
    if set(sizes) == {(height, width)}:
        return
    if len(sizes) > 1:
        shown = ", ".join(f"{name} {shape_text(size)}" for size, name in list(sizes.items())[:2])
        raise EyeshotError(
            f"data: {path}: images of {len(sizes)} sizes ({shown}); resize them to "
            f"{height}x{width} with resize=True (--resize)"
        )
    ((size, _),) = sizes.items()
    raise EyeshotError(
        f"data: {path}: {'the image is' if path in files else 'the images are'} {shape_text(size)}, but the "
        f"input is {height}x{width}; analyse it at that size, or resize with resize=True (--resize)"
    )


def _decoded(file: Path, wanted: Wanted, resize: bool, notes: list[str]) -> NDArray[Any]:
    """The image as uint8 or uint16 in the layout of a sample; resized 16-bit images as float32 in 0 … 1."""
    with _opened(file) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                image.load()
                return _laid_out(_pixels(image, file, wanted, resize, notes), wanted)
        except EyeshotError:
            raise
        except Exception as error:  # decoders raise all sorts of things
            raise _unreadable(file, error) from None


def _pixels(image: Any, file: Path, wanted: Wanted, resize: bool, notes: list[str]) -> NDArray[Any]:
    """The pixels as [height, width, channels]."""
    mode, channels = image.mode, wanted.channels
    if mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
        mode = "RGBA"
    held = 1 if mode in GREY else 4 if mode in ("RGBA", "RGBa") else 3
    if mode not in (*COLOURED, *GREY):
        raise EyeshotError(f"data: {file}: images of Pillow's mode {mode} are not supported")
    if channels not in (1, 3, 4) or (channels == 1 and held > 1) or (channels == 4 and held != 4):
        raise EyeshotError(
            f"data: {file}: the image has {held} channels, but {wanted.name} has {channels}"
        )
    if mode in ("LA", "La") or (held == 4 and channels == 3):
        _noted(notes, "alpha channels dropped")
    if held == 1 and channels == 3:
        _noted(notes, "grey images repeated in three channels")
    if mode.startswith("I"):
        return _deep(image, file, wanted, resize)
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    if resize:
        image = _resized(image, wanted)
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _deep(image: Any, file: Path, wanted: Wanted, resize: bool) -> NDArray[Any]:
    """A grey image of 16 bits."""
    from PIL import Image

    array = np.asarray(image).astype(np.int64)
    if array.min() < 0 or array.max() > 65535:
        raise EyeshotError(f"data: {file}: an image of 32 bits; give it as an .npy file")
    if resize:
        scaled = Image.fromarray((array / 65535).astype(np.float32))
        array = np.clip(np.asarray(_resized(scaled, wanted)), 0, 1)
    else:
        array = array.astype(np.uint16)
    return np.repeat(array[:, :, None], wanted.channels, 2)


def _resized(image: Any, wanted: Wanted) -> Any:
    """Scaled so that both sides reach the size wanted, then cropped at the centre."""
    from PIL import Image

    height, width = wanted.sizes
    scale = max(height / image.height, width / image.width)
    size = (
        max(width, math.floor(image.width * scale + 0.5)),
        max(height, math.floor(image.height * scale + 0.5)),
    )
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def _laid_out(array: NDArray[Any], wanted: Wanted) -> NDArray[Any]:
    if wanted.channel is None:
        return array[:, :, 0]
    return np.moveaxis(array, 2, wanted.channel)


def _noted(notes: list[str], sentence: str) -> None:
    if sentence not in notes:
        notes.append(sentence)
