"""Data to measure on, as numpy arrays: image folders, ``.npy`` and ``.npz`` files, arrays, batches, noise.

numpy and Pillow only; tensors are recognised by what they can do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from eyeshot.data.arrays import batches, from_array, from_file
from eyeshot.data.images import from_folder, size_of_image
from eyeshot.data.samples import Normal, Sample, Samples, Wanted, drawn, is_array, numpy_of
from eyeshot.errors import EyeshotError

__all__ = ["RANDOM", "Normal", "Sample", "Samples", "Wanted", "samples_of", "size_of_image"]

#: How many random samples are drawn unless somebody says.
RANDOM = 20


def samples_of(
    data: Any,
    wanted: Wanted,
    *,
    limit: int | None = None,
    resize: bool = False,
    mean: Any = None,
    std: Any = None,
    seed: int = 0,
) -> Samples:
    """The samples that ``data`` stands for, at most ``limit``, each of the shape that is ``wanted``.

    ``data``: None or ``"random"``; a folder of images, or one image; an ``.npy`` or ``.npz`` file
    (``file.npz:name`` where it holds several arrays); an array or tensor; a DataLoader or any iterable of
    batches. ``resize``: images are scaled and cropped to the size wanted. ``mean``, ``std``: per channel.

    Raises EyeshotError for what can't be read or doesn't fit.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise EyeshotError(f"samples: expected a number from 1 up, got {limit!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise EyeshotError(f"seed: expected a number from 0 up, got {seed!r}")
    normal = Normal.of(mean, std, wanted)
    if data is None or (isinstance(data, str) and data == "random"):
        if mean is not None or std is not None:
            raise EyeshotError("mean, std: random data are standard normal as they are")
        return drawn(wanted, RANDOM if limit is None else limit, seed)
    if isinstance(data, str | PathLike):
        if not os.fspath(data):
            raise EyeshotError("data: no file or folder is named")
        path = Path(data)
        if path.is_dir() or (path.is_file() and ".np" not in path.suffix.lower()):
            return from_folder(path, wanted, limit, resize, normal)
        return from_file(path, wanted, limit, normal)
    if is_array(data):
        return from_array(numpy_of(data, "data"), wanted, limit, normal, "sample")
    if isinstance(data, bytes | Mapping) or not (
        hasattr(data, "__iter__") or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))
    ):
        raise EyeshotError(
            f"data: can't read a {type(data).__qualname__}; expected a folder of images, an .npy or .npz file, "
            "an array, or an iterable of batches"
        )
    return batches(data, wanted, limit, normal)
