"""Results as a TIFF: uncompressed tiles at known places, so that they can be written in any order."""

from __future__ import annotations

import itertools
import math
import uuid
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.outputs.base import Output, Slices
from eyeshot.tiling.outputs.places import make_room
from eyeshot.tiling.raw import bounds, read_region, write_region

__all__ = ["TiffOutput"]

#: Pixels per side of a TIFF's tile.
SIDE = 256
#: What OME-XML has a place for.
OME_AXES = set("tzcyx")
OME_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


class TiffOutput(Output):
    """A tiled TIFF, BigTIFF from 4 GB on; axes are told as OME-XML or, where that can't, as tifffile does.

    Pages are y, x or y, x, c; all other dims go over pages. Three or four channels of 8 or 16 bits that come
    last are red, green, blue (and alpha).
    """

    kind = "tiff"
    _bases: tuple[int, ...] | None = None

    @property
    def samples(self) -> int:
        """Channels that lie side by side."""
        return self.shape[-1] if self._contiguous else 1

    @property
    def _contiguous(self) -> bool:
        return self.axes.endswith("yxc")

    @property
    def _page(self) -> int:
        """The number of dims of a page."""
        return 3 if self._contiguous else 2

    def _make(self) -> None:
        tifffile = _tifffile()
        if not self.axes.endswith(("yx", "yxc")):
            raise EyeshotError(
                f"{self.path}: a TIFF's axes end with yx or yxc, these are {self.axes}; write .zarr or .npy"
            )
        if self.dtype.kind not in "uif":
            raise EyeshotError(
                f"{self.path}: a TIFF of {self.dtype} is not written; "
                + ("write .zarr or .npy" if self.dtype.kind == "c" else "choose --out-dtype uint8")
            )
        rows, columns = self._grid
        pages = math.prod(self.shape[: -self._page])
        make_room(self.staging, pages * rows * columns * (self._tile_bytes + 32))
        letters, shape = self.axes.upper(), self.shape
        if self._contiguous:  # one sample needs no dim, and has none in a TIFF
            letters = letters[:-1] + "S" * (self.samples > 1)
            shape = shape[: len(letters)]
        ome = set(self.axes) <= OME_AXES and self.dtype.name in OME_DTYPES
        colour = (
            self._contiguous and self.samples in (3, 4) and self.dtype.name in ("uint8", "uint16")
        )
        options: dict[str, Any] = {}
        if self.samples > 1:
            options["planarconfig"] = "contig"
        if colour and self.samples == 4:
            options["extrasamples"] = ["unassalpha"]
        tifffile.imwrite(
            self.staging,
            data=None,
            shape=shape,
            dtype=self.dtype,
            tile=(SIDE, SIDE),
            photometric="rgb" if colour else "minisblack",
            ome=ome,
            # Always the same, so that equal results are equal files.
            metadata={
                "axes": letters,
                "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"eyeshot {letters} {shape}")),
            }
            if ome
            else {"axes": letters},
            **options,
        )
        self._places()

    @property
    def _grid(self) -> tuple[int, int]:
        height, width = self.shape[len(self.shape) - self._page :][:2]
        return math.ceil(height / SIDE), math.ceil(width / SIDE)

    @property
    def _tile_bytes(self) -> int:
        return SIDE * SIDE * self.samples * self.dtype.itemsize

    def _found(self) -> dict[str, Any]:
        with _tifffile().TiffFile(self.staging) as file:
            page, pages = file.pages.first, len(file.pages)
            dtype = np.dtype(page.dtype)
            sides = (page.imagelength, page.imagewidth, page.samplesperpixel)[: self._page]
        shape = self.shape[: -self._page] + sides
        if math.prod(self.shape[: -self._page]) != pages:
            shape = (pages, *sides)
        if shape == self.shape and dtype == self.dtype:
            self._places()
        return {"shape": shape, "dtype": dtype}

    def _places(self) -> tuple[int, ...]:
        """Where in the file every page's tiles begin; they lie one behind the other."""
        if self._bases is None:
            rows, columns = self._grid
            with _tifffile().TiffFile(self.staging) as file:
                bases = []
                for page in file.pages:
                    offsets = page.dataoffsets
                    if len(offsets) != rows * columns or any(
                        b - a != self._tile_bytes for a, b in itertools.pairwise(offsets)
                    ):
                        raise EyeshotError(f"{self.staging}: is no TIFF that was begun here")
                    bases.append(int(offsets[0]))
            if len(bases) != math.prod(self.shape[: -self._page]):
                raise EyeshotError(f"{self.staging}: is no TIFF that was begun here")
            self._bases = tuple(bases)
        return self._bases

    def _write(self, slices: Slices, array: np.ndarray) -> None:
        with open(self.staging, "r+b", buffering=0) as file:
            for offset, shape, inside, part in self._parts(slices):
                write_region(file, offset, shape, inside, array[part])

    def _read(self, slices: Slices) -> np.ndarray:
        limits = bounds(slices, self.shape)
        found = np.empty(tuple(end - begin for begin, end in limits), self.dtype)
        with open(self.staging, "rb", buffering=0) as file:
            for offset, shape, inside, part in self._parts(slices):
                found[part] = read_region(file, offset, shape, self.dtype, inside)
        return found

    def _parts(self, slices: Slices) -> Any:
        """A region's parts: per tile its offset and shape, the part in the tile, and the part in the region."""
        limits = bounds(slices, self.shape)
        lead, rest = limits[: -self._page], limits[-self._page :]
        (top, bottom), (left, right) = rest[:2]
        _, columns = self._grid
        shape = (SIDE, SIDE, self.samples)[: self._page]
        bases = self._places()
        for index in itertools.product(*(range(*pair) for pair in lead)):
            page = int(np.ravel_multi_index(index, self.shape[: len(lead)])) if lead else 0
            before = tuple(slice(i - b, i - b + 1) for i, (b, _) in zip(index, lead, strict=True))
            for row in range(top // SIDE, -(-bottom // SIDE)):
                for column in range(left // SIDE, -(-right // SIDE)):
                    y, x = _overlap(top, bottom, row), _overlap(left, right, column)
                    inside = [
                        slice(y[0] - row * SIDE, y[1] - row * SIDE),
                        slice(x[0] - column * SIDE, x[1] - column * SIDE),
                    ]
                    part = [slice(y[0] - top, y[1] - top), slice(x[0] - left, x[1] - left)]
                    if self._contiguous:
                        begin, end = rest[2]
                        inside.append(slice(begin, end))
                        part.append(slice(0, end - begin))
                    offset = bases[page] + (row * columns + column) * self._tile_bytes
                    yield (
                        offset,
                        (1,) * len(lead) + shape,
                        (slice(0, 1),) * len(lead) + tuple(inside),
                        before + tuple(part),
                    )


def _overlap(begin: int, end: int, at: int) -> tuple[int, int]:
    return max(begin, at * SIDE), min(end, (at + 1) * SIDE)


def _tifffile() -> Any:
    try:
        import tifffile
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "tifffile":
            raise
        raise EyeshotError("TIFF needs the tifffile package: pip install 'eyeshot[tile]'") from None
    return tifffile
