"""What a run has done so far, kept beside its output: lines that are whole or ignored, and a lock.

The first line is the header: what the run is about. Each further line is a record, written when what it tells
of has been written. Every line is JSON with a checksum of its own; a line that was cut off by a kill or a power
cut does not count. Only one process at a time holds a journal (by ``flock``; on Windows nothing sees to that).
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

from eyeshot.errors import EyeshotError

__all__ = ["SUFFIX", "Journal"]

SCHEMA = "eyeshot.tile-run/1"
#: A journal's name is that of the unfinished output with this behind it.
SUFFIX = ".journal"
BEGIN = b'{"crc":"'


class Journal:
    """A journal that this process holds.

    ``header`` is None for a new one and for one whose header was never written whole. ``records``: those that
    were found, in order, less those that could not be read, which before the last one only a fault of the disk
    explains; what they told of has to be done again.

    ``exists=True`` opens only what is there. Raises :class:`~eyeshot.errors.EyeshotError` where another process
    holds it, where it is missing or can't be written, and where the file is something else.
    """

    def __init__(self, path: str | os.PathLike[str], *, exists: bool = False) -> None:
        self.path = Path(path)
        self.header: dict[str, Any] | None = None
        self.records: list[dict[str, Any]] = []
        try:
            self._handle = _locked(self.path, exists)
        except OSError as error:
            raise EyeshotError(f"{self.path}: {error.strerror or error}") from None
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def begin(self, header: dict[str, Any]) -> None:
        """Start anew with this header; earlier records are gone."""
        self.header, self.records = json.loads(_text(header)), []
        self._end = 0
        os.ftruncate(self._handle, 0)
        self._append({"schema": SCHEMA, **header})
        _sync_folder(self.path.parent)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; when this returns it is on the disk.

        Raises ``OSError`` where it can't be written; the journal is then as it was before.
        """
        self._append(record)
        self.records.append(record)

    def remove(self) -> None:
        """Delete the file, and let go of it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; others may open it then."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, content: dict[str, Any]) -> None:
        line = _line(content)
        try:
            os.lseek(self._handle, self._end, os.SEEK_SET)
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, self._end)
            raise
        self._end += len(line)

    def _read(self) -> None:
        """Take what is there; what follows the last whole line is cut off."""
        with open(self._handle, "rb", closefd=False) as file:
            content = file.read()
        self._end = 0
        *lines, _ = content.split(b"\n")
        found = [_parsed(line) for line in lines]
        while found and found[-1] is None:
            found.pop()
        if not found:
            # Killed while it wrote its header, or never a journal.
            if len(lines) > 1 or not content.startswith(BEGIN[: len(content)]):
                raise EyeshotError(f"{self.path}: not a journal of eyeshot, or damaged; delete it")
            return
        header, *records = found
        if header is None or header.get("schema") != SCHEMA:
            raise EyeshotError(
                f"{self.path}: the first line, which tells what the run is about, is damaged or of another "
                f"version of eyeshot; delete it"
            )
        self.header = {key: value for key, value in header.items() if key != "schema"}
        self.records = [record for record in records if record is not None]
        self._end = sum(len(line) + 1 for line in lines[: len(found)])
        os.ftruncate(self._handle, self._end)


def _line(content: dict[str, Any]) -> bytes:
    text = _text(content)
    return f'{{"crc":"{zlib.crc32(text.encode()):08x}","line":{text}}}\n'.encode()


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), sort_keys=True, allow_nan=False)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is not what was written."""
    try:
        held = json.loads(line)
        content = held["line"]
        if isinstance(content, dict) and _line(content) == line + b"\n":
            return content
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def _locked(path: Path, exists: bool) -> int:
    """The file, open and locked; another process may have removed it meanwhile, which is looked at too."""
    flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    while True:
        handle = os.open(path, flags if exists else flags | os.O_CREAT, 0o666)
        try:
            _lock(handle, path)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:
            if exists:
                os.close(handle)
                raise
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        output = str(path).removesuffix(SUFFIX).removesuffix(".partial")
        raise EyeshotError(f"{output}: another run is writing it") from None


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk only when its folder is."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems
        pass
    finally:
        os.close(handle)
