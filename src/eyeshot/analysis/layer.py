"""One layer of a report: what its units read, where they sit, and which of them meet a position.

The numbers are worked out when they are asked for, from the canvas engine's states; exact hulls, and the
numbers of fields without a closed form, come from the image engine, which the report runs once for all.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

from eyeshot.analysis.field import Field, Form
from eyeshot.core import canvas as engine
from eyeshot.core.graph import LayerMark
from eyeshot.core.primitives import Shape
from eyeshot.core.terms import Number
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from numpy import bool_, float64, int64
    from numpy.typing import NDArray

    from eyeshot.analysis.report import Report
    from eyeshot.core.image import Span

__all__ = ["Layer"]

Box = tuple[tuple[Number, Number], ...]


class Layer:
    """One named tensor of the network and what its units read.

    Per-axis values are tuples with one entry per (input, axis), in the order of ``fields``.
    """

    def __init__(self, report: Report, mark: LayerMark) -> None:
        self.__dict__.update(_report=report, _value=mark.value, name=mark.name, op=mark.op)

    name: str
    op: str
    _report: Report
    _value: int

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a report is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a report is frozen")

    def __repr__(self) -> str:
        return (
            f"Layer({self.name!r}, op={self.op!r}, shape={self.shape}, size={self.size}, "
            f"jump={tuple(map(str, self.jump))})"
        )

    @property
    def shape(self) -> Shape:
        """The tensor's shape."""
        return self._report._graph.shapes[self._value]

    @property
    def _state(self) -> engine.State:
        return self._report._states[self._value]

    @property
    def _forms(self) -> tuple[Form, ...]:
        # Layers may share a tensor, as a convolution and the activation after it in an ONNX graph.
        forms = self._report._forms.get(self._value)
        if forms is None:
            state = self._state
            forms = tuple([Form(self, state, k) for k in range(len(state.fields))])
            self._report._forms[self._value] = forms
        return forms

    @property
    def fields(self) -> tuple[Field, ...]:
        """One :class:`Field` per (input, axis)."""
        known = self._report._fields
        fields = known.get(self._value)
        if fields is None:
            fields = known[self._value] = tuple([form.field() for form in self._forms])
        return fields

    @property
    def size(self) -> tuple[Number, ...]:
        """Receptive field per axis; inf where a unit reads an unbounded past."""
        return tuple(field.size for field in self.fields)

    @property
    def jump(self) -> tuple[int | Fraction | None, ...]:
        """Distance between neighbouring units per axis, an exact number."""
        return tuple(form.jump for form in self._forms)

    @property
    def start(self) -> tuple[int | Fraction | None, ...]:
        """Centre of the first unit per axis, an exact number; pixel k covers [k, k+1]."""
        return tuple(field.start for field in self.fields)

    @property
    def padding(self) -> tuple[Number | None, ...]:
        """Effective padding per axis: how far the first unit's field begins before the input."""
        return tuple(field.padding for field in self.fields)

    @property
    def status(self) -> str:
        """``exact`` or ``bound`` (some field is an upper bound)."""
        bound = any(field.bound for field in self._state.fields)
        # Single units are looked at only where there may be too many of them.
        if not bound and self._report._large:
            bound = any(field.status == "bound" for field in self.fields)
        return "bound" if bound else "exact"

    @property
    def is_global(self) -> bool:
        """Whether the units read the whole of an input axis, beside their local field."""
        return any(field.is_global for field in self.fields)

    @property
    def unit_dims(self) -> tuple[int, ...]:
        """The tensor's dims that tell units apart, in order; units are indexed by them."""
        dims: tuple[int, ...] | None = self.__dict__.get("_unit_dims")
        if dims is None:
            dims = tuple(sorted({form.dim for form in self._forms if form.dim is not None}))
            self.__dict__["_unit_dims"] = dims
        return dims

    @property
    def middle(self) -> tuple[int, ...]:
        """The unit in the middle, n // 2 along each unit dim; where n is even, the one after the middle."""
        return tuple(self.shape[dim] // 2 for dim in self.unit_dims)

    def _index(self, index: Sequence[int] | int) -> tuple[int, ...]:
        at: tuple[int, ...]
        if isinstance(index, Iterable):
            at = tuple([operator.index(i) for i in index])
        else:
            at = (operator.index(index),)
        if len(at) != len(self.unit_dims):
            raise EyeshotError(
                f"{self.name}: a unit has {len(self.unit_dims)} indices "
                f"(dims {self.unit_dims} of {self.shape}), got {len(at)}"
            )
        for i, dim in zip(at, self.unit_dims, strict=True):
            if not 0 <= i < self.shape[dim]:
                raise IndexError(f"{self.name}: index {i} is outside 0 … {self.shape[dim] - 1}")
        return at

    def box(self, index: Sequence[int] | int = ()) -> Box:
        """The half-open hull per axis that the unit at ``index`` reads, on the unbounded canvas.

        It may reach outside the input, and covers the local field only. Where there is no closed form it is
        the exact hull inside the input; where borders fold reads back inside (reflect, replicate or
        circular padding, interpolation) it covers those too. ``begin == end`` where nothing is read.
        Raises IndexError for a unit that does not exist.
        """
        at = self._index(index)
        where = dict(zip(self.unit_dims, at, strict=True))
        out: list[tuple[Number, Number]] = []
        blind: set[str] = set()
        exact = None
        for k, form in enumerate(self._forms):
            hull = form.at(where)
            if hull is None or form.raw.folds:
                if exact is None:
                    exact = self._exact(at)
                low: Number
                high: Number
                low, high = exact[k]
                if hull is None and low >= high:
                    blind.add(self.fields[k].input)
                if hull is not None and hull[0] < hull[1]:
                    if low < high:
                        low, high = min(low, hull[0]), max(high, hull[1])
                    else:
                        low, high = hull
                hull = (low, high)
            out.append(hull if hull[0] < hull[1] else (0, 0))
        # A unit that is known to read nothing along one axis of an input reads nothing of it.
        return tuple(
            (0, 0) if field.input in blind else hull
            for hull, field in zip(out, self.fields, strict=True)
        )

    def _exact(self, at: tuple[int, ...]) -> list[tuple[int, int]]:
        """The exact hull of one unit per field, global context included."""
        united = self.__dict__.get("_all")
        if united is None:
            united = [self._united(span) for span in self._report._hulls(self._value)]
            self.__dict__["_all"] = united
        out = []
        for lo, hi in united:
            full = [0] * lo.ndim
            for dim, i in zip(self.unit_dims, at, strict=True):
                full[dim] = i if lo.shape[dim] > 1 else 0
            low, high = int(lo[tuple(full)]), int(hi[tuple(full)])
            out.append((low, high) if low < high else (0, 0))
        return out

    def _united(self, span: Span | None) -> tuple[NDArray[int64], NDArray[int64]]:
        """Hulls over the unit dims alone: united over all others, which keep size 1."""
        import numpy as np

        rank = len(self.shape)
        if span is None:
            empty = np.zeros((1,) * rank, dtype=np.int64)
            return empty, empty
        others = tuple(d for d in range(rank) if d not in self.unit_dims)
        return span.lo.min(axis=others, keepdims=True), span.hi.max(axis=others, keepdims=True)

    def boxes(self) -> NDArray[int64]:
        """The exact hull of every unit inside this input: int array [\\*unit dims, axes, 2].

        Padding is not part of it, global context is. ``begin == end`` where nothing is read.
        """
        import numpy as np

        from eyeshot.core.image import MAX_ELEMENTS

        shape = self.shape
        units = tuple(shape[dim] for dim in self.unit_dims)
        count = math.prod(units) * max(1, len(self._forms))
        if count > MAX_ELEMENTS:
            raise EyeshotError(
                f"{self.name}: {count} boxes are more than {MAX_ELEMENTS}; ask for a smaller input"
            )
        out = np.zeros((*units, len(self._forms), 2), dtype=np.int64)
        wide = tuple(n if d in self.unit_dims else 1 for d, n in enumerate(shape))
        for k, span in enumerate(self._report._hulls(self._value)):
            lo, hi = self._united(span)
            reads = lo < hi
            for side, array in enumerate((lo, hi)):
                out[..., k, side] = np.broadcast_to(np.where(reads, array, 0), wide).reshape(units)
        return out

    def centres(
        self, index: Any = None, convention: str = "half-pixel", input: str | None = None
    ) -> NDArray[float64]:
        """Where units sit on the input: the centres of their fields, float64 [..., axes].

        ``index``: int [..., unit dims]; None for all units, [\\*unit dims, axes]. Axes are in the order of
        ``fields``; with several inputs ``input`` picks one's. ``convention``: ``half-pixel`` (pixel k covers
        [k, k+1]) or ``pixel-index`` (pixel k lies at k): 0.5 less.

        A centre is the middle of the unit's own box on the unbounded canvas (``start + i * jump`` in plain
        networks, each phase's own in decoders), without a closed form that of its exact hull inside the input,
        less global context beside a local field. Along an axis that is pooled away it is the same for all; nan
        where nothing is read. Where a field has one infinite end (the past of a recurrence) it is the middle of
        the last element at the other end; with two, of the axis.
        """
        from eyeshot.analysis.coordinates import centres

        return centres(self, index, convention, input)

    def boxes_at(
        self, index: Any = None, clipped: bool = False, input: str | None = None
    ) -> NDArray[int64]:
        """The hulls of units as integers: [..., axes, 2], half-open, for ``index`` [..., unit dims]; None: all.

        As :meth:`box`, which may reach outside the input (infinite ends are cut off where the axis ends); with
        ``clipped`` the exact hulls inside the input, as :meth:`boxes`. ``begin == end`` where nothing is read.
        """
        from eyeshot.analysis.coordinates import boxes_at

        return boxes_at(self, index, clipped, input)

    def slices(self, index: Any = (), input: str | None = None) -> tuple[slice, ...]:
        """The exact hull of one unit inside the input as slices: ``image[:, *layer.slices((3, 3))]``."""
        from eyeshot.analysis.coordinates import slices

        return slices(self, index, input)

    def nearest(
        self, position: Any, convention: str = "half-pixel", input: str | None = None
    ) -> NDArray[int64]:
        """The units whose centres are nearest to positions [..., axes of the input]: int [..., unit dims].

        Distances are Euclidean; of equals the first unit is taken. Beyond the map that is a unit on its edge.
        Units that read nothing are never taken; a dim that doesn't follow this input gets index 0.
        """
        from eyeshot.analysis.coordinates import nearest

        return nearest(self, position, convention, input)

    def seeing(
        self,
        position: Any,
        clipped: bool = False,
        convention: str = "half-pixel",
        input: str | None = None,
    ) -> NDArray[int64]:
        """The units whose box contains each position [..., axes of the input]: int [..., unit dims, 2].

        Half-open ranges of indices per unit dim, the smallest that hold them all; [0, 0) for none. ``clipped``
        asks the exact hulls inside the input. Positions are real numbers, those in one pixel alike; they may
        lie in padding. Units inside the ranges may still skip a position (holes): :meth:`seeing_mask`.
        """
        from eyeshot.analysis.coordinates import seeing

        return seeing(self, position, clipped, convention, input)

    def seeing_mask(
        self, position: Any, convention: str = "half-pixel", input: str | None = None
    ) -> NDArray[bool_]:
        """Exactly which units read one position: bool array over the unit dims; see :meth:`Report.touched`."""
        from eyeshot.analysis.coordinates import seeing_mask

        return seeing_mask(self, position, convention, input)

    def to_dict(self) -> dict[str, Any]:
        """The layer as JSON values."""
        return {
            "name": self.name,
            "op": self.op,
            "shape": list(self.shape),
            "fields": [field.to_dict() for field in self.fields],
        }
