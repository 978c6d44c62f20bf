"""TIFFs, read segment by segment: only the tiles and strips that a region needs are decoded."""

from __future__ import annotations

import itertools
import logging
import math
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.images.base import Image, Slices, region_text
from eyeshot.tiling.raw import Truncated, read_region

__all__ = ["TiffImage"]

JPEG = (6, 7, 34892, 33007)
#: Bytes of decoded segments that are kept for the next region.
KEPT = 1 << 26
DESCRIPTION = 270
MAX_PAGES = 1 << 20


def check_pages(path: Path) -> None:
    """Raise :class:`~eyeshot.errors.EyeshotError` if a TIFF's pages go on behind the end of the file.

    (Readers take the pages that are there for all, or an image whose description is cut off for another one.)
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
        start = 8 if big else 4
        if path.suffix.lower() == ".ndpi":  # has offsets of its own kind
            return
        wide = struct.calcsize(order + offset)
        (at,) = struct.unpack_from(order + offset, head.ljust(16, b"\0"), start)
        seen: set[int] = set()
        while at and at not in seen and len(seen) < MAX_PAGES:
            seen.add(at)
            file.seek(at)
            told = file.read(struct.calcsize(order + count))
            if len(told) < struct.calcsize(order + count):
                raise EyeshotError(f"{path}: is truncated: a page begins at byte {at}, of {size}")
            (number,) = struct.unpack(order + count, told)
            held = file.read(number * entry + wide) if number < 1 << 16 else b""
            if len(held) < number * entry + wide:
                raise EyeshotError(f"{path}: is truncated: within the page at byte {at}, of {size}")
            if len(seen) == 1 and _described(held, number, order, big) > size:
                raise EyeshotError(
                    f"{path}: is truncated: its description lies behind its {size} bytes"
                )
            (at,) = struct.unpack_from(order + offset, held, number * entry)
        if not seen:
            raise EyeshotError(f"{path}: is no whole TIFF: it has no page")


def _described(held: bytes, number: int, order: str, big: bool) -> int:
    """Where the text of a page's description ends in the file; 0 if it has none."""
    entry = 20 if big else 12
    for i in range(number):
        tag, _, length, at = struct.unpack_from(
            order + ("HHQQ" if big else "HHII"), held, i * entry
        )
        if tag == DESCRIPTION and length > (8 if big else 4):
            return at + length
    return 0


class TiffImage(Image):
    """Level 0 of a TIFF's first series. Uncompressed strips are read in part, all other segments whole.

    Decoded segments are kept for the regions beside, 64 MB of them at most (or one, if it is larger).
    """

    _file: Any = None

    def _open(self) -> None:
        tifffile = _tifffile(self.name)
        check_pages(self.path)
        self._lock = threading.RLock()
        self._cache: OrderedDict[tuple[int, int], np.ndarray | None] = OrderedDict()
        self._cached = 0
        self._file = tifffile.TiffFile(self.path)
        if not self._file.series:
            raise EyeshotError(f"{self.path}: holds no image")
        self._series = series = self._file.series[0].levels[0]
        key = series.keyframe
        if key is None or series.dtype is None:
            raise EyeshotError(f"{self.path}: holds no image whose dtype is known")
        self.shape, self.dtype = tuple(series.shape), np.dtype(series.dtype)
        self.axes = _axes(series.axes)
        self._key = key
        self._page_shape = tuple(key.shaped)  # separate samples, depth, length, width, samples
        self._segment = (1, key.tiledepth or 1, *_sides(key), self._page_shape[4])
        if not self.shape or 0 in self.shape:
            return  # refused for its shape
        self._check()

    def _check(self) -> None:
        """The size of segments, and that those of the first page are in the file."""
        size = math.prod(self._segment) * self.dtype.itemsize
        if self._series.dataoffset is None and not self._plain:
            if size > self.limit:
                raise self._too_large("a strip" if not self._key.is_tiled else "a tile", size)
            self.held = max(KEPT, size)
        if math.prod(self.shape) % math.prod(self._page_shape):
            raise EyeshotError(f"{self.path}: its pages don't make up its series")
        length = os.stat(self.path).st_size
        ends = [
            o + n for o, n in zip(self._key.dataoffsets, self._key.databytecounts, strict=False)
        ]
        if self._series.dataoffset is not None:
            ends.append(self._series.dataoffset + self.nbytes)
        if max(ends, default=0) > length:
            raise EyeshotError(f"{self.path}: is truncated: {length} bytes of at least {max(ends)}")

    @property
    def _plain(self) -> bool:
        """Segments are nothing but the numbers themselves."""
        key = self._key
        return (
            key.compression == 1
            and key.predictor == 1
            and key.fillorder == 1
            and key.bitspersample == self.dtype.itemsize * 8
            and not key.is_subsampled
        )

    def _read(self, region: Slices) -> np.ndarray:
        series = self._series
        try:
            if series.dataoffset is not None:
                path = series.keyframe.parent.filehandle.path
                stored = self.dtype.newbyteorder(self._file.byteorder)
                with open(path, "rb", buffering=0) as file:
                    return read_region(file, series.dataoffset, self.shape, stored, region)
            return self._gathered(region)
        except Truncated:
            raise EyeshotError(
                f"{self.path}: is truncated: nothing at {region_text(region)}"
            ) from None

    def _gathered(self, region: Slices) -> np.ndarray:
        """A region from its pages' segments."""
        found = np.zeros(tuple(part.stop - part.start for part in region), self.dtype)
        lead, split = self._split()
        inner = region[lead:]
        for index in itertools.product(*(range(p.start, p.stop) for p in region[:lead])):
            number = int(np.ravel_multi_index(index, self.shape[:lead])) if lead else 0
            at = tuple(i - p.start for i, p in zip(index, region[:lead], strict=True))
            # The page's own dims, normalized to five; dims of size 1 may not be among the image's.
            part = self._five(inner, split)
            whole = found[at].reshape(tuple(p.stop - p.start for p in part))
            self._page(number, part, whole)
        return found

    def _split(self) -> tuple[int, tuple[int, ...]]:
        """How many of the image's dims go over pages, and which of a page's five dims the others are."""
        wanted = math.prod(self._page_shape)
        lead, size = len(self.shape), 1
        while size < wanted:
            lead -= 1
            size *= self.shape[lead]
        inner = list(self.shape[lead:])
        split: list[int] = []
        for dim, length in enumerate(self._page_shape):
            if len(split) < len(inner) and length == inner[len(split)]:
                # A dim of 1 that comes later may be meant; then the rest would not fit any more.
                if length == 1 and _fits(inner[len(split) :], self._page_shape[dim + 1 :]):
                    continue
                split.append(dim)
        if size != wanted or len(split) != len(inner):
            raise EyeshotError(f"{self.path}: its pages don't make up its series")
        return lead, tuple(split)

    def _five(self, inner: Slices, split: tuple[int, ...]) -> Slices:
        part = [slice(0, 1)] * 5
        for dim, where in zip(split, inner, strict=True):
            part[dim] = where
        return tuple(part)

    def _page(self, number: int, part: Slices, out: np.ndarray) -> None:
        """Fill ``out`` with a part of a page, both of five dims."""
        with self._lock:
            page = self._series[number]
        if page is None:
            return  # a page that OME-XML tells of and that isn't there
        if page.keyframe is not self._key and page.keyframe.hash != self._key.hash:
            raise EyeshotError(f"{self.path}: page {number} is stored otherwise than page 0")
        for index, place in self._touched(part):
            inside, into = _meet(part, place, self._segment, self._page_shape)
            got = self._of_segment(page, number, index, inside, place)
            if got is not None:
                out[into] = got

    def _touched(self, part: Slices) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The segments that a part of a page lies in: number, and where each begins."""
        grid = [-(-n // s) for n, s in zip(self._page_shape, self._segment, strict=True)]
        ranges = [
            range(p.start // s, -(-p.stop // s)) for p, s in zip(part, self._segment, strict=True)
        ]
        for place in itertools.product(*ranges):
            index = int(np.ravel_multi_index(place, grid))
            yield index, tuple(i * s for i, s in zip(place, self._segment, strict=True))

    def _of_segment(
        self, page: Any, number: int, index: int, inside: Slices, place: tuple[int, ...]
    ) -> np.ndarray | None:
        """A part of a segment; None if the segment isn't stored, which means 0."""
        if index >= len(page.dataoffsets) or not page.databytecounts[index]:
            return None
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        path = page.parent.filehandle.path
        if self._plain:
            stored = self.dtype.newbyteorder(page.parent.byteorder)
            with open(path, "rb", buffering=0) as file:
                return read_region(file, offset, self._segment, stored, inside)
        decoded = self._decoded(page, number, index, path, offset, count)
        return None if decoded is None else decoded[inside]

    def _decoded(
        self, page: Any, number: int, index: int, path: str, offset: int, count: int
    ) -> np.ndarray | None:
        """A segment, in five dims, from what is kept or from the file."""
        key = (number, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        with open(path, "rb") as file:
            file.seek(offset)
            raw = file.read(count)
        if len(raw) != count:
            raise Truncated
        options: dict[str, Any] = {"_fullsize": self._key.is_tiled}
        if page.compression in JPEG:
            options |= {"jpegtables": page.jpegtables, "jpegheader": page.keyframe.jpegheader}
        try:
            data = page.keyframe.decode(raw, index, **options)[0]
        except Exception as error:
            kind = "tile" if self._key.is_tiled else "strip"
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise EyeshotError(
                f"{self.path}: {kind} {index} of page {number} can't be decoded: {reason}"
            ) from None
        found = None if data is None else np.asarray(data).reshape(1, *data.shape)
        self._keep(key, found)
        return found

    def _keep(self, key: tuple[int, int], array: np.ndarray | None) -> None:
        size = 0 if array is None else array.nbytes
        with self._lock:
            if key in self._cache:
                return
            self._cache[key] = array
            self._cached += size
            while self._cached > KEPT and len(self._cache) > 1:
                _, old = self._cache.popitem(last=False)
                self._cached -= 0 if old is None else old.nbytes

    def _files(self) -> Iterable[tuple[str, str]]:
        paths = {self.name}
        if self._file is not None and self._file.is_ome:
            for page in self._series.pages:
                if page is not None:
                    paths.add(os.fspath(page.parent.filehandle.path))
        base = os.path.dirname(os.path.abspath(self.name))
        yield self.name, ""
        for path in paths - {self.name}:
            if os.path.abspath(path) != os.path.abspath(self.name):
                yield path, os.path.relpath(path, base)

    @property
    def places(self) -> list[str]:
        """All files of a multi-file OME-TIFF."""
        return [path for path, _ in self._files()]

    @property
    def _closed(self) -> bool:  # type: ignore[override]
        return self._file is None

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
            self._cache.clear()
            self._cached = 0


def _fits(inner: list[int], rest: tuple[int, ...]) -> bool:
    """Whether dims can be found, in order, among the rest of a page's."""
    left = iter(rest)
    return all(any(size == other for other in left) for size in inner)


def _meet(
    part: Slices, place: tuple[int, ...], segment: tuple[int, ...], page: tuple[int, ...]
) -> tuple[Slices, Slices]:
    """Where a part of a page and a segment at ``place`` meet: within the segment, and within the part."""
    inside, into = [], []
    for want, begin, size, whole in zip(part, place, segment, page, strict=True):
        low, high = max(want.start, begin), min(want.stop, begin + size, whole)
        inside.append(slice(low - begin, high - begin))
        into.append(slice(low - want.start, high - want.start))
    return tuple(inside), tuple(into)


def _sides(key: Any) -> tuple[int, int]:
    """Length and width of a page's segments."""
    if key.is_tiled:
        return key.tilelength, key.tilewidth
    return min(key.rowsperstrip, key.imagelength) or 1, key.imagewidth


def _axes(codes: str) -> str | None:
    """tifffile's letters as axes; None where one says that it isn't known what its dim is."""
    letters = codes.lower()
    if "q" in letters:
        return None
    if "c" not in letters:
        letters = letters.replace("s", "c")
    fine = letters.isascii() and letters.isalpha() and len(set(letters)) == len(letters)
    return letters if fine else None


def _tifffile(path: str) -> Any:
    try:
        import tifffile
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "tifffile":
            raise
        raise EyeshotError(
            f"{path}: needs the tifffile package: pip install 'eyeshot[tile]'"
        ) from None
    # It logs what is odd about a file; what matters is raised, and the rest need not be on the screen.
    logger = logging.getLogger("tifffile")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return tifffile
