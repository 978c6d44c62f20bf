"""Regions of an array that lies uncompressed in a file, read and written without mapping the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["Truncated", "bounds", "fill", "read_region", "write_region"]

Slices = tuple[slice, ...]

#: Runs of fewer bytes are read together with what lies between them.
SHORT = 1 << 12
#: By how many times that may be more than what is wanted.
WASTE = 16


class Truncated(Exception):
    """The file ends before the array does."""


def bounds(slices: Sequence[slice], shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """First and past-the-last index per dim; negative steps and steps other than 1 aren't regions."""
    if len(slices) != len(shape):
        raise ValueError(f"{len(slices)} slices for {len(shape)} dims")
    found = []
    for part, size in zip(slices, shape, strict=True):
        begin, end, step = part.indices(size)
        if step != 1:
            raise ValueError("regions have steps of 1")
        found.append((begin, max(begin, end)))
    return tuple(found)


def read_region(
    file: BinaryIO, offset: int, shape: Sequence[int], dtype: np.dtype[Any], slices: Slices
) -> np.ndarray:
    """A region of the C-ordered array that begins at byte ``offset``; raises :class:`Truncated`.

    What is read at a time is about what is wanted, whatever the size of the array.
    """
    limits = bounds(slices, shape)
    counts = tuple(end - begin for begin, end in limits)
    found = np.empty(counts, dtype)
    if found.size == 0:
        return found
    level = _level(shape, limits, dtype.itemsize)
    strides = _strides(shape)
    inner = range(level, len(shape))
    first = sum(limits[d][0] * strides[d] for d in inner)
    length = sum((limits[d][1] - 1) * strides[d] for d in inner) + 1 - first
    useful = math.prod(counts[level:])
    rows = found.reshape(-1, useful)
    buffer = None if length == useful else np.empty(length, dtype)
    for row, at in zip(rows, _outer(limits, strides, level), strict=True):
        target = row if buffer is None else buffer
        file.seek(offset + (at + first) * dtype.itemsize)
        fill(file, target)
        if buffer is not None:
            steps = [strides[d] * dtype.itemsize for d in inner]
            row.reshape(counts[level:])[...] = as_strided(buffer, counts[level:], steps)
    return found


def fill(file: BinaryIO, target: np.ndarray) -> None:
    """Read so many bytes as the C-ordered array has; raises :class:`Truncated`."""
    view = target.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise Truncated
        done += count


def write_region(
    file: BinaryIO, offset: int, shape: Sequence[int], slices: Slices, array: np.ndarray
) -> None:
    """Write a region of the C-ordered array that begins at byte ``offset``: its bytes and no others."""
    limits = bounds(slices, shape)
    counts = tuple(end - begin for begin, end in limits)
    if array.shape != counts:
        raise ValueError(f"an array of {array.shape} for a region of {counts}")
    if array.size == 0:
        return
    level = len(shape)
    while level > 0 and all(limits[d] == (0, shape[d]) for d in range(level, len(shape))):
        level -= 1
    strides = _strides(shape)
    first = sum(limits[d][0] * strides[d] for d in range(level, len(shape)))
    rows = np.ascontiguousarray(array).reshape(math.prod(counts[:level]), -1)
    for row, at in zip(rows, _outer(limits, strides, level), strict=True):
        file.seek(offset + (at + first) * array.itemsize)
        view = row.view(np.uint8).data
        done = 0
        while done < len(view):
            done += file.write(view[done:])


def _level(shape: Sequence[int], limits: Sequence[tuple[int, int]], itemsize: int) -> int:
    """From which dim on a block is read as one: as few reads as don't bring in much that isn't wanted."""
    strides = _strides(shape)
    level, length, useful = len(shape), 1, 1
    while level > 0:
        begin, end = limits[level - 1]
        wider = (end - begin - 1) * strides[level - 1] + length
        more = useful * (end - begin)
        if wider != more and (length * itemsize >= SHORT or wider > WASTE * more):
            break
        level, length, useful = level - 1, wider, more
    return level


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next, per dim."""
    return tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))


def _outer(limits: Sequence[tuple[int, int]], strides: Sequence[int], level: int) -> list[int]:
    """Where the blocks over the dims before ``level`` begin, in elements."""
    found = np.zeros((), np.int64)
    for (begin, end), stride in zip(limits[:level], strides[:level], strict=True):
        found = np.add.outer(found, np.arange(begin, end, dtype=np.int64) * stride)
    return found.reshape(-1).tolist()
