"""Images that are read region by region, whatever their size: Zarr, TIFF, npy and what Pillow reads."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from eyeshot.errors import EyeshotError
from eyeshot.tiling.images.base import LIMIT, Image

__all__ = ["LIMIT", "Image", "open_image"]

TIFF = (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".qptiff", ".lsm", ".stk")
MAGIC_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAGIC_NPY = b"\x93NUMPY"
MAGIC_ZIP = b"PK"


def open_image(path: str | PathLike[str], axes: str | None = None, *, limit: int = LIMIT) -> Image:
    """The image at ``path``, to be read region by region.

    A folder or a .zip file is a Zarr array (version 2 or 3) or an OME-Zarr image, of which the first
    multiscale's first dataset is taken; a TIFF gives the first level of its first series; a .npy file is read
    as it lies. All else is Pillow's: the first frame, decoded whole; palettes become colours, two-level images
    0 and 255. Numbers are those that are stored: EXIF rotations, ICC profiles and "white is zero" are not
    applied.

    ``axes``: a letter per dim, such as ``cyx``, in place of what the file says. ``limit``: bytes; what has to
    be decoded at once (an image of Pillow's, a chunk, a strip) is refused above it. Nothing in a file is
    executed.

    Raises :class:`~eyeshot.errors.EyeshotError` where the image can't be read, is empty, or holds no numbers.
    """
    file = Path(path)
    opened = _class(file)(file, axes, limit)
    opened.open()
    return opened


def _class(file: Path) -> type[Image]:
    """The kind of image, by what it is and not by its name."""
    from eyeshot.tiling.images.plain import NpyImage, PillowImage
    from eyeshot.tiling.images.tiffs import TiffImage
    from eyeshot.tiling.images.zarrs import ZarrImage

    if file.is_dir():
        return ZarrImage
    try:
        with open(file, "rb") as opened:
            head = opened.read(8)
    except FileNotFoundError:
        raise EyeshotError(f"{file}: there is no such image") from None
    except OSError as error:
        raise EyeshotError(f"{file}: can't be read: {error.strerror or error}") from None
    if head.startswith(MAGIC_TIFF):
        return TiffImage
    if head.startswith(MAGIC_NPY) or file.suffix.lower() == ".npy":
        return NpyImage
    if file.suffix.lower() == ".npz":
        raise EyeshotError(f"{file}: holds several arrays; save one of them as .npy")
    if head.startswith(MAGIC_ZIP):
        return ZarrImage
    if file.suffix.lower() in TIFF:
        raise EyeshotError(f"{file}: is no TIFF{', it is empty' if not head else ''}")
    return PillowImage
