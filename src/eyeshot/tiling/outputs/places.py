"""Paths of outputs: what may be written where, how an output takes its place, and why it could not."""

from __future__ import annotations

import errno
import os
import re
import shutil
from os import PathLike
from pathlib import Path

from eyeshot.errors import EyeshotError

__all__ = [
    "LITTER",
    "check_place",
    "clear",
    "failure",
    "is_zarr_array",
    "kind_of",
    "make_room",
    "named",
    "put_in_place",
    "staging",
    "synced",
]

SUFFIXES = {".zarr": "zarr", "": "zarr", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy"}
#: What lies at the top of a Zarr array: its metadata, and chunks such as c, 0, 0.1.
OF_AN_ARRAY = re.compile(r"zarr\.json|\.zarray|\.zattrs|\.zmetadata|c|c\.[\d.]+|\d+([.]\d+)*")
#: What a writer of Zarr chunks that was killed leaves beside them.
LITTER = re.compile(r".*\.[0-9a-f]{32}\.partial")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What is free when the output has been written, at least.
SPARE = 1 << 20


def kind_of(path: str | PathLike[str]) -> str:
    """The kind of output that a path's suffix asks for."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise EyeshotError(f"{path}: outputs are .zarr, .tif or .npy, not {suffix}")
    return SUFFIXES[suffix]


def staging(path: Path) -> Path:
    """Where an output is until it is finished."""
    return path.with_name(f"{path.name}.partial")


def aside(path: Path) -> Path:
    """Where what is replaced lies while a folder takes its place."""
    return path.with_name(f".{path.name}.replaced")


def named(path: Path) -> None:
    """Raise :class:`~eyeshot.errors.EyeshotError` for what is no name of a file that could be made."""
    if path.name in ("", ".."):
        raise EyeshotError(f"{path}: no name for an output")
    try:
        # What lies beside an output while it is written has the longest name.
        os.lstat(f"{path}.partial.journal")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise EyeshotError(f"{path}: no name for an output: {told}") from None


def check_place(path: Path, partial: Path, overwrite: bool, resume: bool = False) -> None:
    """Raise :class:`~eyeshot.errors.EyeshotError` unless an output may be made at ``path``."""
    if not path.parent.is_dir():
        raise EyeshotError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise EyeshotError(f"{path}: the folder {path.parent} can't be written to")
    if os.path.lexists(path):
        if not overwrite:
            raise EyeshotError(f"{path}: exists; --overwrite replaces it")
        _replaceable(path)
    if os.path.lexists(partial) and not resume:
        if not overwrite:
            raise EyeshotError(
                f"{partial}: is there from an unfinished run: go on with it by --resume, "
                "or begin anew by --overwrite"
            )
        if partial.is_symlink() or not partial.is_dir() or not _begun(partial):
            _replaceable(partial)


def _begun(partial: Path) -> bool:
    """Whether a folder holds nothing, or what is there before a Zarr array has its metadata."""
    return all(LITTER.fullmatch(name) for name in os.listdir(partial))


def _replaceable(path: Path) -> None:
    """Raise :class:`~eyeshot.errors.EyeshotError` for what is neither a file nor a Zarr array."""
    if path.is_symlink() or path.is_file():
        return
    if not path.is_dir():
        raise EyeshotError(f"{path}: is neither a file nor a folder, and is not replaced")
    if not is_zarr_array(path):
        raise EyeshotError(
            f"{path}: is a folder that holds other things than one Zarr array, and is not replaced; "
            "remove it yourself if you mean to"
        )


def is_zarr_array(path: Path) -> bool:
    """Whether a folder is a Zarr array (of version 2 or 3, not a group) and holds nothing else at its top."""
    names = os.listdir(path)
    if "zarr.json" in names:
        text = (path / "zarr.json").read_bytes()[: 1 << 20]
        if not re.search(rb'"node_type"\s*:\s*"array"', text):
            return False
    elif ".zarray" not in names:
        return False
    return all(OF_AN_ARRAY.fullmatch(name) for name in names)


def clear(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise failure(path, error) from None


def make_room(path: Path, needed: int) -> None:
    """Raise :class:`~eyeshot.errors.EyeshotError` if ``needed`` bytes don't fit where ``path`` is."""
    free = shutil.disk_usage(path.parent).free
    if needed + SPARE > free:
        raise EyeshotError(
            f"{path}: needs {_size(needed)}, and {_size(free)} are free; free some space, or write elsewhere"
        )


def synced(path: Path) -> None:
    """Wait until a file, or all of a folder, is on the disk."""
    if path.is_dir():
        for folder, _, names in os.walk(path):
            for name in names:
                _sync(os.path.join(folder, name))
            _sync(folder)
    else:
        _sync(os.fspath(path))


def _sync(path: str) -> None:
    if os.name == "nt" and os.path.isdir(path):
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(partial: Path, path: Path, overwrite: bool) -> None:
    """Give ``partial`` its name; with ``overwrite``, what has that name goes once it is in place."""
    old = aside(path)
    if os.path.lexists(path):
        if not overwrite:
            raise EyeshotError(f"{path}: has come to exist meanwhile; the result is at {partial}")
        _replaceable(path)
        if (path.is_dir() and not path.is_symlink()) or partial.is_dir():
            if os.path.lexists(old):
                clear(old)
            os.rename(path, old)
    os.replace(partial, path)
    _sync(os.fspath(path.parent))
    if overwrite:
        clear(old)


def failure(path: Path, error: OSError) -> EyeshotError:
    """One line on why an output could not be written, and what to do."""
    if error.errno in FULL:
        why = "the file would be too large" if error.errno == errno.EFBIG else "no space is left"
        return EyeshotError(f"{path}: {why}; free some, then go on with --resume")
    return EyeshotError(f"{path}: can't be written: {error.strerror or error}")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
