"""The user's image, as a backdrop: decoded to grey or colour, and brought to the shape of a network's input.

An image is only drawn on, never fed: an input of one, four or sixty channels takes any image.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.data.images import FORMATS
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MAX_PIXELS", "Backdrop", "as_image", "fitted", "load"]

Pixels = NDArray[np.uint8]

#: An image has at most this many pixels; files that promise more are not decoded.
MAX_PIXELS = 1 << 26
#: A backdrop has at most this many pixels a side, however large the input is.
MAX_SIDE = 2048


class Backdrop(NamedTuple):
    """An image that fills an input: ``pixels`` (uint8 [rows, columns, 3]), and ``note``, how it came to fit.

    It may have fewer pixels than the input, and is meant to be drawn over all of it.
    """

    pixels: Pixels
    note: str


def load(path: str | os.PathLike[str]) -> Pixels:
    """The image in a file: uint8 [rows, columns, 3], upright as its camera says, transparency over white.

    Grey, palette, CMYK and 16 bit images become RGB of 8 bits; of an animation it is the first frame. Raises
    :class:`~eyeshot.errors.EyeshotError` for what is no image, or has more than ``MAX_PIXELS`` pixels.
    """
    from PIL import Image, UnidentifiedImageError

    file = Path(path)
    if file.is_dir():
        raise EyeshotError(f"{path}: a folder, not an image")
    if not file.is_file():
        raise EyeshotError(f"{path}: there is no such file")
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=formats) as image:
                _bounded(image.size)
                image.load()
                return _rgb(image)
    except EyeshotError as error:
        raise EyeshotError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise EyeshotError(f"{path}: not an image that can be decoded") from None
    except Image.DecompressionBombError:
        raise EyeshotError(f"{path}: an image of more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders of broken files raise what they like
        why = " ".join(str(error).split()) or type(error).__name__
        raise EyeshotError(f"{path}: an image that does not decode: {why}") from None


def as_image(image: Any) -> tuple[Pixels, str]:
    """An image as uint8 [rows, columns, 3], and its name: of a path, a Pillow image, or an array.

    An array is [rows, columns], [rows, columns, 1, 3 or 4 channels], or such with its channels first; integers
    of 8 bits, or fractions: from 0 to 1, from 0 to 255, or else from their least to their greatest.
    """
    if isinstance(image, str | os.PathLike):
        return load(image), _printable(Path(image).name)
    if hasattr(image, "getexif"):
        _bounded(image.size)
        return _rgb(image), "image"
    return _array(np.asarray(image)), "image"


def fitted(image: Any, shape: tuple[int, int], stretch: bool = False) -> Backdrop:
    """``image`` over an input of ``shape`` (rows, columns), as networks are fed.

    Its shorter side is scaled to fit and the centre cut out, or, with ``stretch``, both sides are scaled.
    """
    from PIL import Image

    pixels, name = as_image(image)
    rows, columns = pixels.shape[:2]
    height, width = shape
    left, top, right, bottom = 0.0, 0.0, float(columns), float(rows)
    note = f"{name} ({columns} wide, {rows} high)"
    if (rows, columns) == (height, width):
        note = name
    elif columns * height == rows * width:
        note += " resized to the input"
    elif stretch:
        note += " stretched to the input"
    elif columns * height > rows * width:
        inside = rows * width / height
        left, right = (columns - inside) / 2, (columns + inside) / 2
        note += ", centre crop resized to the input"
    else:
        inside = columns * height / width
        top, bottom = (rows - inside) / 2, (rows + inside) / 2
        note += ", centre crop resized to the input"
    size = min(width, MAX_SIDE), min(height, MAX_SIDE)
    if size != (columns, rows) or (right - left, bottom - top) != size:
        made = Image.fromarray(pixels).resize(
            size, Image.Resampling.BICUBIC, box=(left, top, right, bottom)
        )
        pixels = np.asarray(made)
    return Backdrop(pixels, note)


def _bounded(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise EyeshotError(
            f"an image {size[0]} wide, {size[1]} high has more than {MAX_PIXELS} pixels"
        )


def _rgb(image: Image) -> Pixels:
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.mode == "F":
        return _array(_float_bytes(np.asarray(turned)))
    if turned.mode.startswith("I"):
        # Pillow would cut numbers above 255 off.
        array = np.asarray(turned).astype(np.float64)
        deep = turned.mode != "I" or array.max() > 255
        return _array(_bytes(array / (65535 if deep else 255)))
    if turned.has_transparency_data:
        clear = turned.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        turned = Image.alpha_composite(white, clear)
    return np.array(turned.convert("RGB"))


def _array(array: NDArray[Any]) -> Pixels:
    """An array of pixels as uint8 [rows, columns, 3]."""
    from PIL import Image

    shape = array.shape
    if array.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or not array.size or array.dtype.kind not in "buif":
        raise EyeshotError(
            "image: expected an array [rows, columns] or [rows, columns, 3 or 4], of numbers, "
            f"got shape {shape} of {array.dtype}"
        )
    _bounded((array.shape[1], array.shape[0]))
    if array.dtype == np.bool_:
        array = array.astype(np.float64)
    if array.dtype.kind == "f":
        array = _float_bytes(array)
    elif array.min() < 0 or array.max() > 255:
        raise EyeshotError("image: integers of 8 bits (0 to 255) wanted")
    return _rgb(Image.fromarray(np.ascontiguousarray(array, dtype=np.uint8)))


def _float_bytes(array: NDArray[Any]) -> Pixels:
    """Fractions of 1, or of 255, or else between the least and the greatest number."""
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    return _bytes((array.astype(np.float64) - low) / (high - low or 1.0))


def _bytes(share: NDArray[np.float64]) -> Pixels:
    clean = np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(clean.clip(0, 1) * 255).astype(np.uint8)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
