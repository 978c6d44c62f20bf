"""What a unit reads, as planes to draw: two axes of an input at a time, in input coordinates.

A plane of an input with two axes is all of it; one with three has three planes, slices through the field's
centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.unit import Part
    from eyeshot.core.terms import Number

__all__ = ["MAX_RASTER", "Plane", "planes", "reduced"]

Floats = NDArray[np.float64]
Pair = tuple[float, float]

#: A raster is drawn with at most this many cells a side; more are averaged.
MAX_RASTER = 1024


class Plane(NamedTuple):
    """Two axes (or one) of an input: all pairs and arrays run along these alone.

    ``axes``: the input's dims; ``shape``: their sizes; ``box``: on the unbounded canvas, ``clipped``: inside
    the input; ``centre``. ``read``: the share of each raster cell that is read (0 or 1 where a cell is an
    element), ``mass``: the mean mass of an element, both over ``clipped``. ``at``: where other axes are cut,
    {dim: position}.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    box: tuple[Pair, ...]
    clipped: tuple[tuple[int, int], ...]
    centre: tuple[float, ...]
    read: Floats
    mass: Floats
    at: dict[int, int]


def planes(part: Part, middle: Sequence[float]) -> list[Plane]:
    """The planes of one input. Raises EyeshotError for one of more than three axes, or of none."""
    count = len(part.axes)
    if not 1 <= count <= 3:
        raise EyeshotError(
            f"{part.name}: an input of one, two or three axes can be drawn, not of {count}"
        )
    read, mass = part.mask_in_box, part.mass_in_box
    if count < 3:
        return [_plane(part, tuple(range(count)), middle, read, mass, {})]
    out = []
    for gone in range(3):
        kept = tuple(k for k in range(3) if k != gone)
        begin, end = part.clipped[gone]
        cut = min(max(math.floor(middle[gone]), begin), max(end - 1, begin))
        where = {part.axes[gone]: cut}
        flat: list[NDArray[Any]] = [
            np.take(array, cut - begin, axis=gone) if end > begin else array.sum(axis=gone)
            for array in (read, mass)
        ]
        out.append(_plane(part, kept, middle, flat[0], flat[1], where))
    return out


def _plane(
    part: Part,
    kept: tuple[int, ...],
    middle: Sequence[float],
    read: NDArray[Any],
    mass: NDArray[Any],
    at: dict[int, int],
) -> Plane:
    return Plane(
        tuple(part.axes[k] for k in kept),
        tuple(part.shape[k] for k in kept),
        tuple(_pair(part.box[k]) for k in kept),
        tuple(part.clipped[k] for k in kept),
        tuple(middle[k] for k in kept),
        reduced(read),
        reduced(mass),
        at,
    )


def _pair(pair: tuple[Number, Number]) -> Pair:
    return float(pair[0]), float(pair[1])


def reduced(array: NDArray[Any], limit: int = MAX_RASTER) -> Floats:
    """The array with at most ``limit`` cells an axis: means of equal blocks, the last may be smaller."""
    out: Floats = array.astype(np.float64)
    for axis, n in enumerate(array.shape):
        if n > limit:
            step = -(-n // limit)
            starts = np.arange(0, n, step)
            sizes = np.diff([*starts, n])
            shape = [-1 if k == axis else 1 for k in range(array.ndim)]
            out = np.add.reduceat(out, starts, axis=axis) / sizes.reshape(shape)
    return out
