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
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, overload

from eyeshot.core import canvas as engine
from eyeshot.core import terms as algebra
from eyeshot.core.graph import Diagnostic, Graph, LayerMark
from eyeshot.core.primitives import Shape
from eyeshot.core.terms import NoClosedForm, Number, Term
from eyeshot.errors import EyeshotError, UnknownLayerError

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

    from eyeshot.core.image import Span

__all__ = ["SCHEMA", "Canvas", "Field", "Layer", "Report"]

SCHEMA = "eyeshot.report/1"
Box = tuple[tuple[Number, Number], ...]
#: Exact hulls of all layers are kept for reuse up to this many array elements.
KEEP_ELEMENTS = 1 << 25


class Canvas(NamedTuple):
    """The closed form of a field along one dim: ``begin(i) = advance * (i // period) + begin[i % period]``.

    Empty phases have begin == end; an unbounded end is ±inf.
    """

    period: int
    advance: int
    begin: tuple[Number, ...]
    end: tuple[Number, ...]

    def at(self, i: int) -> tuple[Number, Number]:
        """The hull ``[begin, end)`` of unit ``i``."""
        turn, phase = divmod(i, self.period)
        return self.begin[phase] + self.advance * turn, self.end[phase] + self.advance * turn


class Field(NamedTuple):
    """What a layer's units read along one input axis. Positions are input elements; None: not defined.

    ``dim`` is the tensor dim along which units follow the axis and ``n`` its size. ``size`` is the largest
    unit's, ``jump`` the distance between neighbours (A/P on average where the period is longer than 1),
    ``start`` the first unit's centre (pixel k covers [k, k+1]), ``padding`` minus its begin.
    """

    input: str
    axis: int
    dim: int | None
    n: int
    size: Number
    jump: int | Fraction | None
    start: int | Fraction | None
    padding: Number | None
    is_global: bool
    status: str
    canvas: Canvas | None

    def to_dict(self) -> dict[str, Any]:
        """The field as JSON values; infinite numbers become null."""
        canvas = None
        if self.canvas is not None:
            canvas = {
                "period": self.canvas.period,
                "advance": self.canvas.advance,
                "begin": [_finite(b) for b in self.canvas.begin],
                "end": [_finite(e) for e in self.canvas.end],
            }
        return {
            "input": self.input,
            "axis": self.axis,
            "dim": self.dim,
            "n": self.n,
            "size": _finite(self.size),
            "jump": None if self.jump is None else float(self.jump),
            "start": None if self.start is None else float(self.start),
            "padding": None if self.padding is None else _finite(self.padding),
            "global": self.is_global,
            "status": self.status,
            "canvas": canvas,
        }


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
    def _forms(self) -> tuple[_Form, ...]:
        forms: tuple[_Form, ...] | None = self.__dict__.get("_made")
        if forms is None:
            state = self._state
            forms = tuple([_Form(self, state, k) for k in range(len(state.fields))])
            self.__dict__["_made"] = forms
        return forms

    @property
    def fields(self) -> tuple[Field, ...]:
        """One :class:`Field` per (input, axis)."""
        fields: tuple[Field, ...] | None = self.__dict__.get("_fields")
        if fields is None:
            fields = self.__dict__["_fields"] = tuple([form.field() for form in self._forms])
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
        return tuple(sorted({form.dim for form in self._forms if form.dim is not None}))

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
        exact = None
        for k, form in enumerate(self._forms):
            hull = form.at(where)
            if hull is None or form.raw.folds:
                if exact is None:
                    exact = self._exact(at)
                low: Number
                high: Number
                low, high = exact[k]
                if hull is not None and hull[0] < hull[1]:
                    if low < high:
                        low, high = min(low, hull[0]), max(high, hull[1])
                    else:
                        low, high = hull
                hull = (low, high)
            out.append(hull if hull[0] < hull[1] else (0, 0))
        return tuple(out)

    def _exact(self, at: tuple[int, ...]) -> list[tuple[int, int]]:
        out = []
        for span in self._report._hulls(self._value):
            lo, hi = self._united(span)
            place = tuple(
                0 if lo.shape[dim] == 1 else i for dim, i in zip(self.unit_dims, at, strict=True)
            )
            full = [0] * lo.ndim
            for dim, i in zip(self.unit_dims, place, strict=True):
                full[dim] = i
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


class _Form:
    """One field of a layer, brought to the dims that tell its units apart; worked out when asked for."""

    __slots__ = ("_canvas", "_units", "dim", "k", "layer", "raw", "state")

    def __init__(self, layer: Layer, state: engine.State, k: int) -> None:
        self.layer = layer
        self.k = k
        self.state = state
        self.raw = state.fields[k]
        self.dim = self._dim()
        self._canvas: Canvas | Literal["unknown"] | None = "unknown"
        self._units: tuple[Term, ...] | Literal["unknown"] | None = "unknown"

    def _dim(self) -> int | None:
        """The dim along which units move farthest, or else one along which only some of them read."""
        tags, terms = self.raw.tags, self.raw.terms
        best: int | None = None
        found = None
        for dim, group in enumerate(self.state.dims):
            for factor, size in group:
                for tagged, rank in tags:
                    if tagged != factor:
                        continue
                    if rank is not None:
                        if best is None or rank < best:
                            best, found = rank, dim
                    elif found is None and (
                        size > 1 if terms is None else any(t.uses(factor) for t in terms)
                    ):
                        # Mixed once; units still differ where only some of them read.
                        found = dim
        return found

    @property
    def is_global(self) -> bool:
        if self.raw.terms is None:
            return self.layer._report._spans(self.layer._value)[self.k].whole is not None
        return any(term.whole for term in self.raw.terms)

    def _within(self, dims: Sequence[int], whole: bool) -> tuple[Term, ...] | None:
        """The local (or the global) terms as functions of the factors of ``dims`` alone."""
        if self.raw.terms is None:
            return None
        keep = [factor for dim in dims for factor, _ in self.state.dims[dim]]
        if len(self.raw.terms) == 1:
            (term,) = self.raw.terms
            if len(term.deps) == 1 and not term.support and term.deps[0][0] in keep:
                return self.raw.terms if term.whole == whole else ()
        out: tuple[Term, ...] = ()
        try:
            for term in self.raw.terms:
                if term.whole == whole:
                    foreign = [f for f, _, _ in (*term.deps, *term.support) if f not in keep]
                    if foreign:
                        sizes = dict(factor for group in self.state.dims for factor in group)
                        for factor in foreign:
                            term = algebra.mix(term, factor, sizes[factor])
                    out = algebra.unite(out, (term,))
        except NoClosedForm:
            return None
        return out

    @property
    def canvas(self) -> Canvas | None:
        """The closed form along ``dim``; None where there is none, or no local field."""
        if self._canvas == "unknown":
            self._canvas = self._closed()
        return self._canvas

    def _closed(self) -> Canvas | None:
        if self.dim is None:
            return None
        group = self.state.dims[self.dim]
        terms = self._within((self.dim,), False)
        if terms and len(group) > 1:
            terms = self._merged(terms)
        if not terms or len(terms) != 1:
            return None
        ((deps, lo, hi, support, _),) = terms
        if support or len(deps) > 1:
            return None
        period, advance = (deps[0][1], deps[0][2]) if deps else (1, 0)
        if lo[0] >= hi[0] or (period > 1 and any(a >= b for a, b in zip(lo, hi, strict=True))):
            hulls = [(a, b) if a < b else (0, 0) for a, b in zip(lo, hi, strict=True)]
            lo, hi = tuple([h[0] for h in hulls]), tuple([h[1] for h in hulls])
        return Canvas(period, advance, lo, hi)

    def _merged(self, terms: tuple[Term, ...]) -> tuple[Term, ...] | None:
        """A flattened dim's factors as one index."""
        assert self.dim is not None
        group = list(self.state.dims[self.dim])
        fresh = -1
        try:
            while len(group) > 1:
                (major, n1), (minor, n2) = group[-2:]
                done: tuple[Term, ...] = ()
                for term in terms:
                    pieces = algebra.merge(term, major, minor, n1, n2, fresh)
                    done = algebra.unite(done, tuple(pieces))
                terms = done
                group[-2:] = [(fresh, n1 * n2)]
                fresh -= 1
        except NoClosedForm:
            return None
        return terms

    def at(self, where: dict[int, int]) -> tuple[Number, Number] | None:
        """The canvas hull of the unit at these indices; None where there is no closed form."""
        if self.canvas is None or self.dim is None:
            return None
        terms = self._units
        if terms == "unknown":
            terms = self._units = self._within(self.layer.unit_dims, False)
        if terms is None:
            return self.canvas.at(where[self.dim])
        index: dict[int, int] = {}
        for dim, i in where.items():
            for factor, size in reversed(self.state.dims[dim]):
                i, index[factor] = divmod(i, size)
        hulls = [term.at(index) for term in terms]
        return min(h[0] for h in hulls), max(h[1] for h in hulls)

    def field(self) -> Field:
        """The numbers of this field."""
        report = self.layer._report
        source, axis = report._axes[self.k]
        n = 1 if self.dim is None else self.layer.shape[self.dim]
        canvas = self.canvas
        exact = True
        is_global = self.is_global
        size: Number
        start: int | Fraction | None = None
        padding: Number | None = None
        jump: int | Fraction | None = None
        if canvas is not None:
            period, advance, begin, end = canvas
            first: tuple[Number, Number] = (begin[0], end[0])
            if first == (-math.inf, math.inf) and len(set(begin)) == len(set(end)) == 1:
                # Past and future without end, as of a recurrence in both directions.
                is_global, size = True, source.shape[axis]
                jump = _ratio(advance, period)
            elif period == 1:
                size, jump = end[0] - begin[0], advance
            else:
                size = max([end[p] - begin[p] for p in range(min(period, n))])
                jump = _ratio(advance, period)
        else:
            size, first, exact = self._extent(source.shape[axis])
        if first[0] < first[1]:
            padding = -first[0]
            if math.isfinite(first[0]) and math.isfinite(first[1]):
                start = _ratio(int(first[0] + first[1]), 2)
        return Field(
            source.name,
            axis,
            self.dim,
            n,
            size,
            jump,
            start,
            padding,
            is_global,
            "bound" if self.raw.bound or not exact else "exact",
            canvas,
        )

    def _extent(self, length: int) -> tuple[Number, tuple[Number, Number], bool]:
        """Size and first hull where there is no canvas, clipped to the input, and whether they are exact."""
        terms = self.raw.terms
        if terms == ():
            return 0, (0, 0), True
        if (
            self.dim is None
            and self.raw.reach is not None
            and terms is not None
            and len({term.whole for term in terms}) == 1
        ):
            low, high = self.raw.reach
            return high - low, (low, high), True
        report = self.layer._report
        try:
            hulls = report._spans(self.layer._value)[self.k]
        except EyeshotError:
            # Too many units to look at one by one; what the canvas says is then an upper bound.
            context = [*(self._within((), True) or ()), *(self._within((), False) or ())]
            if terms is None or not context:
                return length, (0, length), False
            low = max(0, min(term.lo[0] for term in context))
            high = min(length, max(term.hi[0] for term in context))
            return max(0, high - low), (low, high), False
        import numpy as np

        lo, hi = self.layer._united(hulls.local if hulls.local is not None else hulls.whole)
        reads = lo < hi
        if not reads.any():
            return 0, (0, 0), True
        first = (int(lo.flat[0]), int(hi.flat[0])) if reads.flat[0] else (0, 0)
        return int(np.where(reads, hi - lo, 0).max()), first, True


class Report:
    """What every layer of a network reads of its inputs.

    Index it by layer name or by number (``report[-1]`` is the last layer run); iterate over layers.
    """

    def __init__(
        self, graph: Graph, sources: list[engine.Source], marks: list[LayerMark], title: str = ""
    ) -> None:
        evaluated = engine.Canvas(graph, sources)
        states = evaluated.run({mark.value for mark in marks})
        names = {mark.name: k for k, mark in enumerate(marks)}
        self.__dict__.update(
            title=title,
            _graph=graph,
            _sources=sources,
            _marks=marks,
            _names=names,
            _states=states,
            _axes=[(sources[k], axis) for k, axis in evaluated.axes],
            _layers={},
            _image={},
        )

    title: str
    _graph: Graph
    _sources: list[engine.Source]
    _marks: list[LayerMark]
    _names: dict[str, int]
    _states: dict[int, engine.State]
    _axes: list[tuple[engine.Source, int]]
    _layers: dict[int, Layer]
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
        return name in self._names

    @overload
    def __getitem__(self, key: str | int) -> Layer: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Layer, ...]: ...

    def __getitem__(self, key: str | int | slice) -> Layer | tuple[Layer, ...]:
        if isinstance(key, str):
            if key not in self._names:
                names = list(self._names)
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
        found = list(self._graph.bounds.values())
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

            image = Image(self._graph, self._sources)
            wanted = {mark.value for mark in self._marks}
            if self._image or not self._cheap():
                wanted = {value}
            self._image.update(image.run(wanted | {value}))
        return self._image[value]

    def _cheap(self) -> bool:
        """Whether the hulls of all layers together are small enough to keep."""
        total = 0
        for mark in self._marks:
            shape = self._graph.shapes[mark.value]
            total += 2 * len(self._axes) * max(shape, default=1)
        return total <= KEEP_ELEMENTS

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


def _finite(number: Number) -> int | None:
    return int(number) if math.isfinite(number) else None


@lru_cache(maxsize=1024)
def _ratio(above: int, below: int) -> int | Fraction:
    """The exact quotient, a plain int where it is one."""
    return Fraction(above, below) if above % below else above // below
