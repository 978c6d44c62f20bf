"""Results as a .npy file: a header, and the array's bytes behind it, written in any order."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np

from eyeshot.tiling.outputs.base import Output, Slices
from eyeshot.tiling.outputs.places import make_room
from eyeshot.tiling.raw import read_region, write_region

__all__ = ["NpyOutput"]


def reserve(handle: int, size: int) -> None:
    """Have a file's room set aside, so that the disk can't be full later, where that is possible."""
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


class NpyOutput(Output):
    """A .npy file in C order. Nothing of it is mapped, so that resident memory does not grow."""

    kind = "npy"

    def _make(self) -> None:
        make_room(self.staging, self.nbytes)
        with open(self.staging, "wb") as file:
            np.lib.format.write_array_header_1_0(file, self._header())
            begin = file.tell()
            file.truncate(begin + self.nbytes)
            if hasattr(os, "posix_fallocate"):
                reserve(file.fileno(), begin + self.nbytes)

    def _header(self) -> dict[str, Any]:
        descr = np.lib.format.dtype_to_descr(self.dtype)
        return {"descr": descr, "fortran_order": False, "shape": self.shape}

    def _found(self) -> dict[str, Any]:
        from eyeshot.tiling.images.plain import npy_header

        head = npy_header(self.staging)
        return {"shape": head.shape, "dtype": head.dtype}

    def _offset(self) -> int:
        from eyeshot.tiling.images.plain import npy_header

        return npy_header(self.staging).offset

    def _write(self, slices: Slices, array: np.ndarray) -> None:
        offset = self._offset()
        with open(self.staging, "r+b", buffering=0) as file:
            write_region(file, offset, self.shape, slices, array)

    def _read(self, slices: Slices) -> np.ndarray:
        offset = self._offset()
        with open(self.staging, "rb", buffering=0) as file:
            return read_region(file, offset, self.shape, self.dtype, slices)
