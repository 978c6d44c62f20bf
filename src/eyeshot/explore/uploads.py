"""Uploaded ONNX files, by the hash of their content, in a folder of this server's own.

The folder can be read by its owner only and goes when the server ends. The server holds a lock on it; where one
was killed, its folder has none any more, and the next server deletes it. No name of the page's becomes part of
a path: a file is called by its hash, and the name it came with is only shown. When there are too many, those
not used for longest go.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from eyeshot.errors import EyeshotError

__all__ = ["Full", "Upload", "Uploads", "shown"]

PREFIX = "eyeshot-explore-"


class Full(Exception):
    """Other uploads that are under way take all the room."""


@dataclass(frozen=True)
class Upload:
    """``name`` is for people; ``path`` never leaves the server and its workers."""

    id: str
    name: str
    size: int
    path: str


class Uploads:
    """The files that there are. ``with`` it.

    ``most``: how many are kept. ``size``: bytes of these, and as many of those under way.
    """

    def __init__(self, most: int, size: int) -> None:
        self.most = most
        self.size = size
        self.coming = 0
        self.known: OrderedDict[str, Upload] = OrderedDict()
        self.folder: Path | None = None
        self.lock: int | None = None

    def __enter__(self) -> Uploads:
        """Raises EyeshotError where nothing can be written."""
        try:
            sweep(Path(tempfile.gettempdir()))
            self._open()
        except OSError as error:
            raise EyeshotError(f"no folder for uploads: {error.strerror or error}") from None
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _open(self) -> None:
        # Only with its lock does it get the name by which others look for it.
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))  # its mode is 0700
        self.lock = _locked(made)
        self.folder = made.rename(made.with_name(made.name[1:]))

    def _close(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)
        self.folder = self.lock = None
        self.known.clear()

    def get(self, id: str) -> Upload | None:
        """The upload, which is thereby used."""
        found = self.known.get(id)
        if found is not None:
            self.known.move_to_end(id)
        return found if found is not None and os.path.isfile(found.path) else None

    async def add(self, name: str, pieces: AsyncIterator[bytes]) -> Upload:
        """Keeps a body as it streams in; nothing is left of one that breaks off. Raises OSError and Full."""
        if self.folder is None or not self.folder.is_dir():  # somebody has tidied up
            self._close()
            self._open()
        assert self.folder is not None
        digest, size = hashlib.sha256(), 0
        handle, path = tempfile.mkstemp(dir=self.folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    self.coming += len(piece)
                    if self.coming > self.size:
                        raise Full
                    file.write(piece)
            place = Path(path).with_name(digest.hexdigest())
            os.replace(path, place)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
        finally:
            self.coming -= size
        found = Upload(digest.hexdigest(), shown(name), size, str(place))
        self.known[found.id] = found
        self.known.move_to_end(found.id)
        self._bound()
        return found

    def _bound(self) -> None:
        while len(self.known) > 1 and (
            len(self.known) > self.most or sum(u.size for u in self.known.values()) > self.size
        ):
            _, oldest = self.known.popitem(last=False)
            Path(oldest.path).unlink(missing_ok=True)


def sweep(parent: Path) -> None:
    """Deletes the folders that killed servers of this user have left: those that are locked by nobody."""
    for path in parent.glob(f"{PREFIX}*"):
        lock = _locked(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """The handle that locks a folder of this user's; None for another's, for a link, and where one has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(handle).st_uid == os.geteuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
        except OSError:
            pass
        os.close(handle)
    return None


def shown(name: str) -> str:
    """A file's name as it is shown: its last part, without what does not print, not too long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last).strip()
    return (text if len(text) <= 120 else f"{text[:117]}...") or "model.onnx"
