"""One unit, or a set of units: the exact set of input elements, and how much each of them counts."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.touched import over
from eyeshot.core.adjoint import Adjoint, units
from eyeshot.core.canvas import Source
from eyeshot.core.patches import Patch, afford
from eyeshot.core.terms import Number
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer, Report

__all__ = ["Part", "Unit", "unit"]

Box = tuple[tuple[Number, Number], ...]
Pairs = tuple[tuple[int, int], ...]
#: A mass below this is rounding.
NOISE = 1e-12


class Part:
    """What a unit reads of one input. Axes are those of the input, in order.

    ``name``, ``axes``, ``shape``: the input's name, its dims that are axes, and their sizes. ``box``: the hull
    on the unbounded canvas, as ``layer.box``. The arrays are made when they are asked for.
    """

    def __init__(self, unit: Unit, source: Source, box: Box) -> None:
        self._unit = unit
        self._source = source
        self.name = source.name
        self.axes = source.axes
        self.shape = tuple(source.shape[d] for d in source.axes)
        self.box = box
        self._marks: Patch | bool | None = False
        self._amounts: Patch | bool | None = False

    def __repr__(self) -> str:
        return f"Part({self.name!r}, clipped={self.clipped})"

    def _patch(self, boolean: bool) -> Patch | None:
        """Marks or masses over the axes alone."""
        known = self._marks if boolean else self._amounts
        if isinstance(known, bool):
            found = self._unit._arrived(boolean).get(self._source.value)
            known = None
            if found is not None:
                known = over(found, self.axes).trimmed(range(len(self.axes)))
            if boolean:
                self._marks = known
            else:
                self._amounts = known
        return known

    @property
    def clipped(self) -> Pairs:
        """The exact hull inside the input, ``[begin, end)`` per axis; ``(0, 0)`` where nothing is read."""
        patch = self._patch(True)
        if patch is None:
            return ((0, 0),) * len(self.shape)
        return tuple(zip(patch.begin, patch.end, strict=True))

    @property
    def centre(self) -> tuple[float, ...]:
        """Where the unit sits, per axis, as ``layer.centres``; pixel k covers [k, k+1].

        A box of units is centred between its first and its last, weighted units on the part inside the
        input; what reads nothing is put in the middle of the input.
        """
        index, layer = self._unit.index, self._unit._layer
        middles = [
            (begin + end) / 2 if begin < end else n / 2
            for (begin, end), n in zip(self.clipped, self.shape, strict=True)
        ]
        if index is None:
            return tuple(middles)
        ends = [
            [i.start if isinstance(i, slice) else i for i in index],
            [i.stop - 1 if isinstance(i, slice) else i for i in index],
        ]
        placed = layer.centres(np.array(ends, np.int64), input=self.name).mean(axis=0)
        return tuple(
            middle if math.isnan(at) else at
            for at, middle in zip(placed.tolist(), middles, strict=True)
        )

    @property
    def mask_in_box(self) -> NDArray[np.bool_]:
        """Which elements inside ``clipped`` are read: bool array of its extents."""
        return self._in_box(True)

    @property
    def mass_in_box(self) -> NDArray[np.float64]:
        """How much each element inside ``clipped`` counts: float64 array of its extents."""
        return self._in_box(False)

    def _in_box(self, boolean: bool) -> NDArray[Any]:
        box = self.clipped
        shape = tuple(end - begin for begin, end in box)
        out = np.zeros(shape, bool if boolean else np.float64)
        patch = self._patch(boolean)
        if patch is not None and out.size:
            inside = tuple(
                slice(b - low, e - low)
                for b, e, (low, _) in zip(patch.begin, patch.end, box, strict=True)
            )
            out[inside] = patch.array
        return out

    def _whole(self, inner: NDArray[Any]) -> NDArray[Any]:
        afford(self.shape)
        out = np.zeros(self.shape, inner.dtype)
        out[tuple(slice(begin, end) for begin, end in self.clipped)] = inner
        return out

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which elements are read: bool array over the input's axes, channels and samples united."""
        return self._whole(self.mask_in_box)

    @property
    def mass(self) -> NDArray[np.float64]:
        """How much each element counts: float64 array over the input's axes, channels and samples added up."""
        patch = self._patch(False)
        # Without the set that is read, which is a walk of its own.
        return self._whole(self.mass_in_box) if patch is None else patch.dense(self.shape)

    @property
    def holes(self) -> NDArray[np.bool_]:
        """Elements inside ``clipped`` that are not read: bool array over the input's axes."""
        return self._whole(~self.mask_in_box)

    @property
    def total(self) -> float:
        """The mass that this input gets."""
        found = self._unit._arrived(False).get(self._source.value)
        return 0.0 if found is None else _total(found)


class Unit:
    """What a unit of ``layer`` reads; or a box of units, or all of them weighted, united.

    ``index`` is what was asked for, None for weights. ``of``: the layer in the place of the input, if any.
    ``status``: ``exact``, or ``bound`` where the layer's field is only an upper bound. The mass is spread over
    what an element reads evenly (interpolation by its weights, bicubic ones below 0 too), and is 1 in all, less
    what fell into padding.
    """

    def __init__(self, report: Report, layer: Layer, index: Any, start: Patch, box: Box) -> None:
        self._report = report
        self._layer = layer
        self._start = start
        self._walked: dict[bool, dict[int, Patch]] = {}
        self.layer = layer.name
        self.index = index
        self.of: str | None = None
        parts = []
        at = 0
        for source in report._sources:
            parts.append(Part(self, source, box[at : at + len(source.axes)]))
            at += len(source.axes)
        self.parts = tuple(parts)

    def __repr__(self) -> str:
        at = "weighted" if self.index is None else self.index
        return f"<eyeshot.Unit {self.layer} {at}, box {self.box}, {self.status}>"

    def __getitem__(self, name: str) -> Part:
        """What is read of the input ``name``."""
        for part in self.parts:
            if part.name == name:
                return part
        names = ", ".join(part.name for part in self.parts)
        raise EyeshotError(f"there is no input {name!r}; the inputs are {names}")

    def _only(self) -> Part:
        if len(self.parts) != 1:
            names = ", ".join(repr(part.name) for part in self.parts)
            raise EyeshotError(
                f"the network has several inputs; choose one: unit[name], of {names}"
            )
        return self.parts[0]

    def _adjoint(self, boolean: bool = False) -> Adjoint:
        """The engine. The set of what is read of a layer has elements that read no input, its mass has not."""
        walks = self._report._walks
        key = "sets" if boolean and self.of is not None else "adjoint"
        if key not in walks:
            sources = [source.value for source in self._report._sources] if key == "sets" else ()
            walks[key] = Adjoint(self._report._graph, sources)
        adjoint: Adjoint = walks[key]
        return adjoint

    def _arrived(self, boolean: bool) -> dict[int, Patch]:
        """What arrives at the inputs, and at the layer in place of them."""
        found = self._walked.get(boolean)
        if found is None:
            start = self._start._replace(array=self._start.array != 0) if boolean else self._given
            stops = [source.value for source in self._report._sources]
            adjoint = self._adjoint(boolean)
            found = adjoint.run(self._layer._value, start, stops)
            if not boolean:
                # What a window reads of a layer where that reads nothing itself is lost there.
                for v in found.keys() & set(stops):
                    found[v] = _living(found[v], adjoint.alive[v])
            self._walked[boolean] = found
        return found

    @property
    def _given(self) -> Patch:
        """The start, with each unit's mass on those of its elements that read anything.

        A box of units shares its mass among those units that do; of an array of weights theirs is lost.
        """
        patch, dims = self._start, self._layer.unit_dims
        alive = self._adjoint().alive[self._layer._value]
        if isinstance(alive, bool):
            return patch
        array = _living(patch, alive).array
        others = [d for d in range(array.ndim) if d not in dims]
        wanted, left = patch.sum(others), patch._replace(array=array).sum(others)
        if self.index is not None:
            each = patch._replace(end=tuple(
                b + 1 if d in others else e
                for d, (b, e) in enumerate(zip(patch.begin, patch.end, strict=True))
            ), array=(left > 0).astype(np.float64))  # fmt: skip
            wanted = each.array / max(_total(each), 1.0)
        array = array * np.divide(wanted, left, out=np.zeros(left.shape), where=left != 0)
        return patch._replace(array=array)

    @property
    def status(self) -> str:
        """``exact`` or ``bound``."""
        return self._layer.status

    @property
    def box(self) -> Box:
        """``[begin, end)`` per axis of every input in turn, on the unbounded canvas: as ``layer.box``."""
        return tuple(pair for part in self.parts for pair in part.box)

    @property
    def clipped(self) -> Pairs:
        """The exact hull inside the input, per axis of every input in turn; begin == end for nothing."""
        return tuple(pair for part in self.parts for pair in part.clipped)

    @property
    def centre(self) -> tuple[float, ...]:
        """Where the unit sits, per axis of every input in turn; pixel k covers [k, k+1]."""
        return tuple(place for part in self.parts for place in part.centre)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which elements are read: bool array over the input's axes. For several inputs ``unit[name].mask``."""
        return self._only().mask

    @property
    def mass(self) -> NDArray[np.float64]:
        """How much each element counts: float64 array over the input's axes."""
        return self._only().mass

    @property
    def holes(self) -> NDArray[np.bool_]:
        """Elements inside ``clipped`` that are not read: bool array over the input's axes."""
        return self._only().holes

    @property
    def mask_in_box(self) -> NDArray[np.bool_]:
        """``mask`` inside ``clipped``, for inputs too large to be written down."""
        return self._only().mask_in_box

    @property
    def mass_in_box(self) -> NDArray[np.float64]:
        """``mass`` inside ``clipped``."""
        return self._only().mass_in_box

    @property
    def elsewhere(self) -> float:
        """The mass that reaches the network's inputs on ways that avoid the layer ``of``."""
        ends = {source.value for source in self._report._sources}
        return sum(_total(patch) for v, patch in self._arrived(False).items() if v not in ends)

    @property
    def share_in_padding(self) -> float:
        """The part of the mass that fell into padding, or on constants that stand beside the input."""
        if self._adjoint().alive[self._layer._value] is False:
            return 0.0
        given = _total(self._given)
        if not given:
            return 0.0
        lost = 1 - sum(map(_total, self._arrived(False).values())) / given
        return 0.0 if abs(lost) < NOISE else lost

    def to_dict(self) -> dict[str, Any]:
        """The unit as JSON values, without its arrays."""
        return {
            "layer": self.layer,
            "index": _plain(self.index),
            "of": self.of,
            "status": self.status,
            "share_in_padding": self.share_in_padding,
            "inputs": [
                {
                    "name": part.name,
                    "box": [[_finite(n) for n in pair] for pair in part.box],
                    "clipped": [list(pair) for pair in part.clipped],
                    "read": int(part.mask_in_box.sum()),
                    "holes": int((~part.mask_in_box).sum()),
                    "mass": part.total,
                }
                for part in self.parts
            ],
        }


def _living(patch: Patch, alive: NDArray[Any] | bool) -> Patch:
    """A patch less what lies on elements that are not alive."""
    if isinstance(alive, bool):
        return patch
    box = zip(patch.begin, patch.end, alive.shape, strict=True)
    inside = alive[tuple(slice(b, e) if n > 1 else slice(None) for b, e, n in box)]
    return patch._replace(array=patch.array * inside)


def _total(patch: Patch) -> float:
    return float(patch.sum(range(patch.array.ndim)).sum())


def _finite(number: Number) -> int | None:
    return int(number) if math.isfinite(number) else None


def _plain(index: Any) -> Any:
    if index is None:
        return None
    return [[i.start, i.stop] if isinstance(i, slice) else i for i in index]


def unit(report: Report, key: str | int, index: Any, weights: Any, of: str | None) -> Unit:
    """See :meth:`Report.unit`."""
    if of is not None:
        inner = report._walks.get(f"of {of}")
        if inner is None:
            from eyeshot.api import relative

            inner = relative(report._graph, report[of], of, report.title)
            inner._walks["adjoint"] = report._walks.setdefault("adjoint", Adjoint(report._graph))
            report._walks[f"of {of}"] = inner
        name = report[key].name
        if name not in inner:
            raise EyeshotError(f"{name} reads nothing of {of}")
        found = unit(inner, name, index, weights, None)
        found.of = of
        return found
    layer = report[key]
    shape, dims = layer.shape, layer.unit_dims
    extents = tuple(shape[d] for d in dims)
    if weights is not None:
        if index is not None:
            raise EyeshotError("give either an index or weights")
        array = np.asarray(weights)
        if array.dtype.kind not in "buif":
            raise EyeshotError(f"{layer.name}: weights are numbers, not {array.dtype}")
        array = array.astype(np.float64)
        if array.shape != extents:
            raise EyeshotError(
                f"{layer.name}: weights for units of {'x'.join(map(str, extents)) or 'one'} wanted, "
                f"got an array of shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise EyeshotError(f"{layer.name}: weights that are not finite")
        wide = array.reshape([n if d in dims else 1 for d, n in enumerate(shape)])
        others = math.prod(n for d, n in enumerate(shape) if d not in dims)
        start = Patch((0,) * len(shape), shape, wide / others)
        ranges = tuple((0, n) for n in extents)
        chosen = None
    else:
        ranges, chosen = _ranges(layer, extents, () if index is None else index)
        start = units(shape, dict(zip(dims, ranges, strict=True)), False)
    return Unit(report, layer, chosen, start, _hull(layer, ranges))


def _ranges(
    layer: Layer, extents: tuple[int, ...], index: Any
) -> tuple[Pairs, tuple[int | slice, ...]]:
    """The units that an index means, as ``[begin, end)`` per unit dim, and the index as a tuple."""
    each = tuple(index) if isinstance(index, Iterable) else (index,)
    if not any(isinstance(i, slice) for i in each):
        at = layer._index([operator.index(i) for i in each])
        return tuple((i, i + 1) for i in at), at
    layer._index([0] * len(each))  # as many as there are unit dims
    out = []
    for k, (i, n) in enumerate(zip(each, extents, strict=True)):
        if isinstance(i, slice):
            begin, end, step = i.indices(n)
            if step != 1 or begin >= end:
                raise EyeshotError(f"{layer.name}: {i} takes no box of units from 0 … {n - 1}")
            out.append((begin, end))
        else:
            begin = layer._index([operator.index(i) if j == k else 0 for j in range(len(each))])[k]
            out.append((begin, begin + 1))
    return tuple(out), tuple(
        slice(b, e) if isinstance(i, slice) else b for i, (b, e) in zip(each, out, strict=True)
    )


def _hull(layer: Layer, ranges: Pairs) -> Box:
    """The hull of the boxes of a box of units: hulls are periodic-affine, so that corners do not suffice."""
    if all(end - begin == 1 for begin, end in ranges):
        return layer.box([begin for begin, _ in ranges])
    out: list[tuple[Number, Number]] = []
    for k, field in enumerate(layer.fields):
        low, high = math.inf, -math.inf
        place = layer.unit_dims.index(field.dim) if field.dim in layer.unit_dims else None
        along = range(*ranges[place]) if place is not None else range(1)
        if field.canvas is not None and len(along) > 2 * field.canvas.period:
            edge = field.canvas.period
            along_some = [*along[:edge], *along[-edge:]]
        else:
            along_some = list(along)
        for i in along_some:
            at = [i if j == place else begin for j, (begin, _) in enumerate(ranges)]
            begin_k, end_k = layer.box(at)[k]
            if begin_k < end_k:
                low, high = min(low, begin_k), max(high, end_k)
        out.append((low, high) if low < high else (0, 0))
    return tuple(out)
