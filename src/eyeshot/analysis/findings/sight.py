"""Objects in an input: of which size are they seen whole by some unit, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import reduce
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eyeshot.core.patches import afford
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from numpy import bool_, int64
    from numpy.typing import NDArray

    from eyeshot.analysis.report import Layer

__all__ = ["Sight", "seen", "sight"]

#: Levels that differ, of which every subset is looked at.
MAX_LEVELS = 10


class Sight(NamedTuple):
    """What the units of a layer see whole along one axis of the input.

    ``longest``: int [input size]; an object that begins at p is inside one unit's box up to this length.
    """

    longest: NDArray[int64]

    @property
    def somewhere(self) -> int:
        """The largest object seen whole at one place at least."""
        return int(self.longest.max(initial=0))

    @property
    def everywhere(self) -> int:
        """The largest object seen whole wherever it lies; r - j + 1 in a plain network without borders."""
        worst = np.minimum.accumulate(self.longest)
        lengths = np.arange(1, len(worst) + 1)
        # An object of length L begins at 0 … N - L.
        held = worst[::-1] >= lengths
        return int(lengths[held].max(initial=0))

    def places(self, length: int) -> NDArray[bool_]:
        """Per begin 0 … N - length: whether an object of that length is seen whole."""
        return self.longest[: len(self.longest) - length + 1] >= length


def sight(layer: Layer, k: int) -> Sight | None:
    """What ``layer`` sees whole along axis ``k``; None where its units form no grid that could be told.

    Boxes are the exact hulls inside the input, by closed forms where these tell what is cut off on the way.
    Raises :class:`~eyeshot.errors.EyeshotError` where the axis or the map is too long.
    """
    report = layer._report
    source, axis = report._axes[k]
    length = source.shape[axis]
    afford((length,))
    form = layer._forms[k]
    if form.is_global:
        return Sight(length - np.arange(length, dtype=np.int64))
    canvas, reach = form.canvas, form.raw.reach
    if canvas is None or form.dim is None or reach is None:
        # What is cut off on the way, beside holes, is known of each unit alone.
        hulls = _separate(layer, k)
        if hulls is None:
            return None
        begin, end = hulls
    else:
        n = layer.shape[form.dim]
        afford((n,))
        turn, phase = np.divmod(np.arange(n), canvas.period)
        begin = np.asarray(canvas.begin)[phase] + canvas.advance * turn
        end = np.asarray(canvas.end)[phase] + canvas.advance * turn
        empty = begin >= end
        begin = np.where(empty, 0, np.clip(begin, max(0, reach[0]), None))
        end = np.where(empty, 0, np.clip(end, None, min(length, reach[1])))
    furthest = np.zeros(length, dtype=np.int64)
    inside = (begin < length) & (begin < end)
    np.maximum.at(furthest, begin[inside].astype(np.int64), end[inside].astype(np.int64))
    furthest = np.maximum.accumulate(furthest)
    return Sight(np.maximum(furthest - np.arange(length), 0))


def _separate(layer: Layer, k: int) -> tuple[NDArray[int64], NDArray[int64]] | None:
    """Begins and ends along axis ``k`` where they depend on one dim alone."""
    boxes = layer.boxes()[..., k, :]
    dim = layer._forms[k].dim
    kept = () if dim is None else (layer.unit_dims.index(dim),)
    first = tuple(slice(None) if d in kept else slice(0, 1) for d in range(boxes.ndim - 1))
    if not (boxes == boxes[first]).all():
        return None
    line = boxes[first].reshape(-1, 2)
    return line[:, 0], line[:, 1]


def seen(levels: Iterable[Sequence[Sight]], lengths: Sequence[int]) -> Fraction:
    """The share of places at which a box of these lengths is inside one unit's box, of any level.

    ``levels``: per level its sights along the axes. Units are a grid, so a level sees a box where it sees it
    along each axis; places that several levels see are counted once (inclusion and exclusion).
    """
    held = {
        tuple([each.places(length).tobytes() for each, length in zip(level, lengths, strict=True)])
        for level in levels
    }
    if len(held) > MAX_LEVELS:
        raise EyeshotError(f"{len(held)} outputs that see differently are too many to unite")
    grids = [[np.frombuffer(each, dtype=bool) for each in level] for level in held]
    places = 0
    for count in range(1, len(grids) + 1):
        for some in combinations(grids, count):
            common = math.prod(
                int(reduce(np.logical_and, along).sum()) for along in zip(*some, strict=True)
            )
            places += common if count % 2 else -common
    return Fraction(places, math.prod(map(len, grids[0]))) if grids else Fraction(0)
