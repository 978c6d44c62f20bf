"""What images of all kinds have."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.layout import check_axes
from eyeshot.tiling.raw import bounds

__all__ = ["LIMIT", "Image", "Slices", "line", "region_text"]

Slices = tuple[slice, ...]

#: Bytes that may be decoded at once.
LIMIT = 1 << 30


class Image:
    """An image that is read region by region; threads may read at the same time.

    ``shape``; ``dtype``, in the machine's byte order; ``axes``: a lower-case letter per dim, or None where
    nothing says what the dims are; ``held``: bytes that stay in memory between reads, at most. It can be
    pickled: a copy opens the same path.
    """

    def __init__(self, path: Path, axes: str | None = None, limit: int = LIMIT) -> None:
        self.path = path
        self.limit = limit
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self.axes: str | None = None
        self.held = 0
        self._wanted = axes

    @property
    def name(self) -> str:
        """The path, as in messages."""
        return os.fspath(self.path)

    @property
    def places(self) -> list[str]:
        """The files and folders that are lost to the image if something else is written there."""
        return [self.name]

    @property
    def nbytes(self) -> int:
        """The image's size when decoded."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def open(self) -> None:
        """Find out what the image is."""
        try:
            self._identify()
        except BaseException:
            self.close()
            raise

    def _identify(self) -> None:
        try:
            self._open()
        except EyeshotError:
            raise
        except MemoryError:
            raise EyeshotError(f"{self.path}: is larger than the memory") from None
        except OSError as error:
            raise EyeshotError(
                f"{self.path}: can't be read: {error.strerror or line(error)}"
            ) from None
        except Exception as error:
            raise EyeshotError(f"{self.path}: can't be read: {line(error)}") from None
        if self.dtype.kind not in "buif":
            raise EyeshotError(
                f"{self.path}: holds {_kind(self.dtype)}, not numbers that a model takes"
            )
        self.dtype = self.dtype.newbyteorder("=")
        if not self.shape or min(self.shape) < 1:
            sizes = "x".join(map(str, self.shape)) or "no dims"
            raise EyeshotError(f"{self.path}: is empty ({sizes})")
        if self._wanted is not None:
            try:
                self.axes = check_axes(self._wanted, len(self.shape))
            except EyeshotError as error:
                sizes = "x".join(map(str, self.shape))
                raise EyeshotError(f"{self.path} ({sizes}): {error}") from None

    def read(self, slices: Slices) -> np.ndarray:
        """A region, as a slice per dim: an array of its own.

        Raises :class:`~eyeshot.errors.EyeshotError` where the image is damaged, or gone.
        """
        if self._closed:
            self.open()
        limits = bounds(slices, self.shape)
        region = tuple(slice(*pair) for pair in limits)
        try:
            found = self._read(region)
        except EyeshotError:
            raise
        except Exception as error:
            reason = error.strerror or line(error) if isinstance(error, OSError) else line(error)
            where = self._culprit(region) or region_text(region)
            raise EyeshotError(f"{self.path}: can't be read at {where}: {reason}") from None
        return np.asarray(found, dtype=self.dtype)

    @property
    def fingerprint(self) -> str:
        """Hex text that is another one if the image is: of shape, dtype, and every file's name, size and time.

        The pixels themselves are not looked at: a change that leaves a file's size and its time of change (to
        the nanosecond) as they were is not seen, and a copy with new times counts as another image.
        """
        files = []
        try:
            for path, name in self._files():
                stat = os.stat(path)
                files.append([name, stat.st_size, stat.st_mtime_ns])
        except OSError as error:
            raise EyeshotError(f"{self.path}: can't be read: {error.strerror or error}") from None
        told = [list(self.shape), self.dtype.str, sorted(files)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def close(self) -> None:
        """Let go of what is held; a later read opens the image again."""

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # half made, or while Python ends
            self.close()

    def __reduce__(self) -> Any:
        return _reopened, (type(self), self.path, self._wanted, self.limit)

    # What a kind of image has to know.

    #: Whether reading needs :meth:`open` again.
    _closed = False

    def _open(self) -> None:
        """Set shape, dtype and axes."""
        raise NotImplementedError

    def _read(self, region: Slices) -> np.ndarray:
        raise NotImplementedError

    def _files(self) -> Iterable[tuple[str, str]]:
        """The files that the image is: path, and name from the image's own path on."""
        yield self.name, ""

    def _culprit(self, region: Slices) -> str | None:
        """What it is in a region that can't be read, if that can be told."""
        return None

    def _too_large(self, what: str, size: int) -> EyeshotError:
        return EyeshotError(
            f"{self.path}: {what} takes {size} bytes when decoded, and is decoded whole, above the limit of "
            f"{self.limit}; store the image in smaller chunks, as a tiled TIFF or Zarr"
        )


def region_text(region: Slices) -> str:
    """A region as it is written in Python."""
    return "[" + ", ".join(f"{part.start}:{part.stop}" for part in region) + "]"


def line(error: BaseException) -> str:
    """An error in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _reopened(kind: type[Image], path: Path, axes: str | None, limit: int) -> Image:
    found = kind(path, axes, limit)
    found.open()
    return found


def _kind(dtype: np.dtype[Any]) -> str:
    names = {"O": "Python objects", "c": "complex numbers", "V": "records", "M": "dates"}
    return names.get(dtype.kind, "text" if dtype.kind in "SUT" else str(dtype))
