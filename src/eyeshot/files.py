"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from os import PathLike
from pathlib import Path

from eyeshot.errors import EyeshotError

__all__ = ["replace"]


def replace(path: str | PathLike[str], content: bytes) -> None:
    """Write a file that is either whole or not there; one that was there is replaced, links stay links.

    Raises :class:`~eyeshot.errors.EyeshotError` where it can't be written.
    """
    if not os.fspath(path):
        raise EyeshotError("--output: no file name")
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a device, a pipe
            return
        target = target.resolve()  # a link stays one
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
        try:
            with open(handle, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~mask
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise EyeshotError(f"{path}: {error.strerror or error}") from None
