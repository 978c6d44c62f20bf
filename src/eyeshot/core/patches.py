"""Patches: arrays over a part of a tensor, zero (or False) everywhere else.

The adjoint and the forward engine carry one per tensor. Most of a network is blind to most of a tensor, and
alike along whole dims (all channels of a plain convolution), so that a patch is cheap where its tensor is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.core.primitives import Shape
from eyeshot.errors import EyeshotError

__all__ = ["MAX_ELEMENTS", "Patch", "afford", "front", "runs"]

Array = NDArray[Any]

#: An array has at most this many elements.
MAX_ELEMENTS = 1 << 27


class Patch(NamedTuple):
    """``array`` over ``[begin, end)`` per dim, with size 1 along dims in which it does not vary.

    Numbers add up; booleans are united.
    """

    begin: Shape
    end: Shape
    array: Array

    def full(self, dim: int) -> Array:
        """The array with ``dim`` first and of its full extent, as a view."""
        moved = front(self.array, dim)
        extent = self.end[dim] - self.begin[dim]
        if len(moved) == extent:
            return moved
        return np.broadcast_to(moved, (extent, *moved.shape[1:]))

    def along(self, dim: int, begin: int, end: int, moved: Array) -> Patch:
        """The patch with another extent along ``dim``, for an array that has ``dim`` first."""
        return Patch(
            (*self.begin[:dim], begin, *self.begin[dim + 1 :]),
            (*self.end[:dim], end, *self.end[dim + 1 :]),
            moved.transpose(_orders(moved.ndim, dim)[1]),
        )

    def cut(self, dim: int, begin: int, end: int) -> Patch | None:
        """The part within ``[begin, end)`` along ``dim``; None where there is none."""
        low, high = max(begin, self.begin[dim]), min(end, self.end[dim])
        if low >= high:
            return None
        moved = front(self.array, dim)
        if len(moved) > 1:
            moved = moved[low - self.begin[dim] : high - self.begin[dim]]
        return self.along(dim, low, high, moved)

    def moved(self, dim: int, by: int) -> Patch:
        """The patch at another place along ``dim``."""
        return self.along(dim, self.begin[dim] + by, self.end[dim] + by, front(self.array, dim))

    def grown(self, dim: int, begin: int, end: int) -> Patch:
        """The patch with zeros around it, up to ``[begin, end)`` along ``dim``."""
        if (begin, end) == (self.begin[dim], self.end[dim]):
            return self
        moved = self.full(dim)
        afford((end - begin, *moved.shape[1:]))
        wide = np.zeros((end - begin, *moved.shape[1:]), moved.dtype)
        wide[self.begin[dim] - begin : self.end[dim] - begin] = moved
        return self.along(dim, begin, end, wide)

    def plus(self, other: Patch) -> Patch:
        """The sum (of booleans, the union) of two patches of one tensor."""
        a, b = self, other
        if a.array.shape == b.array.shape and a[:2] == b[:2]:
            return Patch(a.begin, a.end, a.array + b.array)
        for dim in range(len(a.begin)):
            begin, end = min(a.begin[dim], b.begin[dim]), max(a.end[dim], b.end[dim])
            a, b = a.grown(dim, begin, end), b.grown(dim, begin, end)
        afford(np.broadcast_shapes(a.array.shape, b.array.shape))
        return Patch(a.begin, a.end, a.array + b.array)

    def sum(self, dims: Iterable[int]) -> Array:
        """The sum (of booleans, whether any is true) over ``dims``, which keep size 1."""
        dims = tuple(dims)
        if self.array.dtype == bool:
            united: Array = np.logical_or.reduce(self.array, axis=dims, keepdims=True)
            return united
        times = math.prod(self.end[d] - self.begin[d] for d in dims if self.array.shape[d] == 1)
        total: Array = self.array.sum(axis=dims, keepdims=True)
        if times != 1:
            total = total * times
        return total

    def trimmed(self, dims: Iterable[int]) -> Patch | None:
        """Without the zeros around it along ``dims``; None where nothing is left."""
        if not self.array.any():
            return None
        out = self
        for dim in dims:
            if out.array.shape[dim] == 1:
                continue
            others = tuple(d for d in range(out.array.ndim) if d != dim)
            held = np.flatnonzero(out.array.any(axis=others))
            begin = out.begin[dim]
            cut = out.cut(dim, begin + int(held[0]), begin + int(held[-1]) + 1)
            assert cut is not None
            out = cut
        return out

    def dense(self, shape: Shape) -> Array:
        """The whole tensor's array, of ``shape``."""
        afford(shape)
        out = np.zeros(shape, self.array.dtype)
        out[tuple(map(slice, self.begin, self.end))] = self.array
        return out

    def reshaped(self, old: Shape, new: Shape) -> Patch | None:
        """The patch after a row-major reshape of its tensor; None where all of it is zero."""
        if old == new:
            return self
        begin: list[int] = []
        end: list[int] = []
        wide: list[int] = []
        out: list[int] = []
        torn: list[int] = []
        patch = self
        for (i, k), (j, m) in runs(old, new):
            whole = [d for d in range(i, k) if old[d] > 1]
            parts = [d for d in range(j, m) if new[d] > 1]
            if len(whole) == len(parts) <= 1:
                # One dim that stays, among dims of size 1.
                at = whole[0] if whole else -1
                wide += [patch.array.shape[d] for d in range(i, k)]
                for d in range(j, m):
                    stays = d in parts
                    begin.append(patch.begin[at] if stays else 0)
                    end.append(patch.end[at] if stays else 1)
                    out.append(patch.array.shape[at] if stays else 1)
                continue
            alike = all(
                patch.array.shape[d] == 1 and patch.end[d] - patch.begin[d] == old[d]
                for d in range(i, k)
            )
            if not alike:
                for d in range(i, k):
                    patch = patch.grown(d, 0, old[d])
                torn += range(j, m)
            wide += [1] * (k - i) if alike else old[i:k]
            begin += [0] * (m - j)
            end += new[j:m]
            out += [1] * (m - j) if alike else new[j:m]
        afford(wide)
        array = np.broadcast_to(patch.array, wide).reshape(out)
        return Patch(tuple(begin), tuple(end), array).trimmed(torn)

    def transposed(self, order: Sequence[int]) -> Patch:
        """The patch with its dims in a new order."""
        return Patch(
            tuple(self.begin[k] for k in order),
            tuple(self.end[k] for k in order),
            self.array.transpose(order),
        )


def front(array: Array, dim: int) -> Array:
    """A view with ``dim`` first."""
    return array.transpose(_orders(array.ndim, dim)[0])


@lru_cache(maxsize=256)
def _orders(rank: int, dim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order of dims that puts ``dim`` first, and the one that puts the first back there."""
    rest = [d for d in range(rank) if d != dim]
    return (dim, *rest), (*range(1, dim + 1), 0, *range(dim + 1, rank))


def runs(old: Shape, new: Shape) -> Iterable[tuple[tuple[int, int], tuple[int, int]]]:
    """The shortest runs of dims that hold the same elements before and after a reshape."""
    i = j = 0
    while i < len(old) or j < len(new):
        i0, j0 = i, j
        left = right = 1
        if i < len(old):
            left, i = old[i], i + 1
        if j < len(new):
            right, j = new[j], j + 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        yield (i0, i), (j0, j)


def afford(shape: Iterable[int]) -> None:
    total = math.prod(shape)
    if total > MAX_ELEMENTS:
        raise EyeshotError(
            f"an array of {total} elements is more than {MAX_ELEMENTS}; ask for a smaller input"
        )
