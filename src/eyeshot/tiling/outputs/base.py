"""What outputs of all kinds have: regions are written and read, and the whole takes its place at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.outputs.places import clear, failure, put_in_place, staging, synced

__all__ = ["Output", "Slices"]

Slices = tuple[slice, ...]


@dataclass
class Output:
    """An output that is being written at :attr:`staging`, by several threads and processes at the same time.

    Regions that are written at the same time must not overlap, nor share a chunk. It can be pickled: a copy
    writes to the same files.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    chunks: tuple[int, ...]
    overwrite: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    kind = ""

    @property
    def staging(self) -> Path:
        """Where the output is until it is finished."""
        return staging(self.path)

    @property
    def nbytes(self) -> int:
        """The output's size without compression."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def write(self, slices: Slices, array: np.ndarray) -> None:
        """Write a region: ``array``, of the region's shape, as the output's dtype.

        Raises :class:`~eyeshot.errors.EyeshotError` where it can't be written, as on a full disk.
        """
        with self._writing():
            self._write(slices, np.asarray(array, self.dtype))

    def read(self, slices: Slices) -> np.ndarray:
        """A region as it was written, 0 where nothing was.

        Raises :class:`~eyeshot.errors.EyeshotError` where it is damaged.
        """
        try:
            return self._read(slices)
        except EyeshotError:
            raise
        except Exception as error:
            raise EyeshotError(f"{self.staging}: can't be read: {_line(error)}") from None

    def finish(self) -> Path:
        """Put the output in its place, after all of it is on the disk; what it replaces goes only then."""
        try:
            self._finished()
            synced(self.staging)
            put_in_place(self.staging, self.path, self.overwrite)
        except OSError as error:
            raise failure(self.path, error) from None
        return self.path

    def discard(self) -> None:
        """Remove what has been written so far."""
        clear(self.staging)

    def make(self) -> None:
        """Begin the output at :attr:`staging`, where there is nothing."""
        try:
            with self._writing():
                self._make()
        except BaseException:
            clear(self.staging)
            raise

    def check(self) -> None:
        """Raise :class:`~eyeshot.errors.EyeshotError` if what is at :attr:`staging` is not this output."""
        try:
            found = self._found()
        except EyeshotError:
            raise
        except Exception as error:
            raise EyeshotError(
                f"{self.staging}: is no {self.kind} output that could be gone on with: {_line(error)}"
            ) from None
        wanted: dict[str, Any] = {"shape": self.shape, "dtype": self.dtype, "chunks": self.chunks}
        for name, value in found.items():
            if value != wanted[name]:
                raise EyeshotError(
                    f"{self.staging}: the unfinished output's {name} is {_shown(value)}, not "
                    f"{_shown(wanted[name])}; begin anew with --overwrite"
                )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failure(self.staging, error) from None
        except EyeshotError:
            raise
        except Exception as error:
            raise EyeshotError(f"{self.staging}: can't be written: {_line(error)}") from None

    # What a kind of output has to know.

    def _make(self) -> None:
        raise NotImplementedError

    def _found(self) -> dict[str, Any]:
        """Shape, dtype and, where it matters, chunks of what is at :attr:`staging`."""
        raise NotImplementedError

    def _write(self, slices: Slices, array: np.ndarray) -> None:
        raise NotImplementedError

    def _read(self, slices: Slices) -> np.ndarray:
        raise NotImplementedError

    def _finished(self) -> None:
        """What is to be done before the output takes its place."""


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
