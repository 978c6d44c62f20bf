"""The report: one frozen, versioned result that every view reads.

A layer's numbers are worked out when they are asked for, from the canvas engine's states; exact hulls,
and the numbers of fields without a closed form, come from the image engine, which runs once for all.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn, overload

from eyeshot.analysis.field import Canvas, Field, Form
from eyeshot.core import canvas as engine
from eyeshot.core.graph import Diagnostic, Graph, LayerMark
from eyeshot.core.primitives import Shape
from eyeshot.core.terms import Number
from eyeshot.errors import EyeshotError, UnknownLayerError

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

    from eyeshot.core.image import Span

__all__ = ["SCHEMA", "Canvas", "Field", "Layer", "Report"]

SCHEMA = "eyeshot.report/1"
Box = tuple[tuple[Number, Number], ...]
#: Exact hulls are kept for reuse up to this many array elements.
KEEP_ELEMENTS = 1 << 25


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
        return tuple(field.jump for field in self.fields)

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
        return "bound" if any(field.status == "bound" for field in self.fields) else "exact"

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

    def to_dict(self) -> dict[str, Any]:
        """The layer as JSON values."""
        return {
            "name": self.name,
            "op": self.op,
            "shape": list(self.shape),
            "fields": [field.to_dict() for field in self.fields],
        }


class Report:
    """What every layer of a network reads of its inputs.

    Index it by layer name or by number (``report[-1]`` is the last layer run); iterate over layers. The name of
    a module that is made of layers, ``report["layer4"]``, gives what comes out of it. ONNX tensors have their
    layer's numbers.
    """

    def __init__(
        self,
        graph: Graph,
        sources: list[engine.Source],
        marks: list[LayerMark],
        title: str = "",
        groups: Sequence[LayerMark] = (),
    ) -> None:
        evaluated = engine.Canvas(graph, sources)
        states = evaluated.run({mark.value for mark in (*marks, *groups)})
        names = {mark.name: k for k, mark in enumerate(marks)}
        self.__dict__.update(
            title=title,
            _graph=graph,
            _sources=sources,
            _marks=marks,
            _names=names,
            _groups={mark.name: mark for mark in groups if mark.name not in names},
            _states=states,
            _axes=[(sources[k], axis) for k, axis in evaluated.axes],
            _layers={},
            _forms={},
            _fields={},
            _image={},
        )

    title: str
    _graph: Graph
    _sources: list[engine.Source]
    _marks: list[LayerMark]
    _names: dict[str, int]
    _groups: dict[str, LayerMark]
    _states: dict[int, engine.State]
    _axes: list[tuple[engine.Source, int]]
    _layers: dict[int, Layer]
    _forms: dict[int, tuple[Form, ...]]
    _fields: dict[int, tuple[Field, ...]]
    _image: dict[int, Any]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a report is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a report is frozen")

    # --- access

    def __len__(self) -> int:
        return len(self._marks)

    def __iter__(self) -> Iterator[Layer]:
        return (self._at(k) for k in range(len(self._marks)))

    def __contains__(self, name: object) -> bool:
        return name in self._names or name in self._groups or name in self._graph.aliases

    @overload
    def __getitem__(self, key: str | int) -> Layer: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Layer, ...]: ...

    def __getitem__(self, key: str | int | slice) -> Layer | tuple[Layer, ...]:
        if isinstance(key, str):
            if key not in self._names and key not in self._groups:
                key = self._graph.aliases.get(key, key)
            if key in self._groups:
                return self.group(key)
            if key not in self._names:
                names = [*self._names, *self._groups, *self._graph.aliases]
                close = difflib.get_close_matches(key, names[:5000], 1, 0.6)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise UnknownLayerError(f"there is no layer {key!r}{hint}")
            return self._at(self._names[key])
        if isinstance(key, slice):
            return tuple([self._at(k) for k in range(len(self._marks))[key]])
        return self._at(range(len(self._marks))[operator.index(key)])

    def _at(self, k: int) -> Layer:
        layer = self._layers.get(k)
        if layer is None:
            layer = self._layers[k] = Layer(self, self._marks[k])
        return layer

    def group(self, name: str) -> Layer:
        """What comes out of the module ``name``, which is itself made of layers."""
        return Layer(self, self._groups[name])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, in the order they run."""
        return tuple(self)

    @property
    def outputs(self) -> tuple[Layer, ...]:
        """The layers that are the network's outputs."""
        return tuple(self[name] for name in self._graph.outputs if name in self._names)

    @property
    def inputs(self) -> tuple[dict[str, Any], ...]:
        """What fields refer to: name, shape and axes of each input."""
        return tuple(
            {"name": s.name, "shape": list(s.shape), "axes": list(s.axes)} for s in self._sources
        )

    @property
    def status(self) -> str:
        """``exact``, or ``bound`` where some layer's field is only an upper bound."""
        return "bound" if any(layer.status == "bound" for layer in self) else "exact"

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Why fields are bounds."""
        found = [*self._graph.notes, *self._graph.bounds.values()]
        for layer in self:
            for field, raw in zip(layer.fields, layer._state.fields, strict=True):
                if field.status == "bound" and not raw.bound:
                    found.append(
                        Diagnostic(
                            "too-large",
                            layer.name,
                            layer.op,
                            f"axis {field.axis} of {field.input} is too long to look at unit by unit; "
                            "the size is that of the whole axis or less",
                        )
                    )
        return tuple(found)

    # --- the image engine

    def _spans(self, value: int) -> Any:
        """The image engine's hulls of ``value``, one per axis; those of the other layers are kept too."""
        if value not in self._image:
            from eyeshot.core.image import Image

            # Layers are mostly asked for in their order: those that follow are kept, as many as fit.
            values = [value, *(mark.value for mark in self._marks if mark.value > value)]
            self._image.clear()
            wanted = {v: self._unit_dims(v) for v in values}
            self._image.update(Image(self._graph, self._sources).run(wanted, KEEP_ELEMENTS))
        return self._image[value]

    def _unit_dims(self, value: int) -> tuple[int, ...]:
        return Layer(self, LayerMark("", "", value)).unit_dims

    def _hulls(self, value: int) -> list[Span | None]:
        return [hulls.total() for hulls in self._spans(value)]

    # --- exports

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; the schema ships as ``eyeshot/schema/report-1.json``."""
        return {
            "schema": SCHEMA,
            "status": self.status,
            "inputs": list(self.inputs),
            "layers": [layer.to_dict() for layer in self],
            "diagnostics": [d._asdict() for d in self.diagnostics],
        }

    def to_json(self, indent: int | None = None) -> str:
        """JSON text of :meth:`to_dict`."""
        import json

        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_csv(self) -> str:
        """A table with one row per layer and axis."""
        from eyeshot.views.export import to_csv

        return to_csv(self)

    def to_markdown(self) -> str:
        """The terminal's table as Markdown."""
        from eyeshot.views.export import to_markdown

        return to_markdown(self)

    def to_pandas(self) -> Any:
        """A pandas DataFrame with one row per layer and axis. Needs pandas."""
        from eyeshot.views.export import to_pandas

        return to_pandas(self)

    def __str__(self) -> str:
        from eyeshot.views.terminal import to_text

        return to_text(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{s.name} {'x'.join(map(str, s.shape))}" for s in self._sources)
        return f"<eyeshot.Report of {len(self)} layer{'s' * (len(self) != 1)}, input {shown}, {self.status}>"

    def _repr_html_(self) -> str:
        from eyeshot.views.export import to_html

        return to_html(self)
