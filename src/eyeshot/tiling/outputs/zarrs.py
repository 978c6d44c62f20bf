"""Results as a Zarr array of version 3: one file per chunk, so that writers of different chunks don't meet."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.outputs.base import Output, Slices
from eyeshot.tiling.outputs.places import LITTER, make_room

__all__ = ["ZarrOutput"]

MAX_CHUNK = 1 << 31


class ZarrOutput(Output):
    """A Zarr array. A chunk is written beside its place and then renamed, so that it is whole or not there."""

    kind = "zarr"
    _held: Any = None

    def _make(self) -> None:
        zarr = _zarr()
        if math.prod(self.chunks) * self.dtype.itemsize >= MAX_CHUNK:
            raise EyeshotError(
                f"{self.path}: a chunk of {'x'.join(map(str, self.chunks))} is too large; use smaller tiles"
            )
        compression = self.settings.get("compression", "zstd")
        if compression == "none":
            make_room(self.staging, self.nbytes)
            codecs = None
        elif compression == "zstd":
            # With a checksum, so that a damaged chunk is noticed when it is read.
            codecs = zarr.codecs.ZstdCodec(level=self.settings.get("level", 3), checksum=True)
        else:
            raise EyeshotError(f"compression: expected zstd or none, got {compression!r}")
        zarr.create_array(
            self.staging,
            shape=self.shape,
            chunks=self.chunks,
            dtype=self.dtype,
            compressors=codecs,
            fill_value=0,
            dimension_names=tuple(self.axes),
            attributes=self.settings.get("attributes"),
            zarr_format=3,
        )

    def _array(self) -> Any:
        if self._held is None:
            self._held = _zarr().open_array(self.staging, mode="r+", zarr_format=3)
        return self._held

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": None}

    def _found(self) -> dict[str, Any]:
        array = self._array()
        return {"shape": array.shape, "dtype": array.dtype, "chunks": array.chunks}

    def _write(self, slices: Slices, array: np.ndarray) -> None:
        self._array()[slices] = array

    def _read(self, slices: Slices) -> np.ndarray:
        return np.asarray(self._array()[slices])

    def _finished(self) -> None:
        for folder, _, names in os.walk(self.staging):
            for name in names:
                if LITTER.fullmatch(name):
                    os.unlink(os.path.join(folder, name))


def _zarr() -> Any:
    try:
        import zarr
        import zarr.codecs
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "zarr":
            raise
        raise EyeshotError(
            "Zarr arrays need the zarr package: pip install 'eyeshot[tile]'"
        ) from None
    return zarr
