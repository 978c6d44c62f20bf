"""Where results are written, by regions and by several processes: Zarr, TIFF or npy, whole or not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.layout import check_axes
from eyeshot.tiling.outputs.base import Output
from eyeshot.tiling.outputs.places import check_place, clear, kind_of

__all__ = ["KINDS", "Output", "create", "reopen"]

KINDS = ("zarr", "tiff", "npy")
SETTINGS = ("compression", "level", "attributes")


def create(
    path: str | PathLike[str],
    shape: Sequence[int],
    dtype: Any,
    *,
    axes: str,
    chunks: Sequence[int] | None = None,
    kind: str | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Output:
    """A new output of ``shape``, all 0, written at ``PATH.partial`` until its :meth:`~Output.finish`.

    ``axes``: a letter per dim. ``kind``: ``zarr`` (version 3), ``tiff`` or ``npy``; by default what the suffix
    says (.zarr or none, .tif, .tiff, .npy). ``chunks``: the Zarr array's; writers must not share one (see
    :meth:`~eyeshot.tiling.layout.Layout.out_chunks`). ``overwrite``: what is at ``path`` is replaced, by
    :meth:`~Output.finish` and not before; a folder only if it is a Zarr array. What an unfinished run has left
    at ``PATH.partial`` goes at once then. ``settings``: ``compression`` ("zstd", "none") and ``level`` of a
    Zarr array.

    Raises :class:`~eyeshot.errors.EyeshotError` where ``path`` can't be written, has no room, or is not to be
    overwritten.
    """
    made = _output(path, shape, dtype, axes, chunks, kind, overwrite, settings)
    check_place(made.path, made.staging, overwrite)
    clear(made.staging)
    made.make()
    return made


def reopen(
    path: str | PathLike[str],
    shape: Sequence[int],
    dtype: Any,
    *,
    axes: str,
    chunks: Sequence[int] | None = None,
    kind: str | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Output:
    """The unfinished output at ``PATH.partial``, to go on with; arguments as for :func:`create`.

    Raises :class:`~eyeshot.errors.EyeshotError` if there is none, or one of another shape, dtype or chunks.
    """
    made = _output(path, shape, dtype, axes, chunks, kind, overwrite, settings)
    if not made.staging.exists():
        raise EyeshotError(f"{made.staging}: there is no unfinished output to go on with")
    check_place(made.path, made.staging, overwrite, resume=True)
    made.check()
    return made


def _output(
    path: str | PathLike[str],
    shape: Sequence[int],
    dtype: Any,
    axes: str,
    chunks: Sequence[int] | None,
    kind: str | None,
    overwrite: bool,
    settings: Mapping[str, Any] | None,
) -> Output:
    from eyeshot.tiling.outputs.npys import NpyOutput
    from eyeshot.tiling.outputs.tiffs import TiffOutput
    from eyeshot.tiling.outputs.zarrs import ZarrOutput

    classes: dict[str, type[Output]] = {"zarr": ZarrOutput, "tiff": TiffOutput, "npy": NpyOutput}
    kind = kind_of(path) if kind is None else kind
    if kind not in classes:
        raise EyeshotError(f"an output is one of {', '.join(KINDS)}, not {kind!r}")
    if Path(path).name in ("", ".."):
        raise EyeshotError(f"{path}: no name for an output")
    sizes = tuple(int(n) for n in shape)
    if not sizes or min(sizes) < 1:
        raise EyeshotError(
            f"{path}: an output of {'x'.join(map(str, sizes)) or 'no dims'} holds nothing"
        )
    told = dict(settings or {})
    unknown = ", ".join(sorted(told.keys() - SETTINGS))
    if unknown:
        raise EyeshotError(f"settings: there is no {unknown}; there are {', '.join(SETTINGS)}")
    sides = sizes if chunks is None else tuple(int(n) for n in chunks)
    if len(sides) != len(sizes) or min(sides) < 1:
        raise EyeshotError(f"chunks: {sides} for an output with {len(sizes)} dims")
    return classes[kind](
        path=Path(path),
        shape=sizes,
        dtype=np.dtype(dtype).newbyteorder("="),
        axes=check_axes(axes, len(sizes)),
        chunks=tuple(map(min, sides, sizes)),
        overwrite=overwrite,
        settings=told,
    )
