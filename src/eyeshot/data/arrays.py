"""Arrays, files of arrays, and iterables of batches as samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.data.samples import (
    SCALES,
    Normal,
    Sample,
    Samples,
    Wanted,
    floats,
    is_array,
    numpy_of,
    shape_text,
    window_of,
)
from eyeshot.errors import EyeshotError

__all__ = ["batches", "from_array", "from_file"]

#: Containers in containers are opened as deep as this for the first tensor of a batch.
MAX_DEPTH = 8


def from_file(path: Path, wanted: Wanted, limit: int | None, normal: Normal) -> Samples:
    """The array of an ``.npy`` file, mapped into memory, or of an ``.npz`` file. Nothing is unpickled."""
    text, name = str(path), ""
    if not path.is_file() and ".npz:" in text.lower():
        head, _, name = text.rpartition(":")
        path = Path(head)
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz"):
        if not path.exists():
            raise EyeshotError(f"data: {path}: there is no such file or folder")
        raise EyeshotError(
            f"data: {path}: expected a folder of images, an image, or an .npy or .npz file"
        )
    try:
        loaded = np.load(path, mmap_mode="r" if suffix == ".npy" else None, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                array = _member(loaded, path, name)
        else:
            array = loaded
    except FileNotFoundError:
        raise EyeshotError(f"data: {path}: there is no such file") from None
    except EyeshotError:
        raise
    except Exception as error:  # broken headers and archives raise all sorts of things
        why = " ".join(str(error).split())[:160] or type(error).__name__
        if "allow_pickle" in why or "Python objects" in why:
            why = "it holds pickled objects, which are never loaded"
        raise EyeshotError(f"data: {path}: can't be read: {why}") from None
    return from_array(array, wanted, limit, normal, f"{path.name}, sample")


def _member(archive: Any, path: Path, name: str) -> NDArray[Any]:
    held = list(archive.files)
    if name:
        if name not in held:
            raise EyeshotError(f"data: {path}: holds no {name!r} (it holds {_listed(held)})")
    elif len(held) != 1:
        raise EyeshotError(
            f"data: {path}: holds {len(held)} arrays ({_listed(held)}); choose one: {path.name}:NAME"
        )
    array = archive[name or held[0]]
    if not isinstance(array, np.ndarray):
        raise EyeshotError(f"data: {path}: {name or held[0]} is no array")
    return array


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") or "none"


def from_array(
    array: NDArray[Any], wanted: Wanted, limit: int | None, normal: Normal, label: str
) -> Samples:
    """The samples of an array [N, C, \\*axes], of [N, \\*axes] for one channel, or a single one.

    ``label`` comes before a sample's number in messages.
    """
    array = _stacked(array, wanted, f"data: {label.partition(',')[0]}" if "," in label else "data")
    count = len(array) if limit is None else min(limit, len(array))
    if not count:
        raise EyeshotError("data: holds no samples")
    notes = []
    if array.dtype.name in SCALES:
        normal, note = normal.or_usual(wanted)
        notes.append(note)
    elif normal.mean is not None or normal.std is not None:
        notes.append("the data's numbers normalised with the mean and std given")

    def item(k: int) -> Sample:
        name = f"{label} {k}"

        def make(window: Any) -> NDArray[Any]:
            cut = np.asarray(array[k][window_of(window, wanted)])
            return normal.apply(floats(cut, name))

        return Sample(name, make)

    return Samples(count, (item(k) for k in range(count)), notes)


def _stacked(array: NDArray[Any], wanted: Wanted, name: str) -> NDArray[Any]:
    """The array as [N, \\*shape of a sample]."""
    shape, held = wanted.shape, array.shape
    if held[1:] == shape:
        return array
    if wanted.channel is not None and wanted.channels == 1 and held[1:] == wanted.sizes:
        return np.expand_dims(array, wanted.channel + 1)
    if held == shape:
        return array[None]
    raise EyeshotError(
        f"{name}: shape {shape_text(held)}, but {wanted.name} is {shape_text(shape)}: "
        f"expected Nx{shape_text(shape)}"
    )


def batches(data: Iterable[Any], wanted: Wanted, limit: int | None, normal: Normal) -> Samples:
    """The samples of a DataLoader, or of anything that gives batches or single samples, one after another.

    A batch is an array or tensor, or a tuple, list or mapping whose first one is taken.
    """
    notes: list[str] = []

    def items() -> Iterator[Sample]:
        left = limit
        for k, batch in enumerate(_each(data)):
            name = f"batch {k}"
            held = _first(batch, 0)
            if held is None:
                raise EyeshotError(
                    f"data: {name}: no array or tensor in it ({type(batch).__qualname__})"
                )
            found = from_array(numpy_of(held, name), wanted, left, normal, f"{name}, sample")
            notes.extend(note for note in found.notes if note not in notes)
            yield from found.items
            if left is not None:
                left -= found.number or 0
                if left < 1:
                    return

    return Samples(limit, items(), notes)


def _each(data: Any) -> Iterator[Any]:
    if hasattr(data, "__iter__"):
        yield from data
        return
    for k in range(len(data)):  # a data set that is only indexed
        yield data[k]


def _first(batch: Any, depth: int) -> Any:
    """The first array or tensor in a batch."""
    if is_array(batch):
        return batch
    if depth > MAX_DEPTH or isinstance(batch, str | bytes):
        return None
    inner: Iterable[Any] = ()
    if isinstance(batch, Mapping):
        inner = batch.values()
    elif isinstance(batch, list | tuple):
        inner = batch
    for held in inner:
        found = _first(held, depth + 1)
        if found is not None:
            return found
    return None
