"""Zarr arrays of version 2 and 3, in a folder or a .zip file, and the first level of OME-Zarr images."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.images.base import Image, Slices, line

__all__ = ["ZarrImage", "refuse_code"]

#: A Zarr array's own file.
METADATA = ("zarr.json", ".zarray")
#: Names of dims that don't begin with the letter that they are.
NAMES = {
    "height": "y",
    "width": "x",
    "depth": "z",
    "lat": "y",
    "lon": "x",
    "band": "c",
    "bands": "c",
}
NAMES |= {"latitude": "y", "longitude": "x", "row": "y", "rows": "y", "column": "x", "columns": "x"}


class ZarrImage(Image):
    """A Zarr array. Chunks that are missing are the array's fill value, as the format has it."""

    _array: Any = None
    _inner = ""
    _folder = False

    def _open(self) -> None:
        zarr = _zarr(self.name)
        self._folder = self.path.is_dir()
        store = self._store(zarr)
        try:
            found = zarr.open(store, mode="r")
        except Exception as error:
            if self._folder and not _is_zarr(self.name):
                raise EyeshotError(
                    f"{self.path}: is a folder, and no Zarr array or image"
                ) from None
            raise EyeshotError(
                f"{self.path}: is no Zarr array that can be read: {line(error)}"
            ) from None
        if isinstance(found, zarr.Group):
            found = self._first_level(zarr, found)
        refuse_code(self.name, found.metadata.to_dict())
        self._array = found
        self.shape, self.dtype = tuple(found.shape), np.dtype(found.dtype)
        if self.axes is None:
            names = getattr(found.metadata, "dimension_names", None)
            self.axes = _named(names or found.attrs.get("_ARRAY_DIMENSIONS"))
        chunks = math.prod(found.chunks) * self.dtype.itemsize
        if chunks > self.limit:
            raise self._too_large("a chunk", chunks)

    def _store(self, zarr: Any) -> Any:
        if self._folder:
            return zarr.storage.LocalStore(self.path, read_only=True)
        return zarr.storage.ZipStore(self.path, mode="r", read_only=True)

    def _first_level(self, zarr: Any, group: Any) -> Any:
        """The first dataset of an OME-Zarr image; it also says what the dims are."""
        attributes = dict(group.attrs)
        held = attributes.get("ome", attributes)
        scales = held.get("multiscales") if isinstance(held, Mapping) else None
        try:
            first = scales[0]  # type: ignore[index]
            name = str(first["datasets"][0]["path"])
        except (TypeError, KeyError, IndexError):
            arrays = ", ".join(sorted(name for name, _ in group.arrays())[:8])
            has = f"; it holds {arrays}" if arrays else ""
            raise EyeshotError(
                f"{self.path}: is a Zarr group without OME-Zarr's multiscales; give the path of an array{has}"
            ) from None
        try:
            found = group[name]
        except Exception as error:
            raise EyeshotError(
                f"{self.path}: its first level {name} can't be read: {line(error)}"
            ) from None
        if isinstance(found, zarr.Group):
            raise EyeshotError(f"{self.path}: its first level {name} is no array")
        self._inner = name
        axes = first.get("axes")
        if isinstance(axes, list):
            self.axes = _named([a.get("name") if isinstance(a, Mapping) else a for a in axes])
        elif len(found.shape) == 5:
            self.axes = "tczyx"  # versions 0.1 and 0.2 had no others
        if self.axes is not None and len(self.axes) != len(found.shape):
            raise EyeshotError(
                f"{self.path}: its metadata names {len(self.axes)} axes, {name} has {len(found.shape)} dims"
            )
        return found

    def _read(self, region: Slices) -> np.ndarray:
        if self._top is not None and not any(
            os.path.exists(os.path.join(self._top, n)) for n in METADATA
        ):
            # Chunks that aren't there would be taken for the fill value.
            raise EyeshotError(f"{self.path}: is not there any more")
        return np.asarray(self._array[region])

    @property
    def _closed(self) -> bool:  # type: ignore[override]
        return self._array is None

    @property
    def places(self) -> list[str]:
        """The array's folder; beside it in a group, as OME-Zarr has its labels, there is room for more."""
        if self._top is None:
            return [self.name]
        files = [os.path.join(self.name, name) for name in (*METADATA, ".zattrs", ".zgroup")]
        return [self._top, *files]

    @property
    def _top(self) -> str | None:
        """The array's folder; None in a .zip file."""
        return os.path.join(self.name, self._inner) if self._folder else None

    def _culprit(self, region: Slices) -> str | None:
        """The first chunk of a region that can't be read."""
        array = self._array
        if array is None:
            return None
        chunks = getattr(array, "shards", None) or array.chunks
        ranges = [
            range(part.start // c, -(-part.stop // c))
            for part, c in zip(region, chunks, strict=True)
        ]
        for place in itertools.islice(itertools.product(*ranges), 4096):
            part = tuple(
                slice(max(i * c, r.start), min((i + 1) * c, r.stop))
                for i, c, r in zip(place, chunks, region, strict=True)
            )
            try:
                array[part]
            except Exception:
                key = array.metadata.encode_chunk_key(place)
                return f"chunk {'/'.join(filter(None, (self._inner, key)))}"
        return None

    def _files(self) -> Iterable[tuple[str, str]]:
        if self._top is None:
            yield self.name, ""
            return
        for name in ("zarr.json", ".zattrs", ".zgroup"):
            path = os.path.join(self.name, name)
            if self._inner and os.path.exists(path):
                yield path, name
        if not os.path.isdir(self._top):
            raise EyeshotError(f"{self.path}: is not there any more")
        yield from _walk(self._top, self.name)

    def close(self) -> None:
        array, self._array = self._array, None
        if array is not None:
            array.store.close()


def _walk(top: str, base: str) -> Iterator[tuple[str, str]]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            yield path, os.path.relpath(path, base)


def _named(names: Any) -> str | None:
    """Axes from names of dims, if these begin with letters of their own, or are known by others."""
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and n for n in names):
        return None
    letters = "".join(NAMES.get(name.lower(), name[0].lower()) for name in names)
    fine = letters.isascii() and letters.isalpha() and len(set(letters)) == len(letters)
    return letters if fine else None


def refuse_code(path: str, held: Any) -> None:
    """Refuse codecs that run code from the file."""
    if isinstance(held, Mapping):
        for key in ("id", "name"):
            if "pickle" in str(held.get(key, "")).lower():
                raise EyeshotError(
                    f"{path}: its chunks are pickled, which could run code; it is not read"
                )
        for value in held.values():
            refuse_code(path, value)
    elif isinstance(held, list | tuple):
        for value in held:
            refuse_code(path, value)
    elif "pickle" in type(held).__name__.lower():
        raise EyeshotError(f"{path}: its chunks are pickled, which could run code; it is not read")


def _is_zarr(path: str) -> bool:
    return any(os.path.exists(os.path.join(path, n)) for n in ("zarr.json", ".zarray", ".zgroup"))


def _zarr(path: str) -> Any:
    try:
        import zarr
        import zarr.storage
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "zarr":
            raise
        raise EyeshotError(f"{path}: needs the zarr package: pip install 'eyeshot[tile]'") from None
    return zarr
