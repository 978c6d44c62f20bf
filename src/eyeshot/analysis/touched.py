"""The way back: which units read any of a part of the input."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.core.canvas import Source
from eyeshot.core.forward import touched as touch
from eyeshot.core.patches import Patch
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer, Report

__all__ = ["Touched", "over", "touched"]


class Touched:
    """The units of one layer that read any of a part of the input.

    ``dims``: the tensor's dims that tell units apart; ``shape``: their sizes; ``box``: the hull of the units,
    ``[begin, end)`` per unit dim.
    """

    def __init__(self, layer: Layer, patch: Patch) -> None:
        self.layer = layer.name
        self.dims = layer.unit_dims
        self.shape = tuple(layer.shape[d] for d in self.dims)
        self.box: tuple[tuple[int, int], ...] = tuple(zip(patch.begin, patch.end, strict=True))
        self._patch = patch

    def __repr__(self) -> str:
        return f"Touched({self.layer!r}, box={self.box})"

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which units they are: bool array over the unit dims."""
        out: NDArray[np.bool_] = self._patch.dense(self.shape)
        return out

    @property
    def indices(self) -> NDArray[np.int64]:
        """The units' indices: int array [units, unit dims], in row-major order."""
        extents = tuple(end - begin for begin, end in self.box)
        inside = np.argwhere(np.broadcast_to(self._patch.array, extents))
        found: NDArray[np.int64] = inside + np.array([begin for begin, _ in self.box], np.int64)
        return found

    def __len__(self) -> int:
        """How many units."""
        extents = tuple(end - begin for begin, end in self.box)
        return int(np.broadcast_to(self._patch.array, extents).sum())


def touched(report: Report, box: Any) -> dict[str, Touched]:
    """See :meth:`Report.touched`."""
    boxes = dict(box) if isinstance(box, Mapping) else None
    if boxes is None:
        if len(report._sources) != 1:
            names = ", ".join(source.name for source in report._sources)
            raise EyeshotError(f"box: the network has several inputs; give a mapping from {names}")
        boxes = {report._sources[0].name: box}
    marks = {}
    for source in report._sources:
        if source.name in boxes:
            marks[source.value] = _marked(source, boxes.pop(source.name))
    if boxes:
        raise EyeshotError(f"box: there is no input {next(iter(boxes))!r}")
    found = touch(report._graph, marks)
    out = {}
    for layer in report:
        patch = found.get(layer._value)
        if patch is not None:
            units_of = over(patch, layer.unit_dims).trimmed(range(len(layer.unit_dims)))
            if units_of is not None and units_of.array.any():
                out[layer.name] = Touched(layer, units_of)
    return out


def _marked(source: Source, box: Any) -> Patch:
    """The marks of a box over an input's axes."""
    pairs = list(box) if isinstance(box, Iterable) else [box]
    if len(pairs) == 2 and len(source.axes) == 1 and not isinstance(pairs[0], Iterable):
        pairs = [pairs]
    if len(pairs) != len(source.axes):
        raise EyeshotError(
            f"box: {source.name} has {len(source.axes)} axes; a pair (begin, end) for each is wanted"
        )
    begin, end = [0] * len(source.shape), list(source.shape)
    for d, pair in zip(source.axes, pairs, strict=True):
        low, high = pair if isinstance(pair, Iterable) else (pair, operator.index(pair) + 1)
        low, high = operator.index(low), operator.index(high)
        if not 0 <= low < high <= source.shape[d]:
            raise EyeshotError(
                f"box: [{low}, {high}) is no part of an axis of {source.shape[d]} elements"
            )
        begin[d], end[d] = low, high
    return Patch(tuple(begin), tuple(end), np.ones((1,) * len(source.shape), bool))


def over(patch: Patch, axes: Sequence[int]) -> Patch:
    """A patch of a whole tensor over ``axes`` alone: the other dims united, or added up."""
    others = [d for d in range(len(patch.begin)) if d not in axes]
    array = patch.sum(others) if others else patch.array
    array = array.reshape([array.shape[d] for d in axes])
    return Patch(tuple(patch.begin[d] for d in axes), tuple(patch.end[d] for d in axes), array)
